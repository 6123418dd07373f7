"""A token bucket per address, bounded in addresses; loopback is never limited.

Pure arithmetic over the times it is given. A node behind a proxy sees the proxy's address only.
"""

from __future__ import annotations

from collections import OrderedDict

from node.http.visitors import is_loopback, origin_of

ADDRESSES_MAX = 10_000


class RateLimit:
    """Admits `per_second` requests from one address in the long run, `burst` at once."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, address: str, now_s: float) -> bool:
        """Whether a request of `address` at `now_s` (monotonic) may pass; takes a token if so."""
        if is_loopback(address):
            return True
        address = origin_of(address)
        tokens, then = self._buckets.pop(address, (self._burst, now_s))
        tokens = min(tokens + (now_s - then) * self._per_second, self._burst)
        admitted = tokens >= 1
        self._buckets[address] = (tokens - 1 if admitted else tokens, now_s)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return admitted

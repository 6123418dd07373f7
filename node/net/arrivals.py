"""How often strangers knock: so many a second from one address, and some more at once.

Each costs the beginning of a TLS hand-shake, which an address must not be able to ask for without
end. Pure arithmetic over the times it is given, bounded in addresses.
"""

from __future__ import annotations

from collections import OrderedDict

ADDRESSES_MAX = 4_096


class Arrivals:
    """A token bucket for each address."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, address: str, now_s: float) -> bool:
        """Whether one more may knock at `now_s` (monotonic); takes a token if so."""
        tokens, then = self._buckets.pop(address, (self._burst, now_s))
        tokens = min(tokens + (now_s - then) * self._per_second, self._burst)
        admitted = tokens >= 1
        self._buckets[address] = (tokens - admitted, now_s)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return admitted

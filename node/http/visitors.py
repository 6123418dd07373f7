"""Who is connected from where: bounded in all and for each address. Addresses mean IPv6 /64s.

Pure counting; an address without connections is forgotten.
"""

from __future__ import annotations

import ipaddress
from collections import Counter

IPV6_PREFIX = 64


class Visitors:
    """Counts connections; see `HttpLimits`."""

    def __init__(self, most: int, per_address_most: int) -> None:
        self._most = most
        self._per_address_most = per_address_most
        self._from: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many there are."""
        return self._from.total()

    def enter(self, address: str) -> bool:
        """Whether one more may come in from `address`; counted if so."""
        if self.total >= self._most:
            return False
        if self._from[address] >= self._per_address_most and not is_loopback(address):
            return False
        self._from[address] += 1
        return True

    def leave(self, address: str) -> None:
        """One that entered is gone."""
        self._from[address] -= 1
        if not self._from[address]:
            del self._from[address]


def is_loopback(address: str) -> bool:
    """Whether it is this machine itself."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def origin_of(address: str) -> str:
    """What counts as one address: a whole /64 of IPv6, since everybody there has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address) or parsed.is_loopback:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))

"""Ports that nobody uses, for networks of the tests' own.

None is given twice by one process: it may belong to a node that is dead just now. Processes begin
at different places.
"""

from __future__ import annotations

import os
import socket

PORTS_FROM = 21_000
PORTS_TO = 27_000
APART = 97

_next = PORTS_FROM + os.getpid() * APART % (PORTS_TO - PORTS_FROM)


def free_ports(count: int) -> int:
    """The first of `count` consecutive ports that nobody uses now."""
    global _next
    for _ in range((PORTS_TO - PORTS_FROM) // count):
        first = _next if _next + count <= PORTS_TO else PORTS_FROM
        _next = first + count
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

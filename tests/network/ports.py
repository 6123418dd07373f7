"""Ports that nobody uses, for networks of the tests' own."""

from __future__ import annotations

import socket

PORTS_FROM = 21_000
PORTS_TO = 27_000


def free_ports(count: int) -> int:
    """The first of `count` consecutive ports that nobody uses now."""
    for first in range(PORTS_FROM, PORTS_TO, count):
        sockets = []
        try:
            for port in range(first, first + count):
                listener = socket.socket()
                sockets.append(listener)
                listener.bind(("127.0.0.1", port))
        except OSError:
            continue
        else:
            return first
        finally:
            for listener in sockets:
                listener.close()
    raise AssertionError("no free ports")

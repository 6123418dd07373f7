"""TLS byte streams, dialed or accepted, with the socket options that peers need."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from node.net.limits import STREAM_BUFFER_BYTES, UNSENT_BYTES_MAX

SHUTDOWN_S = 1.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def dial(host: str, port: int, context: ssl.SSLContext, handshake_s: float) -> Streams:
    """Connect and finish TLS; raises OSError. The deadline is the caller's too."""
    try:
        reader, writer = await asyncio.open_connection(
            host,
            port,
            ssl=context,
            server_hostname="",
            limit=STREAM_BUFFER_BYTES,
            ssl_handshake_timeout=handshake_s,
            ssl_shutdown_timeout=SHUTDOWN_S,
        )
    except OSError:  # some of TLS's errors are ValueErrors too
        raise
    except (ValueError, OverflowError) as error:
        raise OSError(f"{host}:{port} is no address: {error}") from None
    _tune(writer.get_extra_info("socket"))
    return reader, writer


async def accept(accepted: socket.socket, context: ssl.SSLContext, handshake_s: float) -> Streams:
    """Finish TLS on an accepted socket, which is closed on failure; raises OSError."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=STREAM_BUFFER_BYTES, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    try:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=context,
            ssl_handshake_timeout=handshake_s,
            ssl_shutdown_timeout=SHUTDOWN_S,
        )
    except BaseException:
        accepted.close()
        raise
    _tune(accepted)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _tune(connected: socket.socket) -> None:
    """Small writes leave at once, and the kernel queues little, since it knows no lanes."""
    with contextlib.suppress(OSError):  # the far end may have left already
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)

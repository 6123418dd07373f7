"""The door: accepts TCP connections and sees to it that strangers cost next to nothing.

Guests, who have not yet proved who they are, are counted before TLS begins, in all and for each
address, and everything up to the end of the handshake has one deadline. A refused guest is counted
by code and mentioned in the log now and then, never with a traceback.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from node.net.limits import LISTEN_BACKLOG, STREAM_BUFFER_BYTES, NetLimits
from node.protocol.errors import Misconfigured, PeerFault

REFUSAL_LOG_EVERY_S = 10.0
ACCEPT_PAUSE_S = 0.1

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Welcome = Callable[[Streams], Awaitable[Callable[[], Awaitable[None]]]]

_log = structlog.get_logger("net")


class Refusals:
    """Counts refused guests by code, and logs each code at most once in a while."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._logged_at: dict[str, float] = {}

    def note(self, code: str, address: str, message: str, now: float) -> None:
        """One more; `now` is monotonic seconds."""
        self.counts[code] += 1
        if now - self._logged_at.get(code, -REFUSAL_LOG_EVERY_S) >= REFUSAL_LOG_EVERY_S:
            self._logged_at[code] = now
            _log.info(
                "guest_refused",
                code=code,
                address=address,
                reason=message,
                count=self.counts[code],
            )


class Listener:
    """Accepts, counts, wraps in TLS, and hands the streams to `welcome`.

    `welcome` authenticates within the deadline and returns the coroutine function that serves the
    connection from then on, when its guest slot is free again.
    """

    def __init__(
        self, context: ssl.SSLContext, limits: NetLimits, welcome: Welcome, refusals: Refusals
    ) -> None:
        self._context = context
        self._limits = limits
        self._welcome = welcome
        self._refusals = refusals
        self._guests: Counter[str] = Counter()
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port in use, once started."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def start(self, host: str, port: int, watch: Callable[[asyncio.Task[None]], None]) -> None:
        """Listen; raises `Misconfigured` `CANNOT_LISTEN`. `watch` gets every task at its end."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
        except OSError as error:
            raise Misconfigured(
                "CANNOT_LISTEN", f"{host}:{port} is not to be had: {error.strerror}"
            ) from None
        self._socket.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._socket, watch))
        self._accepting.add_done_callback(watch)

    async def stop(self) -> None:
        """Close the door and send off the guests. Connections already served end by themselves."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
        if self._socket is not None:
            self._socket.close()

    async def _accept(
        self, listening: socket.socket, watch: Callable[[asyncio.Task[None]], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:  # out of descriptors, or the guest has left already
                _log.warning("accept_failed", reason=error.strerror)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            host = str(address[0])
            if (
                self._guests.total() >= self._limits.guests_max
                or self._guests[host] >= self._limits.guests_per_address_max
            ):
                accepted.close()
                self._refusals.note("TOO_MANY", host, "too many unproved guests", loop.time())
                continue
            task = asyncio.create_task(self._greet(accepted, host))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            task.add_done_callback(watch)

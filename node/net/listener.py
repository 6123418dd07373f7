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

from node.net import streams
from node.net.arrivals import Arrivals
from node.net.limits import LISTEN_BACKLOG, NetLimits
from node.net.tasks import Tasks
from node.protocol.errors import Misconfigured, PeerFault

REFUSAL_LOG_EVERY_S = 10.0
ACCEPT_PAUSE_S = 0.1

Welcome = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_log = structlog.get_logger("net")


class Listener:
    """Accepts, counts, wraps in TLS, and lets `welcome` authenticate and take over the streams.

    `welcome` raises `PeerFault`, `OSError` or `asyncio.IncompleteReadError` to refuse.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        limits: NetLimits,
        tasks: Tasks,
        welcome: Welcome,
        expects: Callable[[str], bool],
    ) -> None:
        """`expects` says whether a peer listens at an address."""
        self.refused: Counter[str] = Counter()
        self._context = context
        self._limits = limits
        self._tasks = tasks
        self._welcome = welcome
        self._expects = expects
        self._arrivals = Arrivals(limits.guests_per_address_rate, limits.guests_per_address_burst)
        self._guests: Counter[str] = Counter()
        self._logged_at: dict[str, float] = {}
        self._socket: socket.socket | None = None
        self._greeting: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port in use, from start to stop."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    @property
    def guests(self) -> int:
        """How many connections have not yet proved who they are."""
        return self._guests.total()

    def start(self, host: str, port: int) -> None:
        """Listen, on any free port if 0; raises `Misconfigured` `CANNOT_LISTEN`."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server((host, port), family=family, backlog=LISTEN_BACKLOG)
        except OSError as error:
            reason = f"cannot listen on {host}:{port}: {error.strerror}"
            raise Misconfigured("CANNOT_LISTEN", reason) from None
        listening.setblocking(False)
        self._socket = listening
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    async def stop(self) -> None:
        """Close the door and send off the guests."""
        listening, self._socket = self._socket, None
        if listening is not None:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        await asyncio.sleep(0)  # a task cancelled before it began would not close its socket
        for task in self._greeting:
            task.cancel()
        if self._greeting:
            await asyncio.wait(self._greeting)

    def _accept(self, listening: socket.socket) -> None:
        try:
            accepted, address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the guest has left already
            return
        except OSError as error:  # out of descriptors: do not spin
            _log.warning("accept_failed", reason=error.strerror)
            self._pause(listening)
            return
        host = str(address[0])
        if not self._may_enter(host):
            accepted.close()
            self._refuse("TOO_MANY", host, "too many connections without a proof")
            return
        accepted.setblocking(False)
        self._guests[host] += 1
        task = self._tasks.spawn(self._greet(accepted, host))
        self._greeting.add(task)
        task.add_done_callback(self._greeting.discard)

    def _may_enter(self, host: str) -> bool:
        if self._guests[host] >= self._limits.guests_per_address_max:
            return False
        if self._expects(host):
            return True
        now = asyncio.get_running_loop().time()
        return self.guests < self._limits.guests_max and self._arrivals.admits(host, now)

    def _pause(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)

        def resume() -> None:
            if listening.fileno() >= 0:  # not closed meanwhile
                loop.add_reader(listening, self._accept, listening)

        loop.call_later(ACCEPT_PAUSE_S, resume)

    async def _greet(self, accepted: socket.socket, host: str) -> None:
        deadline_s = self._limits.handshake_s
        try:
            async with asyncio.timeout(deadline_s):
                # TLS has a time-out of its own, which must not win.
                reader, writer = await streams.accept(accepted, self._context, 2 * deadline_s)
                try:
                    await self._welcome(reader, writer)
                except BaseException:
                    writer.transport.abort()
                    raise
        except PeerFault as fault:
            self._refuse(fault.code, host, fault.message)
        except TimeoutError:
            self._refuse("TOO_SLOW", host, f"no proof within {deadline_s:g} s")
        except ssl.SSLError as error:
            self._refuse("TLS", host, error.reason or "TLS failed")
        except (OSError, asyncio.IncompleteReadError):
            self._refuse("LEFT", host, "the far end left before its proof")
        finally:
            self._guests[host] -= 1
            if not self._guests[host]:
                del self._guests[host]

    def _refuse(self, code: str, host: str, reason: str) -> None:
        self.refused[code] += 1
        now = asyncio.get_running_loop().time()
        if now - self._logged_at.get(code, -REFUSAL_LOG_EVERY_S) >= REFUSAL_LOG_EVERY_S:
            self._logged_at[code] = now
            count = self.refused[code]
            _log.info("guest_refused", code=code, address=host, reason=reason, count=count)

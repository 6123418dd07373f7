"""The stage of a demo: what a person would type is shown, done in just that way, and checked.

A story calls and asks with fields as they are typed; the command is printed, its fields go through
the same reading as on the command line, and figures are held against what they should be. Which
story is played is the other modules' part.
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
import time
from collections.abc import Callable, Mapping

from client.errors import EXIT_INTERNAL, ClientError, NotFound
from client.folder import NetworkFolder
from client.interface import arguments_of_words, find, with_ticket, without_ticket
from client.node_api import NodeApi
from client.outcomes import Json, Outcome
from node.protocol.errors import Misconfigured
from node.protocol.json_view import to_json
from node.protocol.keys import PrivateKey
from node.protocol.transaction import Call

SUBMIT_SECONDS = 60.0
SEEN_SECONDS = 15.0
POLL_SECONDS = 0.2
ID_BYTES = 16

Fields = Mapping[str, str]


class StoryFailed(ClientError):
    """A figure is not what it should be: the story, or the network, is wrong."""

    exit_code = EXIT_INTERNAL


class Stage:
    """One story on one network. `show` prints a line."""

    def __init__(
        self, folder: NetworkFolder, network: NodeApi, show: Callable[[str], None]
    ) -> None:
        self.network = network
        self.folder = folder
        self._show = show
        self._keys: dict[str, PrivateKey] = {}
        self._height = 0

    # ---- telling

    def say(self, text: str) -> None:
        """What happens next."""
        self._show("")
        self._show(text)

    def command(self, *words: str) -> None:
        """What a person would type."""
        self._show(f"    $ groat {shlex.join(words)}")

    def expect(self, what: str, found: object, wanted: object) -> None:
        """A figure and what it should be; raises `StoryFailed`."""
        if str(found) != str(wanted):
            raise StoryFailed("DEMO_FAILED", f"{what}: {found}, and it should be {wanted}")
        self._show(f"    ✓ {what}: {found}")

    # ---- doing

    async def call(
        self, contract: str, action: str, key: str, fields: Fields, ticket_from: str | None = None
    ) -> Json:
        """A call that succeeds, perhaps with somebody's ticket; the receipt's details."""
        outcome = await self._call(contract, action, key, fields, ticket_from)
        if outcome.code != "OK":
            raise StoryFailed("DEMO_FAILED", f"{action}: {outcome.code} {outcome.details}")
        return outcome.details

    async def refused(
        self, code: str, contract: str, action: str, key: str, fields: Fields
    ) -> None:
        """A call that the contract rejects with this code."""
        outcome = await self._call(contract, action, key, fields)
        self.expect(f"{action} is refused", outcome.code, code)

    async def ask(self, contract: str, query: str, key: str | None, fields: Fields) -> Json:
        """What a query answers."""
        words = _words(fields)
        self.command("query", contract, query, *words, *([] if key is None else ["--key", key]))
        return await self.look(contract, query, key, fields)

    async def look(self, contract: str, query: str, key: str | None, fields: Fields) -> Json:
        """The same without showing it; never older than what this stage has done."""
        operation = find(self.folder.interface, "queries", contract, query)
        values = to_json(arguments_of_words(operation, _words(fields), self.folder.public_key))
        viewer = None if key is None else self.key(key)
        deadline = time.monotonic() + SEEN_SECONDS
        while True:
            answer = await self.network.query(contract, query, values, viewer)
            if int(answer["height"]) >= self._height or time.monotonic() >= deadline:
                result: Json = answer["result"]
                return result
            await asyncio.sleep(POLL_SECONDS)

    async def wait_until(self, time_ms: int, what: str) -> None:
        """Let the time come: on this machine's clock, and a moment later in a block."""
        seconds = time_ms / 1000 - time.time()
        if seconds > 0:
            self._show(f"    … {what}: {seconds:.0f} s")
            await asyncio.sleep(seconds)
        await asyncio.sleep(1.0)

    async def send(self, key: str, call: Call) -> Outcome:
        """Sign, seal, send, and stay until it is final; with what only its parties may see."""
        signer = self.key(key)
        outcome = await self.network.transact(signer, [call], timeout_seconds=SUBMIT_SECONDS)
        identity = bytes.fromhex(outcome.id)
        if not outcome.final:
            outcome.require()
        self._height = max(self._height, outcome.height or 0)
        deadline = time.monotonic() + SEEN_SECONDS
        while time.monotonic() < deadline:
            try:
                seen = await self.network.outcome(identity, viewer=signer)
            except NotFound:
                seen = outcome._replace(status="unknown")
            if seen.final:
                return seen
            await asyncio.sleep(POLL_SECONDS)
        return outcome

    def key(self, name: str) -> PrivateKey:
        """The private key of a name; opened once."""
        if name not in self._keys:
            self._keys[name] = self.folder.wallet.open(name)
        return self._keys[name]

    async def _call(
        self, contract: str, action: str, key: str, fields: Fields, ticket_from: str | None = None
    ) -> Outcome:
        words = _words(fields)
        consent = [] if ticket_from is None else ["--ticket-from", ticket_from]
        self.command("call", contract, action, *words, *consent, "--key", key)
        operation = find(self.folder.interface, "actions", contract, action)
        if ticket_from is None:
            values = arguments_of_words(operation, words, self.folder.public_key)
        else:
            given = arguments_of_words(without_ticket(operation), words, self.folder.public_key)
            holder, now_ms = self.key(ticket_from), time.time_ns() // 1_000_000
            values = with_ticket(self.network.chain, holder, operation, given, now_ms)
        return await self.send(key, Call(contract, action, values))


def new_id() -> str:
    """An id for something new, in hex."""
    return secrets.token_hex(ID_BYTES)


def cast(folder: NetworkFolder, names: Mapping[str, str]) -> None:
    """Raise `Misconfigured` unless the network has these people with their roles and their keys."""
    known = {identity.name: identity.roles for identity in folder.genesis.identities}
    missing = [
        f"{name} ({role})"
        for name, role in names.items()
        if role not in known.get(name, ()) or not folder.wallet.has(name)
    ]
    if missing:
        text = f"this demo needs a local network with {', '.join(missing)}"
        raise Misconfigured("NO_CAST", f"{text}; make one with `groat up`")


def need_time(folder: NetworkFolder, scale_max: int) -> None:
    """Raise `Misconfigured` on a network whose deadlines pass faster than a story can be told."""
    if folder.genesis.time_scale > scale_max:
        text = f"this demo needs a time_scale of {scale_max} at most: minutes are too short here"
        raise Misconfigured("TOO_FAST", f"{text}; make a network with `groat up --dir OTHER`")


def _words(fields: Fields) -> list[str]:
    return [word for name, value in fields.items() for word in (f"--{name}", value)]

"""What a contract sees while it runs: `Context` for an action, `View` for a query.

A context belongs to one transaction; between its calls only `contract` and `action` change. It
gives no clock but the header's, and no way out but state, ledger and events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn, TypeVar

import msgspec

from contracts.kernel.access import Viewer, may_read
from contracts.kernel.identity import identity_of, roles_in, signing_key
from contracts.kernel.ledger import Ledger
from contracts.kernel.state import Reader, State, Table
from contracts.kernel.types import (
    DAY_MS,
    UTC8_MS,
    BlockInfo,
    OptionalTicketArgs,
    Rejected,
    TicketArgs,
    reject,
)

__all__ = ["BlockInfo", "Context", "Event", "Rejected", "Tickets", "View", "day_of"]

R = TypeVar("R", bound=msgspec.Struct)
VerifyTicket = Callable[[bytes, str, str, Mapping[str, Any], bytes], bool]


class Tickets(NamedTuple):
    """How the node checks `(public_key, contract, statement, terms, signature)`.

    `browser` is for the P-256 keys of browsers, `ledger` for the keys that sign transactions.
    """

    ledger: VerifyTicket
    browser: VerifyTicket


class Event(msgspec.Struct, array_like=True, frozen=True):
    """Something that happened, for `readers` (see `access`)."""

    contract: str
    name: str
    data: dict[str, Any]
    readers: tuple[str, ...]


def day_of(time_ms: int, time_scale: int) -> int:
    """The number of the day in UTC+8; on accelerated networks days are shorter."""
    return (time_ms + UTC8_MS // time_scale) // max(DAY_MS // time_scale, 1)


def scaled(duration_ms: int, time_scale: int) -> int:
    """A policy duration as it counts where time runs `time_scale` times as fast, at least 1 ms."""
    return max(duration_ms // time_scale, 1)


class Context:
    """One transaction in execution: who, when, and what can be touched."""

    __slots__ = (
        "_tickets",
        "action",
        "contract",
        "contracts",
        "events",
        "height",
        "ledger",
        "roles",
        "sender",
        "state",
        "time_ms",
        "time_scale",
        "transaction_id",
    )

    def __init__(
        self,
        state: State,
        block: BlockInfo,
        sender: bytes,
        transaction_id: bytes,
        roles: tuple[str, ...],
        tickets: Tickets,
        contracts: Mapping[str, Any],
    ) -> None:
        self.state = state
        self.ledger = Ledger(state, block.time_ms)
        self.height = block.height
        self.time_ms = block.time_ms
        self.time_scale = block.time_scale
        self.sender = sender
        self.transaction_id = transaction_id
        self.roles = roles
        self.events: list[Event] = []
        self.contract = ""
        self.action = ""
        # By name, as `contract.Contract`, which is made of contexts and so not known here.
        self.contracts = contracts
        self._tickets = tickets

    def enter(self, contract: str, action: str) -> None:
        """Run what follows as this action of this contract."""
        self.contract = contract
        self.action = action
        self.ledger.prefix = f"{contract}."

    def reject(self, code: str, **details: Any) -> NoReturn:
        """End the transaction: its writes are discarded, the rejection is its receipt."""
        reject(code, **details)

    def need_role(self, roles: tuple[str, ...]) -> None:
        """Reject with `UNAUTHORIZED` unless the sender has one of `roles`, if there are any."""
        if roles and not any(role in self.roles for role in roles):
            reject("UNAUTHORIZED", roles=list(roles))

    def emit(self, name: str, data: dict[str, Any], readers: tuple[str, ...]) -> None:
        """Announce something to `readers`; it is published only if the transaction succeeds."""
        self.events.append(Event(self.contract, name, data, readers))

    def scaled(self, duration_ms: int) -> int:
        """A policy duration as it counts on this network, at least 1 ms."""
        return scaled(duration_ms, self.time_scale)

    def today(self) -> int:
        """The number of the current day in UTC+8, scaled."""
        return day_of(self.time_ms, self.time_scale)

    def check_ticket(self, signer: bytes, args: TicketArgs | OptionalTicketArgs) -> None:
        """Reject with `BAD_TICKET` unless `signer` consented to just these arguments, in time."""
        if args.ticket is None or args.ticket_until is None:
            reject("BAD_TICKET", why="missing")
        if self.time_ms >= args.ticket_until:
            reject("BAD_TICKET", why="expired")
        terms = args.terms()
        if not self.has_signed(signer, self.action, terms, args.ticket):
            reject("BAD_TICKET", why="signature")

    def has_signed(
        self, signer: bytes, statement: str, terms: Mapping[str, Any], signature: bytes
    ) -> bool:
        """Whether `signer` made this statement, in the form of a ticket of this contract.

        An identity signs with the key in use, and not while it is suspended.
        """
        key = signing_key(self.state, signer)
        return key is not None and self._tickets.ledger(
            key, self.contract, statement, terms, signature
        )

    def identity_of(self, key: bytes) -> bytes:
        """How records name whoever uses this key: the identity's first key; a stranger's itself."""
        identity = identity_of(self.state, key)
        return key if identity is None else identity.public_key

    def roles_of(self, identity: bytes) -> tuple[str, ...]:
        """The roles in which another identity may act now; none for strangers."""
        return roles_in(self.state, identity)

    def has_signed_in_browser(
        self, signer: bytes, statement: str, terms: Mapping[str, Any], signature: bytes
    ) -> bool:
        """The same for the P-256 key of a browser (ES256)."""
        return self._tickets.browser(signer, self.contract, statement, terms, signature)


class View:
    """The state as one viewer may see it. What may not be read looks as if it were not there."""

    __slots__ = ("block", "state", "time_ms", "viewer")

    def __init__(self, reader: Reader, block: BlockInfo, viewer: Viewer) -> None:
        self.state = State(reader, ordered=False)
        self.block = block
        self.time_ms = block.time_ms
        self.viewer = viewer

    def scaled(self, duration_ms: int) -> int:
        """A policy duration as it counts on this network, at least 1 ms."""
        return scaled(duration_ms, self.block.time_scale)

    def today(self) -> int:
        """The number of the current day in UTC+8, scaled."""
        return day_of(self.time_ms, self.block.time_scale)

    def need(self, table: Table[R], key: bytes) -> R:
        """The record, if the viewer may read it; else `NOT_FOUND`."""
        record = self.state.get(table, key)
        if record is None or not may_read(self.viewer, table.readers(record)):
            reject("NOT_FOUND", what=table.name)
        return record

    def page(
        self, table: Table[R], prefix: bytes, after: bytes | None, limit: int
    ) -> list[tuple[bytes, R]]:
        """A page of records, without those that the viewer may not read."""
        found = self.state.scan(table, prefix, after, limit)
        return [(key, one) for key, one in found if may_read(self.viewer, table.readers(one))]

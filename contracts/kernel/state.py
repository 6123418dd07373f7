"""State: typed tables over bytes.

The node gives a `Reader`; an `Overlay` collects writes on top of one, so that dropping it undoes
them and overlays nest. A `Table` names a kind of record and says who may read it. `State` is one
transaction's view: each record is read and decoded once, and encoded once when all went well.
What records mean, and who may write them, is the contracts' business.

Each node keeps the secret part of private keys disguised in its own way, so it has its own order
of them: an action, which must do the same everywhere, scans a private table within one secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from contracts.kernel.access import PUBLIC
from contracts.kernel.types import Rejected

R = TypeVar("R", bound=msgspec.Struct)
Place = tuple[str, bytes]

SECRET_BYTES = 16

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Reader(Protocol):
    """What is there: the stored state, or an overlay."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The record's bytes, or None."""
        ...

    def scan(
        self, table: str, prefix: bytes, after: bytes | None, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """Up to `limit` records whose key starts with `prefix` and that come after `after`.

        Ascending, but for the secret parts of a private table's keys: those in the node's order.
        """
        ...


class Overlay:
    """Writes on top of a reader, not yet in it. None marks a deletion.

    What was read below is remembered: the reader must not change while the overlay is in use.
    """

    __slots__ = ("_below", "_read", "writes")

    def __init__(self, below: Reader) -> None:
        self._below = below
        self._read: dict[Place, bytes | None] = {}
        self.writes: dict[Place, bytes | None] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        """The record's bytes as written here or below."""
        place = (table, key)
        if place in self.writes:
            return self.writes[place]
        if place not in self._read:
            self._read[place] = self._below.get(table, key)
        return self._read[place]

    def scan(
        self, table: str, prefix: bytes, after: bytes | None, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """As `Reader.scan`, own writes included."""
        own = {
            key: value
            for (name, key), value in self.writes.items()
            if name == table and key.startswith(prefix) and (after is None or key > after)
        }
        if not own:
            return self._below.scan(table, prefix, after, limit)
        # Each own write hides at most one record below, so this many always suffice.
        merged: dict[bytes, bytes | None] = dict(
            self._below.scan(table, prefix, after, limit + len(own))
        )
        merged.update(own)
        present = [(key, value) for key, value in sorted(merged.items()) if value is not None]
        return present[:limit]


class Table(Generic[R]):
    """A kind of record. `name` is `contract/table`; `key` says in words what the key is.

    `readers` gives those who may read one record; None makes the whole table public. Keys of
    private records are (or start with) 16 random bytes, so that absence tells nothing; of a table
    whose keys can be guessed, `guessable`, only the regulator learns that a record is absent.

    `secret` is how many leading bytes of a private table's keys are disguised at rest, in every
    version of a contract (default: those 16); what follows is a number or the like, which says
    nothing and gives the order. With 0 nothing is disguised: all nodes have one order.
    """

    __slots__ = ("decode", "guessable", "key", "name", "public", "readers", "record", "secret")

    def __init__(
        self,
        name: str,
        record: type[R],
        key: str,
        readers: Callable[[R], tuple[str, ...]] | None = None,
        guessable: bool = False,
        secret: int = SECRET_BYTES,
    ) -> None:
        self.name = name
        self.record = record
        self.key = key
        self.guessable = guessable
        self.public = readers is None
        self.secret = 0 if self.public else secret
        self.readers: Callable[[R], tuple[str, ...]] = readers or (lambda _: (PUBLIC,))
        self.decode: Callable[[bytes], R] = msgspec.msgpack.Decoder(record).decode


class Change(NamedTuple, Generic[R]):
    """One record before and after a transaction; None where there is none."""

    key: bytes
    before: R | None
    after: R | None


class Changes:
    """Everything that a transaction changed, by table, for the invariants."""

    __slots__ = ("_by_table",)

    def __init__(self) -> None:
        self._by_table: dict[str, list[Change[Any]]] = {}

    def add(self, table: str, change: Change[Any]) -> None:
        """Note one change."""
        self._by_table.setdefault(table, []).append(change)

    @property
    def tables(self) -> Iterable[str]:
        """The names of the tables of which records changed."""
        return self._by_table

    def of(self, table: Table[R]) -> list[Change[R]]:
        """The changes of one table, in the order in which its records were first written."""
        return self._by_table.get(table.name, [])


class State:
    """Typed records over a reader, with the writes of one transaction.

    An `ordered` one, which is what actions get, refuses scans that differ from node to node.
    """

    __slots__ = ("_before", "_below", "_ordered", "_records", "_scanned")

    def __init__(self, below: Reader, ordered: bool = True) -> None:
        self._below = below
        self._ordered = ordered
        self._scanned = Overlay(below)
        self._records: dict[Place, Any] = {}
        self._before: dict[Place, Any] = {}

    def get(self, table: Table[R], key: bytes) -> R | None:
        """The record, or None."""
        place = (table.name, key)
        if place in self._records:
            found: R | None = self._records[place]
            return found
        raw = self._below.get(table.name, key)
        record = None if raw is None else table.decode(raw)
        self._records[place] = record
        return record

    def need(self, table: Table[R], key: bytes) -> R:
        """The record; rejects with `NOT_FOUND` naming the table."""
        record = self.get(table, key)
        if record is None:
            raise Rejected("NOT_FOUND", what=table.name)
        return record

    def put(self, table: Table[R], key: bytes, record: R) -> None:
        """Write a record, new or not."""
        self._write(table, key, record)

    def insert(self, table: Table[R], key: bytes, record: R) -> None:
        """Write a record that must be new; there being one is the caller's bug."""
        assert self.get(table, key) is None, f"{table.name} is overwritten"
        self._write(table, key, record)

    def delete(self, table: Table[R], key: bytes) -> None:
        """Remove a record, if there is one."""
        self._write(table, key, None)

    def scan(
        self, table: Table[R], prefix: bytes, after: bytes | None, limit: int
    ) -> list[tuple[bytes, R]]:
        """As `Reader.scan`; `prefix` holds the whole secret of a private table's keys.

        Unless this state is `ordered` it may be empty too.
        """
        within = len(prefix) >= table.secret or not (prefix or self._ordered)
        assert within, f"{table.name} is scanned across secrets"
        self._encode_into(self._scanned)
        found = self._scanned.scan(table.name, prefix, after, limit)
        return [(key, table.decode(raw)) for key, raw in found]

    @property
    def writes(self) -> int:
        """How many records were written."""
        return len(self._before)

    def changes(self) -> Changes:
        """What is different from before the transaction."""
        changes = Changes()
        for place, before in self._before.items():
            table, key = place
            changes.add(table, Change(key, before, self._records[place]))
        return changes

    def commit_to(self, overlay: Overlay) -> None:
        """Add the transaction's writes to the block's."""
        self._encode_into(overlay)

    def _write(self, table: Table[R], key: bytes, record: R | None) -> None:
        place = (table.name, key)
        if place not in self._before:
            self._before[place] = self.get(table, key)
        self._records[place] = record

    def _encode_into(self, overlay: Overlay) -> None:
        writes, records = overlay.writes, self._records
        for place, before in self._before.items():
            record = records[place]
            if record is not before or place in writes:
                writes[place] = None if record is None else _encode(record)

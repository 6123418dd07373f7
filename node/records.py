"""Read-only views over the current state and the contracts, each for one viewer.

Records of public tables, and records whose readers include the viewer, with proofs on demand;
balances by height; the contracts' interface and their queries. A private record that is absent
looks like one that may not be read. Blocks and transactions are `query`'s part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from contracts.kernel import registry
from contracts.kernel.access import Viewer, may_read
from contracts.kernel.contract import Contract
from contracts.kernel.ledger import ACCOUNTS
from contracts.kernel.state import Reader
from contracts.kernel.types import BlockInfo
from node.protocol.block import BlockHeader, CertifiedBlock, Receipt
from node.protocol.encoding import encode
from node.protocol.errors import Refused
from node.protocol.genesis import Genesis, interface_hash
from node.protocol.history import Handover
from node.protocol.json_view import arguments_from_json, to_json
from node.protocol.proofs import StateProof
from node.views import Json, certified_bytes

REGULATOR_ROLE = "regulator"
_ABSENT = "no such record, or not one that you may read"


class StoredHead(Protocol):
    """The last final block; `header` is None before the first."""

    @property
    def height(self) -> int: ...

    @property
    def block_id(self) -> bytes: ...

    @property
    def header(self) -> BlockHeader | None: ...

    @property
    def state_root(self) -> bytes: ...

    @property
    def transactions(self) -> int: ...


class OldestKept(Protocol):
    """The lowest heights of which blocks, and balances, are stored."""

    @property
    def block(self) -> int: ...

    @property
    def history(self) -> int: ...


class Store(Reader, Protocol):
    """What is read of the store, besides records."""

    @property
    def head(self) -> StoredHead: ...

    @property
    def oldest(self) -> OldestKept: ...

    def block(self, height: int) -> CertifiedBlock | None: ...

    def handover(self, first_height: int) -> Handover | None: ...

    def receipts(self, height: int) -> tuple[Receipt, ...]: ...

    def height_of(self, block_id: bytes) -> int | None: ...

    def find(self, transaction_id: bytes) -> tuple[int, int] | None: ...

    def balance_at(self, key: bytes, height: int) -> bytes | None: ...

    def prove(self, table: str, key: bytes) -> StateProof: ...


class Salts(Protocol):
    """The secret salts of private values and receipts."""

    def of(self, table: str, key: bytes, value: bytes) -> bytes: ...

    def of_receipt(self, transaction_id: bytes) -> bytes: ...


class Head(NamedTuple):
    """Height, id and time (ms) of the last final block; before the first, those of genesis."""

    height: int
    block_id: bytes
    time_ms: int


class Records:
    """The current state as a viewer may see it."""

    def __init__(
        self,
        store: Store,
        contracts: Mapping[str, Contract],
        genesis: Genesis,
        salts: Salts,
    ) -> None:
        self._store = store
        self._contracts = contracts
        self._genesis = genesis
        self._salts = salts
        self._interface: tuple[list[Contract], tuple[Json, str]] | None = None

    @property
    def head(self) -> Head:
        """The last final block."""
        head = self._store.head
        time_ms = self._genesis.created_ms if head.header is None else head.header.time_ms
        return Head(head.height, head.block_id, time_ms)

    def state(self, contract: str, table: str, key: bytes, viewer: Viewer, prove: bool) -> Json:
        """One record of the current state, with its proof if wanted.

        Raises `Refused`: `NOT_FOUND` for what is absent or not readable, `SESSION_REQUIRED` for
        the same without a session, `NO_BLOCK_YET` for a proof before the first block. With
        `prove`, an absent record is an answer: value null, and the proof that it is absent.
        """
        name = f"{contract}/{table}"
        if table not in self.interface.get(contract, {}).get("tables", {}):
            raise Refused("NOT_FOUND", f"no table {name}")
        private = registry.is_private(self._contracts, name)
        value = self._store.get(name, key)
        if value is not None:
            self._check_readable(name, value, viewer)
        elif private and not self._may_learn_absence(name, viewer):
            raise _hidden(viewer)
        elif not prove:
            raise Refused("NOT_FOUND", _ABSENT)
        view: Json = {
            "contract": contract,
            "table": table,
            "key": key.hex(),
            "height": str(self.head.height),
            "value": None if value is None else value.hex(),
            "record": None if value is None else self._decoded(name, value),
        }
        if prove:
            salt = self._salts.of(name, key, value) if private and value is not None else b""
            view["proof"] = self._proof(name, key, salt)
        return view

    def balance(self, account: bytes, height: int | None, viewer: Viewer) -> Json:
        """An account's record after the block of `height` (None: now).

        Raises `Refused`: `SESSION_REQUIRED`, `NOT_FOUND`, `BAD_HEIGHT` beyond the head, or
        `PRUNED` where the history is no longer kept.
        """
        head = self.head.height
        if height is not None and height > head:
            raise Refused("BAD_HEIGHT", f"the last final block is {head}")
        if height is None:
            value = self._store.get(ACCOUNTS.name, account)
        else:
            value = self._store.balance_at(account, height)
        if value is None:
            raise _hidden(viewer)
        self._check_readable(ACCOUNTS.name, value, viewer)
        found = ACCOUNTS.decode(value)
        return {
            "account": account.hex(),
            "height": str(head if height is None else height),
            "asset": found.asset,
            "balance": str(found.balance),
            "available": str(found.available),
            "record": self._decoded(ACCOUNTS.name, value),
        }

    # ---- contracts

    @property
    def interface(self) -> Json:
        """JSON Schema of all actions, queries and records: what `interface.json` holds."""
        return self._described()[0]

    @property
    def interface_hash(self) -> str:
        """Hash of the interface's canonical bytes, hex; until an upgrade what genesis states."""
        return self._described()[1]

    def _described(self) -> tuple[Json, str]:
        """Interface and hash, made anew where an upgrade changed the contracts."""
        contracts = list(self._contracts.values())
        if self._interface is None or self._interface[0] != contracts:
            made = registry.interface(self._contracts)
            self._interface = (contracts, (made, interface_hash(made).hex()))
        return self._interface[1]

    def contract(self, name: str) -> Json:
        """One contract's interface and the hash of its sources; raises `Refused` `NOT_FOUND`."""
        interface = self.interface.get(name)
        if interface is None:
            raise Refused("NOT_FOUND", "no such contract")
        running = registry.code_at(self._store, self.head.height + 1).get(name, b"")
        return {"name": name, "source_hash": running.hex() or None, **interface}

    def run(self, contract: str, query: str, args: Mapping[str, Any], viewer: Viewer) -> Json:
        """A contract's query with JSON arguments; raises `Refused` or the contract's `Rejected`."""
        queries = self.interface.get(contract, {}).get("queries", {})
        if query not in queries:
            raise Refused("NOT_FOUND", "no such contract or query")
        values = arguments_from_json(queries[query]["args"], dict(args))
        head = self.head
        info = BlockInfo(head.height, head.time_ms, self._genesis.time_scale)
        result = registry.query(self._contracts, self._store, info, viewer, contract, query, values)
        return {"height": str(head.height), "result": to_json(result)}

    # ---- inside

    def _check_readable(self, table: str, value: bytes, viewer: Viewer) -> None:
        if not may_read(viewer, registry.readers_of(self._contracts, table, value)):
            raise _hidden(viewer)

    def _may_learn_absence(self, table: str, viewer: Viewer) -> bool:
        """Keys at random tell nothing; of others only the regulator, who may read all, may know."""
        if registry.is_guessable(self._contracts, table):
            return REGULATOR_ROLE in viewer.roles
        return bool(viewer.roles)

    def _decoded(self, table: str, value: bytes) -> Json:
        view: Json = to_json(registry.decode_record(self._contracts, table, value))
        return view

    def _proof(self, table: str, key: bytes, salt: bytes) -> Json:
        height = self._store.head.height
        block = self._store.block(height) if height else None
        if block is None:
            raise Refused("NO_BLOCK_YET", "nothing is certified before the first block")
        proof = self._store.prove(table, key)
        certified = certified_bytes(block.header, block.certificate)
        return {"salt": salt.hex(), "path": encode(proof).hex(), **certified}


def _hidden(viewer: Viewer) -> Refused:
    """One refusal for what is absent and for what is hidden, so that nobody can tell which."""
    if viewer.public_key is None:
        return Refused("SESSION_REQUIRED", "absent or private; open a session: POST /v1/challenges")
    return Refused("NOT_FOUND", _ABSENT)

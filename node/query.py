"""Read-only views over final blocks, state and contracts, each for one viewer.

The one place where the role predicate meets what is read: headers, certificates, ids, codes and
ciphertext are public; calls are for their sender; details, events and private records are for
those whom `may_read` lets in. A private record that is absent looks like one that may not be read.
Nothing here waits, writes, or knows HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol

from contracts.kernel import registry
from contracts.kernel.context import BlockInfo
from contracts.kernel.registry import Contract, Viewer, may_read
from contracts.kernel.state import Reader
from node.protocol.block import BlockHeader, CertifiedBlock, Receipt, receipt_hash
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Refused
from node.protocol.genesis import Genesis
from node.protocol.json_view import arguments_from_json, time_to_json, to_json
from node.protocol.proofs import StateProof, key_hash, merkle_path
from node.protocol.sealing import Opener
from node.protocol.transaction import Call, SealedCall, Transaction, parse_transaction
from node.protocol.validators import ValidatorSet
from node.views import (
    Json,
    block_summary,
    block_view,
    certified_bytes,
    event_view,
    receipt_view,
    status_of,
    transaction_view,
)

ACCOUNTS_TABLE = "kernel/accounts"
CACHED_BLOCKS_MAX = 8
NOBODY = Viewer(None, frozenset())


class Head(Protocol):
    """The last final block; `header` is None before the first."""

    @property
    def height(self) -> int: ...

    @property
    def block_id(self) -> bytes: ...

    @property
    def header(self) -> BlockHeader | None: ...


class Store(Reader, Protocol):
    """What is read of the store, besides records."""

    @property
    def head(self) -> Head: ...

    def block(self, height: int) -> CertifiedBlock | None: ...

    def receipts(self, height: int) -> tuple[Receipt, ...]: ...

    def height_of(self, block_id: bytes) -> int | None: ...

    def find(self, transaction_id: bytes) -> tuple[int, int] | None: ...

    def balance_at(self, account: bytes, height: int) -> bytes | None: ...

    def prove(self, hashed_key: bytes) -> StateProof: ...


class Salts(Protocol):
    """The secret salts of private values and receipts."""

    def of(self, table: str, key: bytes, value: bytes) -> bytes: ...

    def of_receipt(self, transaction_id: bytes) -> bytes: ...


class Query:
    """Everything that can be read from what is final. Caches a few decoded blocks."""

    def __init__(
        self,
        store: Store,
        contracts: Mapping[str, Contract],
        genesis: Genesis,
        salts: Salts,
        opener: Opener,
    ) -> None:
        self._store = store
        self._contracts = contracts
        self._salts = salts
        self._opener = opener
        self._decoded: dict[int, tuple[CertifiedBlock, tuple[Receipt, ...]]] = {}
        self.genesis = genesis
        self.chain = genesis.chain

    # ---- who is asking

    def viewer(self, public_key: bytes | None) -> Viewer:
        """The viewer behind a session's key, with the roles it has now."""
        if public_key is None:
            return NOBODY
        return Viewer(public_key, registry.roles_of(self._store, public_key))

    # ---- the network

    @property
    def height(self) -> int:
        """Height of the last final block, 0 before the first."""
        return self._store.head.height

    @property
    def head_time_ms(self) -> int:
        """Time of the last final block (genesis before the first), ms since 1970."""
        header = self._store.head.header
        return self.genesis.created_ms if header is None else header.time_ms

    def status(self) -> Json:
        """What the chain itself says: identity, head, quorum."""
        head = self._store.head
        validators = self._next_validators()
        return {
            "chain_id": self.chain.chain_id,
            "genesis_hash": self.chain.genesis_hash.hex(),
            "dev": self.genesis.dev,
            "time_scale": self.genesis.time_scale,
            "accelerated": self.genesis.time_scale != 1,
            "height": str(head.height),
            "block_id": head.block_id.hex(),
            "time": time_to_json(self.head_time_ms),
            "state_root": None if head.header is None else head.header.state_root.hex(),
            **_quorum_view(validators),
        }

    def validators(self) -> Json:
        """The set that decides the next height, with the names that genesis gives."""
        known = {entry.public_key: entry for entry in self.genesis.validators}
        validators = self._next_validators()
        members = []
        for index, member in enumerate(validators.members):
            entry = known.get(member.hex())
            members.append(
                {
                    "index": index,
                    "public_key": member.hex(),
                    "name": None if entry is None else entry.name,
                    "address": None if entry is None else entry.address,
                }
            )
        return {
            "height": str(self.height + 1),
            "hash": validators.hash.hex(),
            **_quorum_view(validators),
            "items": members,
        }

    # ---- blocks

    def blocks(self, before: int | None, limit: int) -> Json:
        """Up to `limit` blocks below height `before` (None: from the head), newest first."""
        top = self.height if before is None else min(before - 1, self.height)
        items = []
        height = top
        while height > 0 and len(items) < limit:
            block = self._store.block(height)
            if block is None:
                break
            items.append(block_summary(block))
            height -= 1
        return {"items": items, "next": str(height + 1) if items and height > 0 else None}

    def resolve(self, reference: str) -> int:
        """The height meant by a decimal height, a block id in hex, or `latest`.

        Raises `Refused` `BAD_HEIGHT`, or `NOT_FOUND` for a block that is not final here.
        """
        height: int | None
        if reference == "latest":
            height = self.height
        elif reference.isascii() and reference.isdecimal() and len(reference) <= 19:
            height = int(reference)
        elif len(reference) == 64 and set(reference) <= set("0123456789abcdef"):
            height = self._store.height_of(bytes.fromhex(reference))
        else:
            raise Refused("BAD_HEIGHT", "a block is named by its height, its id in hex or `latest`")
        if height is None or not 0 < height <= self.height:
            raise Refused("NOT_FOUND", "no such final block here")
        return height

    def block(self, height: int) -> Json:
        """One final block; raises `Refused` `NOT_FOUND`, or `PRUNED`."""
        return block_view(self._block(height)[0])

    def block_transactions(self, height: int, after: int, limit: int, viewer: Viewer) -> Json:
        """Up to `limit` transactions of a block with index > `after`."""
        block, receipts = self._block(height)
        stop = min(after + 1 + limit, len(receipts))
        items = [
            self._final(block, receipts[index], index, viewer) for index in range(after + 1, stop)
        ]
        return {"items": items, "next": str(stop - 1) if stop < len(receipts) else None}

    # ---- transactions

    def outcome(self, transaction_id: bytes) -> tuple[int, int, str] | None:
        """(height, index, code) of a final transaction, which are public; else None."""
        place = self._store.find(transaction_id)
        if place is None:
            return None
        height, index = place
        return height, index, self._block(height)[1][index].code

    def transaction(self, transaction_id: bytes, viewer: Viewer, prove: bool = False) -> Json | None:
        """A final transaction with its receipt as `viewer` may see them; None if not final."""
        place = self._store.find(transaction_id)
        if place is None:
            return None
        height, index = place
        block, receipts = self._block(height)
        view = self._final(block, receipts[index], index, viewer)
        if prove:
            view["proof"] = self._receipt_proof(block, receipts, index, viewer)
        return view

    def simulated(self, transaction: Transaction, receipt: Receipt, viewer: Viewer) -> Json:
        """The receipt that a transaction would get, as `viewer` may see it."""
        return {
            "id": transaction.id.hex(),
            "height": str(self.height + 1),
            "status": status_of(receipt),
            "receipt": self._receipt(transaction, receipt, viewer),
        }

    # ---- state

    def state(self, contract: str, table: str, key: bytes, viewer: Viewer, prove: bool) -> Json:
        """One record of the current state, with its proof if wanted.

        Raises `Refused`: `NOT_FOUND` for a table or record that is absent or not readable,
        `SESSION_REQUIRED` for a private table without a session, `NO_BLOCK_YET` for a proof
        before the first block. With `prove`, an absent record is an answer: value null, proved.
        """
        interface = self.interface.get(contract)
        if interface is None or table not in interface["tables"]:
            raise Refused("NOT_FOUND", "no such contract or table")
        name = f"{contract}/{table}"
        private = registry.is_private(self._contracts, name)
        if private and viewer.public_key is None:
            raise Refused("SESSION_REQUIRED", f"{name} is private: open a session first")
        value = self._store.get(name, key)
        if value is None and not prove:
            raise Refused("NOT_FOUND", "no such record, or not one that you may read")
        if value is not None:
            self._check_readable(name, value, viewer)
        view: Json = {
            "contract": contract,
            "table": table,
            "key": key.hex(),
            "height": str(self.height),
            "value": None if value is None else value.hex(),
            "record": None if value is None else self._record(name, value),
        }
        if prove:
            salt = self._salts.of(name, key, value) if private and value is not None else b""
            view["proof"] = self._state_proof(name, key, salt)
        return view

    def balance(self, account: bytes, height: int | None, viewer: Viewer) -> Json:
        """An account's record after the block of `height` (None: now).

        Raises `Refused`: `SESSION_REQUIRED`, `NOT_FOUND`, `BAD_HEIGHT` beyond the head, or
        `PRUNED` where the history is no longer kept.
        """
        if viewer.public_key is None:
            raise Refused("SESSION_REQUIRED", "balances are private: open a session first")
        if height is None:
            height = self.height
            value = self._store.get(ACCOUNTS_TABLE, account)
        elif height > self.height:
            raise Refused("BAD_HEIGHT", f"the last final block is {self.height}")
        else:
            value = self._store.balance_at(account, height)
        if value is None:
            raise Refused("NOT_FOUND", "no such account, or not one that you may read")
        self._check_readable(ACCOUNTS_TABLE, value, viewer)
        record = self._record(ACCOUNTS_TABLE, value)
        return {"account": account.hex(), "height": str(height), "record": record}

    # ---- contracts

    @cached_property
    def interface(self) -> Mapping[str, Any]:
        """JSON Schema of all actions, queries and records: what `interface.json` holds."""
        return registry.interface(self._contracts)

    @cached_property
    def interface_hash(self) -> str:
        """Hash of the interface's canonical bytes, hex, as genesis states it."""
        return sha256(encode(self.interface)).hex()

    def contract(self, name: str) -> Json:
        """One contract's interface and the hash of its sources; raises `Refused` `NOT_FOUND`."""
        interface = self.interface.get(name)
        if interface is None:
            raise Refused("NOT_FOUND", f"no contract {name}")
        return {"name": name, "source_hash": self.genesis.contracts.get(name), **interface}

    def run(self, contract: str, query: str, args: Mapping[str, Any], viewer: Viewer) -> Json:
        """A contract's query with JSON arguments; raises `Refused` or the contract's `Rejected`."""
        queries = self.interface.get(contract, {}).get("queries", {})
        if query not in queries:
            raise Refused("NOT_FOUND", f"no query {contract}.{query}")
        values = arguments_from_json(queries[query]["args"], dict(args))
        height = self.height
        info = BlockInfo(height, self.head_time_ms, self.genesis.time_scale)
        result = registry.query(
            self._contracts, self._store, info, viewer, contract, query, values
        )
        return {"height": str(height), "result": to_json(result)}

    # ---- the feed of events

    def feed(
        self, height: int, kinds: Collection[str], viewer: Viewer
    ) -> Iterator[tuple[int, str, Json]]:
        """(index, kind, data) of what happened in a block, in order, as `viewer` may see it.

        Kinds: `block`, `tx`, `event`. The index counts everything, seen or not, so that
        `height.index` names one happening for every viewer.
        """
        block, receipts = self._block(height)
        if "block" in kinds:
            yield 0, "block", block_summary(block)
        position = 0
        for index, receipt in enumerate(receipts):
            position += 1
            first_event = position + 1
            position += len(receipt.events)
            if kinds == {"block"}:
                continue
            own = self._is_sender(block, index, viewer)
            place = {"id": receipt.transaction_id.hex(), "height": str(height), "index": index}
            if "tx" in kinds:
                public = {**place, "status": status_of(receipt), "code": receipt.code}
                if own or may_read(viewer, receipt.readers):
                    public["details"] = to_json(receipt.details)
                yield first_event - 1, "tx", public
            if "event" in kinds:
                for offset, event in enumerate(receipt.events):
                    if own or may_read(viewer, event.readers):
                        yield first_event + offset, "event", {**place, **event_view(event)}

    # ---- inside

    def _next_validators(self) -> ValidatorSet:
        members, more_than = registry.next_validators(self._store, self.height + 1)
        return ValidatorSet(tuple(members), more_than)

    def _block(self, height: int) -> tuple[CertifiedBlock, tuple[Receipt, ...]]:
        decoded = self._decoded.get(height)
        if decoded is not None:
            return decoded
        block = self._store.block(height)
        if block is None:
            raise Refused("PRUNED" if 0 < height <= self.height else "NOT_FOUND", "no such block")
        decoded = block, self._store.receipts(height)
        if len(self._decoded) >= CACHED_BLOCKS_MAX:
            self._decoded.pop(next(iter(self._decoded)))
        self._decoded[height] = decoded
        return decoded

    def _final(self, block: CertifiedBlock, receipt: Receipt, index: int, viewer: Viewer) -> Json:
        transaction = parse_transaction(self.chain, block.transactions[index])
        own = viewer.public_key == transaction.body.sender
        opened = [
            self._open(transaction, place) if own else None
            for place in range(len(transaction.body.calls))
        ]
        visible = own or may_read(viewer, receipt.readers) or _is_recipient(transaction, viewer)
        return {
            "id": receipt.transaction_id.hex(),
            "status": status_of(receipt),
            "height": str(block.header.height),
            "index": index,
            "time": time_to_json(block.header.time_ms),
            **transaction_view(transaction, opened, visible),
            "receipt": self._receipt(transaction, receipt, viewer),
        }

    def _receipt(self, transaction: Transaction, receipt: Receipt, viewer: Viewer) -> Json:
        own = viewer.public_key == transaction.body.sender
        events = [event for event in receipt.events if own or may_read(viewer, event.readers)]
        return receipt_view(receipt, own or may_read(viewer, receipt.readers), events)

    def _open(self, transaction: Transaction, index: int) -> Call | None:
        body = transaction.body
        call = body.calls[index]
        if not isinstance(call, SealedCall):
            return call
        try:
            return self._opener.open(call, body.sender, body.nonce, body.valid_until, index)
        except Refused:
            return None

    def _is_sender(self, block: CertifiedBlock, index: int, viewer: Viewer) -> bool:
        if viewer.public_key is None:
            return False
        transaction = parse_transaction(self.chain, block.transactions[index])
        return transaction.body.sender == viewer.public_key

    def _check_readable(self, table: str, value: bytes, viewer: Viewer) -> None:
        if not may_read(viewer, registry.readers_of(self._contracts, table, value)):
            raise Refused("NOT_FOUND", "no such record, or not one that you may read")

    def _record(self, table: str, value: bytes) -> Json:
        view: Json = to_json(registry.decode_record(self._contracts, table, value))
        return view

    def _state_proof(self, table: str, key: bytes, salt: bytes) -> Json:
        block = self._store.block(self.height) if self.height else None
        if block is None:
            raise Refused("NO_BLOCK_YET", "nothing is certified before the first block")
        proof = self._store.prove(key_hash(table, key))
        certified = certified_bytes(block.header, block.certificate)
        return {"salt": salt.hex(), "path": encode(proof).hex(), **certified}

    def _receipt_proof(
        self, block: CertifiedBlock, receipts: tuple[Receipt, ...], index: int, viewer: Viewer
    ) -> Json:
        """Paths of the transaction and of its receipt to the two roots of the header.

        Who may read the whole receipt gets it with its salt; others the hash of its private part.
        """
        receipt = receipts[index]
        salt = self._salts.of_receipt(receipt.transaction_id)
        transaction = parse_transaction(self.chain, block.transactions[index])
        own = viewer.public_key == transaction.body.sender
        whole = own or (
            may_read(viewer, receipt.readers)
            and all(may_read(viewer, event.readers) for event in receipt.events)
        )
        leaves = [receipt_hash(one, self._salts.of_receipt(one.transaction_id)) for one in receipts]
        contents = [sha256(b"\x00" + raw) for raw in block.transactions]
        private = sha256(salt + encode([receipt.details, receipt.events, receipt.readers]))
        return {
            "index": index,
            "count": len(receipts),
            "transaction_path": to_json(merkle_path(contents, index)),
            "receipt_path": to_json(merkle_path(leaves, index)),
            "receipt": encode(receipt).hex() if whole else None,
            "salt": salt.hex() if whole else None,
            "private_hash": private.hex(),
            **certified_bytes(block.header, block.certificate),
        }


def _is_recipient(transaction: Transaction, viewer: Viewer) -> bool:
    """Whether a sealed call was wrapped for the viewer, who needs sender and nonce to open it."""
    return viewer.public_key is not None and any(
        wrap.recipient == viewer.public_key
        for call in transaction.body.calls
        if isinstance(call, SealedCall)
        for wrap in call.wraps
    )


def _quorum_view(validators: ValidatorSet) -> Json:
    return {
        "validators": validators.size,
        "quorum": validators.quorum,
        "faulty_max": validators.faulty_max,
        "dead_max": validators.dead_max,
        "confirmations_more_than": validators.confirmations_more_than,
    }

"""Read-only views over final blocks, transactions and receipts, each for one viewer.

The one place where the role predicate meets what is read (records of the state: see `records`):
headers, certificates, ids, codes and ciphertext are public; calls are for their sender; details
and events are for those whom `may_read` lets in. Nothing here waits, writes, or knows HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from contracts.kernel import registry
from contracts.kernel.access import Viewer, may_read
from contracts.kernel.contract import Contract
from node.protocol.block import CertifiedBlock, Receipt, receipt_hash
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Refused
from node.protocol.genesis import Genesis
from node.protocol.json_view import time_to_json, to_json
from node.protocol.proofs import merkle_levels, path_in
from node.protocol.sealing import Opener
from node.protocol.transaction import Call, SealedCall, Transaction, parse_transaction
from node.protocol.validators import ValidatorSet
from node.records import Head, Records, Salts, Store, StoredHead
from node.views import (
    Json,
    block_summary,
    block_view,
    certified_bytes,
    event_view,
    header_only_view,
    is_recipient,
    quorum_view,
    receipt_for,
    status_of,
    transaction_view,
)

CACHED_BLOCKS_MAX = 8
CACHED_SUMMARIES_MAX = 1_000
HEIGHT_DIGITS_MAX = 18
BLOCK_ID_DIGITS = 64
# More than the events of any transaction: one is 100 calls, each of which touches 100 cards.
INDEXES_PER_TRANSACTION = 100_000
T = TypeVar("T")
Levels = Sequence[Sequence[bytes]]
NOBODY = Viewer(None, frozenset())


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
        self._salts = salts
        self._opener = opener
        self._decoded: dict[int, tuple[CertifiedBlock, tuple[Receipt, ...]]] = {}
        self._summaries: dict[int, Json] = {}
        self._trees: dict[int, tuple[Levels, Levels]] = {}
        self.contracts = contracts
        self.genesis = genesis
        self.chain = genesis.chain
        self.records = Records(store, contracts, genesis, salts)

    def viewer(self, public_key: bytes | None) -> Viewer:
        """The viewer behind a session's key, with the roles it has now."""
        if public_key is None:
            return NOBODY
        return registry.viewer_of(self._store, public_key)

    # ---- the network

    @property
    def head(self) -> Head:
        """The last final block."""
        return self.records.head

    @property
    def oldest_height(self) -> int:
        """The first height whose block is here."""
        return self._store.oldest.block

    @property
    def state_head(self) -> StoredHead:
        """The last final block with the state root after it."""
        return self._store.head

    @property
    def validators(self) -> ValidatorSet:
        """The set that decides the next height."""
        return self.validators_at(self.head.height + 1)

    def validators_at(self, height: int) -> ValidatorSet:
        """The set that decides `height`, at most the next one."""
        members, more_than = registry.next_validators(self._store, height)
        return ValidatorSet(tuple(members), more_than)

    def nodes(self) -> dict[bytes, registry.Node]:
        """The nodes that may connect, by public key."""
        return {node.public_key: node for node in registry.nodes_of(self._store)}

    def status_view(self) -> Json:
        """What the chain itself says: identity, head, quorum."""
        head = self._store.head
        return {
            "chain_id": self.chain.chain_id,
            "genesis_hash": self.chain.genesis_hash.hex(),
            "dev": self.genesis.dev,
            "time_scale": self.genesis.time_scale,
            "accelerated": self.genesis.time_scale != 1,
            "height": str(head.height),
            "block_id": head.block_id.hex(),
            "time": time_to_json(self.head.time_ms),
            "state_root": head.state_root.hex(),
            "transactions": str(head.transactions),
            "pruned_below": str(self._store.oldest.block),
            "balances_from": str(self._store.oldest.history),
            **quorum_view(self.validators),
        }

    def figures(self) -> dict[str, float]:
        """What metrics say of the chain, by the names of `http.metrics`."""
        height = self.head.height
        figures = {
            "consensus_height": float(height),
            "consensus_validators": float(self.validators.size),
            "consensus_total_txs": float(self._store.head.transactions),
        }
        if height > self._store.oldest.block:
            (block, receipts), (parent, _) = self._block(height), self._block(height - 1)
            interval_ms = block.header.time_ms - parent.header.time_ms
            figures["consensus_block_interval_seconds"] = interval_ms / 1000
            figures["consensus_num_txs"] = float(len(receipts))
        return figures

    def validators_view(self, height: int | None = None) -> Json:
        """The set that decides `height` (default: the next), and `since` which height it does.

        Raises `Refused` `NOT_FOUND` for heights whose set no final block settles.
        """
        next_height = self.head.height + 1
        height = next_height if height is None else height
        if not 1 <= height <= next_height:
            raise Refused("NOT_FOUND", f"the sets of heights 1 to {next_height} are known here")
        known = self.nodes()
        validators = self.validators_at(height)
        members = []
        for index, member in enumerate(validators.members):
            entry = known.get(member)
            members.append(
                {
                    "index": index,
                    "public_key": member.hex(),
                    "name": None if entry is None else entry.name,
                    "address": None if entry is None else entry.address,
                }
            )
        return {
            "height": str(height),
            "since": str(registry.validators_at(self._store, height).first_height),
            "hash": validators.hash.hex(),
            **quorum_view(validators),
            "items": members,
        }

    # ---- blocks

    def blocks(self, before: int | None, limit: int) -> Json:
        """Up to `limit` blocks below height `before` (None: from the head), newest first."""
        head = self.head.height
        top = head if before is None else min(before - 1, head)
        last = self._store.oldest.block - 1
        stop = max(top - limit, last)
        items = [self._summary(height) for height in range(top, stop, -1)]
        return {"items": items, "next": str(stop + 1) if stop > last else None}

    def resolve(self, reference: str) -> int:
        """The height meant by a decimal height, a block id in hex, or `latest`.

        Raises `Refused` `BAD_HEIGHT`, or `NOT_FOUND` for a block that is not final here.
        """
        height: int | None
        if reference == "latest":
            height = self.head.height
        elif len(reference) == BLOCK_ID_DIGITS and set(reference) <= set("0123456789abcdef"):
            height = self._store.height_of(bytes.fromhex(reference))
        elif reference.isascii() and reference.isdecimal() and len(reference) <= HEIGHT_DIGITS_MAX:
            height = int(reference)
        else:
            raise Refused("BAD_HEIGHT", "a block is named by its height, its id in hex or `latest`")
        if height is None or not 0 < height <= self.head.height:
            raise Refused("NOT_FOUND", "no such final block here")
        return height

    def block(self, height: int) -> Json:
        """One final block; raises `Refused` `NOT_FOUND` or `PRUNED`.

        Where only header and certificate are left, since they prove the validators that follow,
        its `transactions` are null.
        """
        handover = self._store.handover(height + 1)
        if handover is not None and height < self._store.oldest.block:
            return header_only_view(handover.header, handover.certificate)
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

    def is_final(self, transaction_id: bytes) -> bool:
        """Whether a block holds this transaction."""
        return self._store.find(transaction_id) is not None

    def outcome(self, transaction_id: bytes) -> tuple[int, str, str] | None:
        """(height, status, code) of a final transaction, which are public; else None."""
        place = self._store.find(transaction_id)
        if place is None:
            return None
        receipt = self._block(place[0])[1][place[1]]
        return place[0], status_of(receipt), receipt.code

    def transaction(
        self, transaction_id: bytes, viewer: Viewer, prove: bool = False
    ) -> Json | None:
        """A final transaction with its receipt as `viewer` may see them; None if not final."""
        place = self._store.find(transaction_id)
        if place is None:
            return None
        height, index = place
        block, receipts = self._block(height)
        if receipts[index].transaction_id != transaction_id:
            return None  # the store finds by a prefix of the id
        view = self._final(block, receipts[index], index, viewer)
        if prove:
            view["proof"] = self._receipt_proof(block, receipts, index, viewer)
        return view

    def simulated(self, raw: bytes, receipt: Receipt, viewer: Viewer) -> Json:
        """The receipt that a transaction would get, as `viewer` may see it."""
        transaction = parse_transaction(self.chain, raw)
        return {
            "id": transaction.id.hex(),
            "height": str(self.head.height + 1),
            "status": status_of(receipt),
            "receipt": receipt_for(receipt, viewer, self._is_own(transaction, viewer)),
        }

    # ---- the feed of events

    def feed(
        self, height: int, kinds: Collection[str], viewer: Viewer
    ) -> Iterator[tuple[int, str, Json]]:
        """(index, kind, data) of what happened in a block, in order, as `viewer` may see it.

        Kinds: `block`, `tx`, `event`. `height.index` names one happening for every viewer. Each
        transaction has the same room of indexes, so that they do not tell its number of events.
        """
        block, receipts = self._block(height)
        if "block" in kinds:
            yield 0, "block", block_summary(block)
        if not {"tx", "event"} & set(kinds):
            return
        for index, receipt in enumerate(receipts):
            position = 1 + index * INDEXES_PER_TRANSACTION
            own = self._is_sender(block, index, viewer)
            place = {"id": receipt.transaction_id.hex(), "height": str(height), "index": index}
            if "tx" in kinds:
                data = {**place, "status": status_of(receipt), "code": receipt.code}
                if own or may_read(viewer, receipt.readers):
                    data["details"] = to_json(receipt.details)
                yield position, "tx", data
            if "event" in kinds:
                for offset, event in enumerate(receipt.events, position + 1):
                    if own or may_read(viewer, event.readers):
                        yield offset, "event", {**place, **event_view(event)}

    # ---- inside

    def _summary(self, height: int) -> Json:
        """One line of a list; cached, since a page of full blocks takes long to decode."""
        summary = self._summaries.get(height)
        if summary is None:
            summary = block_summary(self._stored(height))
            _remember(self._summaries, height, summary, CACHED_SUMMARIES_MAX)
        return summary

    def _block(self, height: int) -> tuple[CertifiedBlock, tuple[Receipt, ...]]:
        decoded = self._decoded.get(height)
        if decoded is None:
            decoded = self._stored(height), self._store.receipts(height)
            _remember(self._decoded, height, decoded, CACHED_BLOCKS_MAX)
        return decoded

    def _stored(self, height: int) -> CertifiedBlock:
        known = 0 < height <= self.head.height
        block = self._store.block(height) if known else None
        if block is None:
            raise Refused("PRUNED" if known else "NOT_FOUND", "this node has no such block")
        return block

    def _final(self, block: CertifiedBlock, receipt: Receipt, index: int, viewer: Viewer) -> Json:
        transaction = parse_transaction(self.chain, block.transactions[index])
        own = self._is_own(transaction, viewer)
        opened = [
            self._open(transaction, place) if own else None
            for place in range(len(transaction.body.calls))
        ]
        visible = own or may_read(viewer, receipt.readers) or is_recipient(transaction, viewer)
        return {
            "id": receipt.transaction_id.hex(),
            "status": status_of(receipt),
            "height": str(block.header.height),
            "index": index,
            "time": time_to_json(block.header.time_ms),
            **transaction_view(transaction, opened, visible),
            "receipt": receipt_for(receipt, viewer, own),
        }

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
            return False  # parsing costs more than asking
        return self._is_own(parse_transaction(self.chain, block.transactions[index]), viewer)

    def _is_own(self, transaction: Transaction, viewer: Viewer) -> bool:
        """Whether the viewer sent it, with this or an earlier key."""
        sender, own = transaction.body.sender, viewer.public_key
        if viewer.proved_key == own:  # it never rotated its key: the usual case
            return own is not None and sender == own
        return registry.owner_of(self._store, sender) == own

    def _receipt_proof(
        self, block: CertifiedBlock, receipts: tuple[Receipt, ...], index: int, viewer: Viewer
    ) -> Json:
        """Paths of the transaction and of its receipt to the two roots of the header.

        Who may read the whole receipt gets it with its salt; others the hash of its private part.
        """
        receipt = receipts[index]
        salt = self._salts.of_receipt(receipt.transaction_id)
        whole = self._is_sender(block, index, viewer) or (
            may_read(viewer, receipt.readers)
            and all(may_read(viewer, event.readers) for event in receipt.events)
        )
        contents, leaves = self._levels(block, receipts)
        private = sha256(salt + encode([receipt.details, receipt.events, receipt.readers]))
        return {
            "transaction_path": encode(path_in(contents, index)).hex(),
            "receipt_path": encode(path_in(leaves, index)).hex(),
            "receipt": encode(receipt).hex() if whole else None,
            "salt": salt.hex() if whole else None,
            "private_hash": private.hex(),
            **certified_bytes(block.header, block.certificate),
        }

    def _levels(
        self, block: CertifiedBlock, receipts: tuple[Receipt, ...]
    ) -> tuple[Levels, Levels]:
        """The trees over a block's transactions and receipts, made once for all its proofs."""
        height = block.header.height
        trees = self._trees.get(height)
        if trees is None:
            salt = self._salts.of_receipt
            contents = [sha256(b"\x00" + raw) for raw in block.transactions]
            leaves = [receipt_hash(one, salt(one.transaction_id)) for one in receipts]
            trees = merkle_levels(contents), merkle_levels(leaves)
            _remember(self._trees, height, trees, CACHED_BLOCKS_MAX)
        return trees


def _remember(cache: dict[int, T], height: int, value: T, count_max: int) -> None:
    """Add to a cache, in place of its oldest entry if it is full."""
    if len(cache) >= count_max:
        cache.pop(next(iter(cache)))
    cache[height] = value

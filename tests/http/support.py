"""A small live node for the HTTP tests: real store, contracts and certificates, no consensus.

`World` executes and certifies a block whenever it is told to, with the keys of four validators;
`Service` is the least that the API needs around it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import genesis_writes, next_validators
from node.admission import Candidate, admit, examine
from node.code import FixedCode
from node.execution import BlockResult, Executor, Limits, Salts
from node.genesis import genesis_parameters
from node.http.service import FailedCheck
from node.protocol.block import (
    BlockHeader,
    CertifiedBlock,
    CommitCertificate,
    CommitSeal,
    Receipt,
    vote_digest,
)
from node.protocol.errors import Refused, StoreFailure
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.sealing import EphemeralKey, Opener, seal_call
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import (
    Call,
    SealedCall,
    Transaction,
    lifetime_code,
    sign_transaction,
)
from node.protocol.validators import ValidatorSet
from node.query import Query
from node.state.keyvalue import KeyValue, MemoryKeyValue
from node.state.store import Store
from node.state.vault import Vault
from node.vaults import open_vault
from tests.protocol.support import EPOCH_SECRET, MEMBERS, genesis_content, key

BANK, REGULATOR, MERCHANT = key(30), key(31), key(32)
HOLDER, OTHER, STRANGER, ADMIN, DEPUTY = key(33), key(34), key(35), key(36), key(37)
BOOKKEEPER = key(48)
SHOP, CARD = b"S" * 16, b"C" * 16
BLOCK_MS = 1_000
LIFETIME_MS = 300_000
PRIVACY_KEY = b"p" * 32
VAULT = open_vault(b"v" * 32)

_EPHEMERAL = EphemeralKey(key(40))


People = Mapping[str, tuple[PrivateKey, list[str]]]


def genesis(others: People | None = None) -> Genesis:
    """Four validators, staff, a merchant, two holders and `others`; clear calls are allowed."""
    people = {
        "bank": (BANK, ["bank"]),
        "regulator": (REGULATOR, ["regulator"]),
        "merchant": (MERCHANT, ["merchant"]),
        "holder": (HOLDER, ["holder"]),
        "other": (OTHER, ["holder"]),
        "admin": (ADMIN, ["administrator"]),
        "deputy": (DEPUTY, ["administrator"]),
        "bookkeeper": (BOOKKEEPER, ["bookkeeper"]),
    }
    content = genesis_content()
    content["identities"] = [
        {"name": name, "public_key": person.public_key.hex(), "roles": roles}
        for name, (person, roles) in {**people, **(others or {})}.items()
    ]
    classes = [{"name": "gym", "asset": "CNY", "named": True}]
    content["parameters"] = {"prepaid": {"allow_clear": True, "classes": classes}}
    return Genesis.parse(json.dumps(content))


class World:
    """The chain of one node, advanced by hand."""

    def __init__(
        self,
        database: KeyValue | None = None,
        vault: Vault = VAULT,
        others: People | None = None,
    ) -> None:
        self.genesis = genesis(others) if others else genesis()
        self.chain = self.genesis.chain
        self.now_ms = self.genesis.created_ms
        self.store = Store(
            database or MemoryKeyValue(), vault, self.genesis.tree_depth, self.genesis.hash
        )
        self.salts = Salts(PRIVACY_KEY)
        limits = Limits(1_000, 1 << 20, 2_000, 10_000, self.genesis.time_scale)
        self.opener = Opener(self.chain, {1: EPOCH_SECRET})
        self.executor = Executor(
            self.chain,
            FixedCode(CONTRACTS),
            self.store,
            self.store.tree,
            self.salts,
            limits,
            self.opener,
        )
        if self.store.is_new:
            writes = genesis_writes(CONTRACTS, genesis_parameters(self.genesis))
            delta = self.store.tree.update(self.executor.leaf_changes(writes))
            self.store.commit(self.store.genesis_batch(writes, delta))
        self.query = Query(self.store, CONTRACTS, self.genesis, self.salts, self.opener)
        self._nonce = 0

    def transaction(
        self, sender: PrivateKey, *calls: Call, sealed: bool = False, lifetime_ms: int = LIFETIME_MS
    ) -> Transaction:
        """Signed, with a nonce that never repeats."""
        self._nonce += 1
        nonce, until = self._nonce.to_bytes(16, "big"), self.now_ms + lifetime_ms
        sent: tuple[Call | SealedCall, ...] = calls
        if sealed:
            place = (self.chain, self.genesis.epoch_key, sender.public_key, nonce, until)
            sent = tuple(
                seal_call(*place, index, call, _EPHEMERAL) for index, call in enumerate(calls)
            )
        return sign_transaction(self.chain, sender, nonce, until, sent)

    def admit(self, raw: bytes) -> Candidate:
        """The candidate in `raw`; raises `Refused`."""
        candidate = admit(self.chain, CONTRACTS, raw, examine(self.chain, self.opener, raw))
        if not candidate.poolable:
            raise Refused(candidate.rejection, "a sealed call does not open")
        return candidate

    def commit(self, *transactions: Transaction | bytes) -> CertifiedBlock:
        """One final block of these transactions."""
        raws = [one if isinstance(one, bytes) else one.raw for one in transactions]
        candidates = [self.admit(raw) for raw in raws]
        self.now_ms += BLOCK_MS
        head = self.store.head
        result = self.executor.execute_block(head.height + 1, self.now_ms, candidates)
        header = self._header(result)
        block = CertifiedBlock(header, tuple(raws), self.certify(header))
        self.store.commit(
            self.store.block_batch(block, result.receipts, result.writes, result.delta)
        )
        return block

    def _header(self, result: BlockResult) -> BlockHeader:
        head = self.store.head
        return BlockHeader(
            version=1,
            height=head.height + 1,
            time_ms=self.now_ms,
            parent=head.block_id,
            transactions_root=result.transactions_root,
            receipts_root=result.receipts_root,
            state_root=result.state_root,
            next_validators_hash=result.next_validators.hash,
            proposer=MEMBERS[0].public_key,
        )

    def certify(self, header: BlockHeader) -> CommitCertificate:
        """A quorum's seals of view 0."""
        block_id = header.id(self.chain)
        digest = vote_digest(self.chain, "commit", header.height, 0, block_id)
        quorum = ValidatorSet(*next_validators(self.store, header.height)).quorum
        seals = tuple(CommitSeal(one.public_key, one.sign(digest)) for one in MEMBERS[:quorum])
        return CommitCertificate(header.height, 0, block_id, seals)

    def open_shop(self, sealed: bool = False) -> tuple[Transaction, ...]:
        """Merchant, approval and a card with 100.00 on it, a block each; the transactions."""
        filing = {"merchant": SHOP, "name": "gym", "custodian": BANK.public_key}
        terms: dict[str, Any] = {
            "card": CARD,
            "merchant": SHOP,
            "holder_pub": HOLDER.public_key,
            "class": "gym",
            "paid": 10_000,
            "bonus": 0,
            "ticket_until": self.now_ms + LIFETIME_MS,
        }
        ticket = sign_ticket(self.chain, HOLDER, "prepaid", "open_card", terms)
        steps = (
            (MERCHANT, Call("prepaid", "file_merchant", filing)),
            (REGULATOR, Call("prepaid", "approve", {"merchant": SHOP, "class": "gym"})),
            (BANK, Call("prepaid", "open_card", {**terms, "ticket": ticket})),
        )
        transactions = tuple(self.transaction(who, call, sealed=sealed) for who, call in steps)
        for transaction in transactions:
            self.commit(transaction)
        return transactions

    def consume(self, seq: int, amount: int = 1_000, sealed: bool = False) -> Transaction:
        """A visit by the card's holder."""
        call = Call("prepaid", "consume", {"card": CARD, "amt": amount, "seq": seq})
        return self.transaction(HOLDER, call, sealed=sealed)


class Verdict(msgspec.Struct, frozen=True):
    """What a submission answers."""

    transaction_id: bytes | None
    code: str
    message: str


class Service:
    """`NodeService` around a world. What was submitted waits in `pool` until `settle`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.query = world.query
        self.pool: dict[bytes, Transaction] = {}
        self.capacity = 1_000
        self.failed: list[FailedCheck] = []
        self.submissions = 0
        self.dropped: set[bytes] = set()
        self.reads: list[tuple[bytes, str]] = []
        self.log_full = False
        self.full = False
        self.store_failures: list[StoreFailure] = []
        self.submitted = asyncio.Event()
        self._queues: list[asyncio.Queue[int]] = []
        self._moved = asyncio.Event()

    @property
    def name(self) -> str:
        return "node1"

    @property
    def public_key(self) -> bytes:
        return MEMBERS[0].public_key

    def now_ms(self) -> int:
        return self.world.now_ms

    def check_accepting(self) -> None:
        if self.full:
            raise Refused("DISK_FULL", "make room")

    def on_store_failure(self, failure: StoreFailure) -> None:
        self.store_failures.append(failure)

    async def submit(self, raws: Sequence[bytes]) -> Sequence[Verdict]:
        self.submissions += 1
        verdicts = [self._submit(raw) for raw in raws]
        self.submitted.set()
        return verdicts

    def _submit(self, raw: bytes) -> Verdict:
        try:
            transaction = self.world.admit(raw).transaction
        except Refused as refusal:
            return Verdict(None, refusal.code, refusal.message)
        if self.query.is_final(transaction.id):
            return Verdict(transaction.id, "COMMITTED", "")
        if transaction.id in self.pool:
            return Verdict(transaction.id, "KNOWN", "")
        code = lifetime_code(transaction.body.valid_until, self.world.now_ms)
        if code is not None:
            return Verdict(transaction.id, code, "sign it again")
        if len(self.pool) >= self.capacity:
            return Verdict(transaction.id, "MEMPOOL_FULL", "no room")
        self.pool[transaction.id] = transaction
        return Verdict(transaction.id, "PENDING", "")

    def settle(self) -> CertifiedBlock:
        """Put all that waits into one block, and tell whoever listens."""
        block = self.world.commit(*self.pool.values())
        self.pool.clear()
        self.announce()
        return block

    def announce(self) -> None:
        """The head has moved."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        for queue in self._queues:
            queue.put_nowait(self.query.head.height)

    def pending_until(self, transaction_id: bytes) -> int | None:
        waiting = self.pool.get(transaction_id)
        return None if waiting is None else waiting.body.valid_until

    def was_dropped(self, transaction_id: bytes) -> bool:
        return transaction_id in self.dropped

    async def wait_committed(self, transaction_id: bytes, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not self.query.is_final(transaction_id):
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def simulate(self, raw: bytes) -> Receipt:
        head = self.query.head
        candidate = self.world.admit(raw)
        return self.world.executor.simulate(head.height + 1, head.time_ms + 1, candidate)

    def note_read(self, reader: bytes, what: str) -> None:
        if self.log_full:
            raise Refused("READ_LOG_FAILED", "no room")
        self.reads.append((reader, what))

    def subscribe(self) -> asyncio.Queue[int]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        self._queues.append(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[int]) -> None:
        self._queues.remove(queue)

    def status(self) -> Mapping[str, Any]:
        return {"view": "0", "caught_up": True}

    def peers(self) -> Sequence[Mapping[str, Any]]:
        return [{"name": "node2", "connected": True}]

    def mempool(self) -> Mapping[str, Any]:
        return {"transactions": str(len(self.pool))}

    def evidence(self) -> Sequence[Mapping[str, Any]]:
        return []

    def confirmations(self, height: int) -> Mapping[str, Any]:
        return {"dissented": []}

    def health(self) -> Sequence[FailedCheck]:
        return self.failed

    def measurements(self) -> Mapping[str, float]:
        return {"consensus_view_number": 7, "p2p_message_send_bytes": 512}

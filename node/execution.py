"""Execution: what a block does to the state, as values.

`execute_block` runs candidates over an overlay and returns receipts, writes and the three roots of
the header; nothing is stored and nothing is sent. The same function serves the leader that
builds a block, the follower that checks one, and catch-up. Business rejections become receipts;
anything else that a contract raises is poison: the leader leaves that transaction out, a follower
refuses the block. Calls sealed to an epoch that the chain does not accept at that height fail on
every node alike, whatever each can open; a node that cannot open what the chain accepts knows no
result and must say so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import msgspec

from contracts.kernel.context import BlockInfo, Tickets
from contracts.kernel.registry import (
    Result,
    accepted_epochs,
    begin_block,
    execute,
    next_validators,
)
from contracts.kernel.state import Overlay, Reader
from contracts.kernel.types import InvariantViolation
from node.admission import WRONG_EPOCH, Candidate, admit_again, unlock
from node.code import Code
from node.protocol.block import Event, Receipt, receipt_hash
from node.protocol.domain import Chain
from node.protocol.errors import Refused
from node.protocol.proofs import key_hash, merkle_root, value_hash
from node.protocol.sealing import Opener
from node.protocol.ticket import browser_ticket_valid, ticket_valid
from node.protocol.transaction import lifetime_code
from node.protocol.validators import ValidatorSet

NO_EPOCH_SECRET = "NO_EPOCH_SECRET"  # noqa: S105

Writes = Mapping[tuple[str, bytes], bytes | None]


class Tree(Protocol):
    """What execution needs of the state tree."""

    def update(self, changes: Mapping[bytes, bytes | None]) -> Any:
        """The delta of these changes; its `root` is the state root after them."""


class Head(Protocol):
    """Where the state stands."""

    @property
    def state_root(self) -> bytes: ...

    @property
    def transactions(self) -> int: ...


class State(Reader, Protocol):
    """What execution needs of the store besides reading records."""

    @property
    def head(self) -> Head:
        """The state that reading shows."""

    def find(self, transaction_id: bytes) -> tuple[int, int] | None:
        """Where a final transaction stands, or None."""


class Limits(msgspec.Struct, frozen=True):
    """On-chain weight limits of one block (genesis), and the time scale of its policies."""

    transactions: int
    bytes: int
    calls: int
    writes: int
    time_scale: int


class BlockResult(msgspec.Struct, frozen=True):
    """Everything that follows from executing a block."""

    candidates: tuple[Candidate, ...]
    receipts: tuple[Receipt, ...]
    writes: Writes
    delta: Any
    transactions_root: bytes
    receipts_root: bytes
    state_root: bytes
    next_validators: ValidatorSet

    @property
    def raws(self) -> tuple[bytes, ...]:
        """The transactions as they stand in the block."""
        return tuple(candidate.transaction.raw for candidate in self.candidates)


class Poison(Exception):
    """Executing this candidate raised something that is not a rejection: a bug.

    Its text says what was raised and where, and not the cause's own text, which may hold what is
    private: this text goes to logs.
    """

    def __init__(self, candidate: Candidate, cause: BaseException) -> None:
        what = type(cause).__name__
        if isinstance(cause, InvariantViolation):
            what += f" of {cause.contract}"
        super().__init__(f"{candidate.transaction.id.hex()}: {what}{_place(cause)}")
        self.candidate = candidate
        self.cause = cause


def _place(cause: BaseException) -> str:
    """Module and line of the innermost frame that raised."""
    step = cause.__traceback__
    if step is None:
        return ""
    while step.tb_next is not None:
        step = step.tb_next
    return f" in {step.tb_frame.f_globals.get('__name__')}:{step.tb_lineno}"


class Inadmissible(Exception):
    """A block may not hold this: expired, replayed, or over a weight limit."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Locked(Exception):
    """This node has no secret of an epoch that the chain accepts: it cannot know the result."""

    def __init__(self, epochs: tuple[int, ...]) -> None:
        super().__init__(
            f"this node cannot open calls sealed to epoch {', '.join(map(str, epochs))}: its wrap "
            "is missing or wrong; ask the administrators for another, or dismiss this node"
        )


class Salts:
    """The secret salts of private values: HMAC-SHA256 under the committee's privacy key.

    The two padded halves of the HMAC are hashed once and copied, since this runs for each write.
    """

    def __init__(self, privacy_key: bytes) -> None:
        block = privacy_key.ljust(64, b"\x00")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def of(self, table: str, key: bytes, value: bytes) -> bytes:
        """The salt of one private value: fresh for each value, so that none can be guessed."""
        inner = self._inner.copy()
        inner.update(table.encode() + b"\x00" + key + b"\x00" + value)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def of_receipt(self, transaction_id: bytes) -> bytes:
        """The salt of the private part of a receipt."""
        return self.of("receipt", transaction_id, b"")


class Executor:
    """Executes blocks on top of the stored state. Holds no state of its own."""

    def __init__(
        self,
        chain: Chain,
        code: Code,
        state: State,
        tree: Tree,
        salts: Salts,
        limits: Limits,
        opener: Opener,
    ) -> None:
        self.chain = chain
        self.code = code
        self._state = state
        self._tree = tree
        self.salts = salts
        self.limits = limits
        self._opener = opener
        self._private: dict[str, bool] = {}
        self._tickets = Tickets(partial(ticket_valid, chain), partial(browser_ticket_valid, chain))

    def build_block(
        self,
        height: int,
        time_ms: int,
        candidates: Iterable[Candidate],
        on_poison: Callable[[Poison], None],
    ) -> BlockResult:
        """The leader's way: fill a block up to its limits, leaving out what may not be in it."""
        run = _Run(self, height, time_ms)
        for candidate in candidates:
            if not run.accepts(candidate):
                continue
            try:
                run.add(candidate)
            except Inadmissible as refusal:
                if refusal.code == "BLOCK_FULL":
                    break
            except Locked:
                continue
            except Poison as poison:
                on_poison(poison)
        return run.finish()

    def execute_block(
        self, height: int, time_ms: int, candidates: Iterable[Candidate]
    ) -> BlockResult:
        """The follower's way: all of them, or `Inadmissible`, `Locked` or `Poison`."""
        run = _Run(self, height, time_ms)
        for candidate in candidates:
            run.add(candidate)
        return run.finish()

    def simulate(self, height: int, time_ms: int, candidate: Candidate) -> Receipt:
        """What would become of one transaction now; nothing is kept.

        Raises `Refused`: `TX_EXPIRED`, `TX_TOO_DISTANT`, `REPLAYED` or `BLOCK_FULL` for what no
        block may hold, `WRONG_EPOCH` for what this node cannot open; or `Poison`.
        """
        try:
            return _Run(self, height, time_ms).add(candidate)
        except Locked as locked:
            raise Refused(WRONG_EPOCH, str(locked)) from None
        except Inadmissible as refusal:
            raise Refused(refusal.code, "no block of now may hold this transaction") from None

    def leaf_changes(self, writes: Writes) -> dict[bytes, bytes | None]:
        """The tree's view of `writes`: hashes of keys to salted hashes of values."""
        changes: dict[bytes, bytes | None] = {}
        for (table, key), value in writes.items():
            if value is None:
                changes[key_hash(table, key)] = None
                continue
            changes[key_hash(table, key)] = value_hash(value, self.salt(table, key, value))
        return changes

    def salt(self, table: str, key: bytes, value: bytes) -> bytes:
        """The salt of one record: empty for public tables."""
        private = self._private.get(table)
        if private is None:
            private = self._private[table] = self.code.is_private(table)
        return self.salts.of(table, key, value) if private else b""

    def apply(self, run: _Run, candidate: Candidate) -> Receipt:
        """Execute one candidate into the run's overlay."""
        transaction = candidate.transaction
        sender = transaction.body.sender
        if not run.accepts(candidate):
            return Receipt(transaction.id, WRONG_EPOCH, {}, (), (sender.hex(),))
        if candidate.rejection:
            readers = (sender.hex(),)
            return Receipt(transaction.id, candidate.rejection, candidate.details, (), readers)
        try:
            result: Result = execute(
                run.contracts,
                run.overlay,
                run.block,
                sender,
                transaction.id,
                candidate.calls,
                self._tickets,
            )
        # A contract's bug may raise anything; naming it poison is this boundary's whole purpose.
        except Exception as cause:
            raise Poison(candidate, cause) from cause
        events = tuple(Event(e.contract, e.name, e.data, e.readers) for e in result.events)
        return Receipt(transaction.id, result.code, result.details, events, result.readers)

    def unlock(self, candidate: Candidate) -> Candidate:
        """The same candidate, opened with the secrets that this node has now."""
        return unlock(self.chain, self._opener, candidate)

    def find(self, transaction_id: bytes) -> tuple[int, int] | None:
        """Where a transaction was booked already."""
        return self._state.find(transaction_id)

    def finish(self, run: _Run) -> BlockResult:
        """Roots and delta of all that the run has executed."""
        writes = run.overlay.writes
        delta = self._tree.update(self.leaf_changes(writes))
        salts = self.salts
        members, more_than = next_validators(run.overlay, run.block.height + 1)
        return BlockResult(
            tuple(run.candidates),
            tuple(run.receipts),
            writes,
            delta,
            merkle_root([candidate.content_hash for candidate in run.candidates]),
            merkle_root(
                [receipt_hash(r, salts.of_receipt(r.transaction_id)) for r in run.receipts]
            ),
            delta.root,
            ValidatorSet(tuple(members), more_than),
        )

    def overlay(self, height: int) -> Overlay:
        """A fresh overlay over the stored state, for the block of `height`."""
        overlay = Overlay(self._state)
        head = self._state.head
        begin_block(overlay, height, head.state_root, head.transactions)
        return overlay


class _Run:
    """One block in the making: its overlay, and the weights against the limits."""

    def __init__(self, executor: Executor, height: int, time_ms: int) -> None:
        self._executor = executor
        self.block = BlockInfo(height, time_ms, executor.limits.time_scale)
        self.contracts = executor.code.at(height)
        self.overlay = executor.overlay(height)
        self._epochs = frozenset(accepted_epochs(self.overlay, time_ms))
        self.candidates: list[Candidate] = []
        self.receipts: list[Receipt] = []
        self._ids: set[bytes] = set()
        self._bytes = 0
        self._calls = 0

    def accepts(self, candidate: Candidate) -> bool:
        """Whether the chain accepts the epochs that its calls are sealed to."""
        return self._epochs.issuperset(candidate.epochs)

    def add(self, candidate: Candidate) -> Receipt:
        """Execute one more, or raise leaving the run as it was.

        Raises `Inadmissible`, `Locked` or `Poison`.
        """
        if candidate.contracts is not self.contracts:
            # Its arguments were checked by other versions than those of this height.
            candidate = admit_again(self._executor.chain, self.contracts, candidate)
        transaction = candidate.transaction
        self._check(candidate)
        if candidate.locked and self.accepts(candidate):
            # It was examined before the secret came, or by a worker that lacks it.
            candidate = self._executor.unlock(candidate)
            if candidate.locked:
                raise Locked(candidate.epochs)
        receipt = self._executor.apply(self, candidate)
        self._ids.add(transaction.id)
        self._bytes += len(transaction.raw)
        self._calls += len(transaction.body.calls)
        self.candidates.append(candidate)
        self.receipts.append(receipt)
        return receipt

    def finish(self) -> BlockResult:
        """The result of everything added."""
        return self._executor.finish(self)

    def _check(self, candidate: Candidate) -> None:
        transaction = candidate.transaction
        limits = self._executor.limits
        code = lifetime_code(transaction.body.valid_until, self.block.time_ms)
        if code is not None:
            raise Inadmissible(code)
        if transaction.id in self._ids or self._executor.find(transaction.id) is not None:
            raise Inadmissible("REPLAYED")
        if (
            len(self.candidates) >= limits.transactions
            or self._bytes + len(transaction.raw) > limits.bytes
            or self._calls + len(transaction.body.calls) > limits.calls
            # The last transaction may pass the limit of writes: by as much as its calls can.
            or len(self.overlay.writes) > limits.writes
        ):
            raise Inadmissible("BLOCK_FULL")

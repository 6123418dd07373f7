"""The double-entry ledger: the only place where balances move.

An account belongs to (owner, asset, purpose) and counts debits and credits, pending and posted;
its balance is credits minus debits. A *leg* moves an amount from one account to another of the
same asset, so that debits equal credits per asset at any time. Legs handed over together are
linked: all or none. A pending transfer reserves the money until it is posted, voided, or its
deadline has come. Accounts that stand for the outside world may go negative; no other may.
Why money moves is for the business contracts to say.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

from contracts.kernel.access import REGULATOR
from contracts.kernel.state import Changes, State, Table
from contracts.kernel.types import AMOUNT_MAX, Record, Rejected

ACCOUNT_KEY_BYTES = 16
LEGS_MAX = 16
# What one leg may move. An account's counters only grow and end at 2^63 - 1; with legs of at most
# 2^48 nobody's single payment can use them up, not even of the accounts that may go negative.
LEG_AMOUNT_MAX = 1 << 48


class Asset(Record, frozen=True):
    """Something that is counted in units of 10^-scale. Never changes."""

    code: str
    scale: int


class Account(Record, frozen=True):
    """Balances of one owner in one asset for one purpose. `owner` is an id or a public key."""

    owner: bytes
    asset: str
    purpose: str
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    may_go_negative: bool
    readers: tuple[bytes, ...]

    @property
    def balance(self) -> int:
        """What is posted."""
        return self.credits_posted - self.debits_posted

    @property
    def available(self) -> int:
        """What can still be spent: posted, less what is reserved."""
        return self.credits_posted - self.debits_posted - self.debits_pending


class Leg(NamedTuple):
    """Move `amount` out of the account `debit` into the account `credit`, by their keys."""

    debit: bytes
    credit: bytes
    amount: int


class StoredLeg(Record, frozen=True):
    """A leg at rest inside a pending transfer."""

    debit: bytes
    credit: bytes
    amount: int


class PendingTransfer(Record, frozen=True):
    """Linked legs that are reserved, until posted or voided or expired at `deadline_ms`."""

    legs: tuple[StoredLeg, ...]
    deadline_ms: int
    readers: tuple[bytes, ...]


class Deadline(Record, frozen=True):
    """Says which pending transfer expires at the time in the key."""

    transfer: bytes


def _account_readers(account: Account) -> tuple[str, ...]:
    return (*[key.hex() for key in account.readers], REGULATOR)


def _pending_readers(pending: PendingTransfer) -> tuple[str, ...]:
    return (*[key.hex() for key in pending.readers], REGULATOR)


ASSETS = Table("kernel/assets", Asset, "the asset's code in UTF-8")
ACCOUNTS = Table(
    "kernel/accounts",
    Account,
    "16 bytes: sha256 of owner, asset and purpose, each with its length",
    _account_readers,
    guessable=True,
)
PENDING = Table(
    "kernel/pending", PendingTransfer, "16 bytes, chosen by the contract", _pending_readers
)
DEADLINES = Table(
    "kernel/deadlines",
    Deadline,
    "the deadline in 8 bytes, then the pending transfer's key",
    lambda _: (REGULATOR,),
    secret=0,  # scanned by time, hence in one order everywhere
)


def _deadline_key(deadline_ms: int, transfer: bytes) -> bytes:
    return deadline_ms.to_bytes(8, "big") + transfer


@lru_cache(maxsize=4096)
def account_key(owner: bytes, asset: str, purpose: str) -> bytes:
    """The key of the account of `owner` (an id or a public key), 16 bytes."""
    state = hashlib.sha256(b"groat/account/1")
    for part in (owner, asset.encode(), purpose.encode()):
        state.update(len(part).to_bytes(2, "big") + part)
    return state.digest()[:ACCOUNT_KEY_BYTES]


class Ledger:
    """The ledger as one transaction sees it.

    A contract moves its own accounts only, whose purposes begin with `prefix`: its name and a dot.
    """

    __slots__ = ("_state", "_time_ms", "prefix")

    def __init__(self, state: State, time_ms: int) -> None:
        self._state = state
        self._time_ms = time_ms
        self.prefix = ""

    def declare(self, asset: str, scale: int) -> None:
        """Count a new asset in units of 10^-scale; `IDEM_CONFLICT` where it has another scale."""
        known = self._state.get(ASSETS, asset.encode())
        if known is None:
            self._state.insert(ASSETS, asset.encode(), Asset(asset, scale))
        elif known.scale != scale:
            raise Rejected("IDEM_CONFLICT", what=ASSETS.name)

    def open(
        self,
        owner: bytes,
        asset: str,
        purpose: str,
        readers: tuple[bytes, ...],
        may_go_negative: bool = False,
    ) -> bytes:
        """Open an account unless it is open; returns its key. `NOT_FOUND` for unknown assets."""
        assert purpose.startswith(self.prefix), "a contract opens its own accounts only"
        key = account_key(owner, asset, purpose)
        if self._state.get(ACCOUNTS, key) is None:
            self._state.need(ASSETS, asset.encode())
            account = Account(owner, asset, purpose, 0, 0, 0, 0, may_go_negative, readers)
            self._state.insert(ACCOUNTS, key, account)
        return key

    def balance(self, key: bytes) -> int:
        """The posted balance; 0 for an account that was never opened."""
        account = self._state.get(ACCOUNTS, key)
        return 0 if account is None else account.balance

    def transfer(self, *legs: Leg) -> None:
        """Post linked legs, in order. Rejects with `INSUFFICIENT` or `OVERFLOW`."""
        for debit, credit, amount in legs:
            self._check_leg(debit, credit, amount)
            self._change(debit, debits_posted=amount)
            self._change(credit, credits_posted=amount)

    def reserve(
        self, key: bytes, legs: tuple[Leg, ...], deadline_ms: int, readers: tuple[bytes, ...]
    ) -> None:
        """Reserve linked legs under `key` until `deadline_ms` of header time."""
        if self._state.get(PENDING, key) is not None:
            raise Rejected("BAD_STATE", what=PENDING.name)
        assert 0 < len(legs) <= LEGS_MAX, "a pending transfer has between 1 and 16 legs"
        for debit, credit, amount in legs:
            self._check_leg(debit, credit, amount)
            self._change(debit, debits_pending=amount)
            self._change(credit, credits_pending=amount)
        stored = tuple([StoredLeg(*leg) for leg in legs])
        self._state.insert(PENDING, key, PendingTransfer(stored, deadline_ms, readers))
        self._state.insert(DEADLINES, _deadline_key(deadline_ms, key), Deadline(key))

    def post_pending(self, key: bytes, amount: int | None = None) -> None:
        """Turn reserved legs into posted ones; `EXPIRED` from the deadline on.

        `amount` posts a part of a single leg and gives the remainder back.
        """
        pending = self._state.need(PENDING, key)
        if self._time_ms >= pending.deadline_ms:
            raise Rejected("EXPIRED", what=PENDING.name)
        assert amount is None or len(pending.legs) == 1, "only a single leg can be posted in part"
        self._release(key, pending)
        for leg in pending.legs:
            posted = leg.amount if amount is None else amount
            if not 0 < posted <= leg.amount:
                raise Rejected("BAD_ARG", field="amount", why="out of range")
            self._change(leg.debit, debits_posted=posted)
            self._change(leg.credit, credits_posted=posted)

    def void_pending(self, key: bytes) -> None:
        """Give the reserved money back, before the deadline or after it."""
        self._release(key, self._state.need(PENDING, key))

    def void_expired(self, limit: int) -> int:
        """Void up to `limit` pending transfers whose deadline has come; how many it were."""
        expired = [
            deadline.transfer
            for key, deadline in self._state.scan(DEADLINES, b"", None, limit)
            if int.from_bytes(key[:8], "big") <= self._time_ms
        ]
        for transfer in expired:
            self.void_pending(transfer)
        return len(expired)

    def _release(self, key: bytes, pending: PendingTransfer) -> None:
        for leg in pending.legs:
            self._change(leg.debit, debits_pending=-leg.amount)
            self._change(leg.credit, credits_pending=-leg.amount)
        self._state.delete(PENDING, key)
        self._state.delete(DEADLINES, _deadline_key(pending.deadline_ms, key))

    def _check_leg(self, debit: bytes, credit: bytes, amount: int) -> None:
        assert 0 < amount <= AMOUNT_MAX, "an amount is between 1 and 2^63 - 1"
        if amount > LEG_AMOUNT_MAX:
            raise Rejected("OVERFLOW", what="amount", amount_max=LEG_AMOUNT_MAX)
        assert debit != credit, "a leg joins two accounts"
        source, target = self._state.need(ACCOUNTS, debit), self._state.need(ACCOUNTS, credit)
        assert source.asset == target.asset, "a leg joins accounts of one asset"
        own = source.purpose.startswith(self.prefix) and target.purpose.startswith(self.prefix)
        assert own, "a contract moves its own accounts only"

    def _change(
        self,
        key: bytes,
        debits_pending: int = 0,
        debits_posted: int = 0,
        credits_pending: int = 0,
        credits_posted: int = 0,
    ) -> None:
        old = self._state.need(ACCOUNTS, key)
        new = Account(
            old.owner,
            old.asset,
            old.purpose,
            old.debits_pending + debits_pending,
            old.debits_posted + debits_posted,
            old.credits_pending + credits_pending,
            old.credits_posted + credits_posted,
            old.may_go_negative,
            old.readers,
        )
        if debits_posted + debits_pending > 0 and new.available < 0 and not new.may_go_negative:
            raise Rejected("INSUFFICIENT", purpose=old.purpose, available=max(old.available, 0))
        # With what is pending, so that what was reserved can always be posted.
        debits = new.debits_pending + new.debits_posted
        if max(debits, new.credits_pending + new.credits_posted) > AMOUNT_MAX:
            raise Rejected("OVERFLOW", what=old.purpose)
        self._state.put(ACCOUNTS, key, new)


def ledger_violations(changes: Changes) -> list[str]:
    """What a transaction may not do to accounts, whatever contract it called."""
    violations = []
    posted: dict[str, int] = {}
    pending: dict[str, int] = {}
    for key, before, after in changes.of(ACCOUNTS):
        if after is None:
            violations.append(f"account {key.hex()} vanished")
            continue
        violations.extend(account_violations(key, after))
        old_posted = 0 if before is None else before.balance
        posted[after.asset] = posted.get(after.asset, 0) + after.balance - old_posted
        old_pending = 0 if before is None else before.credits_pending - before.debits_pending
        new_pending = after.credits_pending - after.debits_pending
        pending[after.asset] = pending.get(after.asset, 0) + new_pending - old_pending
    for asset, total in (*posted.items(), *pending.items()):
        if total:
            violations.append(f"{total} of {asset} came from nowhere")
    return violations


def account_violations(key: bytes, account: Account) -> list[str]:
    """What no single account may ever be."""
    violations = []
    if account.available < 0 and not account.may_go_negative:
        violations.append(f"account {key.hex()} ({account.purpose}) is overdrawn")
    counters = _counters(account)
    if min(counters) < 0:
        violations.append(f"account {key.hex()} has a negative counter")
    if max(counters) > AMOUNT_MAX:
        violations.append(f"account {key.hex()} has a counter beyond its limit")
    return violations


def _counters(account: Account) -> tuple[int, int, int, int]:
    return (
        account.debits_pending,
        account.debits_posted,
        account.credits_pending,
        account.credits_posted,
    )

"""What must hold of payments whatever happens: after each transaction, and all in all.

* Steps: an intent moves only along the arrows of `STEPS`; its order never changes; what is charged
  was authorised; 0 ≤ refunded + disputed, which is at most captured, which is at most its amount.
* Caps: what a mandate used on its day is within its cap.
* Money: a channel's clearing is short of just what it has taken in and not given back; a payee's
  receivable, the money set aside and the money that came too late are what the intents say.
"""

from __future__ import annotations

from contracts.kernel.contract import Audit
from contracts.kernel.ledger import ACCOUNTS, account_key
from contracts.kernel.queries import walk
from contracts.kernel.state import Changes, State
from contracts.kernel.types import closure
from contracts.payments.models import (
    CALLBACKS,
    INTENTS,
    INTENTS_OF,
    MANDATES,
    USERS,
    Intent,
    Mandate,
    intent_number_key,
)
from contracts.payments.rules import CLEARING, CONTESTED, RECEIVABLE, SUSPENSE

# From which states an intent may come into which in one call; every state may stay.
STEPS: dict[str, tuple[str, ...]] = {
    "REQUIRES_METHOD": ("PROCESSING", "UNKNOWN"),
    "REQUIRES_ACTION": ("REQUIRES_METHOD",),
    "AUTHORISED": ("REQUIRES_ACTION",),
    "PROCESSING": ("REQUIRES_ACTION", "AUTHORISED"),
    "UNKNOWN": ("PROCESSING",),
    "REQUIRES_CAPTURE": ("PROCESSING", "UNKNOWN"),
    "LATE": ("PROCESSING", "UNKNOWN"),
    "SUCCEEDED": ("PROCESSING", "UNKNOWN", "REQUIRES_CAPTURE", "LATE"),
    "CANCELED": (
        "REQUIRES_METHOD",
        "REQUIRES_ACTION",
        "AUTHORISED",
        "REQUIRES_CAPTURE",
        "PROCESSING",
        "UNKNOWN",
        "LATE",
    ),
}
CAME_FROM = closure(STEPS)
CHARGED = ("AUTHORISED", "PROCESSING", "UNKNOWN", "REQUIRES_CAPTURE", "LATE", "SUCCEEDED")

Sums = dict[bytes, int]
"""By account key, what the intents say is on it."""


def intent_violations(old: Intent | None, new: Intent) -> list[str]:
    """One intent by itself, and its step."""
    found = []
    if not 0 <= new.refunded + new.disputed <= new.captured <= new.amt or new.disputed < 0:
        found.append("not 0 ≤ refunded + disputed ≤ captured ≤ amt")
    if new.state in CHARGED and not new.authority:
        found.append("a charge without an authorisation")
    if new.captured and new.state != "SUCCEEDED":
        found.append("captured without success")
    before = "REQUIRES_METHOD" if old is None else old.state
    if new.state != before and before not in CAME_FROM[new.state]:
        found.append(f"{before} became {new.state}")
    if old is None:
        return found
    if _order(old) != _order(new):
        found.append("the order changed")
    if new.refunded < old.refunded:
        found.append("a refund was taken back")
    if old.state == "SUCCEEDED" and new.captured != old.captured:
        found.append("it succeeded twice")
    return found


def _order(one: Intent) -> tuple[object, ...]:
    return (one.user, one.owner, one.payee, one.order, one.order_hash, one.cur, one.amt)


def mandate_violations(mandate: Mandate) -> list[str]:
    """A day's charges are within the cap."""
    return [] if 0 <= mandate.used <= mandate.day_cap else ["a mandate's day is beyond its cap"]


def violations(changes: Changes) -> list[str]:
    """One transaction: its intents, mandates and money agree."""
    intents = changes.of(INTENTS)
    found: list[str] = []
    moved: Sums = {}
    for key, old, new in intents:
        if new is None:
            found.append("an intent vanished")
            continue
        found.extend(intent_violations(old, new))
        _add(moved, key, new, 1)
        if old is not None:
            _add(moved, key, old, -1)
    for _, _, mandate in changes.of(MANDATES):
        found.extend(["a mandate vanished"] if mandate is None else mandate_violations(mandate))
    for _, before, report in changes.of(CALLBACKS):
        if before is not None or report is None:
            found.append("a channel's report was changed")
    for key, account, after in changes.of(ACCOUNTS):
        if after is not None and after.purpose.startswith("payments."):
            before_balance = 0 if account is None else account.balance
            if after.balance - before_balance != moved.pop(key, 0):
                found.append(f"{after.purpose} moved unlike its payments")
    if any(moved.values()):
        found.append("payments moved without their money")
    return found


def _add(sums: Sums, identity: bytes, one: Intent, sign: int) -> None:
    """Add what one intent says is on its accounts."""
    if not one.channel_owner:
        return
    late = one.amt if one.state == "LATE" else 0
    kept = one.captured - one.refunded
    for owner, purpose, amount in (
        (one.channel_owner, CLEARING, -(kept + late)),
        (one.channel_owner, SUSPENSE, late),
        (one.payee, RECEIVABLE, kept - one.disputed),
        (identity, CONTESTED, one.disputed),
    ):
        key = account_key(owner, one.cur, purpose)
        sums[key] = sums.get(key, 0) + sign * amount


def audit(state: State) -> Audit:
    """The whole state: every intent and mandate, every user's list, all money."""
    found: list[str] = []
    sums: Sums = {}
    figures = dict.fromkeys(
        ("users", "intents", "succeeded", "captured", "refunded", "disputed", "unsettled"), 0
    )
    numbered: dict[bytes, int] = {}
    for key, one in walk(state, INTENTS):
        name = f"intent {key.hex()}"
        found.extend(f"{name}: {text}" for text in intent_violations(one, one))
        _add(sums, key, one, 1)
        numbered[one.user] = numbered.get(one.user, 0) + 1
        figures["intents"] += 1
        figures["succeeded"] += one.state == "SUCCEEDED"
        figures["captured"] += one.captured
        figures["refunded"] += one.refunded
        figures["disputed"] += one.disputed
        figures["unsettled"] += one.state in ("PROCESSING", "UNKNOWN", "LATE")
    for identity, user in walk(state, USERS):
        figures["users"] += 1
        last = state.get(INTENTS_OF, intent_number_key(identity, user.intents))
        if numbered.pop(identity, 0) != user.intents or (user.intents > 0 and last is None):
            found.append(f"user {identity.hex()}: the list of intents has another length")
    for key, mandate in walk(state, MANDATES):
        found.extend(f"mandate {key.hex()}: {text}" for text in mandate_violations(mandate))
    for key, account in walk(state, ACCOUNTS):
        if account.purpose.startswith("payments.") and account.balance != sums.pop(key, 0):
            found.append(f"account {key.hex()}: {account.purpose} is not what the payments say")
    if any(sums.values()):
        found.append("payments without an account")
    return Audit(found, figures)

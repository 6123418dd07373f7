"""Policy and card classes: what holds on this network, and how two regulators change it.

Also the questions that all acts ask of them: how much a card may hold, how long it is good, which
lots may still be given back, what a merchant must keep in custody.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from contracts.kernel.context import Context, day_of
from contracts.kernel.contract import Details, Governed
from contracts.kernel.ledger import ASSETS
from contracts.kernel.state import State
from contracts.kernel.types import reject
from contracts.prepaid.arguments import (
    ClassParameters,
    Parameters,
    PolicyParameters,
    SetClass,
    SetPolicy,
)
from contracts.prepaid.models import (
    BPS,
    FACE_MAX,
    FULL_CUSTODY_BPS,
    CardClass,
    Census,
    CustodyKind,
    Lot,
    Merchant,
    Policy,
    Totals,
)
from contracts.prepaid.tables import CENSUS, CENSUS_KEY, CLASSES, DAYS, POLICY, POLICY_KEY, numbered

_FIELDS = tuple(PolicyParameters.model_fields)


def found(state: State, parameters: Parameters) -> None:
    """Policy and classes of cards as genesis has them; every class needs a known asset."""
    given = {name: getattr(parameters.policy, name) for name in _FIELDS}
    given["custody_kinds"] = _kinds(parameters.policy.custody_kinds)
    state.put(POLICY, POLICY_KEY, Policy(version=1, allow_clear=parameters.allow_clear, **given))
    state.put(CENSUS, CENSUS_KEY, Census(0))
    for one in parameters.classes:
        if state.get(ASSETS, one.asset.encode()) is None:
            reject("BAD_ARG", field="asset", why="no such asset")
        if state.get(CLASSES, one.name.encode()) is not None:
            reject("BAD_ARG", field="classes", why="the same name twice")
        state.put(CLASSES, one.name.encode(), _class(one))


def clear_allowed(state: State) -> bool:
    """Whether this network lets prepaid calls travel unsealed."""
    return policy_of(state).allow_clear


def policy_of(state: State) -> Policy:
    """The policy in force."""
    return state.need(POLICY, POLICY_KEY)


def class_of(state: State, name: str) -> CardClass:
    """The class of cards by its name."""
    return state.need(CLASSES, name.encode())


# ---- changes, by two regulators


def check_policy(ctx: Context, args: SetPolicy) -> None:
    """Something must change."""
    if _changed(policy_of(ctx.state), args) == policy_of(ctx.state):
        ctx.reject("BAD_STATE", why="that is the policy already")


def set_policy(ctx: Context, args: SetPolicy) -> Details:
    """Change how this network runs prepaid cards."""
    old = policy_of(ctx.state)
    new = msgspec.structs.replace(_changed(old, args), version=old.version + 1)
    ctx.state.put(POLICY, POLICY_KEY, new)
    return {"version": new.version}


def _changed(old: Policy, args: SetPolicy) -> Policy:
    given = {name: getattr(args, name) for name in _FIELDS if getattr(args, name) is not None}
    if args.custody_kinds is not None:
        given["custody_kinds"] = _kinds(args.custody_kinds)
    return msgspec.structs.replace(old, **given)


def _kinds(given: Mapping[str, int]) -> tuple[CustodyKind, ...]:
    return tuple([CustodyKind(kind, given[kind]) for kind in sorted(given)])


def check_class(ctx: Context, args: SetClass) -> None:
    """A class keeps its asset, and whether it is named; a new one needs a known asset."""
    ctx.state.need(ASSETS, args.asset.encode())
    known = ctx.state.get(CLASSES, args.name.encode())
    if known is not None and (known.asset, known.named) != (args.asset, args.named):
        ctx.reject("BAD_STATE", asset=known.asset, named=known.named)
    if known == _class(args):
        ctx.reject("BAD_STATE", why="that is the class already")


def set_class(ctx: Context, args: SetClass) -> Details:
    """Add a class of cards, or change its limits; cards that exist keep their validity."""
    ctx.state.put(CLASSES, args.name.encode(), _class(args))
    return {}


def _class(one: ClassParameters | SetClass) -> CardClass:
    return CardClass(one.name, one.asset, one.named, one.face_max, one.min_validity_ms)


# ---- what it says about cards


def check_face(card_class: CardClass, face: int) -> None:
    """A card of this class may hold this much."""
    face_max = FACE_MAX if card_class.face_max is None else min(card_class.face_max, FACE_MAX)
    if face > face_max:
        reject("CARD_LIMIT", face_max=face_max)


def validity_of(card_class: CardClass, wanted_ms: int | None) -> int:
    """How long a new card is good after each payment, 0 for ever; `CARD_LIMIT` if not long enough.

    A class without a minimum has cards that never expire.
    """
    least = card_class.min_validity_ms
    if wanted_ms is None:
        return least or 0
    if least is None or wanted_ms < least:
        reject("CARD_LIMIT", min_validity_ms=least)
    return wanted_ms


def due_at(ctx: Context, validity_ms: int) -> int:
    """When something that is good for so long from now on expires; 0: never."""
    return ctx.time_ms + ctx.scaled(validity_ms) if validity_ms else 0


def later_of(one_ms: int, other_ms: int) -> int:
    """The later of two times, of which 0 means never."""
    return max(one_ms, other_ms) if one_ms and other_ms else 0


def in_cooling_off(ctx: Context, policy: Policy, lot: Lot) -> bool:
    """Before the end of the so manieth UTC+8 day after the payment."""
    return ctx.today() <= day_of(lot.paid_at_ms, ctx.time_scale) + policy.cooling_off_days


# ---- what it says about custody


def custody_bps(policy: Policy, merchant: Merchant) -> int:
    """What a merchant must keep: its own rate, or its kind's if that was raised since."""
    if merchant.custody_bps == FULL_CUSTODY_BPS:
        return FULL_CUSTODY_BPS
    rates = [row.custody_bps for row in policy.custody_kinds if row.kind == merchant.kind]
    return max(merchant.custody_bps, *rates) if rates else FULL_CUSTODY_BPS


def required_custody(
    state: State, today: int, merchant_id: bytes, merchant: Merchant, outstanding: int
) -> int:
    """What must be in escrow while `outstanding` is owed: custody · 10,000 ≥ bps · base.

    Never more than all that is owed. A merchant that had no previous quarter is measured by what
    is outstanding now.
    """
    policy = policy_of(state)
    bps = custody_bps(policy, merchant)
    if bps == FULL_CUSTODY_BPS:
        return outstanding
    base = outstanding
    if policy.custody_base == "PREVIOUS_QUARTER":
        base = _previous_quarter(state, today, merchant_id, outstanding)
    return min(outstanding, (base * bps + BPS - 1) // BPS)


def _previous_quarter(state: State, today: int, merchant_id: bytes, outstanding: int) -> int:
    """What was outstanding when the last calendar quarter ended."""
    start = quarter_start(today)
    first = state.scan(DAYS, merchant_id, None, 1)
    if not first or int.from_bytes(first[0][0][16:], "big") >= start:
        return outstanding
    before = sums_before(state, merchant_id, start)
    return outstanding if before is None else before.outstanding


def sums_before(state: State, merchant_id: bytes, day: int) -> Totals | None:
    """A merchant's sums as they were when `day` began; None if they are the same now."""
    found = state.scan(DAYS, merchant_id, numbered(merchant_id, day - 1), 1)
    return found[0][1] if found else None


def quarter_start(day: int) -> int:
    """The first day of the calendar quarter that `day` lies in; days count from 1970."""
    year = 1970 + day // 366
    while day >= _new_year(year + 1):
        year += 1
    leap = _new_year(year + 1) - _new_year(year) - 365
    starts = (0, 90 + leap, 181 + leap, 273 + leap)
    return _new_year(year) + max([one for one in starts if one <= day - _new_year(year)])


def _new_year(year: int) -> int:
    """The number of 1 January; leap years by the Gregorian rule."""
    leap_days = (year - 1969) // 4 - (year - 1901) // 100 + (year - 1601) // 400
    return 365 * (year - 1970) + leap_days


_BOTH = ("regulator",), ("regulator",)
POLICY_CHANGES = {
    "set_policy": Governed(SetPolicy, check_policy, set_policy, *_BOTH),
    "set_class": Governed(SetClass, check_class, set_class, *_BOTH),
}

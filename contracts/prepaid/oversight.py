"""The view of supervision: each merchant's debts, custody, velocity and alerts; refund queues.

Figures only, computed when asked, in whole numbers; thresholds are policy. Nothing here moves money
or stops anybody: that is for the regulator to decide.
"""

from __future__ import annotations

from contracts.kernel.context import View, day_of
from contracts.kernel.contract import Details
from contracts.kernel.freezing import Freeze, in_force
from contracts.kernel.ledger import ACCOUNTS, account_key
from contracts.prepaid import policy
from contracts.prepaid.arguments import CardsQuery, MerchantQuery, MerchantsQuery
from contracts.prepaid.models import BPS, FULL_CUSTODY_BPS, Merchant, Policy, Totals
from contracts.prepaid.money import EARNINGS, ESCROW, HELD
from contracts.prepaid.supervision import wind_up_refund
from contracts.prepaid.tables import (
    CARDS,
    CARDS_OF,
    CENSUS,
    CENSUS_KEY,
    DAYS,
    MERCHANTS,
    REGISTER,
    REGISTER_PREFIX,
    TOTALS,
    numbered,
)

WINDOWS = {"day": 1, "week": 7, "month": 30}
IN_BRIEF = (
    "merchant",
    "name",
    "state",
    "asset",
    "outstanding",
    "escrow",
    "held",
    "custody_ratio_bps",
    "custody_short",
    "alerts",
)


def merchant(view: View, args: MerchantQuery) -> Details:
    """A merchant: its state, what it owes its customers, the custody that covers it, alerts."""
    return _merchant_view(view, args.merchant, view.need(MERCHANTS, args.merchant))


def merchants(view: View, args: MerchantsQuery) -> Details:
    """All merchants in order of filing, in brief; nobody but its house sees one."""
    after = numbered(REGISTER_PREFIX, args.cursor)
    page = view.page(REGISTER, REGISTER_PREFIX, after, args.limit)
    last = args.cursor + args.limit
    return {
        "items": [
            {
                "number": int.from_bytes(key[16:], "big"),
                **_in_brief(_merchant_view(view, ref.merchant, view.need(MERCHANTS, ref.merchant))),
            }
            for key, ref in page
        ],
        "next": last if last < view.need(CENSUS, CENSUS_KEY).merchants else None,
        "as_of": view.block.height,
    }


def refund_queue(view: View, args: CardsQuery) -> Details:
    """Whose turn it is in a winding-up: cards not yet refunded, in order, and what each gets."""
    found = view.need(MERCHANTS, args.merchant)
    if found.state != "WINDING_UP":
        return {"items": [], "next": None, "as_of": view.block.height}
    start = max(args.cursor, found.settled)
    page = view.page(CARDS_OF, args.merchant, numbered(args.merchant, start), args.limit)
    items = []
    for offset, (_, ref) in enumerate(page, 1):
        card = view.need(CARDS, ref.card)
        items.append(
            {
                "place": start + offset - found.settled,
                "number": card.number,
                "card": ref.card,
                "holder": card.holder,
                "owed": card.paid - card.earned - card.refunded,
                "refund": wind_up_refund(found, card),
                "held": card.held,
            }
        )
    more = len(page) == args.limit
    return {
        "items": items,
        "next": start + len(page) if more else None,
        "as_of": view.block.height,
    }


# ---- one merchant


def _in_brief(whole: Details) -> Details:
    week = whole.get("velocity", {}).get("week", {})
    return {name: whole[name] for name in IN_BRIEF if name in whole} | {
        f"{name}_in_week": week[name] for name in ("paid", "consumed", "refunded") if week
    }


def _merchant_view(view: View, merchant_id: bytes, found: Merchant) -> Details:
    rules = policy.policy_of(view.state)
    answer: Details = {
        "merchant": merchant_id,
        "name": found.name,
        "owner": found.owner,
        "custodian": found.custodian,
        "state": found.state,
        "asset": found.asset,
        "classes": list(found.classes),
        "kind": found.kind,
        "custody_bps": policy.custody_bps(rules, found),
        "freezes": [_freeze_view(view, one) for one in found.freezes],
        "closes_ms": found.closes_ms,
    }
    totals = view.state.get(TOTALS, merchant_id)
    if totals is None:
        return answer
    today = day_of(view.block.time_ms, view.block.time_scale)
    escrow = _balance(view, merchant_id, found.asset, ESCROW)
    required = policy.required_custody(view.state, today, merchant_id, found, totals.outstanding)
    outstanding = totals.outstanding
    return {
        **answer,
        "escrow": escrow,
        "held": _balance(view, merchant_id, found.asset, HELD),
        "earnings": _balance(view, merchant_id, found.asset, EARNINGS),
        "outstanding": outstanding,
        "advanced": totals.advanced,
        "required_custody": required,
        "custody_short": max(required - escrow, 0),
        "custody_ratio_bps": escrow * BPS // outstanding if outstanding else FULL_CUSTODY_BPS,
        "cards": totals.cards,
        "face": totals.face,
        "consumed": totals.consumed,
        "paid": totals.paid,
        "earned": totals.earned,
        "paid_out": totals.paid_out,
        "refunded": totals.refunded,
        "expected_breakage": expected_breakage(rules, totals),
        "velocity": {
            name: _velocity(view, merchant_id, totals, today - days + 1)
            for name, days in WINDOWS.items()
        },
        "alerts": _alerts(view, rules, merchant_id, found, totals, required > escrow),
    }


def _freeze_view(view: View, one: Freeze) -> Details:
    return {
        "scope": one.scope,
        "reason": one.reason,
        "by": one.by,
        "at_ms": one.at_ms,
        "ratified_by": one.ratified_by,
        "in_force": in_force((one,), one.scope, view),
    }


def _velocity(view: View, merchant_id: bytes, now: Totals, since_day: int) -> Details:
    """What moved from the beginning of a day until now."""
    before = policy.sums_before(view.state, merchant_id, since_day) or now
    return {
        "cards": now.cards - before.cards,
        "paid": now.paid - before.paid,
        "consumed": now.consumed - before.consumed,
        "earned": now.earned - before.earned,
        "refunded": now.refunded - before.refunded,
    }


def expected_breakage(rules: Policy, totals: Totals) -> int:
    """What the merchant may regard as never to be claimed, accrued as balances are used.

    Of all that was paid, the expected share · the consumed part of what is expected to be consumed;
    rounded down. An accounting figure: the money stays in custody.
    """
    loaded = totals.face + totals.consumed
    used_in_the_end = loaded * (BPS - rules.breakage_bps)
    if not used_in_the_end:
        return 0
    expected = (totals.paid - totals.refunded) * rules.breakage_bps
    return expected * min(totals.consumed * BPS, used_in_the_end) // (used_in_the_end * BPS)


def _alerts(
    view: View,
    rules: Policy,
    merchant_id: bytes,
    found: Merchant,
    totals: Totals,
    is_short: bool,
) -> list[str]:
    """What deserves a look, by the policy's thresholds.

    CUSTODY_SHORT; ISSUE_SPIKE and REFUND_SPIKE: much of what was outstanding this morning came in
    or went back today; DORMANT: money is owed but nobody was served for so many days; LARGE: more
    is outstanding than may go unnoticed; UNRATIFIED: a stop that lapses within the day.
    """
    today = day_of(view.block.time_ms, view.block.time_scale)
    morning = policy.sums_before(view.state, merchant_id, today) or totals
    issued, refunded = totals.paid - morning.paid, totals.refunded - morning.refunded
    dormant_since = policy.sums_before(view.state, merchant_id, today - rules.alert_dormant_days)
    first_day = view.state.scan(DAYS, merchant_id, None, 1)
    known_days = today - int.from_bytes(first_day[0][0][16:], "big") if first_day else 0
    idle = (dormant_since or totals).consumed == totals.consumed
    alerts = {
        "CUSTODY_SHORT": is_short,
        "ISSUE_SPIKE": _beyond(issued, morning.outstanding, rules.alert_issue_bps),
        "REFUND_SPIKE": _beyond(refunded, morning.outstanding, rules.alert_refund_bps),
        "DORMANT": bool(rules.alert_dormant_days)
        and known_days >= rules.alert_dormant_days
        and bool(totals.outstanding)
        and idle,
        "LARGE": 0 < rules.alert_outstanding <= totals.outstanding,
        "UNRATIFIED": any(
            not one.ratified_by and in_force((one,), one.scope, view) for one in found.freezes
        ),
    }
    return [name for name, raised in alerts.items() if raised]


def _beyond(amount: int, base: int, threshold_bps: int) -> bool:
    """Whether `amount` is at least this share of `base`; not where either is nothing."""
    return bool(threshold_bps and amount and base) and amount * BPS >= threshold_bps * base


def _balance(view: View, owner: bytes, asset: str, purpose: str) -> int:
    return view.need(ACCOUNTS, account_key(owner, asset, purpose)).balance

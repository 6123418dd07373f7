"""Scoring: from facts to features, from features to points, from points to a deposit mode.

Integers and fixed orders throughout, so that every node gets the same result and anybody can
recompute it: a feature is a sum, a count or a quotient over facts of 30 or 90 days; a mode's points
are the sum of its scorecard's lines; the mode with the most points is what the enterprise needs.
Nothing here reads or writes state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from contracts.deposits.models import MODES, Fact, Mode

IDLE_DAYS_MAX = 365
REASONS_MAX = 4
SHORT_HISTORY_DAYS = 60
ONE_BUYER_PCT = 60
LOW_RATING = 300
FEW_TRADES = 5
# A counterparty's evaluations count for at most this part of all, in percent.
COUNTERPARTY_PCT = 50

_encode = msgspec.msgpack.Encoder(order="deterministic").encode

Features = dict[str, int]


def features_of(facts: Sequence[Fact], cash: int, time_ms: int, day_ms: int) -> Features:
    """The features at `time_ms`, from an enterprise's facts and the money on its account.

    `day_ms` is the length of a day on this network.
    """

    def within(days: int) -> list[Fact]:
        return [fact for fact in facts if fact.time_ms > time_ms - days * day_ms]

    month, quarter = within(30), within(90)
    sold = [fact for fact in quarter if fact.kind == "SOLD"]
    outflow = _value(month, "BOUGHT") + _value(month, "PAID_OUT")
    oldest = min([fact.time_ms for fact in facts], default=time_ms)
    return {
        "sales_30": _value(month, "SOLD"),
        "sales_90": _value(quarter, "SOLD"),
        "sale_days_90": len({fact.time_ms // day_ms for fact in sold}),
        "purchases_90": _value(quarter, "BOUGHT", "GOODS"),
        "prepaid_90": _value(quarter, "PREPAID"),
        "freight_90": _value(quarter, "BOUGHT", "FREIGHT"),
        "dues_90": _value(quarter, "BOUGHT", "DUES"),
        "rights_90": _value(quarter, "BOUGHT", "RIGHTS"),
        "idle_days": min(cash * 30 // outflow, IDLE_DAYS_MAX) if outflow else _idle(cash),
        "settled_90": len([fact for fact in quarter if fact.kind in ("SOLD", "BOUGHT")]),
        "listed_90": len([fact for fact in quarter if fact.kind == "LISTED"]),
        "canceled_90": len([fact for fact in quarter if fact.kind == "CANCELED"]),
        "lost_90": len([fact for fact in quarter if fact.kind == "LOST"]),
        "largest_buyer_pct": _largest_pct(sold),
        "rating": rating_of(facts),
        "history_days": (time_ms - oldest) // day_ms,
        "cash": cash,
    }


def _value(facts: Sequence[Fact], kind: str, category: str = "") -> int:
    return sum(
        [fact.value for fact in facts if fact.kind == kind and category in ("", fact.category)]
    )


def _idle(cash: int) -> int:
    return IDLE_DAYS_MAX if cash else 0


def _largest_pct(sold: Sequence[Fact]) -> int:
    by_buyer: dict[bytes, int] = {}
    for fact in sold:
        by_buyer[fact.counterparty] = by_buyer.get(fact.counterparty, 0) + fact.value
    total = sum(by_buyer.values())
    return max(by_buyer.values()) * 100 // total if total else 0


def rating_of(facts: Sequence[Fact]) -> int:
    """The evaluations' mean in hundredths, weighed by the money behind them; 0 for none.

    What one counterparty has said counts for at most half of all, however much it traded.
    """
    by_reviewer: dict[bytes, tuple[int, int]] = {}
    for fact in facts:
        if fact.kind == "RATED":
            weight, points = by_reviewer.get(fact.counterparty, (0, 0))
            by_reviewer[fact.counterparty] = (
                weight + fact.weight,
                points + fact.weight * fact.value,
            )
    total = sum([weight for weight, _ in by_reviewer.values()])
    if not total:
        return 0
    cap = max(total * COUNTERPARTY_PCT // 100, 1)
    weights = points = 0
    for weight, scored in by_reviewer.values():
        counted = min(weight, cap)
        weights += counted
        points += scored * counted // weight
    return points * 100 // weights


def points_of(mode: Mode, features: Mapping[str, int]) -> list[tuple[str, int]]:
    """Each line of a scorecard with its points; their sum is the mode's."""
    return [
        (line.feature, min(features[line.feature] // line.unit * line.points, line.most))
        for line in mode.weights
    ]


def score(modes: Mapping[str, Mode], features: Mapping[str, int]) -> list[tuple[str, int]]:
    """The points of every mode, in the fixed order of modes."""
    return [
        (name, sum([points for _, points in points_of(modes[name], features)]))
        for name in MODES
        if name in modes
    ]


def best(points: Sequence[tuple[str, int]]) -> str:
    """The mode with the most points, the first of them in the fixed order; "" if none has any."""
    most = max([value for _, value in points], default=0)
    return next((name for name, value in points if value == most), "") if most else ""


def reasons_of(features: Mapping[str, int]) -> tuple[str, ...]:
    """At most four codes for what weighs against certainty, the weightiest first (B2.3)."""
    found = [
        ("SHORT_HISTORY", features["history_days"] < SHORT_HISTORY_DAYS),
        (f"ONE_BUYER_{ONE_BUYER_PCT}PCT", features["largest_buyer_pct"] >= ONE_BUYER_PCT),
        ("DISPUTES_LOST", features["lost_90"] > 0),
        ("LOW_RATING", 0 < features["rating"] < LOW_RATING),
        ("FEW_TRADES", features["settled_90"] < FEW_TRADES),
    ]
    return tuple([code for code, holds in found if holds][:REASONS_MAX])


def suggested(mode: Mode, features: Mapping[str, int]) -> int:
    """The amount to recommend: a share of the base, in whole steps, within the mode's bounds."""
    part = features[mode.base] * mode.share_ppm // 1_000_000
    return min(max(part // mode.step * mode.step, mode.amount_min), mode.amount_max)


def hash_of(modes: Mapping[str, Mode]) -> bytes:
    """The scorecard's fingerprint, 32 bytes: an analysis says which one it was made with."""
    listed = [[name, modes[name]] for name in MODES if name in modes]
    return hashlib.sha256(b"groat/deposits/scorecard/1" + _encode(listed)).digest()

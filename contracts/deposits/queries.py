"""What can be asked about deposit modes; each answer is cut to what its viewer may see."""

from __future__ import annotations

from typing import Any

from contracts.deposits import rules, scoring
from contracts.deposits.arguments import (
    AnalysisQuery,
    BookQuery,
    DepositOnly,
    EnterpriseQuery,
    ListingOnly,
    NoArgs,
    PageQuery,
    RecommendationQuery,
    TradeOnly,
    WhatIf,
)
from contracts.deposits.banking import facts_of, measured, mode_record, modes_of
from contracts.deposits.market import side_of_book
from contracts.deposits.models import (
    ANALYSES,
    BOOK,
    DEPOSITS,
    ENTERPRISE_OF,
    ENTERPRISES,
    FACTS,
    GRANTS,
    INBOX,
    INBOXES,
    LISTINGS,
    POLICY,
    POLICY_KEY,
    RECOMMENDATIONS,
    TRADES,
    Enterprise,
    enterprise_key,
    grant_key,
    numbered_key,
)
from contracts.kernel.access import may_read
from contracts.kernel.context import View
from contracts.kernel.contract import Details, Query
from contracts.kernel.types import Record, reject


def _fields(record: Record, **more: Any) -> Details:
    """A record by its fields, with some replaced or added."""
    plain = {name: getattr(record, name) for name in record.__struct_fields__}
    lists = {name: list(value) for name, value in plain.items() if isinstance(value, tuple)}
    return {**plain, **lists, **more}


def me(view: View, _: NoArgs) -> Details:
    """The viewer's own enterprise."""
    if view.viewer.public_key is None:
        reject("NOT_FOUND", what=ENTERPRISE_OF.name)
    ref = view.need(ENTERPRISE_OF, enterprise_key(view.viewer.public_key))
    return enterprise(view, EnterpriseQuery(enterprise=ref.enterprise))


def enterprise(view: View, args: EnterpriseQuery) -> Details:
    """An enterprise, for itself and those who decide on it."""
    return _fields(view.need(ENTERPRISES, args.enterprise), enterprise=args.enterprise)


def facts(view: View, args: PageQuery) -> Details:
    """What is known of an enterprise, for itself, the regulator, and a bank that it granted."""
    one = _readable(view, args.enterprise)
    after = numbered_key(args.enterprise, args.cursor)
    found = view.state.scan(FACTS, args.enterprise, after, args.limit)
    items = [_fields(fact, number=args.cursor + place) for place, (_, fact) in enumerate(found, 1)]
    last = args.cursor + len(found)
    return {
        "items": items,
        "next": last if last < one.facts else None,
        "rating": scoring.rating_of(facts_of(view, args.enterprise, one.facts)),
        "as_of": view.block.height,
    }


def _readable(view: View, identity: bytes) -> Enterprise:
    """The enterprise, if its facts are for this viewer."""
    one = view.state.get(ENTERPRISES, identity)
    if one is not None and may_read(view.viewer, (one.owner.hex(), "role:regulator")):
        return one
    if one is not None and view.viewer.public_key is not None:
        grant = view.state.get(GRANTS, grant_key(identity, view.viewer.public_key))
        if grant is not None and not grant.revoked and view.time_ms < grant.until_ms:
            return one
    reject("NOT_FOUND", what=ENTERPRISES.name)


def listing(view: View, args: ListingOnly) -> Details:
    """A listing, for everybody."""
    return _fields(view.need(LISTINGS, args.listing), listing=args.listing)


def book(view: View, args: BookQuery) -> Details:
    """What rests on one side, the best price first."""
    prefix = side_of_book(args.sku, args.region, args.side)
    items = []
    for _, entry in view.page(BOOK, prefix, None, args.limit):
        one = view.need(LISTINGS, entry.listing)
        if view.time_ms < one.expires_ms:
            left = one.quantity - one.filled
            items.append({"listing": entry.listing, "price": one.price, "quantity": left})
    return {"items": items, "as_of": view.block.height}


def trade(view: View, args: TradeOnly) -> Details:
    """A trade, for its sides and those who watch and decide."""
    found = view.need(TRADES, args.trade)
    return _fields(found, trade=args.trade, escrow=rules.escrowed(found))


def explain(view: View, args: AnalysisQuery) -> Details:
    """An analysis with each feature, each line of each scorecard, and the sums.

    The lines are those of the scorecard in force; `stale` says that it was another one.
    """
    found = view.need(ANALYSES, args.analysis)
    modes = modes_of(view.state)
    features = dict(found.features)
    lines = {
        name: [
            {
                "feature": line.feature,
                "value": features[line.feature],
                "unit": line.unit,
                "points_each": line.points,
                "points": points,
            }
            for line, (_, points) in zip(
                mode.weights, scoring.points_of(mode, features), strict=True
            )
        ]
        for name, mode in modes.items()
    }
    return {
        "analysis": args.analysis,
        "enterprise": found.enterprise,
        "mode": found.mode,
        "reasons": list(found.reasons),
        "features": features,
        "points": dict(found.points),
        "lines": lines,
        "facts": found.facts,
        "height": found.height,
        "policy_hash": found.policy_hash,
        "stale": found.policy_hash != scoring.hash_of(modes),
    }


def inbox(view: View, args: PageQuery) -> Details:
    """The recommendations that an enterprise was sent, in order."""
    found = view.need(INBOXES, args.enterprise)
    after = numbered_key(args.enterprise, args.cursor)
    page = view.page(INBOX, args.enterprise, after, args.limit)
    items = []
    for key, entry in page:
        one = view.need(RECOMMENDATIONS, entry.recommendation)
        number = int.from_bytes(key[16:], "big")
        items.append(_fields(one, recommendation=entry.recommendation, number=number))
    last = args.cursor + len(page)
    return {"items": items, "next": last if page and last < found.last else None}


def recommendation(view: View, args: RecommendationQuery) -> Details:
    """One recommendation."""
    found = view.need(RECOMMENDATIONS, args.recommendation)
    return _fields(found, recommendation=args.recommendation)


def deposit(view: View, args: DepositOnly) -> Details:
    """A deposit, the day it matures, and the interest it would have by then."""
    found = view.need(DEPOSITS, args.deposit)
    return _fields(
        found,
        deposit=args.deposit,
        matures_on=rules.matures_on(found),
        today=view.today(),
        interest_at_maturity=rules.interest(found.left, found.rate_ppm, found.term_days),
    )


def what_if(view: View, args: WhatIf) -> Details:
    """What an analysis would give now, under the scorecard in force or with one mode changed."""
    one = _readable(view, args.enterprise)
    features = measured(view, args.enterprise, one)
    modes = modes_of(view.state)
    if args.change is not None:
        modes = {**modes, args.change.mode: mode_record(args.change)}
    points = scoring.score(modes, features)
    mode = scoring.best(points)
    return {
        "features": features,
        "points": dict(points),
        "mode": mode,
        "reasons": list(scoring.reasons_of(features)),
        "suggested": scoring.suggested(modes[mode], features) if mode else 0,
        "policy_hash": scoring.hash_of(modes),
    }


def modes(view: View, _: NoArgs) -> Details:
    """The modes of this network, with scorecards and terms."""
    found = modes_of(view.state)
    items = [
        _fields(mode, mode=name, weights=[_fields(line) for line in mode.weights])
        for name, mode in found.items()
    ]
    return {"items": items, "policy_hash": scoring.hash_of(found)}


def policy(view: View, _: NoArgs) -> Details:
    """What counts on this network."""
    return _fields(view.need(POLICY, POLICY_KEY))


QUERIES = {
    "me": Query(NoArgs, me),
    "enterprise": Query(EnterpriseQuery, enterprise, rests_on=(ENTERPRISES, "enterprise")),
    "facts": Query(PageQuery, facts),
    "listing": Query(ListingOnly, listing, rests_on=(LISTINGS, "listing")),
    "book": Query(BookQuery, book),
    "trade": Query(TradeOnly, trade, rests_on=(TRADES, "trade")),
    "explain": Query(AnalysisQuery, explain, rests_on=(ANALYSES, "analysis")),
    "inbox": Query(PageQuery, inbox),
    "recommendation": Query(
        RecommendationQuery, recommendation, rests_on=(RECOMMENDATIONS, "recommendation")
    ),
    "deposit": Query(DepositOnly, deposit, rests_on=(DEPOSITS, "deposit")),
    "what_if": Query(WhatIf, what_if),
    "modes": Query(NoArgs, modes),
    "policy": Query(NoArgs, policy),
}

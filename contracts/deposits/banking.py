"""The bank's side: analysis, recommendation, and the deposits that come of it.

An analysis rests on facts that the enterprise granted, on the scorecard in force, and on nothing
else. The enterprise shapes mode, amount, term and purpose itself before it accepts (R2.16).
"""

from __future__ import annotations

from contracts.deposits import rules, scoring
from contracts.deposits.arguments import (
    Accept,
    Analyse,
    Decline,
    DepositOnly,
    ModeParameters,
    Recommend,
    Release,
    SetMode,
)
from contracts.deposits.members import use_grant
from contracts.deposits.models import (
    ANALYSES,
    DEPOSITS,
    ENTERPRISES,
    FACTS,
    INBOX,
    INBOXES,
    LOGISTICS,
    MEMBERSHIP,
    MODE,
    MODES,
    PURCHASE,
    RECOMMENDATIONS,
    RIGHTS,
    TRADES,
    Analysis,
    Deposit,
    Enterprise,
    Fact,
    InboxEntry,
    Mode,
    Recommendation,
    Weight,
    bank_readers,
    numbered_key,
)
from contracts.deposits.rules import replace
from contracts.deposits.trading import escrow
from contracts.kernel.context import Context, View
from contracts.kernel.contract import Action, Details, Governed
from contracts.kernel.ledger import ACCOUNTS
from contracts.kernel.state import State
from contracts.kernel.types import DAY_MS

REPLAYED = {"replayed": True}
FACTS_READ_MAX = 1_000
# What a purpose-bound deposit may pay for: trades of this category.
PAYS_FOR = {PURCHASE: "GOODS", LOGISTICS: "FREIGHT", MEMBERSHIP: "DUES", RIGHTS: "RIGHTS"}


# ---- the scorecard, by two persons


def mode_record(given: ModeParameters) -> Mode:
    """A mode at rest."""
    return Mode(
        tuple([Weight(one.feature, one.unit, one.points, one.most) for one in given.weights]),
        given.base,
        given.share_ppm,
        given.step,
        given.amount_min,
        given.amount_max,
        tuple(given.terms_days),
        given.rate_ppm,
        given.early_rate_ppm,
        tuple(given.purposes),
    )


def check_mode(ctx: Context, args: SetMode) -> None:
    """Bounds in order, and leaving early never pays more."""
    if args.amount_min > args.amount_max:
        ctx.reject("BAD_ARG", field="amount_min", why="above amount_max")
    if args.early_rate_ppm > args.rate_ppm:
        ctx.reject("BAD_ARG", field="early_rate_ppm", why="above rate_ppm")


def set_mode(ctx: Context, args: SetMode) -> Details:
    """From now on; analyses made before are stale."""
    ctx.state.put(MODE, args.mode.encode(), mode_record(args))
    return {"policy_hash": scoring.hash_of(modes_of(ctx.state))}


def modes_of(state: State) -> dict[str, Mode]:
    """All modes of this network, in their fixed order."""
    found = {name: state.get(MODE, name.encode()) for name in MODES}
    return {name: mode for name, mode in found.items() if mode is not None}


# ---- analysis (R2.3, R2.4)


def facts_of(ctx: Context | View, identity: bytes, last: int) -> list[Fact]:
    """The newest facts of an enterprise up to number `last`, oldest first."""
    first = max(last - FACTS_READ_MAX, 0)
    found = ctx.state.scan(FACTS, identity, numbered_key(identity, first), last - first)
    return [fact for _, fact in found]


def measured(ctx: Context | View, identity: bytes, one: Enterprise) -> scoring.Features:
    """The features of an enterprise now."""
    key = rules.cash_key(identity, rules.policy_of(ctx).currency)
    account = ctx.state.get(ACCOUNTS, key)
    cash = 0 if account is None else account.balance
    facts = facts_of(ctx, identity, one.facts)
    return scoring.features_of(facts, cash, ctx.time_ms, ctx.scaled(DAY_MS))


def analyse(ctx: Context, args: Analyse) -> Details:
    """A bank that was granted the data has them weighed; the enterprise is told that it looked."""
    one = ctx.state.need(ENTERPRISES, args.enterprise)
    known = ctx.state.get(ANALYSES, args.analysis)
    if known is not None:
        if (known.enterprise, known.bank) != (args.enterprise, ctx.sender):
            ctx.reject("IDEM_CONFLICT", what="analysis")
        return {"mode": known.mode, "reasons": list(known.reasons), **REPLAYED}
    use_grant(ctx, args.enterprise)
    if one.state != "MEMBER":
        ctx.reject("NOT_MEMBER", state=one.state)
    features = measured(ctx, args.enterprise, one)
    modes = modes_of(ctx.state)
    points = scoring.score(modes, features)
    mode = scoring.best(points)
    if one.facts < rules.policy_of(ctx).facts_min or not mode:
        ctx.reject("THIN_DATA", facts=one.facts)
    analysis = Analysis(
        enterprise=args.enterprise,
        owner=one.owner,
        bank=ctx.sender,
        height=ctx.height,
        time_ms=ctx.time_ms,
        facts=one.facts,
        policy_hash=scoring.hash_of(modes),
        features=tuple(sorted(features.items())),
        points=tuple(points),
        mode=mode,
        reasons=scoring.reasons_of(features),
    )
    ctx.state.insert(ANALYSES, args.analysis, analysis)
    data = {"analysis": args.analysis, "enterprise": args.enterprise, "mode": mode}
    ctx.emit("Analysed", {**data, "reasons": list(analysis.reasons)}, bank_readers(analysis))
    return {"mode": mode, "reasons": list(analysis.reasons), "points": dict(points)}


# ---- recommendation (R2.5, R2.6)


def recommend(ctx: Context, args: Recommend) -> Details:
    """Push a deposit to the enterprise's inbox; a person may decide otherwise and says why."""
    analysis = ctx.state.need(ANALYSES, args.analysis)
    if analysis.bank != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another bank's analysis")
    name = args.mode or analysis.mode
    if (name != analysis.mode) != (args.override is not None):
        ctx.reject("BAD_ARG", field="override", why="needed for another mode, and only then")
    known = ctx.state.get(RECOMMENDATIONS, args.recommendation)
    if known is not None:
        if (known.analysis, known.mode) != (args.analysis, name):
            ctx.reject("IDEM_CONFLICT", what="recommendation")
        return {"expires_ms": known.expires_ms, **REPLAYED}
    check_fresh(ctx, analysis.policy_hash)
    mode = rules.mode_of(ctx, name)
    amount = scoring.suggested(mode, dict(analysis.features))
    expires_ms = ctx.time_ms + ctx.scaled(rules.policy_of(ctx).recommendation_ms)
    pushed = Recommendation(
        analysis=args.analysis,
        enterprise=analysis.enterprise,
        owner=analysis.owner,
        bank=ctx.sender,
        mode=name,
        amount=amount,
        term_days=mode.terms_days[0],
        rate_ppm=mode.rate_ppm,
        purpose=mode.purposes[0],
        policy_hash=analysis.policy_hash,
        expires_ms=expires_ms,
        override=args.override or "",
        state="PUSHED",
    )
    ctx.state.insert(RECOMMENDATIONS, args.recommendation, pushed)
    _into_inbox(ctx, args.recommendation, pushed)
    data = {"recommendation": args.recommendation, "enterprise": pushed.enterprise, "mode": name}
    terms = {"amount": amount, "term_days": pushed.term_days, "rate_ppm": mode.rate_ppm}
    ctx.emit("Recommended", {**data, **terms, "expires_ms": expires_ms}, bank_readers(pushed))
    return {"mode": name, **terms, "expires_ms": expires_ms}


def _into_inbox(ctx: Context, identity: bytes, pushed: Recommendation) -> None:
    inbox = ctx.state.need(INBOXES, pushed.enterprise)
    number = inbox.last + 1
    ctx.state.put(INBOXES, pushed.enterprise, replace(inbox, last=number))
    entry = InboxEntry(identity, pushed.owner, pushed.bank)
    ctx.state.insert(INBOX, numbered_key(pushed.enterprise, number), entry)


def check_fresh(ctx: Context, policy_hash: bytes) -> None:
    """`POLICY_STALE` if the scorecard has changed since."""
    if policy_hash != scoring.hash_of(modes_of(ctx.state)):
        ctx.reject("POLICY_STALE")


def decline(ctx: Context, args: Decline) -> Details:
    """The enterprise does not want it."""
    found = ctx.state.need(RECOMMENDATIONS, args.recommendation)
    if found.owner != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another enterprise's inbox")
    if found.state == "DECLINED":
        return dict(REPLAYED)
    if found.state != "PUSHED":
        ctx.reject("BAD_STATE", state=found.state)
    ctx.state.put(RECOMMENDATIONS, args.recommendation, replace(found, state="DECLINED"))
    return {}


# ---- deposits (R2.16, B2.8)


def accept(ctx: Context, args: Accept) -> Details:
    """The enterprise puts money away, in the shape that it chose."""
    found = ctx.state.need(RECOMMENDATIONS, args.recommendation)
    identity, one = rules.own_member(ctx)
    if found.enterprise != identity:
        ctx.reject("UNAUTHORIZED", why="another enterprise's inbox")
    known = ctx.state.get(DEPOSITS, args.deposit)
    if known is not None:
        same = (known.owner, known.mode, known.amount, known.term_days, known.purpose)
        if same != (ctx.sender, args.mode, args.amt, args.term_days, args.purpose):
            ctx.reject("IDEM_CONFLICT", what="deposit")
        return {"state": known.state, **REPLAYED}
    if ctx.time_ms >= found.expires_ms:
        ctx.reject("EXPIRED", what="recommendation")
    if found.state != "PUSHED":
        ctx.reject("BAD_STATE", state=found.state)
    check_fresh(ctx, found.policy_hash)
    mode = rules.mode_of(ctx, args.mode)
    if not mode.amount_min <= args.amt <= mode.amount_max:
        ctx.reject("BAD_ARG", field="amt", least=mode.amount_min, most=mode.amount_max)
    if args.term_days not in mode.terms_days:
        ctx.reject("BAD_ARG", field="term_days", terms=list(mode.terms_days))
    if args.purpose not in mode.purposes:
        ctx.reject("PURPOSE_MISMATCH", purposes=list(mode.purposes))
    cash = rules.cash_of(ctx, identity, one)
    rules.move(ctx, cash, rules.control_of(ctx, found.bank), args.amt)
    deposit = Deposit(
        enterprise=identity,
        owner=ctx.sender,
        bank=found.bank,
        mode=args.mode,
        purpose=args.purpose,
        amount=args.amt,
        left=args.amt,
        term_days=args.term_days,
        rate_ppm=mode.rate_ppm,
        early_rate_ppm=mode.early_rate_ppm,
        opened_day=ctx.today(),
        interest=0,
        state="OPEN",
    )
    ctx.state.insert(DEPOSITS, args.deposit, deposit)
    ctx.state.put(RECOMMENDATIONS, args.recommendation, replace(found, state="ACCEPTED"))
    data = {"deposit": args.deposit, "mode": args.mode, "amt": args.amt}
    terms = {"term_days": args.term_days, "rate_ppm": mode.rate_ppm, "purpose": args.purpose}
    ctx.emit("DepositOpened", {**data, **terms}, bank_readers(deposit))
    return {"state": "OPEN", "matures_on": rules.matures_on(deposit)}


def release(ctx: Context, args: Release) -> Details:
    """Pay a trade out of a deposit that was made for such trades; what is missing is cash."""
    identity, deposit = _own_deposit(ctx, args.deposit)
    trade = ctx.state.need(TRADES, args.trade)
    if trade.buyer != identity:
        ctx.reject("UNAUTHORIZED", why="the buyer pays")
    if PAYS_FOR.get(deposit.mode) != trade.category:
        ctx.reject("PURPOSE_MISMATCH", mode=deposit.mode, category=trade.category)
    if deposit.state != "OPEN" or trade.state != "AGREED":
        ctx.reject("BAD_STATE", deposit=deposit.state, trade=trade.state)
    used = min(deposit.left, trade.amount)
    buyer = ctx.state.need(ENTERPRISES, identity)
    control, cash = rules.control_of(ctx, deposit.bank), rules.cash_of(ctx, identity, buyer)
    escrow(ctx, args.trade, trade, {control: used, cash: trade.amount - used})
    ctx.state.put(DEPOSITS, args.deposit, replace(deposit, left=deposit.left - used))
    ctx.emit("Released", {"deposit": args.deposit, "amt": used}, bank_readers(deposit))
    return {"released": used, "left": deposit.left - used}


def mature(ctx: Context, args: DepositOnly) -> Details:
    """Anybody, from the day of maturity on: the money and its interest go back."""
    deposit = ctx.state.need(DEPOSITS, args.deposit)
    if deposit.state == "CLOSED":
        return {"interest": deposit.interest, **REPLAYED}
    if ctx.today() < rules.matures_on(deposit):
        ctx.reject("BAD_STATE", matures_on=rules.matures_on(deposit))
    return _close(ctx, args.deposit, deposit, deposit.rate_ppm, deposit.term_days)


def break_early(ctx: Context, args: DepositOnly) -> Details:
    """The enterprise wants its money now, at the lower rate and for the days that passed."""
    _, deposit = _own_deposit(ctx, args.deposit)
    if deposit.state == "CLOSED":
        return {"interest": deposit.interest, **REPLAYED}
    if ctx.today() >= rules.matures_on(deposit):
        ctx.reject("BAD_STATE", why="it has matured")
    days = ctx.today() - deposit.opened_day
    return _close(ctx, args.deposit, deposit, deposit.early_rate_ppm, days)


def _close(ctx: Context, identity: bytes, deposit: Deposit, rate_ppm: int, days: int) -> Details:
    """Principal from control, interest from the bank's expense. Only what is left earned it."""
    earned = rules.interest(deposit.left, rate_ppm, days)
    one = ctx.state.need(ENTERPRISES, deposit.enterprise)
    cash = rules.cash_of(ctx, deposit.enterprise, one)
    rules.move(ctx, rules.control_of(ctx, deposit.bank), cash, deposit.left)
    rules.move(ctx, rules.interest_of(ctx, deposit.bank), cash, earned)
    closed = replace(deposit, state="CLOSED", left=0, interest=earned)
    ctx.state.put(DEPOSITS, identity, closed)
    data = {"deposit": identity, "returned": deposit.left, "interest": earned}
    ctx.emit("DepositClosed", data, bank_readers(closed))
    return {"returned": deposit.left, "interest": earned}


def _own_deposit(ctx: Context, identity: bytes) -> tuple[bytes, Deposit]:
    deposit = ctx.state.need(DEPOSITS, identity)
    if deposit.owner != ctx.sender:
        ctx.reject("UNAUTHORIZED", why="another enterprise's deposit")
    return deposit.enterprise, deposit


ACTIONS = {
    "analyse": Action(Analyse, analyse, ("bank",)),
    "recommend": Action(Recommend, recommend, ("bank",)),
    "decline": Action(Decline, decline),
    "accept": Action(Accept, accept),
    "release": Action(Release, release),
    "mature": Action(DepositOnly, mature),
    "break_early": Action(DepositOnly, break_early),
}
GOVERNED = {"set_mode": Governed(SetMode, check_mode, set_mode, ("bank",), ("regulator",))}

"""Where the money is: the accounts of a merchant, its sums, and how both move together.

* Money comes in at the bank, rests in the merchant's escrow, and leaves it as it is earned: to the
  merchant's account, or to a held account while payouts are frozen. A refund goes out at the bank.
* In ratio mode a merchant may draw money before it is earned, down to the custody that it must
  keep. What it drew is *advanced*: later earnings settle it first, and refunds call it back.
* Always: escrow = paid − earned − refunded − advanced, and held = earned − paid_out. With full
  custody nothing is ever advanced: escrow + held = Σ (paid − paid_out − refunded).

Who may move money, and how much must stay, is not known here.
"""

from __future__ import annotations

from contracts.kernel.context import Context
from contracts.kernel.ledger import LEG_AMOUNT_MAX, Leg, account_key
from contracts.kernel.types import AMOUNT_MAX, reject
from contracts.prepaid.models import Card, CardRef, Merchant, Totals
from contracts.prepaid.tables import DAYS, HELD_OF, TOTALS, numbered

CASH = "prepaid.cash"
ESCROW = "prepaid.escrow"
EARNINGS = "prepaid.earnings"
HELD = "prepaid.held"
ESCHEAT = "prepaid.escheat"


def open_accounts(ctx: Context, merchant_id: bytes, merchant: Merchant) -> None:
    """The accounts of one merchant, and its bank's; the bank's cash stands for the outside."""
    house = (merchant.owner, merchant.custodian)
    for purpose in (ESCROW, HELD, EARNINGS):
        ctx.ledger.open(merchant_id, merchant.asset, purpose, house)
    bank = (merchant.custodian,)
    ctx.ledger.open(merchant.custodian, merchant.asset, CASH, bank, may_go_negative=True)
    ctx.ledger.open(merchant.custodian, merchant.asset, ESCHEAT, bank)


def begin_totals(ctx: Context, merchant_id: bytes, merchant: Merchant) -> None:
    """The sums of a merchant that has no cards yet."""
    today = ctx.today()
    totals = Totals(
        owner=merchant.owner,
        custodian=merchant.custodian,
        asset=merchant.asset,
        day=today,
        cards=0,
        face=0,
        consumed=0,
        paid=0,
        earned=0,
        paid_out=0,
        refunded=0,
        advanced=0,
    )
    ctx.state.insert(TOTALS, merchant_id, totals)
    ctx.state.insert(DAYS, numbered(merchant_id, today), totals)


def add_totals(
    ctx: Context,
    merchant_id: bytes,
    *,
    cards: int = 0,
    face: int = 0,
    consumed: int = 0,
    paid: int = 0,
    earned: int = 0,
    paid_out: int = 0,
    refunded: int = 0,
    advanced: int = 0,
) -> None:
    """Book the same on the merchant's sums as on one of its cards.

    The first change of a day keeps the sums as they were before it.
    """
    old = ctx.state.need(TOTALS, merchant_id)
    today = ctx.today()
    if today != old.day:
        ctx.state.insert(DAYS, numbered(merchant_id, today), old)
    new = Totals(
        old.owner,
        old.custodian,
        old.asset,
        today,
        old.cards + cards,
        bounded(old.face + face, "face"),
        bounded(old.consumed + consumed, "consumed"),
        bounded(old.paid + paid, "paid"),
        old.earned + earned,
        old.paid_out + paid_out,
        old.refunded + refunded,
        old.advanced + advanced,
    )
    ctx.state.put(TOTALS, merchant_id, new)


def bounded(amount: int, what: str) -> int:
    """`amount`, unless it is beyond what can be counted."""
    if amount > AMOUNT_MAX:
        reject("OVERFLOW", what=what)
    return amount


def merchant_account(merchant_id: bytes, merchant: Merchant, purpose: str) -> bytes:
    """The key of one of a merchant's accounts."""
    return account_key(merchant_id, merchant.asset, purpose)


def take_in(ctx: Context, merchant_id: bytes, merchant: Merchant, paid: int) -> None:
    """Cash came in at the bank; it is the consumers', in escrow."""
    _move(ctx, _cash(merchant), merchant_account(merchant_id, merchant, ESCROW), paid)


def give_back(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> None:
    """A refund leaves the escrow, out of the bank's cash; advances are called back for it."""
    recall(ctx, merchant_id, merchant, amount)
    _move(ctx, merchant_account(merchant_id, merchant, ESCROW), _cash(merchant), amount)


def recallable(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> int:
    """How much of `amount` the merchant drew in advance and still has in its account."""
    advanced = ctx.state.need(TOTALS, merchant_id).advanced
    if not advanced:
        return 0
    earnings = merchant_account(merchant_id, merchant, EARNINGS)
    return min(amount, advanced, ctx.ledger.balance(earnings))


def recall(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> int:
    """Call back what was advanced, `amount` at most; how much came."""
    back = recallable(ctx, merchant_id, merchant, amount)
    if back:
        repay(ctx, merchant_id, merchant, back)
    return back


def advance(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> None:
    """The merchant gets money that it has not earned."""
    escrow, earnings = _both(merchant_id, merchant)
    _move(ctx, escrow, earnings, amount)
    add_totals(ctx, merchant_id, advanced=amount)


def repay(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> None:
    """The merchant puts back what was advanced."""
    escrow, earnings = _both(merchant_id, merchant)
    _move(ctx, earnings, escrow, amount)
    add_totals(ctx, merchant_id, advanced=-amount)


def cash_out(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> None:
    """The merchant takes money of its own out of the bank."""
    _move(ctx, merchant_account(merchant_id, merchant, EARNINGS), _cash(merchant), amount)


def escheat(ctx: Context, merchant_id: bytes, merchant: Merchant, amount: int) -> None:
    """Unclaimed money becomes the bank's liability to the state; advances are called back."""
    recall(ctx, merchant_id, merchant, amount)
    liability = account_key(merchant.custodian, merchant.asset, ESCHEAT)
    _move(ctx, merchant_account(merchant_id, merchant, ESCROW), liability, amount)


def pay_merchant(
    ctx: Context, card_id: bytes, card: Card, merchant: Merchant, earned: int, frozen: bool
) -> int:
    """Move what `card` newly earned; returns what was paid out, earlier held money included.

    `card` is from before the earning. What was advanced is settled first: the merchant has it
    already. While payouts are frozen the rest is held.
    """
    merchant_id = card.merchant
    advanced = ctx.state.need(TOTALS, merchant_id).advanced
    settled = min(earned, advanced)
    if settled:
        add_totals(ctx, merchant_id, advanced=-settled)
        earned -= settled
    if frozen:
        if earned:
            escrow = merchant_account(merchant_id, merchant, ESCROW)
            _move(ctx, escrow, merchant_account(merchant_id, merchant, HELD), earned)
            index = CardRef(card_id, card.owner, card.custodian)
            ctx.state.put(HELD_OF, numbered(merchant_id, card.number), index)
        return settled
    escrow, earnings = _both(merchant_id, merchant)
    _move(ctx, escrow, earnings, earned)
    if card.held:
        _move(ctx, merchant_account(merchant_id, merchant, HELD), earnings, card.held)
        ctx.state.delete(HELD_OF, numbered(merchant_id, card.number))
    return settled + earned + card.held


def take_back(ctx: Context, card: Card, merchant: Merchant, unearned: int) -> int:
    """A visit is undone: what it earned goes back to escrow; returns what of it was paid out.

    Held money goes first. `INSUFFICIENT` if the merchant no longer has the rest.
    """
    merchant_id = card.merchant
    escrow, earnings = _both(merchant_id, merchant)
    from_held = min(card.held, unearned)
    _move(ctx, merchant_account(merchant_id, merchant, HELD), escrow, from_held)
    if from_held and from_held == card.held:
        ctx.state.delete(HELD_OF, numbered(merchant_id, card.number))
    _move(ctx, earnings, escrow, unearned - from_held)
    return unearned - from_held


def _cash(merchant: Merchant) -> bytes:
    return account_key(merchant.custodian, merchant.asset, CASH)


def _both(merchant_id: bytes, merchant: Merchant) -> tuple[bytes, bytes]:
    return (
        merchant_account(merchant_id, merchant, ESCROW),
        merchant_account(merchant_id, merchant, EARNINGS),
    )


def _move(ctx: Context, source: bytes, target: bytes, amount: int) -> None:
    """Any sum that a merchant can have; what is too much for one leg goes in several."""
    while amount:
        part = min(amount, LEG_AMOUNT_MAX)
        ctx.ledger.transfer(Leg(source, target, part))
        amount -= part

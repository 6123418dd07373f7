"""The arithmetic of lots, by itself: what a visit uses and earns, what a refund and a void undo.

* Each payment is a lot (paid, bonus). A visit uses the oldest lot first.
* Of a lot the merchant has earned floor(paid · used / (paid + bonus)); the rest is the consumer's.
  The formula is over all that was used so far, so that roundings never add up.
* A lot keeps its own price whatever is paid later.
"""

from __future__ import annotations

from collections.abc import Callable

from contracts.kernel.types import reject
from contracts.prepaid.models import LOTS_MAX, Lot, Slice

Lots = tuple[Lot, ...]
Slices = tuple[Slice, ...]


def spend(lots: Lots, amount: int) -> tuple[Lots, Slices, int]:
    """Use `amount` of the lots, oldest first: the lots that are left, what was used, the earnings.

    A lot that is used up is dropped; the card's totals keep what it earned, which is all of it.
    """
    earned = 0
    slices: Slices = ()
    for index, lot in enumerate(lots):
        left = lot.left
        if amount < left:
            used = Lot(lot.number, lot.paid, lot.bonus, lot.used + amount, lot.paid_at_ms)
            slices = (*slices, Slice(lot.number, amount))
            return (used, *lots[index + 1 :]), slices, earned + used.earned - lot.earned
        amount -= left
        earned += lot.owed
        slices = (*slices, Slice(lot.number, left))
        if amount == 0:
            return lots[index + 1 :], slices, earned
    reject("INSUFFICIENT", what="card")


def unspend(lots: Lots, slices: Slices, used_up: Callable[[int], Lot]) -> tuple[Lots, int]:
    """Give just these slices back: the lots as they are then, and what the merchant has not earned.

    `used_up` finds a lot, as it came, that is no longer among `lots`. `CARD_LIMIT` for too many.
    """
    by_number = {lot.number: lot for lot in lots}
    unearned = 0
    for number, amount in [(one.lot, one.amount) for one in slices]:
        lot = by_number.get(number)
        if lot is None:
            came = used_up(number)
            lot = Lot(number, came.paid, came.bonus, came.face, came.paid_at_ms)
        back = Lot(number, lot.paid, lot.bonus, lot.used - amount, lot.paid_at_ms)
        unearned += lot.earned - back.earned
        by_number[number] = back
    check_count(len(by_number))
    return tuple([by_number[number] for number in sorted(by_number)]), unearned


def renumbered(lots: Lots, made: int) -> Lots:
    """The same lots on a card that has had `made` lots before."""
    return tuple(
        [
            Lot(made + place, lot.paid, lot.bonus, lot.used, lot.paid_at_ms)
            for place, lot in enumerate(lots, 1)
        ]
    )


def face_of(lots: Lots) -> int:
    """What can still be consumed of them."""
    return sum([lot.left for lot in lots])


def owed_of(lots: Lots) -> int:
    """The consumer's money in them."""
    return sum([lot.owed for lot in lots])


def ordinary_refund(lot: Lot) -> int:
    """What a consumer gets who leaves without a cause: visits count in full, the bonus is lost."""
    return max(lot.paid - lot.used, 0)


def check_count(count: int) -> None:
    """A card has so many open lots at most."""
    if count > LOTS_MAX:
        reject("CARD_LIMIT", lots_max=LOTS_MAX)

"""What must hold of digital products whatever happens: after each transaction, and all in all.

* Money: a request's escrow is what was paid less what the seller got and what was given back.
* Codes: a product's code, seller, degrees and agents never change.
* Rights: counters only rise, and to at most the limits of the degree; active machines likewise; the
  degree of a licence was opened by as many shares as its product asks for.
* Payments: each was used once; what was noted of it never changes.
"""

from __future__ import annotations

from contracts.kernel.contract import Audit
from contracts.kernel.ledger import ACCOUNTS, account_key
from contracts.kernel.queries import walk
from contracts.kernel.state import Changes, State
from contracts.licensing import rules
from contracts.licensing.models import (
    LICENCES,
    PAYMENTS,
    PRODUCTS,
    REQUESTS,
    SALES_OF,
    Licence,
    Product,
    Request,
    sale_key,
)
from contracts.licensing.rules import ESCROW, replace
from contracts.licensing.using import used_of


def request_violations(one: Request) -> list[str]:
    """One purchase by itself."""
    found = []
    if min(one.paid, one.to_seller, one.refunded, rules.escrowed(one)) < 0:
        found.append("more left a request than was paid")
    if one.released > one.degree:
        found.append("more was released than was paid for")
    if one.state == "RELEASED" and one.released != one.degree:
        found.append("released in another degree than was paid for")
    return found


def licence_violations(old: Licence | None, new: Licence) -> list[str]:
    """One licence and its step."""
    found = []
    if len({machine.fingerprint for machine in new.machines}) != len(new.machines):
        found.append("a machine is active twice")
    for count in () if old is None else old.counts:
        if used_of(new, count.item) < count.used:
            found.append("a counter fell")
    if old is not None and old.state == "REVOKED" and new != old:
        found.append("a revoked licence changed")
    return found


def rights_violations(product: Product, licence: Licence) -> list[str]:
    """A licence against its degree."""
    if not 1 <= licence.degree <= len(product.degrees):
        return ["a licence of no degree"]
    degree = rules.degree_of(product, licence.degree)
    found = []
    if len(licence.machines) > degree.machines:
        found.append("too many machines")
    limits = {right.item: right.limit for right in degree.rights}
    for count in licence.counts:
        if count.item not in limits or (limits[count.item] and count.used > limits[count.item]):
            found.append("used beyond its rights")
    return found


def violations(changes: Changes) -> list[str]:
    """One transaction: its products, purchases, licences, payments and money agree."""
    found: list[str] = []
    for _, old, new in changes.of(PRODUCTS):
        if new is None or (old is not None and replace(new, state=old.state) != old):
            found.append("a product changed")
    for _, before, after in changes.of(PAYMENTS):
        if before is not None or after is None:
            found.append("a payment was changed")
    moved: dict[bytes, int] = {}
    for key, earlier, later in changes.of(REQUESTS):
        if later is None:
            found.append("a request vanished")
            continue
        found.extend(request_violations(later))
        was = 0 if earlier is None else rules.escrowed(earlier)
        moved[key] = rules.escrowed(later) - was
    for _, had, has in changes.of(LICENCES):
        found.extend(["a licence vanished"] if has is None else licence_violations(had, has))
    for _, account, now in changes.of(ACCOUNTS):
        if now is not None and now.purpose == ESCROW:
            before_balance = 0 if account is None else account.balance
            if now.balance - before_balance != moved.pop(now.owner, 0):
                found.append("an escrow moved unlike its request")
    if any(moved.values()):
        found.append("a request moved without its money")
    return found


def audit(state: State) -> Audit:
    """The whole state: every purchase, licence and escrow, and every product's list."""
    found: list[str] = []
    figures = dict.fromkeys(
        ("products", "requests", "licences", "paid", "escrow", "to_sellers", "refunded"), 0
    )
    counted: dict[str, int] = {}
    for key, one in walk(state, REQUESTS):
        name = f"request {key.hex()}"
        found.extend(f"{name}: {text}" for text in request_violations(one))
        account = state.get(ACCOUNTS, account_key(key, one.cur, ESCROW))
        if (0 if account is None else account.balance) != rules.escrowed(one):
            found.append(f"{name}: its escrow is not what it says")
        counted[one.product] = counted.get(one.product, 0) + 1
        figures["requests"] += 1
        figures["paid"] += one.paid
        figures["escrow"] += rules.escrowed(one)
        figures["to_sellers"] += one.to_seller
        figures["refunded"] += one.refunded
    for key, licence in walk(state, LICENCES):
        name = f"licence {key.hex()}"
        product = state.need(PRODUCTS, licence.product.encode())
        found.extend(f"{name}: {text}" for text in licence_violations(licence, licence))
        found.extend(f"{name}: {text}" for text in rights_violations(product, licence))
        if rules.shares_of(state.need(REQUESTS, key), licence.degree) < product.shares_needed:
            found.append(f"{name}: open without its shares")
        figures["licences"] += 1
    for key, _ in walk(state, PRODUCTS):
        figures["products"] += 1
        name = key.decode()
        last = counted.pop(name, 0)
        if last and state.get(SALES_OF, sale_key(name, last)) is None:
            found.append(f"product {name}: sales are missing")
    return Audit(found, figures)

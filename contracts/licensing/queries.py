"""What can be asked about digital products; each answer is cut to what its viewer may see."""

from __future__ import annotations

from typing import Any

from contracts.kernel.context import View
from contracts.kernel.contract import Details, Query
from contracts.kernel.types import Record
from contracts.licensing import rules
from contracts.licensing.arguments import (
    LicenceQuery,
    NoArgs,
    ProductOnly,
    ProductsQuery,
    RequestOnly,
    SalesQuery,
)
from contracts.licensing.models import (
    LICENCES,
    POLICY,
    POLICY_KEY,
    PRODUCTS,
    REQUESTS,
    SALES,
    SALES_OF,
    sale_key,
    sales_key,
)
from contracts.licensing.using import used_of


def plain(value: Any) -> Any:
    """A record, and those inside, as mappings by field names."""
    if isinstance(value, Record):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return value


def product(view: View, args: ProductOnly) -> Details:
    """A product with its degrees and their rights, for everybody."""
    return {"product": args.product, **plain(view.need(PRODUCTS, args.product.encode()))}


def products(view: View, args: ProductsQuery) -> Details:
    """The products of this network."""
    after = args.cursor.encode() if args.cursor is not None else None
    page = view.page(PRODUCTS, b"", after, args.limit)
    items = [
        {
            "product": key.decode(),
            "name": one.name,
            "kind": one.kind,
            "seller": one.seller,
            "state": one.state,
            "cur": one.cur,
            "from_price": one.degrees[0].price,
        }
        for key, one in page
    ]
    return {"items": items, "next": items[-1]["product"] if len(page) == args.limit else None}


def request(view: View, args: RequestOnly) -> Details:
    """A purchase: what is paid, what is missing, and the shares for the buyer's key."""
    found = view.need(REQUESTS, args.request)
    degrees = rules.product_of(view, found.product).degrees
    missing = degrees[found.wanted - 1].price - rules.kept(found)
    return {
        "request": args.request,
        **plain(found),
        "escrow": rules.escrowed(found),
        "missing": max(missing, 0),
    }


def licence(view: View, args: LicenceQuery) -> Details:
    """A licence with its rights, and what is left of each."""
    found = view.need(LICENCES, args.licence)
    degree = rules.degree_of(rules.product_of(view, found.product), found.degree)
    expired = bool(found.expires_ms) and view.time_ms >= found.expires_ms
    return {
        "licence": args.licence,
        **plain(found),
        "state": "EXPIRED" if expired and found.state == "VALID" else found.state,
        "machines_max": degree.machines,
        "transferable": degree.transferable,
        "rights": [
            {
                "item": right.item,
                "limit": right.limit,
                "used": used_of(found, right.item),
                "left": right.limit - used_of(found, right.item) if right.limit else None,
            }
            for right in degree.rights
        ],
    }


def sales(view: View, args: SalesQuery) -> Details:
    """A product's purchases in order, for its seller and those who watch."""
    found = view.need(SALES, sales_key(args.product))
    after = sale_key(args.product, args.cursor)
    page = view.page(SALES_OF, sales_key(args.product), after, args.limit)
    items = []
    for _, sale in page:
        one = view.need(REQUESTS, sale.request)
        items.append(
            {
                "request": sale.request,
                "state": one.state,
                "degree": one.degree,
                "paid": one.paid,
                "to_seller": one.to_seller,
                "refunded": one.refunded,
            }
        )
    last = args.cursor + len(page)
    return {"items": items, "next": last if page and last < found.last else None}


def policy(view: View, _: NoArgs) -> Details:
    """What counts on this network."""
    found: Details = plain(view.need(POLICY, POLICY_KEY))
    return found


QUERIES = {
    "product": Query(ProductOnly, product),
    "products": Query(ProductsQuery, products),
    "request": Query(RequestOnly, request, rests_on=(REQUESTS, "request")),
    "licence": Query(LicenceQuery, licence, rests_on=(LICENCES, "licence")),
    "sales": Query(SalesQuery, sales),
    "policy": Query(NoArgs, policy),
}

"""The kernel's own queries: identities, assets, accounts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from contracts.kernel.access import may_read
from contracts.kernel.context import View
from contracts.kernel.contract import Details, Query
from contracts.kernel.epochs import (
    CURRENT,
    EPOCH_WRAPS,
    EPOCHS,
    NEWEST,
    EpochNumber,
    missing_acknowledgements,
    number_key,
)
from contracts.kernel.identity import IDENTITIES, OFFICES, identity_of, officers
from contracts.kernel.ledger import (
    ACCOUNTS,
    ASSETS,
    Account,
    account_key,
)
from contracts.kernel.membership import NODES, NODES_MAX, deciding, newest_validators
from contracts.kernel.proposals import PROPOSALS, Proposal
from contracts.kernel.state import State
from contracts.kernel.types import (
    PAGE_DEFAULT,
    PAGE_MAX,
    Args,
    Code,
    Id16,
    Limit,
    PublicKey,
    Rejected,
)
from contracts.kernel.upgrades import CODE

# Pages of records that one query looks through for what it wants.
SCANS_MAX = 20
OWNER_BYTES_MAX = 33
OwnerKey = Annotated[
    bytes,
    Field(min_length=16, max_length=OWNER_BYTES_MAX),
    WithJsonSchema({"type": "string", "format": "bytes"}),
]


class IdentityQuery(Args):
    """Who is this key?"""

    public_key: PublicKey


class AccountQuery(Args):
    """An account by its key."""

    account: Id16


class BalanceQuery(Args):
    """An account by what it is for. `owner` is an id (16 bytes) or a public key (33)."""

    owner: OwnerKey
    asset: Code
    purpose: Code


class PageQuery(Args):
    """A page of a public list."""

    cursor: Code | None = None
    limit: Limit = PAGE_DEFAULT


class NodesQuery(Args):
    """A page of the nodes; the cursor is the last one's public key."""

    cursor: PublicKey | None = None
    limit: Limit = PAGE_DEFAULT


class ProposalQuery(Args):
    """A proposal by its id."""

    proposal: Id16


class ProposalsQuery(Args):
    """A page of the proposals, of all or of one state; the cursor is the last one's id."""

    state: Literal["OPEN", "EXECUTED", "WITHDRAWN", "REFUSED", "EXPIRED"] | None = None
    cursor: Id16 | None = None
    limit: Limit = PAGE_DEFAULT


class EpochQuery(Args):
    """An epoch by its number, by default the newest one."""

    epoch: EpochNumber | None = None


class NoArgs(Args):
    """Nothing to ask."""


def identity(view: View, args: IdentityQuery) -> Details:
    """Who is behind a key: its roles, the key in use and, if an institution, its name."""
    found = identity_of(view.state, args.public_key)
    if found is None or not may_read(view.viewer, IDENTITIES.readers(found)):
        raise Rejected("NOT_FOUND", what=IDENTITIES.name)
    return {
        "public_key": found.public_key,
        "name": found.name,
        "roles": list(found.roles),
        "key": found.key,
        "commitment": found.commitment,
        "suspended_for": found.suspended_for,
    }


def offices(view: View, _: NoArgs) -> Details:
    """Who holds the offices: administrators, regulators, banks, operators."""
    return {
        "items": [
            {
                "office": office,
                "name": one.name,
                "public_key": one.public_key,
                "suspended_for": one.suspended_for,
            }
            for office in OFFICES
            for member in officers(view.state, office)
            if (one := view.state.get(IDENTITIES, member)) is not None
        ]
    }


def account(view: View, args: AccountQuery) -> Details:
    """The balances of one account, by its key."""
    return _account_view(args.account, view.need(ACCOUNTS, args.account))


def balance(view: View, args: BalanceQuery) -> Details:
    """The balances of one account, by owner, asset and purpose."""
    key = account_key(args.owner, args.asset, args.purpose)
    return _account_view(key, view.need(ACCOUNTS, key))


def assets(view: View, args: PageQuery) -> Details:
    """What this network counts, and the scale of each."""
    after = None if args.cursor is None else args.cursor.encode()
    page = view.page(ASSETS, b"", after, args.limit)
    return {
        "items": [{"code": asset.code, "scale": asset.scale} for _, asset in page],
        "next": page[-1][1].code if len(page) == args.limit else None,
    }


def validators(view: View, _: NoArgs) -> Details:
    """The validator set of the next block, and the one that takes over, if another is to come."""
    found = deciding(view.state, view.block.height + 1)
    newest = newest_validators(view.state)
    return {
        "members": list(found.members),
        "confirmations_more_than": found.confirmations_more_than,
        "first_height": found.first_height,
        "coming": None
        if newest is found
        else {"members": list(newest.members), "first_height": newest.first_height},
    }


def nodes(view: View, args: NodesQuery) -> Details:
    """The nodes that may connect: validators and observers."""
    page = view.page(NODES, b"", args.cursor, args.limit)
    members = deciding(view.state, view.block.height + 1).members
    return {
        "items": [
            {
                "public_key": node.public_key,
                "name": node.name,
                "address": node.address,
                "tls_fingerprint": node.tls_fingerprint,
                "validates": key in members,
            }
            for key, node in page
        ],
        "next": page[-1][0] if len(page) == args.limit else None,
    }


def code(view: View, _: NoArgs) -> Details:
    """The versions of each contract: which ran, runs, or is to come from which height on."""
    page = view.page(CODE, b"", None, PAGE_MAX)
    return {
        "items": [
            {
                "contract": key.decode(),
                "source_hash": one.source_hash,
                "interface_hash": one.interface_hash,
                "first_height": one.first_height,
            }
            for key, history in page
            for one in history.versions
        ]
    }


def epoch(view: View, args: EpochQuery) -> Details:
    """An epoch of the committee's key: who got its secret, and who has acknowledged it when.

    `current` is the number of the one in force, `missing` the validators that it waits for.
    """
    state = view.state
    number = state.need(EPOCHS, NEWEST).number if args.epoch is None else args.epoch
    found = state.need(EPOCHS, number_key(number))
    waits = found.first_height == 0 and number == state.need(EPOCHS, NEWEST).number
    holders = state.scan(EPOCH_WRAPS, number_key(number), None, NODES_MAX)
    return {
        "epoch": number,
        "epoch_key": found.public_key,
        "first_height": found.first_height,
        "previous": found.previous,
        "previous_until_ms": found.previous_until_ms,
        "current": state.need(EPOCHS, CURRENT).number,
        "holders": [
            {"node_key": key[len(number_key(number)) :], "acknowledged": wrap.acknowledged_height}
            for key, wrap in holders
        ],
        "missing": list(missing_acknowledgements(state, number)) if waits else [],
    }


def proposal(view: View, args: ProposalQuery) -> Details:
    """What was proposed, by whom and why, and who decided it."""
    return _proposal_view(view, args.proposal, view.need(PROPOSALS, args.proposal))


def proposals(view: View, args: ProposalsQuery) -> Details:
    """Proposals, in the order of their ids; those that are OPEN wait for somebody."""
    items: list[Details] = []
    after = args.cursor
    for _ in range(SCANS_MAX):
        found = view.state.scan(PROPOSALS, b"", after, PAGE_MAX)
        for after, one in found:
            state = one.state_at(view.time_ms)
            if args.state in (None, state) and may_read(view.viewer, PROPOSALS.readers(one)):
                items.append(_proposal_view(view, after, one))
            if len(items) == args.limit:
                return {"items": items, "next": after}
        if len(found) < PAGE_MAX:
            return {"items": items, "next": None}
    return {"items": items, "next": after}


def _proposal_view(view: View, key: bytes, found: Proposal) -> Details:
    return {
        "proposal": key,
        "contract": found.contract,
        "kind": found.kind,
        "args": found.arguments(),
        "reason": found.reason,
        "proposer": found.proposer,
        "proposed_ms": found.proposed_ms,
        "state": found.state_at(view.block.time_ms),
        "decided_by": found.decided_by,
        "refusal": found.refusal,
        "expires_ms": found.expires_ms,
    }


def _account_view(key: bytes, found: Account) -> Details:
    return {
        "account": key,
        "owner": found.owner,
        "asset": found.asset,
        "purpose": found.purpose,
        "balance": found.balance,
        "available": found.available,
        "debits_pending": found.debits_pending,
        "debits_posted": found.debits_posted,
        "credits_pending": found.credits_pending,
        "credits_posted": found.credits_posted,
    }


def walk(state: State, table: Any, prefix: bytes = b"") -> Any:
    """All records of a table in order of their keys, page by page."""
    after = None
    while page := state.scan(table, prefix, after, PAGE_MAX):
        yield from page
        after = page[-1][0]


ACCOUNT_SUMS = {
    "balance": ("credits_posted", "-debits_posted"),
    "available": ("credits_posted", "-debits_posted", "-debits_pending"),
}
QUERIES = {
    "identity": Query(IdentityQuery, identity, (IDENTITIES, "public_key")),
    "offices": Query(NoArgs, offices),
    "account": Query(AccountQuery, account, (ACCOUNTS, "account"), ACCOUNT_SUMS),
    "balance": Query(BalanceQuery, balance),
    "assets": Query(PageQuery, assets),
    "validators": Query(NoArgs, validators),
    "nodes": Query(NodesQuery, nodes),
    "code": Query(NoArgs, code),
    "epoch": Query(EpochQuery, epoch),
    "proposal": Query(ProposalQuery, proposal, (PROPOSALS, "proposal")),
    "proposals": Query(ProposalsQuery, proposals),
}

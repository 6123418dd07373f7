"""The contracts as the node knows them: everything that it calls is reachable from here.

Each function takes the table of contracts (`catalog.CONTRACTS`), so that a node can hold several
versions side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from contracts.kernel import invariants
from contracts.kernel.access import Viewer, may_read
from contracts.kernel.actions import ACTIONS
from contracts.kernel.anchors import ACTIONS as ANCHORING
from contracts.kernel.anchors import ANCHOR_EVENTS, READ_ANCHORS, anchor_of
from contracts.kernel.contract import Action, Audit, Contract, Governed, Query
from contracts.kernel.enrolment import ACTIONS as ENROLMENT
from contracts.kernel.enrolment import ENROLMENT_EVENTS
from contracts.kernel.enrolment import GOVERNED as OF_IDENTITIES
from contracts.kernel.epochs import ACTIONS as EPOCH_ACTIONS
from contracts.kernel.epochs import (
    EPOCH_EVENTS,
    EPOCH_WRAPS,
    EPOCHS,
    accepted_epochs,
    current_epoch,
    epoch_of,
    missing_acknowledgements,
    newest_epoch,
    wrap_of,
)
from contracts.kernel.epochs import GOVERNED as ROTATION
from contracts.kernel.governance import GOVERNANCE_ERRORS, GOVERNED, READY
from contracts.kernel.identity import (
    IDENTITIES,
    LATER_KEYS,
    OFFICE,
    owner_of,
    roles_of,
    viewer_of,
)
from contracts.kernel.identity import may_send as acts_for_identity
from contracts.kernel.interface import interface
from contracts.kernel.ledger import (
    ACCOUNTS,
    ASSETS,
    DEADLINES,
    PENDING,
    account_key,
)
from contracts.kernel.membership import (
    NODES,
    STATE_ROOTS,
    VALIDATORS,
    Node,
    Validators,
    begin_block,
    counted_in,
    era_of,
    is_node,
    next_validators,
    nodes_of,
    validators_at,
)
from contracts.kernel.proposals import ACTIONS as DECISIONS
from contracts.kernel.proposals import PROPOSAL_EVENTS, PROPOSALS
from contracts.kernel.queries import QUERIES
from contracts.kernel.runtime import (
    GenesisParameters,
    PreparedCall,
    Result,
    audit,
    execute,
    genesis_writes,
    query,
)
from contracts.kernel.state import Reader, Table
from contracts.kernel.types import Args, Rejected
from contracts.kernel.upgrades import CODE, Version, code_at, code_coming
from contracts.kernel.upgrades import GOVERNED as UPGRADES
from contracts.kernel.validation import parse_arguments

__all__ = [
    "KERNEL",
    "READY",
    "Action",
    "Audit",
    "Contract",
    "GenesisParameters",
    "Governed",
    "Node",
    "PreparedCall",
    "Query",
    "Rejected",
    "Result",
    "Validators",
    "Version",
    "Viewer",
    "accepted_epochs",
    "account_key",
    "anchor_of",
    "audit",
    "begin_block",
    "code_at",
    "code_coming",
    "counted_in",
    "current_epoch",
    "decode_record",
    "epoch_of",
    "era_of",
    "execute",
    "genesis_writes",
    "interface",
    "is_guessable",
    "is_node",
    "is_private",
    "may_read",
    "may_send",
    "missing_acknowledgements",
    "newest_epoch",
    "next_validators",
    "nodes_of",
    "owner_of",
    "query",
    "readers_of",
    "roles_of",
    "validate",
    "validators_at",
    "viewer_of",
    "wrap_of",
]

KERNEL = Contract(
    name="kernel",
    actions={**ACTIONS, **ENROLMENT, **DECISIONS, **EPOCH_ACTIONS, **ANCHORING},
    governed={**GOVERNED, **OF_IDENTITIES, **ROTATION, **UPGRADES},
    queries=QUERIES,
    tables=(
        ACCOUNTS,
        ASSETS,
        CODE,
        DEADLINES,
        EPOCHS,
        EPOCH_WRAPS,
        IDENTITIES,
        LATER_KEYS,
        NODES,
        OFFICE,
        PENDING,
        PROPOSALS,
        READ_ANCHORS,
        STATE_ROOTS,
        VALIDATORS,
    ),
    errors=GOVERNANCE_ERRORS,
    events=(*ENROLMENT_EVENTS, *PROPOSAL_EVENTS, *EPOCH_EVENTS, *ANCHOR_EVENTS),
    violations=invariants.violations,
    audit=invariants.audit,
)


def validate(
    contracts: Mapping[str, Contract], contract: str, action: str, args: Mapping[str, Any]
) -> Args:
    """Typed arguments of a call; raises `Rejected` `BAD_ARG` naming the field, or `NOT_FOUND`."""
    known = contracts.get(contract)
    if known is None:
        raise Rejected("NOT_FOUND", what="contract")
    model = known.arguments_of(action)
    if model is None:
        raise Rejected("NOT_FOUND", what="action")
    return parse_arguments(model, args)


def is_guessable(contracts: Mapping[str, Contract], table: str) -> bool:
    """Whether the keys of a private table can be guessed, so that absence is not told to all."""
    return _table(contracts, table).guessable


def may_send(reader: Reader, key: bytes) -> bool:
    """Whether transactions signed by this key are executed at all: an identity's, or a node's."""
    return acts_for_identity(reader, key) or is_node(reader, key)


def is_private(contracts: Mapping[str, Contract], table: str) -> bool:
    """Whether values of the table `contract/table` are salted and not for everyone."""
    return not _table(contracts, table).public


def readers_of(contracts: Mapping[str, Contract], table: str, value: bytes) -> tuple[str, ...]:
    """Who may read one record, given by its bytes."""
    found = _table(contracts, table)
    return found.readers(found.decode(value))


def decode_record(contracts: Mapping[str, Contract], table: str, value: bytes) -> dict[str, Any]:
    """A record as a mapping by field names; nested records too."""
    fields = _plain(_table(contracts, table).decode(value))
    assert isinstance(fields, dict)
    return fields


def _table(contracts: Mapping[str, Contract], name: str) -> Table[Any]:
    contract = contracts.get(name.partition("/")[0])
    for table in () if contract is None else contract.tables:
        if table.name == name:
            return table
    raise Rejected("NOT_FOUND", what="table")


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value

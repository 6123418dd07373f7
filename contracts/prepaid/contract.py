"""The prepaid contract, put together from its rule book."""

from __future__ import annotations

from contracts.kernel.contract import Contract
from contracts.kernel.ledger import ASSETS
from contracts.kernel.state import State
from contracts.kernel.types import reject
from contracts.prepaid.actions import ACTIONS
from contracts.prepaid.invariants import audit, violations
from contracts.prepaid.models import (
    CLASSES,
    POLICY,
    POLICY_KEY,
    TABLES,
    CardClass,
    Parameters,
    Policy,
)
from contracts.prepaid.queries import QUERIES
from contracts.prepaid.supervision import SUPERVISION


def found(state: State, parameters: Parameters) -> None:
    """Policy and classes of cards as genesis has them; every class needs a known asset."""
    state.put(POLICY, POLICY_KEY, Policy(parameters.allow_clear))
    for one in parameters.classes:
        if state.get(ASSETS, one.asset.encode()) is None:
            reject("BAD_ARG", field="asset", why="no such asset")
        card_class = CardClass(one.name, one.asset, one.named, one.face_max, one.min_validity_ms)
        if state.get(CLASSES, one.name.encode()) is not None:
            reject("BAD_ARG", field="classes", why="the same name twice")
        state.put(CLASSES, one.name.encode(), card_class)


def clear_allowed(state: State) -> bool:
    """Whether this network lets prepaid calls travel unsealed."""
    return state.need(POLICY, POLICY_KEY).allow_clear


PREPAID = Contract(
    name="prepaid",
    actions={**SUPERVISION, **ACTIONS},
    queries=QUERIES,
    tables=TABLES,
    errors=(
        "CARD_LIMIT",
        "SEQ_STALE",
        "SEQ_GAP",
        "COOLING_OFF_PASSED",
        "BAD_TICKET",
        "BAD_ENVELOPE",
    ),
    events=(
        "MerchantFiled",
        "MerchantApproved",
        "CardOpened",
        "CardToppedUp",
        "Consumed",
        "Released",
        "Refunded",
        "Frozen",
        "Unfrozen",
        "WindingUp",
    ),
    parameters=Parameters,
    found=found,
    violations=violations,
    audit=audit,
    sealed=True,
    clear_allowed=clear_allowed,
)

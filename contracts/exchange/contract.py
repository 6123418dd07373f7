"""The exchange contract, put together from its rule book."""

from __future__ import annotations

from contracts.exchange import clearing, completion, issuing, offering, orders
from contracts.exchange.arguments import Parameters
from contracts.exchange.invariants import audit, violations
from contracts.exchange.models import (
    Policy,
)
from contracts.exchange.queries import QUERIES
from contracts.exchange.tables import (
    POLICY,
    POLICY_KEY,
    TABLES,
)
from contracts.kernel.contract import Contract
from contracts.kernel.state import State


def found(state: State, parameters: Parameters) -> None:
    """The policy as genesis has it; assets and platforms are registered later."""
    policy = Policy(
        parameters.allow_clear,
        parameters.general,
        parameters.currency,
        parameters.quote_ttl_ms,
        parameters.confirm_ttl_ms,
    )
    state.put(POLICY, POLICY_KEY, policy)


def clear_allowed(state: State) -> bool:
    """Whether this network lets exchange calls travel unsealed."""
    return state.need(POLICY, POLICY_KEY).allow_clear


EXCHANGE = Contract(
    name="exchange",
    actions={
        **offering.ACTIONS,
        **issuing.ACTIONS,
        **orders.ACTIONS,
        **completion.ACTIONS,
        **clearing.ACTIONS,
    },
    governed=offering.GOVERNED,
    queries=QUERIES,
    tables=TABLES,
    errors=(
        "BAD_REQUEST",
        "QUOTE_EXPIRED",
        "QUOTE_USED",
        "LOT_TOO_SMALL",
        "DAILY_CAP",
        "NO_LIQUIDITY",
        "OUT_OF_STOCK",
        "RATE_ARBITRAGE",
        "BAD_ENVELOPE",
    ),
    events=(
        "PlatformRegistered",
        "RateSet",
        "ProductSet",
        "Stocked",
        "Frozen",
        "Ratified",
        "Unfrozen",
        "Issued",
        "Provided",
        "Retired",
        "LotExpired",
        "Requested",
        "Parsed",
        "Quoted",
        "Exchanging",
        "Confirmed",
        "Exchanged",
        "HandedOver",
        "Delivered",
        "Refunded",
        "LateSuccess",
        "Settled",
        "Redeemed",
        "Reconciled",
    ),
    parameters=Parameters,
    found=found,
    violations=violations,
    audit=audit,
    sealed=True,
    clear_allowed=clear_allowed,
)

"""The deposits contract, put together from its rule book."""

from __future__ import annotations

from contracts.deposits import banking, market, members, trading
from contracts.deposits.arguments import Parameters
from contracts.deposits.banking import mode_record
from contracts.deposits.invariants import audit, violations
from contracts.deposits.members import PAYMENTS
from contracts.deposits.models import MODE, POLICY, POLICY_KEY, TABLES, Policy
from contracts.deposits.queries import QUERIES
from contracts.kernel.contract import Contract
from contracts.kernel.ledger import ASSETS
from contracts.kernel.state import State
from contracts.kernel.types import reject


def found(state: State, parameters: Parameters) -> None:
    """The policy and the modes as genesis has them."""
    if parameters.modes and state.get(ASSETS, parameters.currency.encode()) is None:
        reject("BAD_ARG", field="currency", why="no such asset")
    given = parameters.model_dump(exclude={"modes"})
    state.put(POLICY, POLICY_KEY, Policy(**given))
    for one in parameters.modes:
        if state.get(MODE, one.mode.encode()) is not None:
            reject("BAD_ARG", field="modes", why="the same mode twice")
        state.put(MODE, one.mode.encode(), mode_record(one))


def clear_allowed(state: State) -> bool:
    """Whether this network lets calls of this contract travel unsealed."""
    return state.need(POLICY, POLICY_KEY).allow_clear


DEPOSITS_CONTRACT = Contract(
    name="deposits",
    actions={**members.ACTIONS, **market.ACTIONS, **trading.ACTIONS, **banking.ACTIONS},
    governed=banking.GOVERNED,
    queries=QUERIES,
    tables=(*TABLES, PAYMENTS),
    errors=(
        "INCOMPLETE_INFO",
        "BAD_USCC",
        "NOT_MEMBER",
        "SELF_TRADE",
        "NO_FILL",
        "REVIEW_CLOSED",
        "THIN_DATA",
        "POLICY_STALE",
        "PURPOSE_MISMATCH",
        "BAD_ENVELOPE",
    ),
    events=(
        "Submitted",
        "Reviewed",
        "Granted",
        "Revoked",
        "Listed",
        "Matched",
        "Accepted",
        "Canceled",
        "Escrowed",
        "Shipped",
        "Confirmed",
        "Disputed",
        "Settled",
        "Evaluated",
        "Analysed",
        "Recommended",
        "DepositOpened",
        "Released",
        "DepositClosed",
    ),
    parameters=Parameters,
    found=found,
    violations=violations,
    audit=audit,
    sealed=True,
    clear_allowed=clear_allowed,
)

"""The licensing contract, put together from its rule book."""

from __future__ import annotations

from contracts.kernel.contract import Contract
from contracts.kernel.state import State
from contracts.licensing import refunds, selling, using
from contracts.licensing.arguments import Parameters
from contracts.licensing.invariants import audit, violations
from contracts.licensing.models import POLICY, POLICY_KEY, TABLES, Policy
from contracts.licensing.queries import QUERIES


def found(state: State, parameters: Parameters) -> None:
    """The policy as genesis has it; products come later."""
    state.put(POLICY, POLICY_KEY, Policy(**parameters.model_dump()))


def clear_allowed(state: State) -> bool:
    """Whether this network lets calls of this contract travel unsealed."""
    return state.need(POLICY, POLICY_KEY).allow_clear


LICENSING = Contract(
    name="licensing",
    actions={**selling.ACTIONS, **refunds.ACTIONS, **using.ACTIONS},
    queries=QUERIES,
    tables=TABLES,
    # BAD_PROGRAM, FORGED_CONFIRMATION and BOMB are what a client finds in a code or confirmation.
    errors=(
        "BAD_CODE",
        "BAD_PROGRAM",
        "FORGED_CONFIRMATION",
        "DEGREE_LOW",
        "WRONG_BUYER",
        "TOO_MANY_MACHINES",
        "RIGHT_EXHAUSTED",
        "REVOKED",
        "BOMB",
        "BAD_ENVELOPE",
    ),
    events=(
        "Published",
        "Requested",
        "PaymentReported",
        "Confirmed",
        "KeyReleased",
        "Activated",
        "RightsUsed",
        "Transferred",
        "Suspended",
        "Refunded",
        "Revoked",
    ),
    parameters=Parameters,
    found=found,
    violations=violations,
    audit=audit,
    sealed=True,
    clear_allowed=clear_allowed,
)

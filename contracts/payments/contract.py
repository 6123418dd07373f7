"""The payments contract, put together from its rule book."""

from __future__ import annotations

from contracts.kernel.contract import Contract
from contracts.kernel.state import State
from contracts.payments import aftermath, filing, intents, mandates
from contracts.payments.arguments import Parameters
from contracts.payments.invariants import audit, violations
from contracts.payments.models import OPERATOR, POLICY, POLICY_KEY, TABLES, Policy
from contracts.payments.queries import QUERIES


def found(state: State, parameters: Parameters) -> None:
    """The policy as genesis has it; channels are registered later."""
    state.put(POLICY, POLICY_KEY, Policy(**parameters.model_dump()))


def clear_allowed(state: State) -> bool:
    """Whether this network lets payment calls travel unsealed."""
    return state.need(POLICY, POLICY_KEY).allow_clear


PAYMENTS = Contract(
    name="payments",
    actions={**filing.ACTIONS, **intents.ACTIONS, **mandates.ACTIONS, **aftermath.ACTIONS},
    governed=filing.GOVERNED,
    queries=QUERIES,
    tables=TABLES,
    errors=(
        "NOT_FILED",
        "SWITCHED_OFF",
        "CHANNEL_DISABLED",
        "CHANNEL_NOT_LINKED",
        "TERMINAL_UNKNOWN",
        "LINK_MISMATCH",
        "AUTH_FAILED",
        "AUTH_LOCKED",
        "CAP_EXCEEDED",
        "AMOUNT_MISMATCH",
        "BAD_ENVELOPE",
    ),
    events=(
        "Filed",
        "Verified",
        "SwitchChanged",
        "ChannelChanged",
        "TerminalBound",
        "Created",
        "PageIssued",
        "Authorised",
        "ChargeStarted",
        "Charged",
        "Notified",
        "Canceled",
        "AuthLocked",
        "Refunded",
        "Reconciled",
        "Disputed",
        "Answered",
        "Resolved",
    ),
    parameters=Parameters,
    found=found,
    violations=violations,
    audit=audit,
    sealed=True,
    refusals_for=(OPERATOR,),
    clear_allowed=clear_allowed,
)

"""The prepaid contract, put together from its rule book."""

from __future__ import annotations

from contracts.kernel.contract import Contract
from contracts.prepaid.actions import ACTIONS
from contracts.prepaid.arguments import Parameters
from contracts.prepaid.audit import audit
from contracts.prepaid.custody import CUSTODY, SET_CUSTODY
from contracts.prepaid.invariants import violations
from contracts.prepaid.keeping import KEEPING
from contracts.prepaid.moving import MOVING
from contracts.prepaid.policy import POLICY_CHANGES, clear_allowed, found
from contracts.prepaid.queries import QUERIES
from contracts.prepaid.supervision import SUPERVISION, UNFREEZE
from contracts.prepaid.tables import TABLES

PREPAID = Contract(
    name="prepaid",
    actions={**SUPERVISION, **ACTIONS, **KEEPING, **MOVING, **CUSTODY},
    governed={**POLICY_CHANGES, "set_custody": SET_CUSTODY, "unfreeze": UNFREEZE},
    queries=QUERIES,
    tables=TABLES,
    errors=(
        "CARD_LIMIT",
        "SEQ_STALE",
        "SEQ_GAP",
        "CUSTODY_SHORT",
        "COOLING_OFF_PASSED",
        "BAD_TICKET",
        "BAD_ENVELOPE",
        "WRONG_EPOCH",
    ),
    events=(
        "MerchantFiled",
        "MerchantApproved",
        "CardOpened",
        "CardToppedUp",
        "Consumed",
        "Released",
        "Refunded",
        "Voided",
        "CardMoved",
        "LossReported",
        "CardReactivated",
        "CardsExpired",
        "Frozen",
        "Ratified",
        "Unfrozen",
        "MoneyMoved",
        "CustodyShort",
        "NoticeGiven",
        "WindingUp",
    ),
    parameters=Parameters,
    found=found,
    violations=violations,
    audit=audit,
    sealed=True,
    clear_allowed=clear_allowed,
)

"""What the kernel promises, whatever contract was called: of one transaction, and of everything.

Money: every leg balances, nobody is overdrawn, what is reserved is pending. People: an identity
keeps its name, a key leads to one identity for ever, and the offices list just those who hold them.
"""

from __future__ import annotations

from contracts.kernel.contract import Audit
from contracts.kernel.identity import (
    IDENTITIES,
    LATER_KEYS,
    OFFICE,
    OFFICES,
    Identity,
    officers,
)
from contracts.kernel.ledger import (
    ACCOUNTS,
    DEADLINES,
    PENDING,
    account_violations,
    ledger_violations,
)
from contracts.kernel.queries import walk
from contracts.kernel.state import Changes, State


def violations(changes: Changes) -> list[str]:
    """Broken promises of one transaction."""
    return [*ledger_violations(changes), *identity_violations(changes)]


def identity_violations(changes: Changes) -> list[str]:
    """What no transaction may do to identities and their keys."""
    found = []
    for key, before, after in changes.of(IDENTITIES):
        if after is None or after.public_key != key:
            found.append(f"identity {key.hex()} vanished or changed its name")
        elif before is not None and before.enrolled_by != after.enrolled_by:
            found.append(f"identity {key.hex()} was enrolled twice")
    for key, earlier, _ in changes.of(LATER_KEYS):
        if earlier is not None:
            found.append(f"key {key.hex()} passed to another identity")
    return found


def audit(state: State) -> Audit:
    """Walk over everything that the kernel keeps."""
    found: list[str] = []
    figures = {**_audit_ledger(state, found), "identities": _audit_identities(state, found)}
    return Audit(found, figures)


def _audit_ledger(state: State, found: list[str]) -> dict[str, object]:
    """Per asset all balances sum to zero, none is overdrawn, reservations equal what is pending."""
    totals: dict[str, int] = {}
    issued: dict[str, int] = {}
    reserved: dict[bytes, list[int]] = {}
    count = 0
    for key, pending in walk(state, PENDING):
        if state.get(DEADLINES, pending.deadline_ms.to_bytes(8, "big") + key) is None:
            found.append(f"pending transfer {key.hex()} has no deadline")
        for leg in pending.legs:
            reserved.setdefault(leg.debit, [0, 0])[0] += leg.amount
            reserved.setdefault(leg.credit, [0, 0])[1] += leg.amount
    for key, account in walk(state, ACCOUNTS):
        count += 1
        found.extend(account_violations(key, account))
        if [account.debits_pending, account.credits_pending] != reserved.pop(key, [0, 0]):
            found.append(f"account {key.hex()}: reservations differ from pending transfers")
        totals[account.asset] = totals.get(account.asset, 0) + account.balance
        issued[account.asset] = issued.get(account.asset, 0) + max(account.balance, 0)
    found.extend(f"pending transfer on unknown account {key.hex()}" for key in reserved)
    found.extend(f"{asset} sums to {total}" for asset, total in totals.items() if total)
    return {"accounts": count, "in_accounts": issued}


def _audit_identities(state: State, found: list[str]) -> int:
    count = 0
    held: dict[str, dict[bytes, None]] = {office: {} for office in OFFICES}
    for key, identity in walk(state, IDENTITIES):
        count += 1
        _audit_key(state, key, identity, found)
        for role in identity.roles:
            if role in held:
                held[role][key] = None
    for office in OFFICES:
        if sorted(officers(state, office)) != sorted(held[office]):
            found.append(f"the office {office} does not list just those who hold it")
    for name, _ in walk(state, OFFICE):
        if name.decode() not in OFFICES:
            found.append(f"{name.decode()} is no office")
    for key, later in walk(state, LATER_KEYS):
        if state.get(IDENTITIES, later.identity) is None:
            found.append(f"key {key.hex()} leads to nobody")
        if state.get(IDENTITIES, key) is not None:
            found.append(f"key {key.hex()} leads to two identities")
    return count


def _audit_key(state: State, key: bytes, identity: Identity, found: list[str]) -> None:
    if identity.public_key != key:
        found.append(f"identity {key.hex()} has another name")
    if identity.key != key:
        later = state.get(LATER_KEYS, identity.key)
        if later is None or later.identity != key:
            found.append(f"the key of identity {key.hex()} does not lead to it")

"""Running contracts: one transaction, one query, the audit of everything, the genesis state.

A transaction is all or nothing. Its rejection is a result; whatever else a contract raises, and a
broken invariant, goes up to the node as poison. Looking contracts up is `registry`'s part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from contracts.kernel.access import Viewer
from contracts.kernel.context import BlockInfo, Context, Event, Tickets, View
from contracts.kernel.contract import Audit, Contract, Details
from contracts.kernel.epochs import found_epoch
from contracts.kernel.identity import IDENTITIES, NODE, new_identity, put_identity, sender_of
from contracts.kernel.ledger import ACCOUNTS, ASSETS, Asset
from contracts.kernel.membership import NODES, Node, found_validators
from contracts.kernel.proposals import propose
from contracts.kernel.state import Changes, Overlay, Reader, State
from contracts.kernel.types import InvariantViolation, Rejected
from contracts.kernel.upgrades import found_code
from contracts.kernel.validation import parse_arguments

OK = "OK"
# Records that one transaction may write, give or take one call; 100 openings write about 400.
TRANSACTION_WRITES_MAX = 1_000


class PreparedCall(Protocol):
    """A call whose arguments were validated. `sealed`: whether it travelled encrypted."""

    @property
    def contract(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def args(self) -> Any: ...
    @property
    def sealed(self) -> bool: ...


class Result(msgspec.Struct, frozen=True):
    """What became of a transaction. `readers` may see the details; each event has its own."""

    code: str
    details: dict[str, Any]
    events: tuple[Event, ...]
    readers: tuple[str, ...]


class GenesisParameters(msgspec.Struct, frozen=True):
    """What genesis tells the contracts. Keys are bytes; `contracts` has each one's parameters.

    `nodes` are the validators as (key, name, address, fingerprint of the certificate), `epoch` is
    the number and public key of the committee's first epoch, `code` the source hash of each
    contract.
    """

    validators: tuple[bytes, ...]
    confirmations_more_than: int
    identities: tuple[tuple[str, bytes, tuple[str, ...]], ...]
    assets: tuple[tuple[str, int], ...]
    contracts: dict[str, dict[str, Any]]
    epoch: tuple[int, bytes]
    nodes: tuple[tuple[bytes, str, str, bytes], ...] = ()
    code: dict[str, bytes] = {}


def execute(
    contracts: Mapping[str, Contract],
    overlay: Overlay,
    block: BlockInfo,
    sender: bytes,
    transaction_id: bytes,
    calls: Sequence[PreparedCall],
    tickets: Tickets,
) -> Result:
    """Run the calls of one transaction; its writes reach `overlay` only if the code is `OK`.

    Raises `InvariantViolation`; anything else that is raised is a bug of the contract as well.
    """
    state = State(overlay)
    try:
        context = _admit(contracts, state, block, sender, transaction_id, calls, tickets)
    except Rejected as rejected:
        return Result(rejected.code, rejected.details, (), (sender.hex(),))
    try:
        details, announced = _run_calls(contracts, context, calls)
    except Rejected as rejected:
        supervisors = [one for call in calls for one in contracts[call.contract].refusals_for]
        told = tuple(dict.fromkeys((context.sender.hex(), *supervisors)))
        return Result(rejected.code, rejected.details, (), told)
    changes = state.changes()
    for name in _concerned(changes):
        contract = contracts.get(name)
        violations = [] if contract is None else contract.violations(changes)
        if violations:
            raise InvariantViolation(name, violations)
    state.commit_to(overlay)
    events = tuple(context.events)
    # What a call says that announces nothing is for its sender alone.
    others = _readers_of_all(events) if announced else ()
    readers = dict.fromkeys((context.sender.hex(), *others))
    return Result(OK, details, events, tuple(readers))


def _concerned(changes: Changes) -> dict[str, None]:
    """The contracts of which tables changed, or accounts: their purpose begins with the name."""
    concerned = {table.partition("/")[0]: None for table in changes.tables}
    for _, _, account in changes.of(ACCOUNTS):
        if account is not None:
            concerned[account.purpose.partition(".")[0]] = None
    return concerned


def _readers_of_all(events: tuple[Event, ...]) -> tuple[str, ...]:
    """Those who may read every event, and so all of the details too."""
    if not events:
        return ()
    first, *others = events
    return tuple([one for one in first.readers if all(one in event.readers for event in others)])


def query(
    contracts: Mapping[str, Contract],
    reader: Reader,
    block: BlockInfo,
    viewer: Viewer,
    contract: str,
    name: str,
    args: Mapping[str, Any],
) -> Details:
    """Answer a query as `viewer` may see it; raises `Rejected` `BAD_ARG` or `NOT_FOUND`."""
    known = contracts.get(contract)
    if known is None or name not in known.queries:
        raise Rejected("NOT_FOUND", what="query")
    asked = known.queries[name]
    return asked.run(View(reader, block, viewer), parse_arguments(asked.args, args))


def audit(contracts: Mapping[str, Contract], reader: Reader) -> dict[str, Audit]:
    """Walk the whole state: each contract's broken promises, and its figures."""
    state = State(reader, ordered=False)
    return {name: contract.audit(state) for name, contract in contracts.items()}


def genesis_writes(
    contracts: Mapping[str, Contract], parameters: GenesisParameters
) -> dict[tuple[str, bytes], bytes]:
    """The state before block 1; raises `Rejected` naming the parameter that is wrong."""
    overlay = Overlay(_Nothing())
    state = State(overlay)
    nodes = tuple([Node(*node, admitted_height=0) for node in parameters.nodes])
    found_code(state, parameters.code)
    found_validators(state, parameters.validators, parameters.confirmations_more_than, nodes)
    found_epoch(state, *parameters.epoch, tuple([node.public_key for node in nodes]))
    for code, scale in parameters.assets:
        state.put(ASSETS, code.encode(), Asset(code, scale))
    for name, public_key, roles in parameters.identities:
        if state.get(IDENTITIES, public_key) is not None:
            raise Rejected("BAD_ARG", field="identities", why="the same key twice")
        put_identity(state, None, new_identity(public_key, name, roles, b"", 0))
    for name in parameters.contracts:
        if name not in contracts:
            raise Rejected("BAD_ARG", field=name, why="no such contract")
    for name, contract in contracts.items():
        given = parameters.contracts.get(name, {})
        contract.found(state, parse_arguments(contract.parameters, given))
    state.commit_to(overlay)
    return {place: raw for place, raw in overlay.writes.items() if raw is not None}


class _Nothing:
    """The state before genesis."""

    def get(self, table: str, key: bytes) -> bytes | None:
        return None

    def scan(
        self, table: str, prefix: bytes, after: bytes | None, limit: int
    ) -> list[tuple[bytes, bytes]]:
        return []


def _admit(
    contracts: Mapping[str, Contract],
    state: State,
    block: BlockInfo,
    sender: bytes,
    transaction_id: bytes,
    calls: Sequence[PreparedCall],
    tickets: Tickets,
) -> Context:
    """The context of a transaction; its sender is the identity that acts with the key `sender`.

    Or the node with this key, if the calls are such as only nodes make.
    """
    if all(_is_for_nodes(contracts[call.contract], call.action) for call in calls):
        if state.get(NODES, sender) is None:
            raise Rejected("UNAUTHORIZED", roles=[NODE])
        return Context(state, block, sender, transaction_id, (NODE,), tickets, contracts)
    one = sender_of(state, sender)
    return Context(state, block, one.public_key, transaction_id, one.roles, tickets, contracts)


def _is_for_nodes(contract: Contract, action: str) -> bool:
    found = contract.actions.get(action)
    return found is not None and found.roles == (NODE,)


def _run_calls(
    contracts: Mapping[str, Contract], context: Context, calls: Sequence[PreparedCall]
) -> tuple[Details, bool]:
    """The details of the one call, or of all in order, and whether each one announced an event.

    A rejection says which call it was.
    """
    answers = []
    announced = True
    for index, call in enumerate(calls):
        before = len(context.events)
        try:
            answers.append(_run_call(contracts[call.contract], context, call))
        except Rejected as rejected:
            if len(calls) > 1:
                rejected.details["call"] = index
            raise
        if context.state.writes > TRANSACTION_WRITES_MAX:
            raise Rejected("TOO_HEAVY", writes_max=TRANSACTION_WRITES_MAX)
        announced = announced and len(context.events) > before
    return answers[0] if len(answers) == 1 else {"calls": answers}, announced


def _run_call(contract: Contract, context: Context, call: PreparedCall) -> Details:
    if not call.sealed and contract.sealed and not contract.clear_allowed(context.state):
        raise Rejected("BAD_ENVELOPE", why="calls of this contract must be sealed")
    context.enter(call.contract, call.action)
    action = contract.actions.get(call.action)
    if action is None:
        governed = contract.governed[call.action]
        context.need_role(governed.proposers)
        return propose(context, governed, call.args)
    context.need_role(action.roles)
    return action.run(context, call.args)

"""`groat call`, `query` and `ticket`: contracts, by their interface.

The fields of an action or query are options named after them; `--help` behind its name lists them.
"""

from __future__ import annotations

import secrets
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.cli.session import Session, command
from client.errors import ClientError, NotFound
from client.interface import (
    PROPOSAL,
    Operation,
    arguments_of_json,
    arguments_of_words,
    fields,
    find,
    operations,
    read_record,
    sums_of,
    with_ticket,
    without_ticket,
)
from node.protocol.encoding import Value
from node.protocol.errors import Misconfigured
from node.protocol.json_view import time_to_json, to_json

if TYPE_CHECKING:
    from client.node_api import NodeApi
    from client.outcomes import Outcome
    from node.protocol.keys import PrivateKey

TIMEOUT_DEFAULT = 15.0
TIMEOUT_MAX = 3_600.0
PROPOSAL_BYTES = 16
FREE_FIELDS = {"allow_extra_args": True, "ignore_unknown_options": True}


class Wait(StrEnum):
    """How long a call stays: not at all, until it is admitted, until it is final."""

    NONE = "none"
    CHECK = "check"
    COMMIT = "commit"


Contract = Annotated[str | None, typer.Argument(help="The contract, such as `prepaid`.")]
Action = Annotated[str | None, typer.Argument(help="Its action, such as `consume`.")]
QueryName = Annotated[str | None, typer.Argument(metavar="QUERY", help="Its query, as `card`.")]
ArgsOption = Annotated[
    str | None, typer.Option("--args", help="All fields as one JSON object; `-` reads it.")
]
HelpOption = Annotated[bool, typer.Option("--help", help="Help; with names, also their fields.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0, max=TIMEOUT_MAX, help="Seconds to stay.")
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    free = {"context_settings": FREE_FIELDS, "add_help_option": False}
    usage = "[--FIELD VALUE]… [OPTIONS]"
    command(app, "call", options_metavar=usage, **free)(call)
    command(app, "query", options_metavar=usage, **free)(query)
    command(app, "ticket", options_metavar=usage, **free)(ticket)


async def call(
    session: Session,
    contract: Contract = None,
    action: Action = None,
    key: Annotated[str | None, typer.Option("--key", help="Who signs: a key's name.")] = None,
    args: ArgsOption = None,
    seal: Annotated[
        bool | None,
        typer.Option("--seal/--clear", help="Encrypt to the committee.  [default: as declared]"),
    ] = None,
    wait: Annotated[Wait, typer.Option("--wait", help="What to wait for.")] = Wait.COMMIT,
    timeout_seconds: TimeoutOption = TIMEOUT_DEFAULT,
    ticket_from: Annotated[
        str | None, typer.Option("--ticket-from", help="Sign the ticket with this key too.")
    ] = None,
    help_: HelpOption = False,
) -> None:
    """Sign a call of a contract's action and send it."""
    operation = _operation(session, "actions", contract, action, help_)
    if operation is None:
        return
    signer = _needed_key(session, key)
    if ticket_from is None:
        values = _arguments(session, operation, args)
    else:
        values = _with_ticket(session, operation, args, ticket_from)
    sealed = operation.sealed if seal is None else seal
    await _send(session, operation, values, signer, sealed, wait, timeout_seconds)


async def query(
    session: Session,
    contract: Contract = None,
    name: QueryName = None,
    key: Annotated[str | None, typer.Option("--key", help="Who asks: a key's name.")] = None,
    args: ArgsOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the answer against genesis by a proof.")
    ] = False,
    help_: HelpOption = False,
) -> None:
    """Ask a contract; what is private needs the --key of somebody who may read it."""
    operation = _operation(session, "queries", contract, name, help_)
    if operation is None:
        return
    values = _arguments(session, operation, args)
    viewer = session.key(key)
    async with session.api() as api:
        if verify:
            await _verified(session, api, operation, values, viewer)
        else:
            answer = await api.query(operation.contract, operation.name, to_json(values), viewer)
            _print_answer(session, answer)


def ticket(
    session: Session,
    contract: Contract = None,
    action: Action = None,
    key: Annotated[str | None, typer.Option("--key", help="Who consents: a key's name.")] = None,
    args: ArgsOption = None,
    help_: HelpOption = False,
) -> None:
    """Sign a ticket: your consent to one action, for somebody else to send."""
    operation = _operation(session, "actions", contract, action, help_)
    if operation is None:
        return
    _needed_key(session, key)
    values = _with_ticket(session, operation, args, str(key))
    # All arguments together can be given to `groat call --args` as they are.
    session.out.record(to_json(values))


def _operation(
    session: Session, kind: str, contract: str | None, name: str | None, wanted_help: bool
) -> Operation | None:
    """What to do; None if only help was wanted, which is then printed."""
    if contract is not None and name is not None and not name.startswith("-"):
        operation = find(session.folder.interface, kind, contract, name)
        if wanted_help:
            _print_help(session, operation)
            return None
        return operation
    if not wanted_help:
        raise Misconfigured("USAGE", "name a contract and what you want of it; see --help")
    print(session.context.get_help())
    if session.folder.exists:
        rows = operations(session.folder.interface, kind)
        session.out.table(rows, ("contract", "name", "fields", "doc"))
    return None


def _print_help(session: Session, operation: Operation) -> None:
    print(operation.doc)
    if operation.roles:
        print(f"For: {', '.join(operation.roles)}.")
    if operation.approvers:
        print(
            f"Then another {_either(operation.approvers)} decides: `groat call kernel approve "
            "--proposal ID`. Left out, --proposal is made at random and printed."
        )
    rows = fields(operation)
    columns = ["field", "type", "needed", "default", "doc"]
    session.out.table(rows, [one for one in columns if any(row[one] for row in rows)])
    print(session.context.get_help())


def _arguments(session: Session, operation: Operation, args: str | None) -> dict[str, Value]:
    words = list(session.context.args)
    if operation.approvers and args is None and not _names(words, PROPOSAL):
        identity = secrets.token_hex(PROPOSAL_BYTES)
        session.out.note(f"proposal {identity}: for {_either(operation.approvers)} to approve")
        words += [f"--{PROPOSAL}", identity]
    if args is None:
        return arguments_of_words(operation, words, session.folder.public_key)
    if words:
        raise Misconfigured("USAGE", f"give --args or single fields, not both: {words[0]}")
    return arguments_of_json(operation, sys.stdin.read() if args == "-" else args)


def _names(words: list[str], field: str) -> bool:
    return any(word == f"--{field}" or word.startswith(f"--{field}=") for word in words)


def _either(roles: tuple[str, ...]) -> str:
    return " or ".join(roles)


def _with_ticket(
    session: Session, operation: Operation, args: str | None, name: str
) -> dict[str, Value]:
    given = _arguments(session, without_ticket(operation), args)
    chain = session.folder.genesis.chain
    holder = session.folder.wallet.open(name)
    return with_ticket(chain, holder, operation, given, time.time_ns() // 1_000_000)


def _needed_key(session: Session, name: str | None) -> PrivateKey:
    key = session.key(name)
    if key is None:
        raise Misconfigured("USAGE", "say who signs: --key NAME; `groat key list` shows them")
    return key


async def _send(
    session: Session,
    operation: Operation,
    values: dict[str, Value],
    signer: PrivateKey,
    sealed: bool,
    wait: Wait,
    timeout_seconds: float,
) -> None:
    from node.protocol.transaction import Call

    async with session.api() as api:
        outcome = await api.transact(
            signer,
            [Call(operation.contract, operation.name, values)],
            sealed=sealed,
            wait=wait,
            timeout_seconds=timeout_seconds,
            on_signed=lambda transaction: session.out.note(f"transaction {transaction.id.hex()}"),
        )
        if outcome.final:
            outcome = await _as_sender(api, outcome, bytes.fromhex(outcome.id), signer)
        print_outcome(session, outcome)
        if wait is Wait.COMMIT:
            if not outcome.final:
                await api.require_quorum()
            outcome.require()


async def _as_sender(
    api: NodeApi, outcome: Outcome, identity: bytes, signer: PrivateKey
) -> Outcome:
    """The outcome with the details that only its parties may see, if they can be had and proved."""
    try:
        return await api.verified.outcome(identity, viewer=signer)
    except ClientError:
        return outcome


def print_outcome(session: Session, outcome: Outcome) -> None:
    """A transaction's outcome as it is known."""
    if not session.out.for_people:
        session.out.json({**outcome.view, "id": outcome.id, "status": outcome.status})
        return
    receipt = outcome.view.get("receipt")
    events = receipt.get("events") if isinstance(receipt, dict) else None
    row: dict[str, Any] = {"id": outcome.id, "status": outcome.status}
    row |= {"height": outcome.height, "code": outcome.code, **outcome.details}
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict):
            row[f"{event.get('contract')}.{event.get('name')}"] = event.get("data")
    session.out.record({name: value for name, value in row.items() if value is not None})


async def _verified(
    session: Session,
    api: NodeApi,
    operation: Operation,
    values: dict[str, Value],
    viewer: PrivateKey | None,
) -> None:
    if operation.rests_on is None:
        raise Misconfigured(
            "NOT_PROVABLE",
            f"{operation.contract} {operation.name} shows more than one record; --verify cannot",
        )
    table, key_field, sums = operation.rests_on
    key = values.get(key_field)
    if not isinstance(key, bytes):
        raise Misconfigured("USAGE", f"--verify needs --{key_field}")
    proven = await api.verified.record(operation.contract, table, key, viewer)
    proof = {
        "height": str(proven.height),
        "time": time_to_json(proven.time_ms),
        "block_id": proven.block_id.hex(),
        "table": f"{operation.contract}/{table}",
        "key": key.hex(),
    }
    if proven.value is None:
        raise NotFound("NOT_FOUND", f"proved absent at height {proven.height}", proof=proof)
    record = read_record(session.folder.interface, operation.contract, table, proven.value)
    # Only what the record says: the answer of a query would be the node's word.
    result = {key_field: key.hex(), **record, **sums_of(sums, record)}
    if session.out.for_people:
        session.out.record(result)
        session.out.note(f"verified against genesis: block {proven.height} of {proof['time']}")
    else:
        session.out.json({"height": str(proven.height), "result": result, "proof": proof})


def _print_answer(session: Session, answer: dict[str, Any]) -> None:
    result = answer.get("result")
    if not session.out.for_people:
        session.out.json(answer)
        return
    if not isinstance(result, dict):
        session.out.record({"result": result})
        return
    items = result.get("items")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        session.out.record(result)
        return
    columns = list(dict.fromkeys(name for item in items for name in item))
    session.out.table(items, columns)
    if result.get("next") is not None:
        session.out.note(f"more: --cursor {result['next']}")

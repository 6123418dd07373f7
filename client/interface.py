"""Contracts as the client knows them: by the JSON Schema of `interface.json`, not by their code.

Finds actions and queries, turns what a person typed into typed arguments, and reads a record's
canonical bytes by the schema of its table, so that a verified record needs no node to explain it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from node.protocol.domain import Chain
from node.protocol.encoding import Value, decode
from node.protocol.errors import Refused
from node.protocol.json_view import arguments_from_json, to_json
from node.protocol.keys import PrivateKey
from node.protocol.ticket import sign_ticket

TICKET = "ticket"
TICKET_UNTIL = "ticket_until"
PROPOSAL = "proposal"
TICKET_FOR_MS = 10 * 60 * 1000

Schema = Mapping[str, Any]
KeyLookup = Callable[[str], str]
"""The public key in hex of a name that stands after an @."""


class RestsOn(NamedTuple):
    """The record that a query shows: its table, the argument that is its key, and figures.

    Each figure of `sums` is the sum of fields of the record, some with a minus before their name.
    """

    table: str
    key: str
    sums: Mapping[str, Sequence[str]]


class Operation(NamedTuple):
    """An action or a query of a contract.

    A query may rest on one record. An action with `approvers` proposes, and one of these decides.
    """

    contract: str
    name: str
    doc: str
    schema: dict[str, Any]
    roles: tuple[str, ...]
    sealed: bool
    ticket: bool
    rests_on: RestsOn | None
    approvers: tuple[str, ...] = ()


def find(interface: Schema, kind: str, contract: str, name: str) -> Operation:
    """The action or query (`kind` "actions" or "queries"); raises `Refused` `NOT_FOUND`."""
    operations = _contract(interface, contract).get(kind, {})
    found = operations.get(name)
    if found is None:
        raise Refused("NOT_FOUND", f"{contract} has no {name}; its {kind} are {_list(operations)}")
    rests_on = found.get("rests_on")
    return Operation(
        contract,
        name,
        found.get("doc", ""),
        found["args"],
        tuple(found.get("roles", ())),
        bool(found.get("sealed", False)),
        bool(found.get("ticket", False)),
        RestsOn(**rests_on) if rests_on else None,
        tuple(found.get("approvers", ())),
    )


def operations(interface: Schema, kind: str) -> list[dict[str, Any]]:
    """All actions or queries, one row each."""
    return [
        {
            "contract": contract,
            "name": name,
            "fields": list(found["args"].get("properties", {})),
            "doc": found.get("doc", ""),
        }
        for contract, content in interface.items()
        for name, found in content.get(kind, {}).items()
    ]


def fields(operation: Operation) -> list[dict[str, Any]]:
    """What the arguments are, one row each."""
    required = operation.schema.get("required", [])
    return [
        {
            "field": f"--{name}",
            "type": _type_name(schema),
            "needed": name in required,
            "default": schema.get("default", ""),
            "doc": schema.get("description", ""),
        }
        for name, schema in operation.schema.get("properties", {}).items()
    ]


def arguments_of_words(
    operation: Operation, words: Sequence[str], lookup: KeyLookup
) -> dict[str, Value]:
    """Arguments of `--field value` pairs; raises `Refused` `BAD_ARG`.

    Text stands for itself; lists and objects are JSON; `@NAME` in a field of bytes is the public
    key of that name.
    """
    properties = operation.schema.get("properties", {})
    given: dict[str, Any] = {}
    for name, text in _pairs(words):
        field = name if name in properties else name.replace("-", "_")
        if field in given:
            raise Refused("BAD_ARG", f"--{name} is given twice", field=field)
        given[field] = _from_text(properties.get(field, {}), text, field, lookup)
    return arguments_from_json(operation.schema, given)


def arguments_of_json(operation: Operation, text: str) -> dict[str, Value]:
    """Arguments of a JSON object; raises `Refused` `BAD_ARG`."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("BAD_ARG", "--args is not one JSON value") from None
    return arguments_from_json(operation.schema, given)


def ticket_terms(
    operation: Operation, values: Mapping[str, Value], now_ms: int
) -> dict[str, Value]:
    """What the second party signs: all arguments but the ticket, defaults and an end included."""
    if not operation.ticket:
        raise Refused("NO_TICKET", f"{operation.contract} {operation.name} takes no ticket")
    terms: dict[str, Value] = {
        name: schema["default"]
        for name, schema in operation.schema.get("properties", {}).items()
        if schema.get("default") is not None
    }
    terms[TICKET_UNTIL] = now_ms + TICKET_FOR_MS
    terms |= {name: value for name, value in values.items() if value is not None}
    terms.pop(TICKET, None)
    return dict(sorted(terms.items()))


def with_ticket(
    chain: Chain,
    key: PrivateKey,
    operation: Operation,
    given: Mapping[str, Value],
    now_ms: int,
) -> dict[str, Value]:
    """All arguments with the second party's ticket, signed by its key."""
    terms = ticket_terms(operation, given, now_ms)
    signature = sign_ticket(chain, key, operation.contract, operation.name, terms)
    return {**terms, TICKET: signature}


def without_ticket(operation: Operation) -> Operation:
    """The same operation for the party that is about to make the ticket."""
    schema = dict(operation.schema)
    absent = (TICKET, TICKET_UNTIL)
    schema["required"] = [name for name in schema.get("required", []) if name not in absent]
    return operation._replace(schema=schema)


def read_record(interface: Schema, contract: str, table: str, value: bytes) -> dict[str, Any]:
    """The JSON form of a record's canonical bytes, by its table's schema; raises `Refused`."""
    tables = _contract(interface, contract).get("tables", {})
    if table not in tables:
        raise Refused("NOT_FOUND", f"{contract} has no table {table}; it has {_list(tables)}")
    record = _name_fields(tables[table]["record"], decode(value))
    if not isinstance(record, dict):
        raise Refused("BAD_SHAPE", f"the record is none of {contract}/{table}")
    return record


def sums_of(sums: Mapping[str, Sequence[str]], record: Mapping[str, Any]) -> dict[str, str]:
    """The figures of `RestsOn.sums`, from the JSON form of a record."""
    return {name: str(sum(_signed(term, record) for term in terms)) for name, terms in sums.items()}


def _signed(term: str, record: Mapping[str, Any]) -> int:
    amount = int(record[term.removeprefix("-")])
    return -amount if term.startswith("-") else amount


def _name_fields(schema: Schema, value: Value) -> Any:
    """Positional arrays become objects where the schema names their fields."""
    if value is not None and "anyOf" in schema:
        schema = next((one for one in schema["anyOf"] if one.get("type") != "null"), schema)
    if isinstance(value, list) and schema.get("type") == "object":
        names = list(schema["properties"])
        # What an earlier version of its contract wrote may lack the last fields.
        if not len(schema.get("required", names)) <= len(value) <= len(names):
            raise Refused("BAD_SHAPE", "the record has another number of fields than its schema")
        return {
            name: _name_fields(schema["properties"][name], item)
            for name, item in zip(names, value, strict=False)
        }
    if isinstance(value, list):
        return [_name_fields(schema.get("items", {}), item) for item in value]
    return to_json(value)


def _contract(interface: Schema, contract: str) -> Schema:
    found = interface.get(contract)
    if not isinstance(found, Mapping):
        raise Refused("NOT_FOUND", f"no contract {contract}; there are {_list(interface)}")
    return found


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    pairs, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            raise Refused("BAD_ARG", f"{word!r} stands where a --field was expected")
        name, equals, text = word[2:].partition("=")
        if not equals:
            if not rest:
                raise Refused("BAD_ARG", f"--{name} has no value", field=name)
            text = rest.pop(0)
        pairs.append((name, text))
    return pairs


def _from_text(schema: Schema, text: str, field: str, lookup: KeyLookup) -> Any:
    kind = schema.get("type")
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind in ("array", "object") or "anyOf" in schema:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise Refused("BAD_ARG", f"{field} must be JSON", field=field) from None
    if schema.get("format") == "bytes" and text.startswith("@"):
        return lookup(text[1:])
    return text


def _type_name(schema: Schema) -> str:
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if schema.get("format") == "bytes":
        digits = str(schema.get("pattern", "")).partition("{")[2].partition("}")[0]
        return f"{int(digits) // 2} bytes in hex" if digits.isdecimal() else "bytes in hex"
    name = str(schema.get("type", "JSON"))
    if "minimum" in schema and schema["minimum"] not in (0, None):
        name += f" ≥ {schema['minimum']}"
    return name


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "none"

"""The interface of all contracts as JSON Schema: what clients know them by.

Command groups, forms, argument parsing and the OpenAPI document are made from it. Integers are
`integer` with their bounds, bytes are `string` with format `bytes` (lowercase hex).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from contracts.kernel.contract import Contract, Governed, Query
from contracts.kernel.state import Table
from contracts.kernel.types import FINAL_ERRORS, GENERAL_ERRORS, Args

Schema = dict[str, Any]


def interface(contracts: Mapping[str, Contract]) -> dict[str, Schema]:
    """Per contract its actions, queries, tables, error codes in precedence, and events."""
    return {name: _contract(contract) for name, contract in contracts.items()}


def _contract(contract: Contract) -> Schema:
    return {
        "actions": {
            name: {
                "doc": _doc(action.run),
                "args": _arguments(action.args),
                "roles": list(action.roles),
                "sealed": contract.sealed,
                "ticket": "ticket" in action.args.model_fields,
            }
            for name, action in contract.actions.items()
        }
        | {name: _governed(contract, one) for name, one in contract.governed.items()},
        "queries": {
            name: {"doc": _doc(query.run), "args": _arguments(query.args), **_rests_on(query)}
            for name, query in contract.queries.items()
        },
        "tables": {table.name.partition("/")[2]: _table(table) for table in contract.tables},
        "errors": [*GENERAL_ERRORS, *contract.errors, *FINAL_ERRORS],
        "events": list(contract.events),
    }


def _governed(contract: Contract, governed: Governed) -> Schema:
    """A governed change as the action that proposes it; `approvers` are the others' roles."""
    return {
        "doc": f"Propose: {_doc(governed.apply)}",
        "args": _arguments(governed.args),
        "roles": list(governed.proposers),
        "approvers": list(governed.approvers),
        "sealed": contract.sealed,
        "ticket": False,
    }


def _rests_on(query: Query) -> Schema:
    if query.rests_on is None:
        return {}
    table, key = query.rests_on
    sums = {name: list(terms) for name, terms in query.sums.items()}
    return {"rests_on": {"table": table.name.partition("/")[2], "key": key, "sums": sums}}


def _doc(function: Callable[..., object]) -> str:
    return " ".join((function.__doc__ or "").split())


def _arguments(model: type[Args]) -> Schema:
    given = model.model_json_schema(by_alias=True)
    schema: Schema = _written_out(given, given.pop("$defs", {}))
    schema["properties"] = {
        name: _simple(field) for name, field in schema.get("properties", {}).items()
    }
    schema["description"] = _doc_of(model)
    return schema


def _written_out(value: Any, definitions: Schema) -> Any:
    """A schema without titles, and with its definitions in the places that refer to them."""
    if isinstance(value, list):
        return [_written_out(one, definitions) for one in value]
    if not isinstance(value, dict):
        return value
    name = value.get("$ref", "").removeprefix("#/$defs/")
    if name:
        return _written_out(definitions[name], definitions)
    return {
        key: _written_out(one, definitions)
        for key, one in value.items()
        if key != "title" or not isinstance(one, str)
    }


def _simple(field: Schema) -> Schema:
    """A field's schema; an optional one is simply not required."""
    options = [one for one in field.pop("anyOf", []) if one != {"type": "null"}]
    if len(options) == 1:
        field = {**options[0], **field}
    if field.get("default", "") is None:
        del field["default"]
    return field


def _doc_of(model: type) -> str:
    return " ".join((model.__doc__ or "").split())


def _table(table: Table[Any]) -> Schema:
    record = _record(table.record)
    return {"public": table.public, "key": table.key, "record": record}


def _record(record: type) -> Schema:
    hints = get_type_hints(record)
    fields: tuple[str, ...] = record.__struct_fields__  # type: ignore[attr-defined]
    defaults: tuple[Any, ...] = record.__struct_defaults__  # type: ignore[attr-defined]
    return {
        "type": "object",
        "description": _doc_of(record),
        "properties": {name: _value(hints[name]) for name in fields},
        "required": list(fields[: len(fields) - len(defaults)]),
    }


def _value(kind: Any) -> Schema:
    """The schema of one field of a record."""
    simple: dict[Any, Schema] = {
        int: {"type": "integer"},
        bool: {"type": "boolean"},
        str: {"type": "string"},
        bytes: {"type": "string", "format": "bytes"},
        type(None): {"type": "null"},
    }
    if kind in simple:
        return simple[kind]
    if get_origin(kind) in (Union, types.UnionType):
        return {"anyOf": [_value(one) for one in get_args(kind)]}
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _value(get_args(kind)[0])}
    assert issubclass(kind, msgspec.Struct), f"no schema for {kind}"
    return _record(kind)

"""The OpenAPI 3.1 document, made of the route table and the contracts' interface.

Each route becomes an operation, each contract query a concrete path with the schema of its
arguments, each action a schema. Integers in arguments may be decimal strings too, as in all of
this API's JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from node.http.errors import PROBLEM_TYPE
from node.http.requests import Parameter
from node.http.routing import JSON_TYPE, Route

QUERY_PATH = "/v1/contracts/{contract}/queries/{query}"
_PROBLEM = {"$ref": "#/components/responses/Problem"}
_DECIMAL = {"type": "string", "pattern": "^-?(0|[1-9][0-9]*)$"}
_NAME = "^[a-z][a-z0-9_]{0,63}$"
_SEGMENT = re.compile(r"{(\w+)}")

_PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "block": {
        "type": "string",
        "pattern": "^([0-9]{1,18}|[0-9a-f]{64}|latest)$",
        "description": "height, block id in hex, or `latest`",
    },
    "contract": {"type": "string", "pattern": _NAME},
    "query": {"type": "string", "pattern": _NAME},
    "table": {"type": "string", "pattern": _NAME},
    "id": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "key": {"type": "string", "pattern": "^([0-9a-f]{2})+$"},
    "account": {"type": "string", "pattern": "^([0-9a-f]{2})+$"},
}

_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457: branch on `code`; `detail` is for people and may change",
    "required": ["type", "title", "status", "detail", "code", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$"},
        "instance": {"type": "string"},
        "details": {"type": "object"},
    },
}


def build_document(
    routes: Iterable[Route], interface: Mapping[str, Any], version: str
) -> dict[str, Any]:
    """The document for these routes and contracts."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    for contract, described in interface.items():
        for query, asked in described["queries"].items():
            path = QUERY_PATH.format(contract=contract, query=query)
            paths[path] = {"post": _query_operation(contract, query, asked)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Groat node",
            "version": version,
            "description": "Amounts, heights and sequences are decimal strings, bytes are "
            "lowercase hex, times are RFC 3339 UTC. Every error is a problem document.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM_SCHEMA, **_action_schemas(interface)},
            "responses": {
                "Problem": {
                    "description": "what was wrong",
                    "content": {PROBLEM_TYPE: {"schema": _reference("Problem")}},
                }
            },
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters = [_path_parameter(name) for name in _SEGMENT.findall(route.path)]
    parameters += [_query_parameter(one) for one in route.parameters or ()]
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            **{
                str(status): {
                    "description": meaning,
                    "content": {route.answer_type: {"schema": _answer_schema(route)}},
                }
                for status, meaning in route.answers.items()
            },
            "default": _PROBLEM,
        },
        "security": [{}, {"session": []}],
    }
    if route.body is not None:
        content = {kind: {"schema": schema} for kind, schema in route.body.content.items()}
        operation["requestBody"] = {"required": route.body.required, "content": content}
    return operation


def _query_operation(contract: str, query: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "operationId": f"query_{contract}_{query}",
        "summary": asked["doc"],
        "tags": [contract],
        "requestBody": {
            "required": bool(asked["args"].get("required")),
            "content": {JSON_TYPE: {"schema": _argument_schema(asked["args"])}},
        },
        "responses": {
            "200": {
                "description": "the result at a height",
                "content": {JSON_TYPE: {"schema": {"type": "object"}}},
            },
            "default": _PROBLEM,
        },
        "security": [{}, {"session": []}],
    }


def _action_schemas(interface: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of each action, which travel inside transactions, as `contract.action`."""
    return {
        f"{contract}.{name}": {**_argument_schema(action["args"]), "description": action["doc"]}
        for contract, described in interface.items()
        for name, action in described["actions"].items()
    }


def _argument_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An argument schema as JSON over HTTP may carry it: definitions in place, long integers."""
    definitions = schema.get("$defs", {})

    def adapt(value: Any) -> Any:
        if isinstance(value, list):
            return [adapt(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return adapt(definitions[value["$ref"].removeprefix("#/$defs/")])
        adapted = {key: adapt(item) for key, item in value.items() if key != "$defs"}
        if value.get("type") == "integer":
            return {"anyOf": [adapted, _DECIMAL]}
        return adapted

    result: dict[str, Any] = adapt(dict(schema))
    return result


def _answer_schema(route: Route) -> dict[str, Any]:
    return {"type": "object"} if route.answer_type == JSON_TYPE else {"type": "string"}


def _path_parameter(name: str) -> dict[str, Any]:
    schema = _PATH_PARAMETERS.get(name, {"type": "string"})
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema)
    if isinstance(parameter.default, bool | int | float | str):
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.doc,
        "schema": schema,
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}

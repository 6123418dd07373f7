"""How canonical values look in JSON, both ways.

Out: integers are decimal strings, because JavaScript loses them beyond 2^53; bytes are lowercase
hex; times are RFC 3339 UTC; records are objects by field name. In: what a person or a program
typed becomes typed values by the JSON Schema of `interface.json`, and whatever it does not describe
is refused by the name of the field. Ranges and meaning are checked by the contract, not here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from node.protocol.encoding import VALUE_DEPTH_MAX, Value
from node.protocol.errors import Refused

INTEGER_MIN = -(1 << 63)
INTEGER_MAX = (1 << 64) - 1
_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,19}")
_HEX = re.compile(r"([0-9a-f]{2})*")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,3})?Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BYTES_FORMATS = frozenset({"bytes", "binary"})


def to_json(value: object) -> Any:
    """The JSON form of a `Value` or a record."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return {name: to_json(getattr(value, name)) for name in value.__struct_fields__}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def time_to_json(time_ms: int) -> str:
    """ms since 1970 as RFC 3339 UTC with milliseconds; beyond year 9999, the last moment of it."""
    try:
        moment = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return "9999-12-31T23:59:59.999Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def time_from_json(text: str) -> int:
    """ms since 1970 of an RFC 3339 UTC time; raises `Refused` `BAD_ARG`."""
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _bad("time", "must be RFC 3339 UTC, such as 2026-01-31T08:00:00Z") from None
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def bytes_from_json(text: object, field: str, length: int | None = None) -> bytes:
    """Bytes of lowercase hex, `length` of them if given; raises `Refused` `BAD_ARG`."""
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise _bad(field, "must be lowercase hex")
    if length is not None and len(text) != 2 * length:
        raise _bad(field, f"must be {length} bytes in hex")
    return bytes.fromhex(text)


def integer_from_json(given: object, field: str) -> int:
    """An integer written as a decimal string or a JSON integer; raises `Refused` `BAD_ARG`."""
    if isinstance(given, float):
        raise _bad(field, "floats do not exist here; use an integer of minor units")
    if isinstance(given, str) and _DECIMAL.fullmatch(given):
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool):
        raise _bad(field, "must be a decimal integer")
    if not INTEGER_MIN <= given <= INTEGER_MAX:
        raise _bad(field, "is beyond 64 bits")
    return given


def arguments_from_json(schema: dict[str, Any], given: object) -> dict[str, Value]:
    """Typed arguments of an action or query, by its JSON Schema in `interface.json`.

    Integers may be decimal strings or JSON integers; fields with format `bytes` are lowercase hex.
    Raises `Refused` `BAD_ARG` naming the field that is unknown, missing or of another type.
    """
    definitions = schema.get("$defs", {})
    value = _convert(schema, definitions, given, "", 0)
    if not isinstance(value, dict):
        raise _bad("args", "must be an object")
    return value


def _convert(
    schema: dict[str, Any], definitions: dict[str, Any], given: object, field: str, depth: int
) -> Value:
    if depth > VALUE_DEPTH_MAX:
        raise _bad(field, f"is nested deeper than {VALUE_DEPTH_MAX}")
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        return _convert_any(schema["anyOf"], definitions, given, field, depth)
    match schema.get("type"):
        case "object":
            return _convert_object(schema, definitions, given, field, depth)
        case "array":
            if not isinstance(given, list):
                raise _bad(field, "must be a list")
            items = schema.get("items", {})
            return [
                _convert(items, definitions, item, f"{field}[{index}]", depth + 1)
                for index, item in enumerate(given)
            ]
        case "integer":
            return integer_from_json(given, field)
        case "boolean":
            if not isinstance(given, bool):
                raise _bad(field, "must be true or false")
            return given
        case "null":
            if given is not None:
                raise _bad(field, "must be null")
            return None
        case "string":
            if schema.get("format") in _BYTES_FORMATS:
                return bytes_from_json(given, field)
            return _text(given, field)
    if "const" in schema or "enum" in schema:
        return _text(given, field)
    raise _bad(field, "has a type that the interface does not describe")


def _convert_any(
    options: list[dict[str, Any]],
    definitions: dict[str, Any],
    given: object,
    field: str,
    depth: int,
) -> Value:
    refusal = _bad(field, "fits none of the types allowed")
    for option in options:
        try:
            return _convert(option, definitions, given, field, depth)
        except Refused as one:
            if option.get("type") != "null":
                refusal = one
    raise refusal


def _convert_object(
    schema: dict[str, Any], definitions: dict[str, Any], given: object, field: str, depth: int
) -> dict[str, Value]:
    if not isinstance(given, dict):
        raise _bad(field, "must be an object")
    properties: dict[str, Any] = schema.get("properties", {})
    others = schema.get("additionalProperties", False)
    prefix = f"{field}." if field else ""
    for name in schema.get("required", []):
        if name not in given:
            raise _bad(f"{prefix}{name}", "is missing")
    values: dict[str, Value] = {}
    for name, item in given.items():
        inner = properties.get(name, others)
        if not isinstance(inner, dict):
            raise _bad(f"{prefix}{name}", "is not a field of this")
        values[name] = _convert(inner, definitions, item, f"{prefix}{name}", depth + 1)
    return values


def _text(given: object, field: str) -> str:
    if not isinstance(given, str):
        raise _bad(field, "must be text")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise _bad(field, "is not valid Unicode") from None
    return given


def _bad(field: str, message: str) -> Refused:
    field = field or "args"
    return Refused("BAD_ARG", f"{field} {message}", field=field)

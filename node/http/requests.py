"""Reading requests: bounded bodies, strict JSON, declared parameters.

A body is read up to a named limit and within a named time. JSON refuses what parsers differ on:
duplicate keys, floats, NaN, deep nesting, lone surrogates, trailing garbage. Query parameters are
declared in the route table, which feeds OpenAPI too; undeclared or repeated ones are refused.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from aiohttp import web

from node.protocol.errors import Refused
from node.protocol.json_view import time_from_json

JSON_BYTES_MAX = 64 * 1024
JSON_DEPTH_MAX = 8
INTEGER_CHARS_MAX = 20
BODY_TIMEOUT_S = 10.0
LARGE_BODIES_BYTES_MAX = 256 << 20
WAIT_S_MAX = 60.0

_HEX = re.compile(r"([0-9a-f]{2})+")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_SECONDS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter: how it is read, and how OpenAPI describes it."""

    name: str
    read: Callable[[str, str], Any]
    schema: dict[str, Any]
    default: Any
    doc: str


def integer(name: str, doc: str, default: int | None, low: int, high: int) -> Parameter:
    """A decimal integer in [low, high]."""

    def read(field: str, text: str) -> int:
        if not _DECIMAL.fullmatch(text) or not low <= int(text) <= high:
            _bad_parameter(field, f"must be an integer from {low} to {high}")
        return int(text)

    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    return Parameter(name, read, schema, default, doc)


def seconds(name: str, doc: str, default: float) -> Parameter:
    """A duration in seconds, decimals allowed, at most `WAIT_S_MAX`."""

    def read(field: str, text: str) -> float:
        if not _SECONDS.fullmatch(text) or float(text) > WAIT_S_MAX:
            _bad_parameter(field, f"must be seconds from 0 to {WAIT_S_MAX:.0f}")
        return float(text)

    schema = {"type": "number", "minimum": 0, "maximum": WAIT_S_MAX}
    return Parameter(name, read, schema, default, doc)


def choice(name: str, doc: str, default: str, options: Sequence[str]) -> Parameter:
    """One word out of `options`."""

    def read(field: str, text: str) -> str:
        if text not in options:
            _bad_parameter(field, f"must be one of {', '.join(options)}")
        return text

    return Parameter(name, read, {"type": "string", "enum": list(options)}, default, doc)


def choices(name: str, doc: str, options: Sequence[str]) -> Parameter:
    """Some of `options`, comma-separated; all of them by default."""

    def read(field: str, text: str) -> frozenset[str]:
        words = frozenset(text.split(","))
        if not words <= frozenset(options):
            _bad_parameter(field, f"must be some of {', '.join(options)}")
        return words

    return Parameter(name, read, {"type": "string"}, frozenset(options), doc)


def flag(name: str, doc: str) -> Parameter:
    """`true` or `false`, false by default."""

    def read(field: str, text: str) -> bool:
        if text not in ("true", "false"):
            _bad_parameter(field, "must be true or false")
        return text == "true"

    return Parameter(name, read, {"type": "boolean"}, False, doc)


def word(name: str, doc: str) -> Parameter:
    """A short name, absent by default."""

    def read(field: str, text: str) -> str:
        if not 1 <= len(text) <= 64:
            _bad_parameter(field, "must have 1 to 64 characters")
        return text

    return Parameter(name, read, {"type": "string", "maxLength": 64}, None, doc)


def moment(name: str, doc: str) -> Parameter:
    """An RFC 3339 UTC time, read as ms since 1970; absent by default."""

    def read(field: str, text: str) -> int:
        try:
            return time_from_json(text)
        except Refused:
            _bad_parameter(field, "must be RFC 3339 UTC, such as 2026-01-31T08:00:00Z")

    return Parameter(name, read, {"type": "string", "format": "date-time"}, None, doc)


def read_parameters(request: web.Request, declared: Sequence[Parameter]) -> dict[str, Any]:
    """The declared query parameters, parsed and defaulted; raises `Refused` `BAD_PARAMETER`."""
    values = {parameter.name: parameter.default for parameter in declared}
    known = {parameter.name: parameter for parameter in declared}
    seen = set()
    for name, text in request.query.items():
        if name not in known:
            _bad_parameter(name, "is not a parameter of this resource")
        if name in seen:
            _bad_parameter(name, "is given twice")
        seen.add(name)
        values[name] = known[name].read(name, text)
    return values


def hex_bytes(text: str, what: str, length: int | None = None, length_max: int = 256) -> bytes:
    """Bytes given in lowercase hex; raises `Refused` `BAD_PARAMETER` naming `what`."""
    if not _HEX.fullmatch(text) or len(text) > 2 * length_max:
        _bad_parameter(what, f"must be at most {length_max} bytes in lowercase hex")
    if length is not None and len(text) != 2 * length:
        _bad_parameter(what, f"must be {length} bytes in lowercase hex")
    return bytes.fromhex(text)


class BodyRoom:
    """The memory for large bodies: all connections share it, and what is beyond is refused."""

    def __init__(self, bytes_max: int = LARGE_BODIES_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self.held = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """A function to take so many bytes with; all is given back at the end.

        It raises `Refused` `OVERLOADED` when there is no room left.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self.held + size > self._bytes_max:
                raise Refused("OVERLOADED", "too many large requests at once; try in a while")
            self.held += size
            taken += size

        try:
            yield take
        finally:
            self.held -= taken


def _plenty(_: int) -> None:
    """Small bodies need no room of their own: the number of connections bounds them."""


async def read_body(
    request: web.Request, bytes_max: int, take: Callable[[int], None] = _plenty
) -> bytes:
    """The whole body; raises `Refused` `TOO_LARGE`, `BODY_TIMEOUT`, `BAD_BODY`, or as `take` does.

    `take` is told of the bytes as they arrive: see `BodyRoom`.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Refused("BAD_CONTENT_TYPE", "send the body without content encoding")
    if request.content_length is not None and request.content_length > bytes_max:
        raise Refused("TOO_LARGE", f"the body may have {bytes_max} bytes")
    chunks = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > bytes_max:
                    raise Refused("TOO_LARGE", f"the body may have {bytes_max} bytes")
                take(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise Refused("BODY_TIMEOUT", f"no whole body within {BODY_TIMEOUT_S:.0f} s") from None
    except web.RequestPayloadError:
        raise Refused("BAD_BODY", "the body's framing is broken") from None
    return b"".join(chunks)


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    if request.body_exists and request.content_type != "application/json":
        raise Refused("BAD_CONTENT_TYPE", "send application/json")
    raw = await read_body(request, JSON_BYTES_MAX)
    value = parse_json(raw) if raw else {}
    if not isinstance(value, dict):
        raise Refused("BAD_SHAPE", "the body must be a JSON object")
    return value


def parse_json(raw: bytes) -> Any:
    """The one value in `raw`; raises `Refused` with the code of what is wrong with the text."""
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_float=_no_float,
            parse_constant=_no_float,
            parse_int=_bounded,
        )
    except UnicodeDecodeError:
        raise Refused("BAD_UTF8", "the body is not valid UTF-8") from None
    except RecursionError:
        raise Refused("TOO_DEEP", f"nested deeper than {JSON_DEPTH_MAX}") from None
    except json.JSONDecodeError as error:
        raise Refused("BAD_JSON", f"not one JSON value: see character {error.pos}") from None
    _check(value, 0)
    return value


def _check(value: object, depth: int) -> None:
    if depth >= JSON_DEPTH_MAX and isinstance(value, dict | list):
        raise Refused("TOO_DEEP", f"nested deeper than {JSON_DEPTH_MAX}")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("BAD_UTF8", "text holds half of a surrogate pair") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise Refused("DUPLICATE_KEY", "an object names the same key twice")
    return mapping


def _no_float(text: str) -> NoReturn:
    raise Refused("FLOAT", "floats do not exist here; use integer minor units")


def _bounded(text: str) -> int:
    if len(text) > INTEGER_CHARS_MAX:
        raise Refused("BAD_NUMBER", f"an integer has at most {INTEGER_CHARS_MAX} characters")
    return int(text)


def _bad_parameter(field: str, message: str) -> NoReturn:
    raise Refused("BAD_PARAMETER", f"{field[:64]} {message}", field=field[:64])

"""Checking arguments: one bad field, named, in our own words and never in a library's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import ValidationError

from contracts.kernel.types import Args, Rejected

A = TypeVar("A", bound=Args)

_WORDS = {
    "missing": "missing",
    "extra_forbidden": "unknown field",
    "greater_than_equal": "out of range",
    "less_than_equal": "out of range",
    "too_short": "wrong length",
    "too_long": "wrong length",
    "string_too_short": "wrong length",
    "string_too_long": "wrong length",
    "bytes_too_short": "wrong length",
    "bytes_too_long": "wrong length",
    "literal_error": "not one of the choices",
    "string_pattern_mismatch": "not acceptable",
    "value_error": "not acceptable",
}


def parse_arguments(model: type[A], given: Mapping[str, Any]) -> A:
    """The typed arguments; rejects with `BAD_ARG`, the first bad `field`, and `why`."""
    if len(given) > len(model.model_fields):
        # The library would describe each of the fields that are too many: 64 KiB of them.
        unknown = next(name for name in given if name not in _names(model))
        raise Rejected("BAD_ARG", field=unknown[:64] or "args", why="unknown field")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "args"
        why = _WORDS.get(first["type"], "wrong type")
    raise Rejected("BAD_ARG", field=field[:64], why=why)


@lru_cache(maxsize=256)
def _names(model: type[Args]) -> frozenset[str]:
    return frozenset([field.alias or name for name, field in model.model_fields.items()])

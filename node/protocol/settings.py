"""Strict settings: what an operator wrote in a file, as frozen pydantic models.

A wrong file is answered in one line that names the key; pydantic's own wording of where and why is
shortened here. No setting is defined in this module.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from node.protocol.errors import Misconfigured

PORT_MAX = 65_535
ANY_HOST = "0.0.0.0"

_NAME = r"^[a-z0-9][a-z0-9_.-]{0,31}$"
_HOST_PORT = r"^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$"
_HTTP_URL = r"^https?://[^\s/]{1,260}$"
# What people are told instead of a pattern.
_FORMS = {
    _NAME: "must be a name of up to 32 characters a-z 0-9 . _ - that begins with a-z 0-9",
    _HOST_PORT: "must be HOST:PORT",
    _HTTP_URL: "must be http://HOST:PORT or https://HOST, without a path",
}

S = TypeVar("S", bound="Settings")

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HexKey = Annotated[str, Field(pattern=r"^0[23][0-9a-f]{64}$")]
HexBytes = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]
# A name becomes a file name and a command-line argument.
ShortName = Annotated[str, Field(pattern=_NAME)]
HostPort = Annotated[str, Field(pattern=_HOST_PORT)]
HttpUrl = Annotated[str, Field(pattern=_HTTP_URL)]


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def _has_port(address: str) -> str:
    if not 1 <= split_address(address)[1] <= PORT_MAX:
        raise ValueError(f"the port must be between 1 and {PORT_MAX}")
    return address


def _is_somewhere(address: str) -> str:
    if split_address(address)[0] == ANY_HOST:
        raise ValueError(f"others cannot dial {ANY_HOST}; give the host's own name or address")
    return address


ListenAddress = Annotated[HostPort, AfterValidator(_has_port)]
DialAddress = Annotated[ListenAddress, AfterValidator(_is_somewhere)]


class Settings(BaseModel):
    """Base of every settings model: no coercion, no unknown key, no change."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def parse_settings(model: type[S], text: str | bytes, source: str) -> S:
    """The settings in JSON `text`; raises `Misconfigured` `BAD_CONFIG` naming `source` and key."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise misconfigured(error, source) from None


def misconfigured(error: ValidationError, source: str) -> Misconfigured:
    """The first fault of a pydantic error as one line."""
    first: Any = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    reason = {
        "missing": "is missing; add it",
        "extra_forbidden": "is not a setting; remove it or check its spelling",
        "json_invalid": "is not valid JSON",
        "string_pattern_mismatch": _FORMS.get(first.get("ctx", {}).get("pattern"), first["msg"]),
    }.get(first["type"], first["msg"].removeprefix("Value error, "))
    return Misconfigured("BAD_CONFIG", f"{source}: {key}: {reason}", key=key)

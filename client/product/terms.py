"""A product's terms: what a seller writes in a TOML file, as attributes of the code and as a call.

    product = "steel-and-ink"            [[degrees]]
    name = "Steel and Ink"               price = 1800
    kind = "CONTENT"                     about = "the whole book, two devices"
    media_type = "text/plain"            machines = 2
    cur = "CNY"                          rights = { read = 0, copy = 2000 }
    agents = ["agent-1", "agent-2"]      file = "book.txt"
    shares_needed = 2

Agents are key names or public keys in hex; a degree without a file gives more rights only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from client.folder import read_file
from client.product import code as codes
from client.product.packing import Packed
from node.protocol.domain import Chain
from node.protocol.encoding import Value
from node.protocol.errors import Misconfigured
from node.protocol.json_view import bytes_from_json
from node.protocol.keys import PUBLIC_KEY_BYTES
from node.protocol.settings import Settings, misconfigured

Word = Annotated[str, Field(min_length=1, max_length=64)]
Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]


class DegreeTerms(Settings):
    """A degree as the file has it; `rights` maps each to its limit, 0 for none."""

    price: Annotated[int, Field(ge=1, le=(1 << 63) - 1)]
    about: Annotated[str, Field(max_length=200)] = ""
    channels: Annotated[int, Field(ge=1, le=4)] = 1
    machines: Annotated[int, Field(ge=1, le=32)] = 1
    transferable: bool = False
    lasts_ms: Count = 0
    rights: Annotated[dict[str, Count], Field(min_length=1, max_length=16)]
    file: str | None = None


class Terms(Settings):
    """The whole file."""

    product: Word
    name: Word
    kind: Literal["CONTENT", "TICKET", "PROCESS"] = "CONTENT"
    media_type: Word = "application/octet-stream"
    cur: Word = "CNY"
    agents: Annotated[list[str], Field(min_length=1, max_length=8)]
    shares_needed: Annotated[int, Field(ge=1, le=8)]
    degrees: Annotated[list[DegreeTerms], Field(min_length=1, max_length=3)]


def load(path: Path) -> Terms:
    """The terms in a file; raises `Misconfigured` `BAD_CONFIG` naming the key."""
    try:
        return Terms.model_validate(tomllib.loads(read_file(path).decode()))
    except ValidationError as error:
        raise misconfigured(error, str(path)) from None
    except ValueError as error:
        raise Misconfigured("BAD_CONFIG", f"{path}: {error}") from None


def files_of(terms: Terms, folder: Path) -> dict[int, tuple[str, bytes]]:
    """Name and content of each degree's file, by degree; paths are relative to the terms."""
    return {
        number: (Path(degree.file).name, read_file(folder / degree.file))
        for number, degree in enumerate(terms.degrees, 1)
        if degree.file is not None
    }


def attributes_of(
    terms: Terms, chain: Chain, public_key_of: Callable[[str], str]
) -> codes.Attributes:
    """The attributes that the code carries; `public_key_of` gives the hex key of a name."""
    return codes.Attributes(
        network=chain.network,
        product=terms.product,
        name=terms.name,
        kind=terms.kind,
        media_type=terms.media_type,
        cur=terms.cur,
        degrees=tuple(
            codes.Degree(
                one.price,
                one.about,
                one.machines,
                one.transferable,
                tuple(codes.Right(item, limit) for item, limit in sorted(one.rights.items())),
            )
            for one in terms.degrees
        ),
        agents=tuple(_agent(agent, public_key_of) for agent in terms.agents),
        shares_needed=terms.shares_needed,
    )


def _agent(agent: str, public_key_of: Callable[[str], str]) -> bytes:
    text = agent if len(agent) == 2 * PUBLIC_KEY_BYTES else public_key_of(agent)
    return bytes_from_json(text, "agents", PUBLIC_KEY_BYTES)


def publication(terms: Terms, packed: Packed) -> dict[str, Value]:
    """The arguments with which the product is published on chain."""
    attributes = packed.code.content.attributes
    degrees: list[dict[str, Any]] = [
        {
            "price": one.price,
            "channels": one.channels,
            "machines": one.machines,
            "transferable": one.transferable,
            "lasts_ms": one.lasts_ms,
            "rights": [
                {"item": item, "limit": limit} for item, limit in sorted(one.rights.items())
            ],
            "commitments": list(commitments),
        }
        for one, commitments in zip(terms.degrees, packed.commitments, strict=True)
    ]
    return {
        "product": attributes.product,
        "code_hash": packed.code.hash,
        "name": attributes.name,
        "kind": attributes.kind,
        "cur": attributes.cur,
        "degrees": degrees,
        "agents": list(attributes.agents),
        "shares_needed": attributes.shares_needed,
    }


def shown(code: codes.Code) -> dict[str, Any]:
    """The three parts of a code, for people and programs (R5.3)."""
    content = code.content
    attributes = content.attributes
    return {
        "code_hash": code.hash.hex(),
        "bytes": len(code.raw),
        "seller": content.seller.hex(),
        "attributes": {
            "product": attributes.product,
            "name": attributes.name,
            "kind": attributes.kind,
            "media_type": attributes.media_type,
            "cur": attributes.cur,
            "shares_needed": attributes.shares_needed,
            "agents": [agent.hex() for agent in attributes.agents],
        },
        "degrees": [
            {
                "degree": number,
                "price": str(one.price),
                "about": one.about,
                "machines": one.machines,
                "transferable": one.transferable,
                "rights": {right.item: str(right.limit) for right in one.rights},
            }
            for number, one in enumerate(attributes.degrees, 1)
        ],
        "program": [[step.op, step.argument] for step in content.program],
        "parts": [
            {"degree": part.degree, "name": part.name, "sealed_bytes": len(part.sealed)}
            for part in content.parts
        ],
    }

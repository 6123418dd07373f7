"""The integration code: release program, sealed product and attributes, signed by the seller.

It is one canonical record, named by its hash, the same as file or as QR symbols. Whoever reads one
checks the seller's signature before anything else; what it sells, and whether that seller may, the
chain says.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from client.product.program import Instruction, Program, check
from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record, encode, sha256
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey, is_valid

FORMAT = 1
MAGIC = b"GROATCODE"
CODE_BYTES_MAX = 8 << 20
DEGREES_MAX = 3
RIGHTS_MAX = 16
AGENTS_MAX = 8

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Key = Annotated[bytes, msgspec.Meta(min_length=33, max_length=33)]
Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Amount = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]


class Right(Record, frozen=True):
    """What may be done, how often; 0 is without limit."""

    item: Text
    limit: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Degree(Record, frozen=True):
    """What is had for `price`: a sentence for people, and rights."""

    price: Amount
    about: Annotated[str, msgspec.Meta(max_length=200)]
    machines: Annotated[int, msgspec.Meta(ge=1, le=32)]
    transferable: bool
    rights: Annotated[tuple[Right, ...], msgspec.Meta(min_length=1, max_length=RIGHTS_MAX)]


class Attributes(Record, frozen=True):
    """What a buyer sees before paying, and what payment data are made of (R5.5)."""

    network: Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
    product: Text
    name: Text
    kind: Literal["CONTENT", "TICKET", "PROCESS"]
    media_type: Text
    cur: Text
    degrees: Annotated[tuple[Degree, ...], msgspec.Meta(min_length=1, max_length=DEGREES_MAX)]
    agents: Annotated[tuple[Key, ...], msgspec.Meta(min_length=1, max_length=AGENTS_MAX)]
    shares_needed: Annotated[int, msgspec.Meta(ge=1, le=AGENTS_MAX)]


class Part(Record, frozen=True):
    """What a degree gives, compressed and then encrypted; `degree` says with whose key."""

    degree: Annotated[int, msgspec.Meta(ge=1, le=DEGREES_MAX)]
    name: Text
    sealed: bytes


class Content(Record, frozen=True):
    """What the seller signs."""

    format: Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)]
    program: Program
    parts: Annotated[tuple[Part, ...], msgspec.Meta(min_length=1, max_length=DEGREES_MAX)]
    attributes: Attributes
    seller: Key


class SignedContent(Record, frozen=True):
    """The content as signed bytes, and the signature."""

    content: bytes
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Code(msgspec.Struct, frozen=True):
    """A code that was read and whose signature is the seller's."""

    content: Content
    hash: bytes
    raw: bytes

    def part(self, degree: int) -> Part:
        """The part of a degree; raises `Refused` `BAD_CODE`."""
        for part in self.content.parts:
            if part.degree == degree:
                return part
        raise Refused("BAD_CODE", f"the code has no part for degree {degree}")


_signed_codec: Codec[SignedContent] = Codec(SignedContent, CODE_BYTES_MAX)
_content_codec: Codec[Content] = Codec(Content, CODE_BYTES_MAX)


def make(
    chain: Chain,
    key: PrivateKey,
    program: tuple[Instruction, ...],
    parts: tuple[Part, ...],
    attributes: Attributes,
) -> Code:
    """Sign a code for a network."""
    content = Content(FORMAT, program, parts, attributes, key.public_key)
    raw = encode(content)
    return read(chain, MAGIC + encode(SignedContent(raw, key.sign(_digest(chain, raw)))))


def read(chain: Chain, raw: bytes) -> Code:
    """The code in `raw`; raises `Refused` `BAD_CODE`, or `BAD_PROGRAM` for what may not run."""
    if not raw.startswith(MAGIC):
        raise Refused("BAD_CODE", "this is no integration code")
    try:
        signed = _signed_codec.decode(raw[len(MAGIC) :])
        content = _content_codec.decode(signed.content)
    except Refused as refusal:
        raise Refused("BAD_CODE", f"the code is damaged ({refusal.code})") from None
    if content.attributes.network != chain.network:
        raise Refused("BAD_CODE", "the code is for another network")
    if not is_valid(content.seller, _digest(chain, signed.content), signed.signature):
        raise Refused("BAD_CODE", "the signature is not its seller's")
    degrees = [part.degree for part in content.parts]
    if sorted(set(degrees)) != degrees or max(degrees) > len(content.attributes.degrees):
        raise Refused("BAD_CODE", "its parts do not fit its degrees")
    check(content.program)
    return Code(content, sha256(b"groat/product/code/1" + raw), raw)


def _digest(chain: Chain, content: bytes) -> bytes:
    return chain.digest("product-code", content)

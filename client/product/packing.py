"""Packing a product: files and terms in, an integration code and the agents' shares out.

Content is compressed and then encrypted, a part for each degree that brings something of its own.
What an agent needs is sealed to its key; the commitments go on chain with the product. Packing
reads its own symbols before it reports success.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from client.product import code as codes
from client.product import keys, program, symbols
from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record, encode
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey
from node.protocol.sealing import open_bytes, seal_bytes

PART_BYTES_MAX = 32 << 20
SHARES_BYTES_MAX = 4_096


class AgentShares(Record, frozen=True):
    """What one agent keeps of one product: its share for each degree, from 1 on."""

    product: str
    code_hash: bytes
    shares: tuple[bytes, ...]


class Packed(NamedTuple):
    """A packed product: the code, sealed shares by agent, commitments by degree and agent."""

    code: codes.Code
    shares: dict[bytes, bytes]
    commitments: list[list[bytes]]


_shares_codec: Codec[AgentShares] = Codec(AgentShares, SHARES_BYTES_MAX)


def pack(
    chain: Chain,
    seller: PrivateKey,
    attributes: codes.Attributes,
    files: Mapping[int, tuple[str, bytes]],
) -> Packed:
    """Seal `files` (name and content by degree) under fresh keys and sign the code."""
    degrees = len(attributes.degrees)
    if not files or not all(1 <= degree <= degrees for degree in files):
        raise Refused("BAD_ARG", f"a file for some of the degrees 1 to {degrees}")
    if any(len(content) > PART_BYTES_MAX for _, content in files.values()):
        raise Refused("TOO_LARGE", f"a part may have {PART_BYTES_MAX} bytes")
    chain_of_keys = keys.fresh_chain(degrees)
    parts = tuple(
        codes.Part(
            degree,
            name,
            keys.seal_part(chain_of_keys[degree], degree, zlib.compress(content, 9)),
        )
        for degree, (name, content) in sorted(files.items())
    )
    sizes = {degree: len(content) for degree, (_, content) in files.items()}
    code = codes.make(chain, seller, program.standard(sizes), parts, attributes)
    agents = attributes.agents
    split = [
        keys.split(chain_of_keys[degree], attributes.shares_needed, len(agents))
        for degree in range(1, degrees + 1)
    ]
    commitments = [
        [
            keys.commitment(attributes.product, degree, place, share)
            for place, share in enumerate(shares)
        ]
        for degree, shares in enumerate(split, 1)
    ]
    sealed = {
        agent: _seal(agent, code, tuple(shares[place] for shares in split))
        for place, agent in enumerate(agents)
    }
    return Packed(code, sealed, commitments)


def _seal(agent: bytes, code: codes.Code, shares: tuple[bytes, ...]) -> bytes:
    kept = AgentShares(code.content.attributes.product, code.hash, shares)
    return seal_bytes(agent, PrivateKey.generate(), encode(kept), code.hash)


def open_shares(agent: PrivateKey, code_hash: bytes, sealed: bytes) -> AgentShares:
    """An agent's own shares; raises `Refused` `BAD_ENVELOPE`."""
    kept = _shares_codec.decode(open_bytes(agent, sealed, code_hash))
    if kept.code_hash != code_hash:
        raise Refused("BAD_ENVELOPE", "the shares are of another code")
    return kept


def share_for_buyer(buyer: bytes, request: bytes, degree: int, share: bytes) -> bytes:
    """A share encrypted to a buyer's key, for one purchase and degree."""
    return seal_bytes(buyer, PrivateKey.generate(), share, _purchase(request, degree))


def share_of_purchase(box: PrivateKey, request: bytes, degree: int, blob: bytes) -> bytes:
    """The share in an agent's blob; raises `Refused` `WRONG_BUYER` for another buyer's."""
    try:
        return open_bytes(box, blob, _purchase(request, degree))
    except Refused:
        raise Refused("WRONG_BUYER", "the share is for another buyer's key") from None


def _purchase(request: bytes, degree: int) -> bytes:
    return request + bytes([degree])


def draw(code: codes.Code) -> list[bytes]:
    """The code's QR symbols as pictures, which were read back and gave the same code."""
    pictures = [symbols.draw(content) for content in symbols.cut(code.raw)]
    seen = [content for picture in pictures for content in symbols.see(picture)]
    if symbols.join(seen) != code.raw:
        raise Refused("BAD_CODE", "the symbols do not read back; report this")
    return pictures


def scan(chain: Chain, files: Sequence[bytes]) -> codes.Code:
    """The code in a file, or in one or several pictures of its symbols (R5.2)."""
    if len(files) == 1 and files[0].startswith(codes.MAGIC):
        return codes.read(chain, files[0])
    seen = [content for picture in files for content in symbols.see(picture)]
    return codes.read(chain, symbols.join(seen))


def release(code: codes.Code, degree: int, key: bytes) -> list[tuple[str, bytes]]:
    """Run the code's program with the key of a confirmed degree: names and contents."""
    names: list[str] = []

    def opened(number: int) -> bytes:
        part = code.part(number)
        names.append(part.name)
        return keys.open_part(keys.key_for(key, degree, number), number, part.sealed)

    outputs = program.run(code.content.program, degree, opened)
    return list(zip(names, outputs, strict=True))

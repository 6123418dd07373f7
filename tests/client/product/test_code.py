"""Integration codes: parts, signature, and what is damaged, foreign or dangerous (R5.2–R5.4)."""

from __future__ import annotations

import zlib

import pytest

from client.product import code as codes
from client.product.code import MAGIC, read
from client.product.program import (
    EMIT,
    END,
    INFLATE,
    OPEN,
    OUTPUT_BYTES_MAX,
    SKIP_BELOW,
    STOP,
    Instruction,
    check,
    inflate,
    run,
    standard,
)
from node.protocol.domain import Chain
from node.protocol.encoding import encode
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey
from tests.client.product.support import CHAIN, SELLER, attributes, book


def refused(code: str, raw: bytes, chain: Chain = CHAIN) -> None:
    with pytest.raises(Refused) as caught:
        read(chain, raw)
    assert caught.value.code == code


def test_r5_03_a_code_has_program_product_and_attributes() -> None:
    content = read(CHAIN, book().code.raw).content
    assert [part.degree for part in content.parts] == [1, 2, 3]
    assert content.program[0] == Instruction(SKIP_BELOW, 1)
    assert content.attributes.name == "A book"
    assert content.seller == SELLER.public_key


def test_r5_04_a_damaged_code_is_refused_wherever_it_is_damaged() -> None:
    raw = book().code.raw
    for place in range(0, len(raw), 97):
        refused("BAD_CODE", raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    for shorter in (b"", MAGIC, raw[:-1], raw + b"\x00", b"x" + raw):
        refused("BAD_CODE", shorter)


def test_a_code_is_for_one_network() -> None:
    refused("BAD_CODE", book().code.raw, Chain("test", b"h" * 32))


def test_another_sellers_name_on_it_is_no_signature() -> None:
    thief = PrivateKey.derive(b"t" * 32, "thief")
    stolen = book().code.content
    content = codes.Content(
        stolen.format, stolen.program, stolen.parts, stolen.attributes, SELLER.public_key
    )
    raw = encode(content)
    signature = thief.sign(CHAIN.digest("product-code", raw))
    refused("BAD_CODE", MAGIC + encode(codes.SignedContent(raw, signature)))


@pytest.mark.parametrize(
    "program",
    [
        (),
        (Instruction("exec", 0),),
        (Instruction("import", 0), Instruction(STOP, 0)),
        (Instruction(SKIP_BELOW, 2), Instruction(STOP, 0)),
        (Instruction(END, 0),),
        (Instruction(SKIP_BELOW, 1), Instruction(SKIP_BELOW, 2), Instruction(END, 0)),
        (Instruction(EMIT, 0),) * 65,
    ],
)
def test_a_program_that_may_not_run(program: tuple[Instruction, ...]) -> None:
    with pytest.raises(Refused) as caught:
        check(program)
    assert caught.value.code == "BAD_PROGRAM"
    if len(program) <= 64:
        with pytest.raises(Refused) as caught:
            codes.make(CHAIN, SELLER, program, book().code.content.parts, attributes())
        assert caught.value.code == "BAD_PROGRAM"


def test_r5_08_a_program_gives_what_the_degree_allows() -> None:
    program = standard({1: 100, 2: 100, 3: 100})
    opened: list[int] = []

    def opener(part: int) -> bytes:
        opened.append(part)
        return zlib.compress(str(part).encode())

    for degree in (0, 1, 2, 3):
        opened.clear()
        outputs = run(program, degree, opener)
        assert [int(output) for output in outputs] == opened == list(range(1, degree + 1))


def test_decompression_is_bounded() -> None:
    bomb = zlib.compress(bytes(10_000_000), 9)
    with pytest.raises(Refused) as caught:
        inflate(bomb, 1_000)
    assert caught.value.code == "BOMB"
    many = (Instruction(OPEN, 1), Instruction(INFLATE, OUTPUT_BYTES_MAX), Instruction(EMIT, 0)) * 7
    with pytest.raises(Refused) as caught:
        run((*many, Instruction(STOP, 0)), 1, lambda _: bomb)
    assert caught.value.code == "BOMB"


@pytest.mark.parametrize(
    "raw", [b"", b"junk", zlib.compress(b"x")[:-1], zlib.compress(b"x") + b"y"]
)
def test_what_does_not_decompress(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        inflate(raw, 100)
    assert caught.value.code == "BAD_CODE"

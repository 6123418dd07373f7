"""QR symbols: the arithmetic of the header, any order, animation, and what is missing or mixed."""

from __future__ import annotations

import io
import random

import pytest
import segno
from PIL import Image

from client.product.packing import draw, scan
from client.product.symbols import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    SYMBOL_BYTES_MAX,
    SYMBOLS_MAX,
    animate,
    cut,
    join,
    see,
)
from node.protocol.errors import Refused
from tests.client.product.support import CHAIN, book

RAW = random.Random(5).randbytes(2 * PAYLOAD_BYTES_MAX + 100)


def test_38_000_bytes_need_13_symbols() -> None:
    pieces = cut(bytes(38_000))
    assert (len(pieces), PAYLOAD_BYTES_MAX) == (13, 2_937)
    assert all(HEADER_BYTES < len(piece) <= SYMBOL_BYTES_MAX for piece in pieces)


def test_pieces_come_in_any_order_and_several_times() -> None:
    pieces = cut(RAW)
    assert join([pieces[2], pieces[0], b"another code altogether", pieces[2], pieces[1]]) == RAW


def test_what_is_missing_mixed_or_altered() -> None:
    pieces, others = cut(RAW), cut(RAW[::-1])
    altered = pieces[0][:-1] + bytes([pieces[0][-1] ^ 1])
    for wrong in (
        [],
        [b"something"],
        pieces[:2],
        [*pieces[:2], others[2]],
        [*pieces, altered],
        [altered, *pieces[1:]],
        [pieces[0][:12] + b"\x00\x09\x00\x03" + pieces[0][16:]],
        [pieces[0][:14] + b"\x00\x00" + pieces[0][16:]],
    ):
        with pytest.raises(Refused) as caught:
            join(wrong)
        assert caught.value.code == "BAD_CODE"


@pytest.mark.parametrize("size", [0, (SYMBOLS_MAX + 1) * PAYLOAD_BYTES_MAX])
def test_what_is_too_large_for_symbols_is_a_file(size: int) -> None:
    with pytest.raises(Refused) as caught:
        cut(bytes(size))
    assert caught.value.code == "TOO_LARGE"


def test_r5_02_pictures_and_files_are_read_alike() -> None:
    pictures = draw(book().code)
    assert scan(CHAIN, pictures) == scan(CHAIN, [book().code.raw])
    assert scan(CHAIN, [animate(pictures)]) == book().code


def test_a_turned_and_smaller_picture_is_read() -> None:
    (picture, *_) = draw(book().code)
    turned = Image.open(io.BytesIO(picture)).convert("L").rotate(90, expand=True)
    smaller = turned.resize((turned.width * 3 // 4, turned.height * 3 // 4))
    out = io.BytesIO()
    smaller.save(out, format="PNG")
    assert see(out.getvalue()) == see(picture)


def test_a_sticker_with_another_code_is_no_code_of_ours() -> None:
    out = io.BytesIO()
    segno.make("https://evil.example").save(out, kind="png", scale=4)
    with pytest.raises(Refused) as caught:
        scan(CHAIN, [out.getvalue()])
    assert caught.value.code == "BAD_CODE"


@pytest.mark.parametrize("raw", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"x" * 50, b"text"])
def test_what_is_no_picture(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        see(raw)
    assert caught.value.code == "BAD_CODE"

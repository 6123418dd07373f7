"""Integration codes as QR symbols: cut into plain byte-mode symbols, and put together again.

Readers do not show QR's own numbering of symbols, so each begins with a header of 16 bytes: magic,
the first 8 bytes of the hash of the whole, its own number and how many there are. Symbols come in
any order, from several pictures, and several times. A picture that moves shows one after another.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import segno
import zxingcpp
from PIL import Image, ImageSequence, UnidentifiedImageError

from node.protocol.errors import Refused

MAGIC = b"GRQ1"
PREFIX_BYTES = 8
HEADER_BYTES = 16
# Version 40 with the low correction level holds 2,953 bytes (ISO/IEC 18004).
SYMBOL_BYTES_MAX = 2_953
PAYLOAD_BYTES_MAX = SYMBOL_BYTES_MAX - HEADER_BYTES
SYMBOLS_MAX = 512
MODULE_PIXELS = 4
BORDER_MODULES = 4
FRAME_MS = 400
PICTURE_PIXELS_MAX = 64_000_000
FRAMES_MAX = 1_024
_FORMATS = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)


class Piece(NamedTuple):
    """What one symbol holds."""

    prefix: bytes
    number: int
    total: int
    payload: bytes


def cut(raw: bytes) -> list[bytes]:
    """The contents of the symbols that a code needs; raises `Refused` `TOO_LARGE`."""
    total = -(-len(raw) // PAYLOAD_BYTES_MAX)
    if not 0 < total <= SYMBOLS_MAX:
        raise Refused("TOO_LARGE", f"{total} symbols; at most {SYMBOLS_MAX}, give it as a file")
    prefix = _prefix(raw)
    return [
        MAGIC
        + prefix
        + index.to_bytes(2, "big")
        + total.to_bytes(2, "big")
        + raw[index * PAYLOAD_BYTES_MAX : (index + 1) * PAYLOAD_BYTES_MAX]
        for index in range(total)
    ]


def join(contents: Iterable[bytes]) -> bytes:
    """The whole from its pieces; `Refused` `BAD_CODE` for missing, foreign or altered ones."""
    found: dict[int, Piece] = {}
    first: Piece | None = None
    for content in contents:
        piece = _piece(content)
        if piece is None:
            continue
        first = first or piece
        if (piece.prefix, piece.total) != (first.prefix, first.total):
            raise Refused("BAD_CODE", "the symbols are of different codes")
        known = found.setdefault(piece.number, piece)
        if known != piece:
            raise Refused("BAD_CODE", f"symbol {piece.number + 1} is there twice, differently")
    if first is None:
        raise Refused("BAD_CODE", "no symbol of an integration code was found")
    missing = [str(index + 1) for index in range(first.total) if index not in found]
    if missing:
        listed = ", ".join(missing[:10])
        raise Refused("BAD_CODE", f"of {first.total} symbols these are missing: {listed}")
    raw = b"".join(found[index].payload for index in range(first.total))
    if _prefix(raw) != first.prefix:
        raise Refused("BAD_CODE", "the symbols do not give the code that they name")
    return raw


def _piece(content: bytes) -> Piece | None:
    """What a symbol of ours holds; None for any other symbol that happens to be in the picture."""
    if not content.startswith(MAGIC) or len(content) <= HEADER_BYTES:
        return None
    prefix = content[len(MAGIC) : len(MAGIC) + PREFIX_BYTES]
    number = int.from_bytes(content[12:14], "big")
    total = int.from_bytes(content[14:16], "big")
    if not 0 < total <= SYMBOLS_MAX or number >= total:
        raise Refused("BAD_CODE", "a symbol has an impossible number")
    return Piece(prefix, number, total, content[HEADER_BYTES:])


def _prefix(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()[:PREFIX_BYTES]


# ---- pictures


def draw(content: bytes) -> bytes:
    """One symbol as a PNG picture."""
    symbol = segno.make(content, mode="byte", error="l", boost_error=False, micro=False)
    out = io.BytesIO()
    symbol.save(out, kind="png", scale=MODULE_PIXELS, border=BORDER_MODULES)
    return out.getvalue()


def animate(pictures: Sequence[bytes]) -> bytes:
    """Pictures one after another, for ever, as a GIF."""
    frames = [Image.open(io.BytesIO(picture)).convert("1") for picture in pictures]
    side = max(frame.width for frame in frames)
    padded = [_padded(frame, side) for frame in frames]
    out = io.BytesIO()
    padded[0].save(
        out, format="GIF", save_all=True, append_images=padded[1:], duration=FRAME_MS, loop=0
    )
    return out.getvalue()


def _padded(frame: Image.Image, side: int) -> Image.Image:
    """A frame on a white square: the last symbol may be smaller than the others."""
    square = Image.new("1", (side, side), 1)
    square.paste(frame, ((side - frame.width) // 2, (side - frame.height) // 2))
    return square


def see(picture: bytes) -> list[bytes]:
    """The contents of all QR symbols in a picture, or in the frames of one that moves.

    Raises `Refused` `BAD_CODE` for what is no picture or too large a one.
    """
    try:
        image = Image.open(io.BytesIO(picture))
        if image.width * image.height > PICTURE_PIXELS_MAX:
            raise Refused("BAD_CODE", "the picture is too large")
        frames = []
        for number, frame in enumerate(ImageSequence.Iterator(image)):
            if number >= FRAMES_MAX:
                raise Refused("BAD_CODE", f"the picture has more than {FRAMES_MAX} frames")
            frames.append(frame.convert("L"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        raise Refused("BAD_CODE", "this is no picture that can be read") from None
    return [
        bytes(found.bytes)
        for frame in frames
        for found in zxingcpp.read_barcodes(frame, formats=_FORMATS)
    ]

"""The ends of LevelDB's logs: torn by a crash, which is no harm, or damaged, which must be told.

LevelDB takes a record that would reach beyond the end of its file for the last one, torn by a
crash, and forgets it; so it does with zeros. But one wrong bit in a length looks the same, and then
all records behind it are forgotten without a word, among them synced votes. Here the two are told
apart: a torn record is not whole, and no other begins behind it.

A log is a row of blocks of 32 KiB (the last may be shorter) of fragments: masked CRC-32C of type
and data (4 bytes), length of the data (2), type (1), data; all little-endian. A record is one
fragment, or a first one, middle ones and a last one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 32_768
# A whole record, or its first fragment: what can only be there if another record begins.
BEGINNINGS = (1, 2)
_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_header = struct.Struct("<IHB")


def damaged_logs(folder: Path) -> Iterator[str]:
    """The names of logs in a database's folder that have a readable record behind a broken one."""
    for path in sorted([*folder.glob("*.log"), *folder.glob("MANIFEST-*")]):
        if _is_damaged(path.read_bytes()):
            yield path.name


def _is_damaged(log: bytes) -> bool:
    for start in range(0, len(log), BLOCK_BYTES):
        block = log[start : start + BLOCK_BYTES]
        broken = _walk(block)[1]
        if broken is not None:
            behind = range(broken + 1, len(block) - _header.size + 1)
            return (
                _is_whole(block, broken, len(block) - broken - _header.size)
                or any(_begins(block, at) for at in behind)
                or _has_beginnings(log[start + BLOCK_BYTES :])
            )
    return False


def _has_beginnings(log: bytes) -> bool:
    """Whether a record begins anywhere in what follows; blocks begin with a fragment."""
    blocks = [log[at : at + BLOCK_BYTES] for at in range(0, len(log), BLOCK_BYTES)]
    return any(_begins(block, at) for block in blocks for at in _walk(block)[0])


def _walk(block: bytes) -> tuple[list[int], int | None]:
    """Where the fragments of a block stand, and where LevelDB would silently stop reading it."""
    places: list[int] = []
    at = 0
    while at + _header.size <= len(block):
        _, length, kind = _header.unpack_from(block, at)
        end = at + _header.size + length
        if (end > len(block) and len(block) < BLOCK_BYTES) or (not length and not kind):
            return places, at
        places.append(at)
        at = end
    return places, None


def _begins(block: bytes, at: int) -> bool:
    """Whether a record begins there: of a kind that does, inside the block, with the right sum."""
    _, length, kind = _header.unpack_from(block, at)
    fits = at + _header.size + length <= len(block)
    return kind in BEGINNINGS and fits and _is_whole(block, at, length)


def _is_whole(block: bytes, at: int, length: int) -> bool:
    """Whether the fragment there, with data of this length, has the right sum."""
    stored, _, kind = _header.unpack_from(block, at)
    begin = at + _header.size
    crc = _crc32c(bytes((kind,)) + block[begin : begin + length])
    return bool(stored == (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_table_entry(byte) for byte in range(256))

"""Pruning: old blocks leave the database, with what was kept for their sake.

Blocks go with their receipts and index entries, from the oldest on; each batch also notes from
where on blocks are there now, so a crash leaves nothing half gone. Of the balances of earlier
heights the newest at the boundary stays, so that all later ones are still known. What must be kept
is decided here: the last ten minutes, whose ids are the replay set; all from the older snapshot on,
with which others may begin; and the head. Changes of validators are never pruned. Deleting frees no
room: the ranges to compact are given too. Who performs all this, and when, is for others to know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from node.protocol.block import CertifiedBlock, block_codec, receipts_codec
from node.protocol.encoding import encode
from node.protocol.transaction import VALID_FOR_MS_MAX
from node.state.keyvalue import Put, Records
from node.state.layout import (
    BLOCK_INDEX,
    BLOCKS,
    HEIGHT_BYTES,
    HISTORY,
    OLDEST_KEY,
    RECEIPTS,
    TRANSACTION_INDEX,
    Oldest,
    block_index_key,
    damaged,
    decoded,
    number,
    number_in,
    successor,
    transaction_index_key,
)

PUTS_PER_BATCH = 2_000
SCANNED_PER_STEP = 5_000
HEIGHTS_PER_SLICE = 64
HASHES_PER_SLICE = 16


class Step(NamedTuple):
    """One batch of deletions, and what is kept once it is written."""

    puts: Sequence[Put]
    oldest: Oldest


def first_needed(
    view: Records, oldest: Oldest, head: int, keep: int, snapshots: Sequence[int]
) -> int:
    """The lowest height that must stay so that the last `keep` blocks and all that needs them do.

    While there is no snapshot nothing may go: a newcomer could not do without the first blocks.
    """
    low = oldest.block
    high = min(head - keep + 1, snapshots[0]) if snapshots else low
    if high <= low:
        return low
    window_ms = _block(view, head).header.time_ms - VALID_FOR_MS_MAX
    bottom, top = low, head
    while bottom < top:  # times ascend
        middle = (bottom + top) // 2
        if _block(view, middle).header.time_ms < window_ms:
            bottom = middle + 1
        else:
            top = middle
    # One older than the window shows by its time that the window is whole.
    return max(low, min(high, bottom - 1))


def prune_blocks(view: Records, oldest: Oldest, below: int) -> Iterator[Step]:
    """Remove the blocks below a height."""
    puts: list[Put] = []
    for height in range(oldest.block, below):
        block, receipts = _block(view, height), view.get(RECEIPTS + number(height))
        for receipt in decoded(receipts_codec, receipts) or ():
            puts.append((transaction_index_key(receipt.transaction_id), None))
        puts.append((block_index_key(block.certificate.block_id), None))
        puts.append((BLOCKS + number(height), None))
        puts.append((RECEIPTS + number(height), None))
        if len(puts) >= PUTS_PER_BATCH or height == below - 1:
            kept = Oldest(height + 1, oldest.history)
            yield Step([*puts, (OLDEST_KEY, encode(kept))], kept)
            puts = []


def prune_history(view: Records, oldest: Oldest, below: int) -> Iterator[Step]:
    """Forget balances as they were before the block of `below`."""
    kept = Oldest(oldest.block, below)
    # First nothing may be asked for any more that is about to go.
    yield Step([(OLDEST_KEY, encode(kept))], kept)
    puts: list[Put] = []
    before = b""
    for count, (key, _) in enumerate(view.iterate(HISTORY, successor(HISTORY)), 1):
        same = before[:-HEIGHT_BYTES] == key[:-HEIGHT_BYTES]
        if same and number_in(key) <= below:
            puts.append((before, None))
        before = key
        if len(puts) >= PUTS_PER_BATCH or count % SCANNED_PER_STEP == 0:
            yield Step(puts, kept)
            puts = []
    yield Step(puts, kept)


def ranges_to_compact(view: Records, oldest: Oldest, below: int) -> Iterator[tuple[bytes, bytes]]:
    """Where deletions are, in slices that take a moment each."""
    for prefix in (BLOCKS, RECEIPTS):
        for start in range(oldest.block, below, HEIGHTS_PER_SLICE):
            stop = min(below, start + HEIGHTS_PER_SLICE)
            yield prefix + number(start), prefix + number(stop)
    # Hashes, so that a byte divides them evenly; those of balances stand behind their length.
    for prefix in (TRANSACTION_INDEX, BLOCK_INDEX, *_lengths(view)):
        inner = [prefix + bytes([byte]) for byte in range(HASHES_PER_SLICE, 256, HASHES_PER_SLICE)]
        yield from pairwise([prefix, *inner, successor(prefix)])


def _lengths(view: Records) -> Iterator[bytes]:
    """What the keys of balances start with: their length stands first."""
    start, stop = HISTORY, successor(HISTORY)
    while (pair := next(view.iterate(start, stop, limit=1), None)) is not None:
        prefix = pair[0][: len(HISTORY) + 2]
        yield prefix
        start = successor(prefix)


def _block(view: Records, height: int) -> CertifiedBlock:
    block = decoded(block_codec, view.get(BLOCKS + number(height)))
    if block is None:
        raise damaged(f"block {height} is missing")
    return block

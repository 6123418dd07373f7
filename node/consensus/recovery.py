"""What a replica writes before it sends, and reads again when it starts.

One record for each own vote, with what a restarted node needs to go on from it: the body that a
PRE-PREPARE or PREPARE promises to serve, the quorum behind a COMMIT. The log itself (order, gaps,
sync, trimming) is the caller's; records of one height are read back in the order of writing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from node.protocol.block import BlockHeader
from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record
from node.protocol.errors import Refused, StoreFailure
from node.protocol.messages import (
    Commit,
    Hashes,
    Prepare,
    PrePrepare,
    ViewChange,
    has_valid_signature,
)
from node.protocol.validators import VALIDATORS_MAX

RECORD_BYTES_MAX = 512 * 1024


class PrePrepareRecord(Record, frozen=True, tag=1):
    """I proposed this, with this justification."""

    vote: PrePrepare


class PrepareRecord(Record, frozen=True, tag=2):
    """I prepared the block with this body."""

    vote: Prepare
    header: BlockHeader
    transaction_hashes: Hashes


class CommitRecord(Record, frozen=True, tag=3):
    """I committed to the block that these PREPAREs, of the same view, show as prepared."""

    vote: Commit
    prepares: Annotated[tuple[Prepare, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]


class ViewChangeRecord(Record, frozen=True, tag=4):
    """I left all lower views. The proof of what I had prepared is in an earlier record."""

    vote: ViewChange


OwnRecord = PrePrepareRecord | PrepareRecord | CommitRecord | ViewChangeRecord

record_codec: Codec[OwnRecord] = Codec(OwnRecord, RECORD_BYTES_MAX)


def read_records(
    chain: Chain, public_key: bytes, raws: Iterable[bytes]
) -> dict[int, list[OwnRecord]]:
    """Own records by height, in order. Raises `StoreFailure` `DAMAGED_VOTES`."""
    records: dict[int, list[OwnRecord]] = {}
    for raw in raws:
        try:
            record = record_codec.decode(raw)
        except Refused as refusal:
            raise StoreFailure(
                "DAMAGED_VOTES", f"the vote log holds an unreadable record ({refusal.code})"
            ) from None
        vote = record.vote
        if vote.signer != public_key or not has_valid_signature(chain, vote):
            raise StoreFailure(
                "FOREIGN_VOTES", "the vote log is that of another key or another network"
            )
        same_height = records.setdefault(vote.height, [])
        if isinstance(record, CommitRecord) and not _follows_its_prepare(record, same_height):
            raise StoreFailure("DAMAGED_VOTES", "the vote log holds a COMMIT without its PREPARE")
        same_height.append(record)
    return records


def _follows_its_prepare(record: CommitRecord, before: list[OwnRecord]) -> bool:
    """Each COMMIT's body is in the PREPARE that was written right before it in the same view."""
    latest = before[-1] if before else None
    return isinstance(latest, PrepareRecord) and (latest.vote.view, latest.vote.block_id) == (
        record.vote.view,
        record.vote.block_id,
    )

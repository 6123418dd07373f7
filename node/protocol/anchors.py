"""Anchors of the nodes' read logs as the chain keeps them, see `contracts.kernel.anchors`."""

from __future__ import annotations

from node.protocol.encoding import Codec, Record

ANCHOR_BYTES_MAX = 256
# Contract and table; the key is a node's public key, and for older ones a day too.
READ_ANCHORS = ("kernel", "read_anchors")


class AnchorRecord(Record, frozen=True):
    """The first `count` entries of a log had the hash `head`; `previous_day` is -1 for none."""

    day: int
    head: bytes
    count: int
    previous_day: int


anchor_codec: Codec[AnchorRecord] = Codec(AnchorRecord, ANCHOR_BYTES_MAX)


def day_key(node: bytes, day: int) -> bytes:
    """Where a node's anchor of a day is kept."""
    return node + day.to_bytes(8, "big")

"""The regulators' reads: a local node's log of them, held against what it has anchored on chain.

The anchors are proved, the newest one and from it all before; the log is the node's own file. An
entry that is in no anchor yet could still be changed by the node's operator, an older one could not
without being found out here. What a regulator's own node decrypts inside is in no log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from client import upkeep
from client.errors import Unproven
from client.local import LocalNode
from node.protocol.anchors import READ_ANCHORS, AnchorRecord, anchor_codec, day_key
from node.protocol.errors import Refused

if TYPE_CHECKING:
    from client.node_api import NodeApi


async def proven_anchors(api: NodeApi, node: bytes) -> list[AnchorRecord]:
    """All anchors of a node, newest first; raises `Unproven`."""
    anchors: list[AnchorRecord] = []
    key = node
    while True:
        proven = await api.verified.record(*READ_ANCHORS, key)
        if proven.value is None and not anchors:
            return []
        try:
            anchor = anchor_codec.decode(proven.value or b"")
        except Refused as refusal:
            raise Unproven("BAD_ANCHOR", f"{proven.url}: {refusal.message}") from None
        if anchors and not anchor.day < anchors[-1].day:
            raise Unproven("BAD_ANCHOR", f"{proven.url}: the anchors do not follow each other")
        anchors.append(anchor)
        if anchor.previous_day < 0:
            return anchors
        key = day_key(node, anchor.previous_day)


def compare(one: LocalNode, anchors: list[AnchorRecord], last: int) -> tuple[dict[str, Any], str]:
    """The log of a local node with its `last` entries, and what is wrong with it, "" for nothing.

    Raises `NodeFailure` where it cannot be read.
    """
    report = upkeep.reads(one, [anchor.count for anchor in anchors], last)
    count, heads = int(report["count"]), report["heads"]
    for anchor in reversed(anchors):
        if count < anchor.count:
            text = f"it holds {count} reads, {anchor.count} were anchored on day {anchor.day}"
            return report, text
        if heads.get(str(anchor.count)) != anchor.head.hex():
            text = f"its first {anchor.count} reads are not those anchored on day {anchor.day}"
            return report, text
    return report, ""

"""What one byzantine member may try by what signatures do not cover, or by what it replays."""

from __future__ import annotations

from functools import partial

import pytest

from node.consensus import events as e
from node.protocol.encoding import sha256
from node.protocol.messages import (
    ConsensusMessage,
    Dissent,
    Prepare,
    PreparedProof,
    PrePrepare,
    ViewChange,
    sign_message,
)
from tests.consensus.cluster import CHAIN, KEYS, START_MS, Cluster

MEMBERS = [key.public_key for key in KEYS[:4]]


@pytest.mark.parametrize("attached", ["proposal", "proof"])
def test_inner_nodes_do_not_pass_for_the_transactions_of_a_block(attached: str) -> None:
    """Hashes are attached, not signed: whoever took a shorter list could never get the bodies."""
    blamed: list[str] = []
    cluster = Cluster(4, trace=lambda _, effect: blamed.extend(_blame(effect)))
    header = cluster.header(0, 1, None, "abcd", START_MS)
    hashes = cluster.hashes("abcd")
    nodes = tuple(sha256(b"\x01" + b"".join(hashes[at : at + 2])) for at in (0, 2))
    block_id = header.id(CHAIN)
    if attached == "proposal":
        unsigned = PrePrepare(0, header, nodes, MEMBERS[0], b"", (), ())
        message: ConsensusMessage = sign_message(CHAIN, KEYS[0], unsigned)
    else:
        votes = [Prepare(1, 0, block_id, member, b"") for member in MEMBERS[:3]]
        prepares = tuple(map(partial(sign_message, CHAIN), KEYS, votes))
        proof = PreparedProof(header, nodes, prepares)
        claim = ViewChange(1, 1, 0, block_id, MEMBERS[0], b"", proof)
        message = sign_message(CHAIN, KEYS[0], claim)
    cluster.feed(1, e.MessageReceived(MEMBERS[0], message))
    assert blamed == ["BAD_PROPOSAL" if attached == "proposal" else "BAD_VIEW_CHANGE"]


def test_a_restarted_node_survives_its_own_dissent() -> None:
    """A dissent is not in the vote log, as it promises nothing: replayed, it betrays no twin."""
    said: list[Dissent] = []
    cluster = Cluster(4, trace=lambda _, effect: said.extend(_dissent(effect)))
    cluster.nodes[2].execution = "differs"
    cluster.submit(0, ["a"])
    messages = [packet.message for packet in cluster.packets]
    proposal = next(message for message in messages if isinstance(message, PrePrepare))
    cluster.feed(2, e.MessageReceived(MEMBERS[0], proposal))
    assert [dissent.signer for dissent in said] == [MEMBERS[2]]
    cluster.crash(2)
    cluster.start(2)
    cluster.feed(2, e.MessageReceived(MEMBERS[3], said[0]))
    assert not cluster.nodes[2].halted


def _dissent(effect: e.Effect) -> list[Dissent]:
    message = effect.message if isinstance(effect, e.Broadcast) else None
    return [message] if isinstance(message, Dissent) else []


def _blame(effect: e.Effect) -> list[str]:
    return [effect.code] if isinstance(effect, e.ReportPeer) else []

"""An adversary that holds the keys of up to f members and sees every message.

It votes for anything, twice; proposes different blocks to different members, justified as far as
the messages that it saw allow; and claims to have prepared nothing, or something old. What it
sends is well signed, so that nothing but the protocol's own rules stops it.
"""

from __future__ import annotations

import random

import msgspec

from node.consensus.committee import Committee
from node.consensus.events import MessageReceived
from node.consensus.view_change import highest_prepared
from node.protocol.block import BlockHeader
from node.protocol.messages import (
    Commit,
    ConsensusMessage,
    Prepare,
    PreparedProof,
    PrePrepare,
    ViewChange,
    sign_message,
)
from tests.consensus.cluster import CHAIN, INDEX, KEYS, Cluster, Packet

SEEN_MAX = 400


class Adversary:
    """The byzantine members of a cluster; their own replicas never run."""

    def __init__(self, cluster: Cluster, members: set[int], chance: random.Random) -> None:
        self._cluster = cluster
        self._members = sorted(members)
        self._chance = chance
        self._seen: list[Prepare | Commit | ViewChange | PrePrepare] = []
        self._invented = 0
        for index in members:
            cluster.crash(index)
            cluster.byzantine.add(index)

    def see(self, packet: Packet) -> None:
        """Learn from any message on the network."""
        if isinstance(packet.message, Prepare | Commit | ViewChange | PrePrepare):
            self._seen.append(packet.message)
            del self._seen[:-SEEN_MAX]

    def act(self) -> None:
        """Send something to some members, in the height of a random honest one."""
        honest = [node for node in self._cluster.nodes if node.replica is not None]
        if not honest:
            return
        node = self._chance.choice(honest)
        height = len(node.blocks) + 1
        committee = Committee(CHAIN, self._cluster.validators(height), node.head)
        signer = self._chance.choice(self._members)
        deed = self._chance.choice((self._vote, self._vote, self._change_view, self._propose))
        for message in deed(signer, committee):
            for target in honest:
                if self._chance.random() < 0.6:
                    sender = KEYS[signer].public_key
                    self._cluster.feed(target.index, MessageReceived(sender, message))

    def _vote(self, signer: int, committee: Committee) -> list[ConsensusMessage]:
        known = [m for m in self._seen if m.height == committee.height]
        votes = [m for m in known if isinstance(m, Prepare | Commit)]
        if not votes:
            return []
        vote, key = self._chance.choice(votes), KEYS[signer]
        view = self._chance.choice((vote.view, vote.view, vote.view + 1))
        content = (vote.height, view, vote.block_id, key.public_key, b"")
        if self._chance.random() < 0.5:
            return [sign_message(CHAIN, key, Prepare(*content))]
        return [sign_message(CHAIN, key, Commit(*content))]

    def _change_view(self, signer: int, committee: Committee) -> list[ConsensusMessage]:
        view = self._view(committee.height) + self._chance.choice((0, 1, 1, 2, 50))
        return [self._view_change(signer, committee, view)] if view else []

    def _view_change(self, signer: int, committee: Committee, view: int) -> ViewChange:
        """Nothing prepared, or any proof that somebody ever showed."""
        proofs = [
            (m.prepared_view, m.prepared_block, m.proof)
            for m in self._seen
            if isinstance(m, ViewChange)
            and m.height == committee.height
            and 0 <= m.prepared_view < view
        ]
        claim: tuple[int, bytes, PreparedProof | None] = (-1, b"", None)
        if proofs and self._chance.random() < 0.5:
            claim = self._chance.choice(proofs)
        key = KEYS[signer]
        forged = ViewChange(
            committee.height, view, claim[0], claim[1], key.public_key, b"", claim[2]
        )
        return sign_message(CHAIN, key, forged)

    def _propose(self, signer: int, committee: Committee) -> list[ConsensusMessage]:
        """Two rival proposals for some view that one of ours leads, as well justified as may be."""
        first = self._view(committee.height)
        led = [v for v in range(first + 2) if INDEX[committee.leader(v)] in self._members]
        if not led:
            return []
        view = self._chance.choice(led)
        leader = INDEX[committee.leader(view)]
        return [self._proposal(leader, committee, view) for _ in range(2)]

    def _proposal(self, leader: int, committee: Committee, view: int) -> PrePrepare:
        key, justification = KEYS[leader], {}
        if view > 0:
            for message in self._seen:
                place = (message.height, message.view)
                if isinstance(message, ViewChange) and place == (committee.height, view):
                    justification[message.signer] = message
            for member in self._members:
                forged = self._view_change(member, committee, view)
                justification[forged.signer] = forged
        chosen = list(justification.values())
        self._chance.shuffle(chosen)
        chosen = chosen[: committee.quorum]
        highest = highest_prepared(chosen)
        prepares: tuple[Prepare, ...] = ()
        if highest is not None and highest.proof is not None:
            header, hashes = highest.proof.header, highest.proof.transaction_hashes
            prepares = highest.proof.prepares
        else:
            header = self._fresh_header(leader, committee)
            hashes = self._cluster.hashes(self._cluster.bodies[header.id(CHAIN)])
        bare = tuple(msgspec.structs.replace(message, proof=None) for message in chosen)
        forged_proposal = PrePrepare(view, header, hashes, key.public_key, b"", bare, prepares)
        return sign_message(CHAIN, key, forged_proposal)

    def _fresh_header(self, leader: int, committee: Committee) -> BlockHeader:
        self._invented += 1
        ms = max(self._cluster.now_ms, committee.parent_time_ms + 1)
        names = [f"evil{self._invented}"]
        return self._cluster.header(leader, committee.height, committee.parent, names, ms)

    def _view(self, height: int) -> int:
        """The highest view that honest members of this height are in."""
        replicas = [node.replica for node in self._cluster.nodes if node.replica is not None]
        return max((r.view for r in replicas if r.height == height), default=0)

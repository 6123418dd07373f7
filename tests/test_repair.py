"""Repair: the state comes back from the peers, the votes stay, and nothing is signed twice."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast

import pytest

from node import outputs as io
from node.folder import NodeSettings
from node.protocol.errors import StoreFailure
from node.protocol.messages import Commit, Message, PrePrepare
from node.repair import put_aside, set_votes
from node.state.keyvalue import MemoryKeyValue
from node.state.level import open_level
from node.state.vote_log import VoteLog, open_vote_database
from node.vaults import open_vault
from tests.test_engine import Cluster, Node, filing

STORAGE_KEY = b"k" * 32


def identity(number: int) -> bytes:
    return number.to_bytes(16, "big")


def grown(blocks: int) -> Cluster:
    cluster = Cluster()
    for number in range(blocks):
        cluster.submit("node0", filing(identity(number)))
    assert cluster.heights == [blocks] * 4
    return cluster


def rival_proposal() -> tuple[PrePrepare, bytes]:
    """What a leader of height 1 that signs twice would send: another block, and its body."""
    seen: list[PrePrepare] = []

    def note(source: Node, target: Node, message: Message) -> bool:
        if isinstance(message, PrePrepare):
            seen.append(message)
        return True

    other = Cluster()
    other.drop = note
    sent = filing(identity(99))
    for name in other.nodes:
        other.submit(name, sent)
    return seen[0], sent.raw


def test_a_node_without_its_state_executes_everything_again_and_votes_again() -> None:
    cluster = grown(4)
    node = cluster.nodes["node3"]
    node.state_disk = MemoryKeyValue()
    cluster.restart("node3")
    cluster.pass_time(5_000)
    assert cluster.heights == [4, 4, 4, 4]
    cluster.down = {"node0"}  # three of four are a quorum only if the repaired one votes
    cluster.submit("node1", filing(identity(5)))
    cluster.pass_time(20_000)
    assert cluster.heights[1:] == [5, 5, 5]
    assert not node.halted


def test_it_signs_nothing_where_it_has_signed_before() -> None:
    proposal, raw = rival_proposal()
    for keep_votes in (True, False):
        cluster = grown(2)
        node = cluster.nodes["node3"]
        node.state_disk = MemoryKeyValue()
        if not keep_votes:
            node.vote_disk = MemoryKeyValue()
        core = node.open()
        core.engine.start(cluster.now_ms)
        core.engine.handle(cluster.examined(node, (raw,), None), cluster.now_ms)
        outputs = core.engine.handle(io.PeerMessage(proposal.signer, proposal), cluster.now_ms)
        voted = any(isinstance(one, io.WriteVote) for one in outputs)
        # Without its vote log a node knows nothing of its past: that is why repair insists on it.
        assert voted is not keep_votes


def test_the_body_behind_a_vote_is_served_once_its_height_is_reached() -> None:
    """A vote of the open height survives the repair with the transactions that it promises."""
    cluster = grown(3)
    # Nobody hears the COMMITs of height 4: all have prepared it, and it stays open.
    cluster.drop = lambda source, target, message: isinstance(message, Commit)
    sent = filing(identity(7))
    cluster.submit("node0", sent)
    node = cluster.nodes["node3"]
    assert node.core.votes.vote_from == 4
    node.state_disk = MemoryKeyValue()
    before = node.core.votes.load()
    cluster.restart("node3")
    cluster.pass_time(2_000)
    assert node.height == 3
    assert node.core.votes.load()[: len(before)] == before
    served = node.core.engine._bodies.find(sent.content_hash)
    assert served is not None
    cluster.drop = lambda source, target, message: False
    cluster.pass_time(20_000)
    assert min(cluster.heights) >= 4
    assert not any(one.halted for one in cluster.nodes.values())


def test_the_data_folder_is_renamed_and_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    database = open_level(data)
    database.write([(b"key", b"value")], sync=True)
    with pytest.raises(StoreFailure, match="DATABASE_IN_USE"):
        put_aside(data)
    database.close()
    aside = put_aside(data)
    assert not data.exists()
    assert aside.name.startswith("data.damaged-2")
    kept = open_level(aside)
    assert kept.get(b"key") == b"value"
    kept.close()
    with pytest.raises(StoreFailure, match="NO_DATABASE"):
        put_aside(data)


def test_a_folder_that_does_not_open_is_put_aside_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    open_level(data).close()
    (data / "CURRENT").write_text("nonsense")
    assert (put_aside(data) / "CURRENT").read_text() == "nonsense"


class Places(NamedTuple):
    """As much of a node's settings as its votes need."""

    votes: Path
    storage_key: bytes


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("vote_from", [0, 7, 20])
def test_votes_that_are_lost_leave_a_floor(tmp_path: Path, sound: bool, vote_from: int) -> None:
    votes = tmp_path / "votes"
    log = VoteLog(open_vote_database(votes), open_vault(STORAGE_KEY))
    log.append(b"a vote", 9)
    log.close()
    if not sound:
        (votes / "CURRENT").write_text("nonsense")
    set_votes(cast(NodeSettings, Places(votes, STORAGE_KEY)), sound, vote_from)
    log = VoteLog(open_vote_database(votes), open_vault(STORAGE_KEY))
    kept = sound and vote_from > 0
    assert not log.is_new
    assert log.vote_from == (max(9, vote_from) if kept else vote_from)
    assert log.load() == ([b"a vote"] if kept else [])
    log.close()
    assert len(list(tmp_path.iterdir())) == (1 if kept else 2)  # nothing is deleted

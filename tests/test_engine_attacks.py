"""What peers and accidents may do to one engine among honest ones, and must not achieve."""

from __future__ import annotations

from node import outputs as io
from node.intake import HELD_TRANSACTIONS_MAX
from node.protocol.block import BlockHeader
from node.protocol.messages import (
    BlockRange,
    BlockRequest,
    Commit,
    Head,
    Message,
    Prepare,
    PrePrepare,
    ViewChange,
    sign_message,
)
from node.protocol.proofs import merkle_root
from node.protocol.transaction import Call
from tests.sim.world import key_of
from tests.test_engine import GENESIS, START_MS, Cluster, filing, transaction


def test_a_peer_that_sends_forged_transactions_is_cut_off() -> None:
    """They cost a verification each: a flood of them would keep honest ones from being examined."""
    cluster = Cluster()
    node, peer = cluster.nodes["node0"], key_of("node3").public_key
    forged = filing().raw[:-64] + bytes(64)
    cluster.feed("node0", cluster.examined(cluster.nodes["node0"], (filing().raw, forged), peer))
    assert [fault.code for fault in node.punished] == ["BAD_TRANSACTION"]
    assert len(node.core.engine.mempool) + node.height > 0


def test_a_stranger_or_a_late_transaction_is_not_the_peer_s_fault() -> None:
    cluster = Cluster()
    peer = key_of("node3").public_key
    late = transaction("gym", Call("kernel", "enrol", {}), valid_until=START_MS - 1)
    strange = transaction("stranger", Call("kernel", "enrol", {}))
    cluster.feed("node0", cluster.examined(cluster.nodes["node0"], (late.raw, strange.raw), peer))
    assert cluster.nodes["node0"].punished == []


def test_what_strangers_signed_is_not_ordered_whoever_passes_it_on() -> None:
    """A byzantine member makes keys as it likes: its junk must fill neither pools nor blocks."""
    cluster = Cluster()
    node, peer = cluster.nodes["node0"], key_of("node3").public_key
    call = Call("kernel", "enrol", {})
    junk = [transaction(f"stranger {number}", call) for number in range(HELD_TRANSACTIONS_MAX + 9)]
    cluster.feed("node0", cluster.examined(node, tuple(one.raw for one in junk), peer))
    cluster.pass_time(5_000)
    intake = node.core.engine._intake
    assert (len(node.core.engine.mempool), node.height) == (0, 0)
    assert len(intake._held) == HELD_TRANSACTIONS_MAX
    cluster.now_ms = junk[0].body.valid_until + 1
    gym = transaction("gym", Call("lottery", "play", {}), valid_until=cluster.now_ms + 1_000)
    cluster.submit("node0", gym)
    assert node.height == 1
    assert (len(intake._held), intake._held_bytes) == (0, 0)


def test_what_comes_before_the_block_that_registers_its_sender_is_ordered_after_it() -> None:
    cluster = Cluster()
    key, peer = key_of("newcomer").public_key, key_of("node3").public_key
    early = transaction("newcomer", Call("lottery", "play", {}))
    cluster.feed("node0", cluster.examined(cluster.nodes["node0"], (early.raw,), peer))
    assert len(cluster.nodes["node0"].core.engine.mempool) == 0
    enrolment = Call("kernel", "enrol", {"public_key": key, "roles": ["holder"]})
    cluster.submit("node1", transaction("bank", enrolment))
    cluster.pass_time(1_000)
    assert cluster.nodes["node0"].core.store.find(early.id) is not None


def test_the_first_block_is_later_than_genesis() -> None:
    """Otherwise no node could catch up past it, and no light client would follow."""
    cluster = Cluster()
    cluster.now_ms = GENESIS.created_ms + 1_000
    leader, root = cluster.nodes["node0"].key, bytes(32)
    body = filing().content_hash
    header = BlockHeader(
        version=1,
        height=1,
        time_ms=GENESIS.created_ms,
        parent=GENESIS.hash,
        transactions_root=merkle_root([body]),
        receipts_root=root,
        state_root=root,
        next_validators_hash=root,
        proposer=leader.public_key,
    )
    proposal = PrePrepare(0, header, (body,), leader.public_key, b"", (), ())
    signed = sign_message(GENESIS.chain, leader, proposal)
    cluster.feed("node1", io.PeerMessage(leader.public_key, signed))
    assert [fault.code for fault in cluster.nodes["node1"].punished] == ["BAD_PROPOSAL"]


def test_who_lost_its_blocks_but_not_its_votes_contradicts_no_forgotten_vote() -> None:
    """The vote log is trimmed: of the heights that are fetched again it knows nothing."""
    cluster = Cluster()
    said: list[Message] = []

    def note(message: Message) -> bool:
        said.append(message)
        return False

    cluster.drop = lambda source, target, message: note(message)
    for number in range(3):
        cluster.submit("node0", filing(number.to_bytes(16, "big")))
    node = cluster.nodes["node0"]
    own = [m for m in said if isinstance(m, Prepare) and m.signer == node.key.public_key]
    assert [vote.height for vote in own[::3]] == [1, 2, 3]
    node.core, node.timers = node.reopened(), {}
    said.clear()
    # It would lead height 1, and something waits; a peer replays what it once said.
    cluster.drop = lambda source, target, message: note(message) or source is not node
    cluster.submit("node0", filing(bytes([9]) * 16))
    cluster.feed("node0", io.PeerMessage(key_of("node3").public_key, own[0]))
    assert not node.halted
    assert not [m for m in said if isinstance(m, PrePrepare | Prepare | Commit | ViewChange)]
    cluster.drop = lambda source, target, message: False
    cluster.pass_time(20_000)
    assert cluster.heights == [4, 4, 4, 4]
    cluster.down = {"node3"}
    cluster.submit("node0", filing(bytes([8]) * 16))
    assert cluster.heights[:3] == [5, 5, 5]


def test_a_peer_that_asks_without_end_is_answered_within_bounds() -> None:
    """A request of a few bytes may cost megabytes: they must not take the time of consensus."""
    cluster = Cluster()
    cluster.submit("node0", filing())
    peer, engine = key_of("node3").public_key, cluster.nodes["node0"].core.engine
    asked = io.PeerMessage(peer, BlockRequest(1, 64))
    answers = [engine.handle(asked, cluster.now_ms) for _ in range(100)]
    assert all(answers[:16])
    assert not any(answers[32:])
    other = io.PeerMessage(key_of("node2").public_key, BlockRequest(1, 64))
    assert engine.handle(other, cluster.now_ms)
    engine.handle(io.Tick(), cluster.now_ms)
    assert engine.handle(asked, cluster.now_ms)


def test_one_peer_that_boasts_does_not_make_a_node_unready() -> None:
    cluster = Cluster()
    engine = cluster.nodes["node0"].core.engine
    cluster.drop = lambda source, target, message: isinstance(message, BlockRange)
    boast = Head(1_000_000)
    engine.handle(io.PeerMessage(key_of("node3").public_key, boast), cluster.now_ms)
    assert cluster.standing("node0").caught_up
    engine.handle(io.PeerMessage(key_of("node2").public_key, boast), cluster.now_ms)
    assert not cluster.standing("node0").caught_up

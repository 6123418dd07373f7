"""Epochs among real cores: the committee's key is rotated while calls are under way.

Each node has a core of its own that starts with the founders' secret alone, its own housekeeping,
and the keys that it opens by itself. What all must agree on is the receipt of every call, whatever
a single node can open at that moment.
"""

from __future__ import annotations

import msgspec
import pytest

from contracts.catalog import CONTRACTS
from contracts.kernel.epochs import GRACE_MS
from contracts.kernel.registry import wrap_of
from node import outputs as io
from node.admission import admit
from node.housekeeping import AGAIN_MS
from node.protocol.committee import make_epoch
from node.protocol.encoding import Value
from node.protocol.keys import PrivateKey
from node.protocol.sealing import EpochKey, Opener
from node.protocol.transaction import (
    Call,
    SealedCall,
    sign_transaction,
)
from tests.rotation import FIRST, KEYS, NAMES, Network, verdict_of
from tests.sim.world import epoch_key_of, key_of
from tests.test_engine import GENESIS, transaction

LATE_MS = GRACE_MS + 100  # block times run ahead of a clock that stands still


@pytest.fixture
def network() -> Network:
    return Network()


# ---- the ordinary way


def test_every_node_acknowledges_by_itself_and_the_next_block_accepts_the_epoch(
    network: Network,
) -> None:
    epoch = network.next_epoch()
    assert network.decide("rotate_epoch", epoch) == "OK"
    early = network.sealed(EpochKey(2, epoch.public_key))
    network.submit("node0", early)
    assert network.pooled() == [0, 0, 0, 0]  # not in force: refused where it enters
    network.look("node0", "node1", "node2")
    assert network.accepted() == (1,)
    network.look("node3")
    assert network.accepted() == (2, 1)
    for key in (FIRST, EpochKey(2, epoch.public_key)):
        sent = network.sealed(key)
        network.submit("node2", sent)
        assert network.code_of(sent) == "OK"
    network.agree()
    assert [one.alarms for one in network.errands.values()] == [[]] * 4
    assert network.learned == {name: [1, 2] for name in NAMES}
    assert {tuple(kept) for kept in network.kept.values()} == {(2,)}


def test_the_epoch_before_is_accepted_for_ten_minutes(network: Network) -> None:
    network.rotate()
    network.now_ms += GRACE_MS - 5_000
    late = network.sealed(FIRST)
    network.submit("node1", late)
    assert network.code_of(late) == "OK"
    network.now_ms += 5_100
    too_late = network.sealed(FIRST)
    network.submit("node1", too_late)
    assert network.pooled() == [0, 0, 0, 0]
    network.pass_time(2_000)
    assert network.nodes["node0"].core.store.find(too_late.id) is None
    network.agree()


def test_an_acknowledgement_that_was_lost_is_sent_again(network: Network) -> None:
    assert network.decide("rotate_epoch", network.next_epoch()) == "OK"
    network.down = {"node1", "node2", "node3"}
    network.look("node0")
    network.down = set()
    network.look("node0")
    assert len(network.errands["node0"].sent) == 1
    network.now_ms += AGAIN_MS
    network.look("node0")
    assert len(network.errands["node0"].sent) == 2


def test_nothing_is_acknowledged_twice(network: Network) -> None:
    network.rotate()
    network.now_ms += 2 * AGAIN_MS
    network.look()
    assert [len(one.sent) for one in network.errands.values()] == [1, 1, 1, 1]


# ---- a node that is down, restarted, late


def test_a_node_that_is_down_holds_the_epoch_up_until_it_is_back(network: Network) -> None:
    network.down = {"node3"}
    assert network.decide("rotate_epoch", network.next_epoch()) == "OK"
    network.look("node0", "node1", "node2")
    sent = network.sealed(FIRST)
    network.submit("node0", sent)
    assert network.code_of(sent) == "OK"  # business goes on under the epoch in force
    network.down = set()
    network.pass_time(4_000)
    network.look("node3")
    assert network.accepted() == (2, 1)
    network.agree()


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_node_restarted_in_the_middle_finds_its_key_in_the_state(
    network: Network, acknowledged: bool
) -> None:
    epoch = network.next_epoch()
    assert network.decide("rotate_epoch", epoch) == "OK"
    if acknowledged:
        network.look("node1")
    network.restart("node1")
    network.housekeeping["node1"] = network.keeper("node1")
    network.now_ms += AGAIN_MS
    network.look()
    assert network.accepted() == (2, 1)
    sent = network.sealed(EpochKey(2, epoch.public_key))
    network.submit("node1", sent)
    assert network.code_of(sent) == "OK"
    network.restart("node1")  # with the votes that it cast under both epochs
    network.agree()


def test_whoever_fetches_the_chain_from_its_beginning_opens_every_epoch(network: Network) -> None:
    network.down = {"node3"}
    sent = [network.sealed(FIRST)]
    network.submit("node0", sent[0])
    network.down = set()
    network.pass_time(4_000)
    for _ in range(3):
        key = network.rotate()
        sent.append(network.sealed(key))
        network.submit("node0", sent[-1])
    assert [network.code_of(one) for one in sent] == ["OK"] * 4
    node = network.nodes["node3"]
    node.core = node.reopened()
    network.restart("node3")
    network.pass_time(6_000)
    assert node.halted == ""
    network.agree()


def test_a_call_that_was_examined_before_the_secret_came_is_opened_after_all(
    network: Network,
) -> None:
    """The worker process hears of a key a moment later than the chain does."""
    key = network.rotate()
    sent = network.sealed(key)
    ignorant = Opener(GENESIS.chain, {1: epoch_key_of(1)})
    verdict = verdict_of(ignorant, sent)
    assert verdict.code == "WRONG_EPOCH"
    network.feed("node0", io.Examined(((sent.raw, verdict),), None, 1))
    assert network.code_of(sent) == "OK"
    # One that a proposal names is opened when it is executed.
    other = network.sealed(key)
    candidate = admit(GENESIS.chain, CONTRACTS, other.raw, verdict_of(ignorant, other))
    assert candidate.locked
    for node in network.nodes.values():
        result = node.core.executor.execute_block(node.height + 1, network.now_ms, [candidate])
        assert [receipt.code for receipt in result.receipts] == ["OK"]


# ---- calls under way


def test_calls_that_wait_when_their_epoch_ends_are_dropped_and_their_senders_told(
    network: Network,
) -> None:
    network.rotate()
    network.now_ms += GRACE_MS - 1_000
    waiting = network.sealed(FIRST)
    network.drop = lambda source, target, message: True  # nobody hears of anything
    network.submit("node2", waiting)
    assert network.pooled() == [0, 0, 1, 0]
    network.now_ms += 1_100
    network.drop = lambda source, target, message: False
    network.feed("node2", io.Tick())
    assert network.nodes["node2"].dropped == [waiting.id]
    assert network.pooled() == [0, 0, 0, 0]
    network.pass_time(3_000)
    assert network.nodes["node0"].core.store.find(waiting.id) is None


def test_in_a_block_such_a_call_fails_alike_on_every_node(network: Network) -> None:
    network.rotate()
    network.now_ms += LATE_MS
    unknown = EpochKey(9, PrivateKey.generate().public_key)
    stale = [network.sealed(FIRST), network.sealed(unknown)]
    ignorant = Opener(GENESIS.chain, {})
    roots = set()
    for node in network.nodes.values():
        for opener in (node.core.opener, ignorant):  # whatever it can open
            candidates = [
                admit(GENESIS.chain, CONTRACTS, one.raw, verdict_of(opener, one)) for one in stale
            ]
            result = node.core.executor.execute_block(node.height + 1, network.now_ms, candidates)
            assert [receipt.code for receipt in result.receipts] == ["WRONG_EPOCH"] * 2
            roots.add((result.receipts_root, result.state_root))
    assert len(roots) == 1


def test_a_leader_leaves_out_what_would_fail(network: Network) -> None:
    network.rotate()
    node, height = network.nodes["node0"], network.heights[0] + 1
    network.now_ms += GRACE_MS - 1_000
    late = network.sealed(FIRST)
    candidate = admit(GENESIS.chain, CONTRACTS, late.raw, verdict_of(node.core.opener, late))
    for later_ms, count in ((0, 1), (1_100, 0)):
        built = node.core.executor.build_block(
            height, network.now_ms + later_ms, [candidate], lambda poison: None
        )
        assert len(built.candidates) == count


def test_the_same_words_under_another_epoch_do_not_open(network: Network) -> None:
    key = network.rotate()
    sent = network.sealed(FIRST)
    (call,) = sent.body.calls
    assert isinstance(call, SealedCall)
    wraps = (*call.wraps, msgspec.structs.replace(call.wraps[0], recipient=key.public_key))
    for forged in (
        msgspec.structs.replace(call, epoch=2),
        msgspec.structs.replace(call, epoch=2, wraps=wraps),
    ):
        again = sign_transaction(
            GENESIS.chain, key_of("gym"), sent.body.nonce, sent.body.valid_until, (forged,)
        )
        network.submit("node0", again)
        assert network.pooled() == [0, 0, 0, 0]
        assert network.nodes["node0"].core.store.find(again.id) is None


# ---- wrong wraps


@pytest.mark.parametrize("kind", ["garbage", "another's", "another secret", "of another epoch"])
def test_a_wrong_wrap_raises_an_alarm_and_is_never_acknowledged(
    network: Network, kind: str
) -> None:
    good = network.next_epoch()
    wrong = {
        "garbage": b"garbage",
        "another's": good.wraps[KEYS["node0"]],
        "another secret": network.next_epoch().wraps[KEYS["node3"]],
        "of another epoch": make_epoch(GENESIS.chain_id, 7, KEYS.values()).wraps[KEYS["node3"]],
    }[kind]
    forged = good._replace(wraps={**good.wraps, KEYS["node3"]: wrong})
    assert network.decide("rotate_epoch", forged) == "OK"
    for _ in range(3):
        network.look()
        network.now_ms += AGAIN_MS
    assert network.errands["node3"].alarms == ["BAD_EPOCH_WRAP"]
    assert network.errands["node3"].sent == []
    assert network.kept["node3"] == {}
    assert network.accepted() == (1,)
    network.rotate()  # a better one takes its place
    assert network.accepted() == (3, 1)


def test_whoever_cannot_open_what_the_chain_accepts_says_so_and_stops(network: Network) -> None:
    """It acknowledged what it does not hold: so it writes no receipt, right or wrong."""
    good = network.next_epoch()
    forged = good._replace(wraps={**good.wraps, KEYS["node3"]: b"garbage"})
    assert network.decide("rotate_epoch", forged) == "OK"
    network.look("node0", "node1", "node2")
    key = good.public_key
    assert network.call("node3", "acknowledge_epoch", epoch=2, epoch_key=key) == "OK"
    assert network.accepted() == (2, 1)
    liar = network.nodes["node3"]
    height = liar.height
    clear = transaction("bank", Call("kernel", "expire_pending", {}), network.now_ms + 60_000)
    network.submit("node3", clear)
    assert network.heights == [height + 1] * 4  # it takes part in all that it can execute
    sent = network.sealed(EpochKey(2, good.public_key))
    network.submit("node3", sent)
    assert network.pooled() == [0, 0, 0, 0]  # and takes nothing in that it cannot
    network.submit("node0", sent)
    network.pass_time(4_000)
    assert network.code_of(sent) == "OK"
    assert "NO_EPOCH_SECRET" in liar.alarms
    assert (liar.halted, liar.height) == ("NO_EPOCH_SECRET", height + 1)
    network.agree()


def test_a_forged_acknowledgement_does_not_count(network: Network) -> None:
    epoch = network.next_epoch()
    assert network.decide("rotate_epoch", epoch) == "OK"
    args: dict[str, Value] = {"epoch": 2, "epoch_key": epoch.public_key}
    for sender in ("bank", "chair", "regulator"):
        assert network.call(sender, "acknowledge_epoch", **args) == "UNAUTHORIZED"
    call = Call("kernel", "acknowledge_epoch", dict(args))
    honest = transaction("node3", call, network.now_ms + 60_000)
    stolen = sign_transaction(
        GENESIS.chain, key_of("node0"), honest.body.nonce, honest.body.valid_until, (call,)
    )
    forged = honest.raw[:-64] + stolen.raw[-64:]  # node3's body under node0's signature
    node = network.nodes["node0"]
    network.feed("node0", network.examined(node, (forged,), None, 1))
    assert network.pooled() == [0, 0, 0, 0]
    share = wrap_of(node.core.store, 2, KEYS["node3"])
    assert share is not None
    assert share.acknowledged_height == 0

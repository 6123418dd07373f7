"""The vote log's records: read back, or refused before the node can vote on them."""

from __future__ import annotations

import pytest

from node.consensus import events as e
from node.consensus.recovery import read_records, record_codec
from node.consensus.replica import Replica
from node.protocol.block import BLOCK_TRANSACTIONS_MAX
from node.protocol.domain import Chain
from node.protocol.encoding import encode, sha256
from node.protocol.errors import StoreFailure
from tests.consensus.cluster import CHAIN, KEYS, TIMEOUTS, Cluster


def records_of(index: int) -> list[bytes]:
    """What a member wrote that proposed, prepared, committed and changed the view."""
    cluster = Cluster(4)
    for node in range(4):
        cluster.submit(node, ["a"])
    while cluster.packets:
        packet = cluster.packets.pop(0)
        if type(packet.message).__name__ != "Commit":
            cluster.arrive(packet)
    cluster.fire(index)
    return [record for _, record in cluster.nodes[index].records]


def test_records_come_back_by_height_in_order() -> None:
    raws = records_of(0)
    read = read_records(CHAIN, KEYS[0].public_key, raws)
    assert [encode(record) for record in read[1]] == raws
    kinds = [type(record).__name__ for record in read[1]]
    assert kinds == ["PrePrepareRecord", "PrepareRecord", "CommitRecord", "ViewChangeRecord"]


def test_a_restored_replica_signs_the_same_bytes_again() -> None:
    cluster = Cluster(4)
    members = cluster.validators(1)
    raws = records_of(0)
    replica = Replica(CHAIN, KEYS[0], members, None, TIMEOUTS, raws)
    effects = replica.handle(e.PeerConnected(KEYS[1].public_key), cluster.now_ms)
    sent = [effect.message for effect in effects if isinstance(effect, e.Send)]
    written = [record_codec.decode(raw).vote for raw in raws]
    assert {type(message).__name__ for message in sent} == {"Prepare", "Commit", "ViewChange"}
    assert {message.signature for message in sent if hasattr(message, "signature")} <= {
        vote.signature for vote in written
    }
    assert replica.view == 1


def test_records_of_a_later_height_wait_for_it() -> None:
    """The state was restored from an older copy than the vote log."""
    cluster = Cluster(4)
    for node in range(4):
        cluster.submit(node, ["a"])
    while cluster.packets:
        cluster.arrive(cluster.packets.pop(0))
    for node in range(4):
        cluster.submit(node, ["b"])
    while cluster.packets:
        packet = cluster.packets.pop(0)
        if type(packet.message).__name__ != "Commit":
            cluster.arrive(packet)
    first = cluster.nodes[2]
    records = [record for _, record in first.records]
    replica = Replica(CHAIN, KEYS[2], cluster.validators(1), None, TIMEOUTS, records)
    assert replica.handle(e.Tick(), 0) == []
    header, certificate = first.blocks[0]
    replica.handle(e.BlockCommitted(header, cluster.validators(2), certificate), 0)
    effects = replica.handle(e.PeerConnected(KEYS[1].public_key), 0)
    sent = [effect.message for effect in effects if isinstance(effect, e.Send)]
    assert {getattr(message, "height", 0) for message in sent} == {2}


@pytest.mark.parametrize(
    ("raws", "code"),
    [
        ([b"\xc1"], "DAMAGED_VOTES"),
        ([b""], "DAMAGED_VOTES"),
        (records_of(1), "FOREIGN_VOTES"),
        (records_of(0)[2:], "DAMAGED_VOTES"),
    ],
)
def test_unreadable_or_foreign_records_stop_the_start(raws: list[bytes], code: str) -> None:
    with pytest.raises(StoreFailure, match=code):
        read_records(CHAIN, KEYS[0].public_key, raws)


def test_records_of_another_network_stop_the_start() -> None:
    other = Chain("other", CHAIN.genesis_hash)
    with pytest.raises(StoreFailure, match="FOREIGN_VOTES"):
        read_records(other, KEYS[0].public_key, records_of(0))


def test_the_largest_proposal_fits_a_record() -> None:
    cluster = Cluster(4)
    names = [f"t{number}" for number in range(BLOCK_TRANSACTIONS_MAX)]
    cluster.submit(0, names)
    raw = cluster.nodes[0].records[0][1]
    assert len(record_codec.decode(raw).vote.transaction_hashes) == len(names)  # type: ignore[union-attr]
    assert sha256(raw) == sha256(encode(record_codec.decode(raw)))

"""Who may speak: the nodes that the chain lists, followed block by block."""

from __future__ import annotations

from pathlib import Path

from node.known_peers import KNOWN_PEERS_FILE, given_peers, save_known_peers
from node.net.peers import PeerAddress
from node.roster import Peers, Roster
from tests.contracts.network import Network
from tests.contracts.world import id_of, key_of

HEIGHT, NO_RECEIPTS = 1, ()
GIVEN = {key_of("old friend"): PeerAddress("friend", 1, b"f" * 32)}


def follow(network: Network, name: str, given: Peers) -> tuple[Roster, list[Peers]]:
    """A node's roster, and every change that it reports."""
    roster = Roster(network.memory, key_of(name), given)
    told: list[Peers] = []
    roster.attach(told.append)
    return roster, told


def test_the_founders_are_the_first_peers() -> None:
    roster, told = follow(Network(), "node0", {})
    assert set(roster.peers) == {key_of(f"node{index}") for index in range(4)}
    assert roster.peers[key_of("node2")] == PeerAddress("node2", 1, id_of("node2") * 2)
    assert told == []


def test_peers_come_and_go_with_the_chain_and_are_told_once() -> None:
    network = Network()
    roster, told = follow(network, "node0", {})
    roster.on_committed(HEIGHT, NO_RECEIPTS)
    assert told == []
    network.admit("node4")
    roster.on_committed(HEIGHT, NO_RECEIPTS)
    roster.on_committed(HEIGHT, NO_RECEIPTS)
    assert [len(peers) for peers in told] == [5]
    assert told[0][key_of("node4")] == PeerAddress("node4.example", 7000, id_of("node4") * 2)
    assert network.decide("dismiss_observer", node_key=key_of("node4")) == "OK"
    roster.on_committed(HEIGHT, NO_RECEIPTS)
    assert [len(peers) for peers in told] == [5, 4]


def test_a_removed_validator_stays_a_peer_until_it_is_dismissed() -> None:
    network = Network(validators=5)
    roster, told = follow(network, "node0", {})
    assert network.remove("node1") == "OK"
    roster.on_committed(HEIGHT, NO_RECEIPTS)
    assert told == []
    assert key_of("node1") in roster.peers


def test_a_newcomer_keeps_what_it_was_given_until_the_chain_lists_it() -> None:
    network = Network()
    roster, told = follow(network, "node4", GIVEN)
    assert set(roster.peers) > set(GIVEN)
    assert len(roster.peers) == 5
    network.admit("node4")
    roster.on_committed(HEIGHT, NO_RECEIPTS)
    assert not set(told[-1]) & set(GIVEN)


def test_a_node_whose_state_was_put_aside_finds_the_others_until_it_is_back() -> None:
    network = Network()
    roster = Roster(network.memory, key_of("node0"), GIVEN, height=0, known_at=500)
    told: list[Peers] = []
    roster.attach(told.append)
    assert set(roster.peers) > set(GIVEN)
    roster.on_committed(499, NO_RECEIPTS)
    assert told == []
    roster.on_committed(500, NO_RECEIPTS)
    assert not set(told[-1]) & set(GIVEN)


def test_known_peers_are_kept_in_the_folder(tmp_path: Path) -> None:
    assert given_peers(tmp_path, None) == ({}, 0)
    save_known_peers(tmp_path, GIVEN, 7)
    save_known_peers(tmp_path, GIVEN, 9)
    assert given_peers(tmp_path, None) == (GIVEN, 9)
    (tmp_path / KNOWN_PEERS_FILE).write_text("torn")
    assert given_peers(tmp_path, None) == ({}, 0)
    save_known_peers(tmp_path / "nowhere", GIVEN, 9)  # a disk that fails is no harm


def test_a_stranger_on_the_list_of_a_member_is_not_added() -> None:
    roster, _ = follow(Network(), "node0", GIVEN)
    assert not set(roster.peers) & set(GIVEN)

"""Who validates and who connects: two administrators, reasons, limits, and nodes that are ready."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel import registry
from contracts.kernel.membership import NODES_MAX, STATE_ROOTS_KEPT, VALIDATORS_MAX
from contracts.kernel.proposals import PROPOSAL_TTL_MS
from node.protocol.validators import VALIDATORS_MAX as VALIDATORS_MAX_OF_PROTOCOL
from tests.contracts.network import CHAIR, DEPUTY, Network
from tests.contracts.world import id_of, key_of, root_of


@pytest.fixture
def network() -> Network:
    return Network()


# ---- the ordinary ways


def test_an_observer_becomes_a_validator_two_heights_later(network: Network) -> None:
    network.admit("node4")
    assert "node4" not in network.members()
    assert (
        network.propose("add_validator", node_key=key_of("node4"), **network.ready("node4")) == "OK"
    )
    assert network.approve() == "OK"
    height = network.height
    assert network.last.details == {"first_height": height + 2, "validators": 5}
    assert network.members(height + 1) == ["node0", "node1", "node2", "node3"]
    assert network.members(height + 2) == ["node0", "node1", "node2", "node3", "node4"]
    assert network.last.events[0].name == "Approved"
    assert network.last.events[0].readers == ("public",)


def test_a_validator_is_removed_and_stays_connected_until_it_is_dismissed(
    network: Network,
) -> None:
    network.admit("node4")
    network.add("node4")
    network.pass_blocks(2)
    assert network.remove("node1") == "OK"
    height = network.height
    assert network.decide("dismiss_observer", node_key=key_of("node1")) == "OK"
    assert network.members(height + 1) == ["node0", "node1", "node2", "node3", "node4"]
    assert network.members(height + 2) == ["node0", "node2", "node3", "node4"]
    listed = [node.name for node in registry.nodes_of(network.memory)]
    assert "node1" not in listed
    assert len(listed) == 4


def test_a_member_is_replaced_in_its_place(network: Network) -> None:
    network.admit("node4")
    assert network.decide("replace_validator", **network.swap("node4", "node1")) == "OK"
    network.pass_blocks(1)
    assert network.members() == ["node0", "node4", "node2", "node3"]


def test_every_set_is_remembered_by_its_height(network: Network) -> None:
    sets = {1: network.members(1)}
    for name in ("node4", "node5", "node6"):
        network.admit(name)
        assert network.add(name) == "OK", network.last
        network.pass_blocks(1)
        sets[network.height + 1] = network.members()
    assert network.remove("node0") == "OK"
    network.pass_blocks(1)
    sets[network.height + 1] = network.members()
    assert [len(names) for names in sets.values()] == [4, 5, 6, 7, 6]
    for height, names in sets.items():
        assert network.members(height) == names
        assert height == 1 or network.members(height - 1) != names
    assert network.violations() == []


def test_proposals_and_nodes_are_public() -> None:
    network = Network(validators=5)
    network.admit("node5")
    network.propose("remove_validator", **network.removal("node1"), reason="it moved")
    shown = network.ask(None, "proposal", contract="kernel", proposal=id_of("proposal 2"))
    assert (shown["kind"], shown["reason"], shown["state"]) == (
        "remove_validator",
        "it moved",
        "OPEN",
    )
    assert shown["proposer"] == key_of(CHAIR)
    page = network.ask(None, "proposals", contract="kernel", limit=1)
    rest = network.ask(None, "proposals", contract="kernel", cursor=page["next"])
    assert len(page["items"] + rest["items"]) == 2
    nodes = network.ask(None, "nodes", contract="kernel")["items"]
    assert {node["name"]: node["validates"] for node in nodes}["node5"] is False
    assert sum(node["validates"] for node in nodes) == 5
    network.add("node5")
    coming = network.ask(None, "validators", contract="kernel")["coming"]
    assert coming["first_height"] == network.height + 2
    network.pass_blocks(1)
    assert network.ask(None, "validators", contract="kernel")["coming"] is None


# ---- two persons


@pytest.mark.parametrize("sender", ["bank", "regulator", "operator"])
def test_only_administrators_propose_and_approve(network: Network, sender: str) -> None:
    removal = network.removal("node1")
    assert network.propose("remove_validator", sender=sender, **removal) == "UNAUTHORIZED"
    network.admit("node4")
    network.propose("add_validator", node_key=key_of("node4"), **network.ready("node4"))
    assert network.approve(sender=sender) == "UNAUTHORIZED"


def test_the_proposer_may_not_approve(network: Network) -> None:
    network.propose("admit_observer", **network.admission("node4"))
    assert network.approve(sender=CHAIR) == "UNAUTHORIZED"
    assert network.why == "another person must decide"
    assert network.approve() == "OK"


def test_a_reason_must_be_given(network: Network) -> None:
    assert network.propose("admit_observer", **network.admission("node4"), reason="") == "BAD_ARG"
    assert network.last.details["field"] == "reason"


def test_nobody_can_make_administrators() -> None:
    world = Network()
    args = {"public_key": key_of("accomplice"), "roles": ["administrator"]}
    for sender in (CHAIR, "operator", "bank"):
        assert world.do(sender, "enrol", contract="kernel", **args) == "UNAUTHORIZED"


# ---- refusals, by code


def test_the_same_proposal_again_is_a_replay_and_another_a_conflict(network: Network) -> None:
    args = {"proposal": id_of("one"), **network.admission("node4")}
    assert network.propose("admit_observer", **args) == "OK"
    assert network.propose("admit_observer", **args) == "OK"
    assert network.last.details["replayed"] is True
    assert network.propose("admit_observer", **{**args, "name": "other"}) == "IDEM_CONFLICT"
    assert network.propose("admit_observer", sender=DEPUTY, **args) == "IDEM_CONFLICT"


def test_approving_again_is_a_replay(network: Network) -> None:
    network.admit("node4")
    assert network.approve() == "OK"
    assert network.last.details == {"replayed": True}
    assert len(registry.nodes_of(network.memory)) == 5


def test_what_is_not_there_is_not_found(network: Network) -> None:
    assert network.approve(proposal=9) == "NOT_FOUND"
    ready = network.ready("node9")
    assert network.propose("add_validator", node_key=key_of("node9"), **ready) == "NOT_FOUND"
    assert network.propose("remove_validator", **network.removal("node9")) == "NOT_FOUND"
    assert network.propose("dismiss_observer", node_key=key_of("node9")) == "NOT_FOUND"


def test_a_proposal_lapses(network: Network) -> None:
    network.propose("admit_observer", **network.admission("node4"))
    network.advance(PROPOSAL_TTL_MS - 2)
    network.propose("admit_observer", **network.admission("node5"))
    assert network.approve(proposal=1) == "EXPIRED"
    assert network.approve(proposal=2) == "OK"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node_key", key_of("node1")),
        ("name", "node1"),
        ("address", "node1:1"),
        ("tls_fingerprint", id_of("node1") * 2),
    ],
)
def test_no_two_nodes_share_anything(network: Network, field: str, value: Any) -> None:
    admission = {**network.admission("node4"), field: value}
    assert network.propose("admit_observer", **admission) == "BAD_STATE"
    assert network.last.details["field"] == field


def test_states_that_do_not_fit(network: Network) -> None:
    network.admit("node4")
    ready = network.ready("node1")
    assert network.propose("add_validator", node_key=key_of("node1"), **ready) == "BAD_STATE"
    assert network.propose("remove_validator", **network.removal("node4")) == "BAD_STATE"
    assert network.propose("dismiss_observer", node_key=key_of("node1")) == "BAD_STATE"
    assert network.propose("replace_validator", **network.swap("node4", "node4")) == "BAD_STATE"


def test_one_change_at_a_time(network: Network) -> None:
    for name in ("node4", "node5"):
        network.admit(name)
    for name in ("node4", "node5"):
        args = {"node_key": key_of(name), **network.ready(name)}
        assert network.propose("add_validator", **args) == "OK"
    first, second = network.proposals - 1, network.proposals
    assert network.approve(proposal=first) == "OK"
    network.height -= 1  # the second approval is in the same block
    assert network.approve(proposal=second) == "BAD_STATE"
    assert network.why == "another change is under way"
    assert network.last.details["first_height"] == network.height + 2
    assert network.approve(proposal=second) == "BAD_STATE"  # one block later
    assert network.approve(proposal=second) == "OK"
    assert network.members(network.height + 2)[4:] == ["node4", "node5"]


def test_a_removal_makes_another_one_s_epoch_stale() -> None:
    network = Network(validators=6)
    for name in ("node1", "node2"):
        assert network.propose("remove_validator", **network.removal(name)) == "OK"
    assert network.approve(proposal=1) == "OK"
    network.pass_blocks(2)
    # Its wraps would give the next secret to the one that has gone.
    assert network.approve(proposal=2) == "BAD_STATE"
    assert network.last.details == {
        "why": "not the next epoch; seal its secret anew",
        "newest": 2,
    }


def test_it_is_checked_against_the_set_that_is_coming(network: Network) -> None:
    network.admit("node4")
    network.add("node4")
    again = network.ready("node4")
    assert network.propose("add_validator", node_key=key_of("node4"), **again) == "BAD_STATE"
    network.pass_blocks(2)
    assert network.remove("node1") == "OK"
    assert network.propose("remove_validator", **network.removal("node0")) == "QUORUM_LOW"


def test_a_leaving_validator_is_not_dismissed_while_it_decides(network: Network) -> None:
    network.admit("node4")
    network.add("node4")
    network.pass_blocks(2)
    assert network.remove("node1") == "OK"
    network.height -= 1  # in the same block as the approval
    assert network.propose("dismiss_observer", node_key=key_of("node1")) == "BAD_STATE"
    assert network.propose("dismiss_observer", node_key=key_of("node1")) == "OK"


@pytest.mark.parametrize(("more_than", "codes"), [(2, ["OK", "QUORUM_LOW"]), (4, ["QUORUM_LOW"])])
def test_the_quorum_is_never_lost(more_than: int, codes: list[str]) -> None:
    network = Network(validators=5, more_than=more_than)
    for index, code in enumerate(codes):
        assert network.remove(f"node{index}") == code
        network.pass_blocks(2)
    assert network.propose("remove_validator", **network.removal("node4")) == "QUORUM_LOW"
    assert network.why


def test_small_networks_may_grow() -> None:
    network = Network(validators=1, more_than=0)
    for name in ("node1", "node2"):
        network.admit(name)
        assert network.add(name) == "OK", network.last
        network.pass_blocks(2)
    assert network.remove("node0") == "QUORUM_LOW"
    network.admit("node3")
    assert network.decide("replace_validator", **network.swap("node3", "node0")) == "OK"


def test_there_are_limits() -> None:
    network = Network(validators=VALIDATORS_MAX)
    network.admit("node70")
    assert network.add("node70") == "TOO_MANY_NODES"
    for index in range(NODES_MAX - VALIDATORS_MAX - 1):
        network.admit(f"extra{index}")
    assert network.propose("admit_observer", **network.admission("last")) == "TOO_MANY_NODES"
    assert VALIDATORS_MAX == VALIDATORS_MAX_OF_PROTOCOL


# ---- being ready


def test_a_node_must_show_a_recent_state_of_its_own(network: Network) -> None:
    network.admit("node4")
    node = key_of("node4")

    def code(**ready: Any) -> str:
        return network.propose("add_validator", node_key=node, **ready)

    assert code(**network.ready("node3")) == "NOT_READY"
    assert network.why == "the node's signature does not match"
    assert code(**network.ready("node4", ready_root=root_of(0))) == "NOT_READY"
    assert network.why == "another state root"
    assert code(**network.ready("node4", height=network.height + 1)) == "NOT_READY"
    network.pass_blocks(STATE_ROOTS_KEPT)
    assert code(**network.ready("node4", height=network.height + 1 - STATE_ROOTS_KEPT)) == (
        "NOT_READY"
    )
    assert network.why == f"not one of the last {STATE_ROOTS_KEPT} heights; sign anew"
    oldest = network.height + 2 - STATE_ROOTS_KEPT
    assert code(**network.ready("node4", height=oldest)) == "OK"


def test_an_old_signature_is_renewed_with_the_approval(network: Network) -> None:
    network.admit("node4")
    assert (
        network.propose("add_validator", node_key=key_of("node4"), **network.ready("node4")) == "OK"
    )
    network.pass_blocks(STATE_ROOTS_KEPT)
    assert network.approve() == "NOT_READY"
    assert network.why == f"not one of the last {STATE_ROOTS_KEPT} heights; sign anew"
    assert network.approve(**network.ready("node3")) == "NOT_READY"
    partial = network.ready("node4")
    del partial["ready_root"]
    assert network.approve(**partial) == "BAD_ARG"
    assert network.approve(**network.ready("node4")) == "OK"
    assert network.members(network.height + 2)[-1] == "node4"

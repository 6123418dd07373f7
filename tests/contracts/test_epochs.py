"""The committee's epochs: who brings one, who acknowledges it, when it counts and for how long.

What a node can open is not known here; see `tests.test_keyring` and `tests.test_epochs`.
"""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel import registry
from contracts.kernel.epochs import GRACE_MS
from tests.contracts.network import CHAIR, Network
from tests.contracts.world import key_of

EVERYBODY = ("node0", "node1", "node2", "node3")


@pytest.fixture
def network() -> Network:
    return Network()


def rotate(network: Network, **other: Any) -> str:
    """Propose and approve the next epoch for everybody."""
    code = network.decide("rotate_epoch", **{**network.next_epoch(), **other})
    network.epoch += code == "OK"
    return code


def acknowledgement(number: int, **other: Any) -> dict[str, Any]:
    return {"epoch": number, "epoch_key": key_of(f"epoch {number}"), **other}


def accepted(network: Network, later_ms: int = 0) -> tuple[int, ...]:
    """What the next block accepts, the current epoch first."""
    return registry.accepted_epochs(network.memory, network.time_ms + later_ms)


# ---- routine


def test_the_founders_epoch_is_in_force_from_the_first_block(network: Network) -> None:
    assert accepted(network) == (1,)
    current = registry.epoch_of(network.memory, 1)
    assert current is not None
    assert (current.public_key, current.first_height) == (key_of("epoch 1"), 1)


def test_it_is_in_force_when_the_last_validator_has_acknowledged(network: Network) -> None:
    assert rotate(network) == "OK"
    for name in EVERYBODY[:-1]:
        network.acknowledge(name)
        assert accepted(network) == (1,)
    network.acknowledge("node3")
    names = [event.name for event in network.last.events]
    assert names == ["EpochAcknowledged", "EpochActivated"]
    assert network.last.events[1].data == {
        "epoch": 2,
        "first_height": network.height + 1,
        "previous_until_ms": network.time_ms + GRACE_MS,
    }
    assert network.last.events[1].readers == ("public",)
    assert accepted(network) == (2, 1)
    assert accepted(network, GRACE_MS - 1) == (2, 1)
    assert accepted(network, GRACE_MS) == (2,)  # at its end it has ended
    assert network.violations() == []


def test_the_grace_runs_faster_where_time_does() -> None:
    network = Network(time_scale=1_000)
    rotate(network)
    network.acknowledge(*EVERYBODY)
    assert accepted(network, GRACE_MS // 1_000 - 1) == (2, 1)
    assert accepted(network, GRACE_MS // 1_000) == (2,)


def test_the_one_before_the_previous_is_out_at_once(network: Network) -> None:
    for _ in range(2):
        rotate(network)
        network.acknowledge(*EVERYBODY)
    assert accepted(network) == (3, 2)


def test_a_node_that_is_down_keeps_it_waiting_until_it_is_back_or_gone() -> None:
    network = Network(validators=5)
    rotate(network)
    network.acknowledge("node0", "node1", "node2", "node3")
    network.advance(GRACE_MS)
    assert accepted(network) == (1,)
    assert network.remove("node4") == "OK", network.last  # which brings epoch 3 to the others
    assert accepted(network) == (1,)
    network.acknowledge("node0", "node1", "node2", "node3")
    assert accepted(network) == (3,)


def test_an_epoch_that_still_waits_is_replaced_by_the_next(network: Network) -> None:
    rotate(network)
    network.acknowledge("node0")
    rotate(network)
    args = acknowledgement(2)
    assert network.do("node1", "acknowledge_epoch", contract="kernel", **args) == "BAD_STATE"
    assert network.last.details["newest"] == 3
    network.acknowledge(*EVERYBODY)
    assert accepted(network) == (3, 1)


def test_an_observer_may_have_a_wrap_and_is_not_waited_for(network: Network) -> None:
    network.admit("watcher")
    rotate(network)
    network.acknowledge(*EVERYBODY)
    assert accepted(network) == (2, 1)
    network.acknowledge("watcher")


def test_an_observer_that_joins_the_set_is_waited_for(network: Network) -> None:
    network.admit("node4")
    assert network.propose("add_validator", node_key=key_of("node4"), **network.ready("node4")) == (
        "OK"
    )
    addition = network.proposals
    rotate(network)
    network.acknowledge(*EVERYBODY[:-1])
    assert network.approve(proposal=addition) == "NOT_READY"  # it must know the coming epoch
    assert network.why == "it has not acknowledged epoch 2"
    network.acknowledge("node4")
    assert network.approve(proposal=addition) == "OK", network.last
    assert accepted(network) == (1,)
    network.acknowledge("node3")
    assert accepted(network) == (2, 1)


# ---- removal


def test_a_removal_brings_an_epoch_without_grace() -> None:
    network = Network(validators=5)
    assert network.remove("node4") == "OK"
    height = network.height
    assert network.last.details == {"first_height": height + 2, "validators": 4, "epoch": 2}
    network.acknowledge(*EVERYBODY)
    assert accepted(network) == (2,)
    assert network.memory.get("kernel/epoch_wraps", b"\0\0\0\2" + key_of("node4")) is None


def test_what_is_to_be_without_grace_stays_so_when_another_epoch_replaces_it() -> None:
    network = Network(validators=5)
    network.remove("node4")
    assert rotate(network, **network.next_epoch(without="node4")) == "OK"
    network.acknowledge(*EVERYBODY)
    assert accepted(network) == (3,)


def test_a_removal_ends_the_grace_of_the_one_before() -> None:
    network = Network(validators=5)
    rotate(network)
    network.acknowledge(*EVERYBODY, "node4")
    assert accepted(network) == (2, 1)
    network.remove("node4")
    network.acknowledge(*EVERYBODY)
    assert accepted(network) == (3,)


def test_whoever_was_removed_gets_no_later_secret_but_by_a_new_admission() -> None:
    network = Network(validators=5)
    network.remove("node4")
    later = network.next_epoch()
    assert key_of("node4").hex() not in later["wraps"]
    wraps = {**later["wraps"], key_of("node4").hex(): b"sealed"}
    assert network.propose("rotate_epoch", **{**later, "wraps": wraps}) == "BAD_STATE"
    assert network.last.details["node_key"] == key_of("node4")
    network.pass_blocks(2)
    assert network.decide("dismiss_observer", node_key=key_of("node4")) == "OK"
    network.admit("node4")
    assert rotate(network) == "OK"
    network.acknowledge(*EVERYBODY)
    assert accepted(network) == (3,)


def test_whoever_goes_does_not_get_the_next_secret() -> None:
    network = Network(validators=5)
    args = {"node_key": key_of("node4"), **network.next_epoch()}
    assert network.propose("remove_validator", **args) == "BAD_ARG"
    assert network.last.details["field"] == "wraps"
    network.admit("node5")
    swap = {**network.swap("node5", "node4"), **network.next_epoch()}
    assert network.propose("replace_validator", **swap) == "BAD_ARG"


# ---- refusals


def test_an_epoch_is_for_every_validator_and_for_nodes_only(network: Network) -> None:
    partly = network.next_epoch(without="node2")
    assert network.propose("rotate_epoch", **partly) == "BAD_STATE"
    assert network.last.details["node_key"] == key_of("node2")
    whole = network.next_epoch()
    wraps = {**whole["wraps"], key_of("stranger").hex(): b"sealed"}
    assert network.propose("rotate_epoch", **{**whole, "wraps": wraps}) == "NOT_FOUND"


@pytest.mark.parametrize(
    "wraps",
    [{}, {"02": b"x"}, {"0A" * 33: b"x"}, {key_of("node0").hex(): b""}, {"x" * 66: b"x"}, [b"x"]],
)
def test_wraps_are_by_node_in_hex(network: Network, wraps: Any) -> None:
    args = {**network.next_epoch(), "wraps": wraps}
    assert network.propose("rotate_epoch", **args) == "BAD_ARG"
    assert network.last.details["field"].startswith("wraps")


@pytest.mark.parametrize("number", [0, 1, 3, 1 << 32])
def test_only_the_next_number_will_do(network: Network, number: int) -> None:
    code = network.propose("rotate_epoch", **{**network.next_epoch(), "epoch": number})
    assert code == ("BAD_ARG" if number >> 32 else "BAD_STATE")


def test_it_takes_two_administrators(network: Network) -> None:
    for sender in ("regulator", "operator", "node0"):
        code = network.propose("rotate_epoch", sender=sender, **network.next_epoch())
        assert code == "UNAUTHORIZED"
    network.propose("rotate_epoch", **network.next_epoch())
    assert network.approve(sender=CHAIR) == "UNAUTHORIZED"


def test_only_a_node_with_a_wrap_acknowledges_and_only_for_itself(network: Network) -> None:
    rotate(network)
    args = acknowledgement(2)
    for sender in ("administrator", "bank"):
        code = network.do(sender, "acknowledge_epoch", contract="kernel", **args)
        assert code == "UNAUTHORIZED"
    assert network.do("stranger", "acknowledge_epoch", contract="kernel", **args) == "UNAUTHORIZED"
    network.admit("watcher")  # admitted with a wrap of epoch 2
    rotate(network, **network.next_epoch(without="watcher"))
    args = acknowledgement(3)
    assert network.do("watcher", "acknowledge_epoch", contract="kernel", **args) == "NOT_FOUND"
    assert not any(
        share.acknowledged_height
        for node in EVERYBODY
        if (share := registry.wrap_of(network.memory, 3, key_of(node))) is not None
    )


def test_an_acknowledgement_names_the_key_that_was_opened(network: Network) -> None:
    rotate(network)
    args = acknowledgement(2, epoch_key=key_of("epoch 9"))
    assert network.do("node0", "acknowledge_epoch", contract="kernel", **args) == "BAD_STATE"
    assert network.do("node0", "acknowledge_epoch", contract="kernel", **acknowledgement(7)) == (
        "NOT_FOUND"
    )


def test_acknowledging_twice_is_a_replay(network: Network) -> None:
    rotate(network)
    network.acknowledge("node0")
    network.acknowledge("node0")
    assert network.last.details == {"replayed": True}
    assert network.last.events == ()


def test_a_dismissed_node_acknowledges_nothing(network: Network) -> None:
    network.admit("watcher")
    assert network.decide("dismiss_observer", node_key=key_of("watcher")) == "OK"
    args = acknowledgement(1)
    assert network.do("watcher", "acknowledge_epoch", contract="kernel", **args) == "UNAUTHORIZED"


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("expire_pending", {"limit": 1}),
        ("enrol", {"public_key": key_of("accomplice"), "roles": ["holder"]}),
        ("approve", {"proposal": bytes(16)}),
    ],
)
def test_a_node_s_key_may_do_nothing_else(
    network: Network, action: str, args: dict[str, Any]
) -> None:
    assert network.do("node0", action, contract="kernel", **args) == "UNAUTHORIZED"


def test_a_node_s_key_that_somebody_enrolled_still_acknowledges(network: Network) -> None:
    """Else a bank could hold up every rotation by enrolling a validator's key as a holder."""
    args = {"public_key": key_of("node0"), "roles": ["holder"]}
    assert network.do("bank", "enrol", contract="kernel", **args) == "OK"
    rotate(network)
    network.acknowledge(*EVERYBODY)
    assert accepted(network) == (2, 1)


def test_the_role_of_nodes_cannot_be_given(network: Network) -> None:
    args = {"public_key": key_of("impostor"), "roles": ["node"]}
    network.do("operator", "enrol", contract="kernel", **args)
    rotate(network)
    code = network.do("impostor", "acknowledge_epoch", contract="kernel", **acknowledgement(2))
    assert code == "UNAUTHORIZED"


def test_an_admission_carries_the_newest_epoch(network: Network) -> None:
    rotate(network)
    stale = {**network.admission("node4"), "epoch": 1}
    assert network.propose("admit_observer", **stale) == "BAD_STATE"
    assert network.last.details["newest"] == 2
    assert network.propose("admit_observer", **network.admission("node4")) == "OK"
    rotate(network)
    assert network.approve(proposal=network.proposals - 1) == "BAD_STATE"

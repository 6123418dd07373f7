"""A contract's next version takes over at a height; a node that lacks it stops there."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from contracts.catalog import CONTRACTS
from contracts.kernel.state import Table
from contracts.kernel.upgrades import NOTICE_HEIGHTS_MIN
from node.code import SOON_HEIGHTS, Library
from node.protocol.encoding import sha256
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis
from node.protocol.messages import Transactions
from node.protocol.transaction import Call, Transaction
from tests.contracts import taps, taps_2
from tests.contracts.taps import TAP_CONTRACT
from tests.contracts.taps_2 import TAP_CONTRACT_2
from tests.test_engine import GENESIS, Cluster, transaction

FIRST, SECOND = sha256(b"taps"), sha256(b"taps 2")
FOUNDERS = {name: {sha256(name.encode()): CONTRACTS[name]} for name in ("kernel", "prepaid")}
OLD = Library({**FOUNDERS, "taps": {FIRST: TAP_CONTRACT}})
NEW = Library({**FOUNDERS, "taps": {FIRST: TAP_CONTRACT, SECOND: TAP_CONTRACT_2}})


def found() -> Genesis:
    content = GENESIS.model_dump(mode="json")
    content["contracts"]["taps"] = FIRST.hex()
    return Genesis.parse(json.dumps(content))


class Waterworks(Cluster):
    """Four nodes with taps; `node3` may have an older program than the others."""

    def __init__(self, last: Library = NEW) -> None:
        names = ("node0", "node1", "node2", "node3")
        super().__init__({**dict.fromkeys(names, NEW), "node3": last}, found())
        self.proposals = 0

    def send(self, sender: str, to: str, action: str, /, **args: Any) -> str:
        """One transaction in a block of its own; its code."""
        sent = self.sent(sender, to, action, **args)
        self.submit("node0", sent)
        return self.code_of(sent)

    def sent(self, sender: str, to: str, action: str, /, **args: Any) -> Transaction:
        return transaction(
            sender, Call(to, action, args), self.now_ms + 300_000, self.genesis.chain
        )

    def turn(self, level: int) -> str:
        return self.send("gym", "taps", "turn", tap="a", level=level)

    def decide(self, kind: str, **args: Any) -> str:
        """Two administrators; the first code that is not OK."""
        self.proposals += 1
        proposal = self.proposals.to_bytes(16, "big")
        given = {"proposal": proposal, "reason": "louder", "contract": "taps", **args}
        code = self.send("chair", "kernel", kind, **given)
        return code if code != "OK" else self.send("deputy", "kernel", "approve", proposal=proposal)

    def upgrade(self, height: int) -> str:
        return self.decide(
            "upgrade", source_hash=SECOND, interface_hash=bytes(32), activation_height=height
        )

    def reach(self, height: int) -> None:
        """Let blocks pass until this one is final on the first node."""
        while self.nodes["node0"].height < height:
            assert self.send("gym", "kernel", "expire_pending") == "OK"

    def tap(self, name: str) -> bytes | None:
        return self.nodes[name].core.store.get("taps/taps", b"a")


def test_the_next_version_takes_over_at_its_height() -> None:
    works = Waterworks()
    assert works.turn(9) == "OK"
    assert works.turn(11) == "BAD_ARG"
    assert works.upgrade(40) == "OK"
    works.reach(37)
    assert works.turn(11) == "BAD_ARG"
    assert works.send("gym", "taps", "shut", tap="a") == "NOT_FOUND"
    assert works.heights == [39] * 4
    assert works.turn(11) == "OK"
    assert works.heights == [40] * 4
    raw = works.tap("node0")
    assert raw is not None
    assert taps_2.TAPS.decode(raw).level == 11
    assert works.send("gym", "taps", "shut", tap="a") == "OK"
    assert works.send("gym", "taps", "freeze", tap="a", scope="x", reason="y") == "NOT_FOUND"
    assert [node.halted for node in works.nodes.values()] == [""] * 4
    assert not any("UPGRADE_NEEDED" in node.alarms for node in works.nodes.values())


def test_what_was_admitted_before_is_judged_by_the_version_that_executes_it() -> None:
    works = Waterworks()
    assert works.turn(3) == "OK"
    assert works.upgrade(20) == "OK"
    works.reach(18)
    # One node checks all three by the old version, and keeps them until the new one is in force.
    waiting = [
        works.sent("gym", "taps", "turn", tap="a", level=11),
        works.sent("gym", "taps", "shut", tap="a"),
        works.sent("regulator", "taps", "freeze", tap="a", scope="x", reason="y"),
    ]
    keeper = works.nodes["node3"]
    works.drop = lambda source, target, message: (
        source is keeper and isinstance(message, Transactions)
    )
    works.submit("node3", *waiting)
    assert works.send("bank", "kernel", "expire_pending") == "OK"
    assert works.heights == [19] * 4
    works.drop = lambda source, target, message: False
    works.pass_time(20_000)
    assert [works.code_of(sent) for sent in waiting] == ["OK", "OK", "NOT_FOUND"]
    assert works.heights == [works.heights[0]] * 4
    assert [node.halted for node in works.nodes.values()] == [""] * 4


def test_a_node_without_it_says_so_ahead_and_stops_before_voting() -> None:
    works = Waterworks(last=OLD)
    assert works.turn(9) == "OK"
    assert works.upgrade(40) == "OK"
    old = works.nodes["node3"]
    assert old.alarms == ["UPGRADE_NEEDED"]
    assert "from block 40 on" in old.alarm_details[0]
    assert "contract taps" in old.alarm_details[0]
    works.reach(40 - SOON_HEIGHTS)
    assert old.alarms == ["UPGRADE_NEEDED"] * 2
    works.reach(39)
    assert old.alarms == ["UPGRADE_NEEDED"] * 2
    assert old.halted == "UNKNOWN_CONTRACT_HASH"
    assert works.turn(11) == "OK"
    assert works.heights == [40, 40, 40, 39]
    assert [node.halted for node in works.nodes.values()][:3] == [""] * 3
    with pytest.raises(Misconfigured) as refused:
        old.open()
    assert refused.value.code == "UNKNOWN_CONTRACT_HASH"
    assert "install the version of groat that has it" in refused.value.message
    # With the new program it goes on where it stopped.
    old.contracts, old.halted = NEW, ""
    works.restart("node3")
    works.pass_time(3_000)
    assert works.turn(5) == "OK"
    assert works.heights == [41] * 4
    assert works.tap("node3") == works.tap("node0")


def test_catching_up_executes_each_height_with_its_own_version() -> None:
    works = Waterworks()
    works.down = {"node3"}
    assert works.turn(9) == "OK"
    assert works.upgrade(20) == "OK"
    works.reach(19)
    assert works.turn(11) == "OK"
    assert works.turn(10) == "OK"
    works.down = set()
    late = works.nodes["node3"]
    late.core = late.reopened()  # from nothing, over the height at which it changed
    works.restart("node3")
    works.pass_time(5_000)
    assert works.heights == [works.nodes["node0"].height] * 4
    assert works.tap("node3") == works.tap("node0")
    assert late.halted == ""


def test_a_late_node_without_it_stops_at_the_height_and_not_before() -> None:
    works = Waterworks(last=OLD)
    works.down = {"node3"}
    assert works.upgrade(20) == "OK"
    works.reach(25)
    works.down = set()
    works.restart("node3")
    works.pass_time(5_000)
    assert works.nodes["node3"].height == 19
    assert works.nodes["node3"].halted == "UNKNOWN_CONTRACT_HASH"


def test_an_upgrade_is_called_off_in_time() -> None:
    works = Waterworks(last=OLD)
    assert works.decide("cancel_upgrade") == "BAD_STATE"
    assert works.upgrade(40) == "OK"
    assert works.upgrade(50) == "BAD_STATE"
    assert works.decide("cancel_upgrade") == "OK"
    assert works.decide("cancel_upgrade") == "BAD_STATE"
    works.reach(45)
    assert works.turn(11) == "BAD_ARG"
    assert works.heights == [works.heights[0]] * 4
    height = works.heights[0] + 2 + NOTICE_HEIGHTS_MIN
    assert works.upgrade(height) == "OK"
    works.reach(height - NOTICE_HEIGHTS_MIN // 2)
    assert works.decide("cancel_upgrade") == "BAD_STATE"


def test_what_cannot_be_upgraded() -> None:
    works = Waterworks()
    hashes = {"source_hash": SECOND, "interface_hash": bytes(32)}
    soon = works.heights[0] + NOTICE_HEIGHTS_MIN
    assert works.decide("upgrade", activation_height=soon, **hashes) == "BAD_STATE"
    assert works.decide("upgrade", activation_height=99, contract="soup", **hashes) == "NOT_FOUND"
    same = {**hashes, "source_hash": FIRST}
    assert works.decide("upgrade", activation_height=99, **same) == "BAD_STATE"
    assert works.send("chair", "kernel", "approve", proposal=bytes(16)) == "NOT_FOUND"


def test_versions_agree_on_what_is_private() -> None:
    hidden = Table("taps/taps", taps.Tap, "x", lambda _: ())
    other = dataclasses.replace(TAP_CONTRACT_2, tables=(hidden,))
    with pytest.raises(AssertionError):
        Library({"taps": {FIRST: TAP_CONTRACT, SECOND: other}})

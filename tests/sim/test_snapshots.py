"""Snapshots between simulated nodes: newcomers and those left behind, among crashes and liars."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random

import msgspec
import pytest

from node import outputs as io
from node.net import catch_up
from node.net.state_sync import GRACE_MS, PATIENCE_MS
from node.protocol.encoding import encode
from node.protocol.messages import (
    BLOCKS_SECTION,
    MANIFEST_SECTION,
    SNAPSHOT_PART_BYTES,
    STATE_SECTION,
    Head,
    Message,
    SnapshotFile,
    SnapshotRequest,
)
from node.protocol.transaction import VALID_FOR_MS_MAX
from node.state.snapshot import blocks_codec, manifest_codec
from tests.sim.cluster import FOUNDERS, Cluster
from tests.sim.node import SimNode
from tests.sim.snapshots import Alter

EVERY = 8
NEWCOMER = 4
LARGE = 3 * SNAPSHOT_PART_BYTES


class Watched(Cluster):
    """A cluster with snapshots that notes who was punished, and what was asked for."""

    def __init__(self, seed: int, size: int = 6) -> None:
        self.punished: set[tuple[int, int]] = set()
        self.asked: list[tuple[int, SnapshotRequest]] = []
        super().__init__(seed, size, snapshot_every=EVERY)

    def on_trouble(self, node: SimNode, output: io.Alarm | io.Halt | io.PunishPeer) -> None:
        """See `Observer`."""
        if isinstance(output, io.PunishPeer):
            keys = [one.public_key for one in self.nodes]
            self.punished.add((node.number, keys.index(output.peer)))
        else:
            super().on_trouble(node, output)

    def on_sending(self, node: SimNode, message: Message) -> None:
        """See `Observer`."""
        super().on_sending(node, message)
        if isinstance(message, SnapshotRequest):
            self.asked.append((node.number, message))

    def lie(self, number: int, alter: Alter) -> None:
        """Let a machine give other files than it has made."""
        snapshots = self.nodes[number].machine.snapshots
        assert snapshots is not None
        snapshots.alter = alter

    def began_with_snapshot(self, number: int) -> bool:
        """Whether this node, which is up, has a state that it did not execute."""
        return self.nodes[number].running.store.oldest.history > 0


def grown(cluster: Watched, blocks: int = 3 * EVERY) -> Watched:
    """Four founders that run, and a newcomer that is admitted and off."""
    cluster.start(*range(FOUNDERS))
    cluster.admit(NEWCOMER)
    while cluster.nodes[0].height < blocks:
        cluster.enrol()
    return cluster


def test_a_newcomer_joins_by_snapshot_and_votes() -> None:
    cluster = grown(Watched(1))
    cluster.start(NEWCOMER)
    cluster.caught_up(NEWCOMER)
    assert cluster.began_with_snapshot(NEWCOMER)
    cluster.reach(cluster.add(NEWCOMER))
    cluster.nodes[1].crash()  # four of five must agree: the newcomer is needed
    cluster.enrol()
    assert cluster.counts[f"votes of node{NEWCOMER}"]
    cluster.nodes[1].start()
    cluster.finish()
    # It makes snapshots itself from now on, and others may have them.
    while not _heights(cluster, NEWCOMER):
        cluster.enrol()
    assert cluster.punished == set()


def _heights(cluster: Watched, number: int) -> tuple[int, ...]:
    snapshots = cluster.nodes[number].machine.snapshots
    return () if snapshots is None else snapshots.heights()


def test_after_a_snapshot_blocks_follow_however_many_there_are_by_then() -> None:
    """Peers that make snapshots faster than they are fetched must not keep a node from arriving."""
    cluster = grown(Watched(12))
    newcomer = cluster.nodes[NEWCOMER]
    newcomer.machine.slowness = 10
    newcomer.start()
    while newcomer.up and newcomer.incarnation == 1:
        cluster.enrol()
        cluster.run(100)
    newcomer.machine.slowness = 1
    assert cluster.nodes[0].height >= newcomer.height + EVERY
    cluster.caught_up(NEWCOMER)
    assert newcomer.incarnation == 2
    cluster.finish()


def test_one_that_is_left_behind_comes_back_by_snapshot_and_votes() -> None:
    cluster = grown(Watched(2))
    cluster.nodes[2].crash()
    for _ in range(3 * EVERY):
        cluster.enrol()
    cluster.nodes[2].start()
    cluster.caught_up(2)
    assert cluster.began_with_snapshot(2)
    cluster.nodes[0].crash()
    cluster.enrol()  # three of four must agree
    cluster.nodes[0].start()
    cluster.finish()


def test_one_that_was_cut_off_while_running_catches_up_by_snapshot_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It hears votes before it hears of snapshots: blocks must not all be there by then.
    monkeypatch.setattr(catch_up, "BLOCK_RANGE_MAX", 1)
    cluster = grown(Watched(3))
    for _ in range(2):
        before = len(cluster.asked)
        others = set(range(FOUNDERS)) - {3}
        cluster.network.cut = {(3, one) for one in others} | {(one, 3) for one in others}
        for _ in range(12 * EVERY):
            cluster.enrol()
        cluster.network.heal()
        cluster.caught_up()
        assert len(cluster.asked) > before
    assert cluster.nodes[3].incarnation == 3
    cluster.finish()


def test_a_few_blocks_are_executed_and_no_snapshot_is_fetched() -> None:
    cluster = grown(Watched(4))
    while cluster.nodes[0].height % EVERY != EVERY - 2:
        cluster.enrol()
    cluster.caught_up()
    cluster.nodes[2].crash()
    for _ in range(EVERY - 1):  # one snapshot is made meanwhile, less than an interval ahead
        cluster.enrol()
    cluster.nodes[2].start()
    cluster.caught_up(2)
    assert not cluster.began_with_snapshot(2)
    assert cluster.asked == []


def test_the_founders_may_all_be_gone() -> None:
    cluster = Watched(5, size=9)
    cluster.start(*range(FOUNDERS))
    for newcomer in range(FOUNDERS, 8):
        cluster.admit(newcomer)
        cluster.nodes[newcomer].start()
        cluster.reach(cluster.add(newcomer))
        cluster.reach(cluster.remove(newcomer - FOUNDERS))
    assert cluster.members() == [4, 5, 6, 7]
    cluster.admit(8)
    for gone in range(FOUNDERS):
        cluster.nodes[gone].crash()
    cluster.start(8)
    cluster.caught_up(8)
    assert cluster.began_with_snapshot(8)
    cluster.reach(cluster.add(8))


def test_nothing_of_the_last_ten_minutes_can_be_booked_again() -> None:
    cluster = grown(Watched(6))
    cluster.run(VALID_FOR_MS_MAX)
    while cluster.nodes[0].height < 5 * EVERY:
        cluster.enrol()
    cluster.start(NEWCOMER)
    cluster.caught_up(NEWCOMER)
    ours, theirs = (cluster.nodes[one].running.store for one in (NEWCOMER, 0))
    assert 1 < ours.oldest.block < ours.oldest.history
    for height in range(ours.oldest.block, ours.head.height + 1):
        assert ours.block(height) is not None
        for receipt in theirs.receipts(height):
            assert ours.find(receipt.transaction_id) == theirs.find(receipt.transaction_id)
    assert ours.head == theirs.head  # its count of transactions too


def test_blocks_that_nobody_has_any_more_are_made_up_for_by_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All others began with snapshots of their own, so even a short gap cannot be executed."""
    cluster = grown(Watched(7))
    honest = SimNode._send

    def prunes(node: SimNode, targets: list[int], message: Message) -> None:
        if isinstance(message, Head) and node.number != 2:
            message = msgspec.structs.replace(message, blocks_from=message.snapshots[-1])
        honest(node, targets, message)

    while cluster.nodes[0].height % EVERY != EVERY - 2:
        cluster.enrol()
    cluster.caught_up()
    cluster.nodes[2].crash()
    for _ in range(EVERY - 1):
        cluster.enrol()
    monkeypatch.setattr(SimNode, "_send", prunes)
    cluster.nodes[2].start()
    cluster.caught_up(2)
    assert cluster.began_with_snapshot(2)


# ---- liars


def flip(section: int) -> Alter:
    """One bit of every file of this kind."""
    places = count(1)

    def alter(height: int, file: SnapshotFile, content: bytes | None) -> bytes | None:
        if file.section != section or not content:
            return content
        changed = bytearray(content)
        place = next(places) * 7_919 % (8 * len(changed))
        changed[place // 8] ^= 1 << place % 8
        return bytes(changed)

    return alter


def of_section(section: int, change: Callable[[bytes], bytes]) -> Alter:
    return lambda height, file, content: (
        change(content) if file.section == section and content else content
    )


def _without_handovers(raw: bytes) -> bytes:
    return encode(msgspec.structs.replace(manifest_codec.decode(raw), handovers=()))


def _other_height(raw: bytes) -> bytes:
    manifest = manifest_codec.decode(raw)
    header = msgspec.structs.replace(manifest.header, height=manifest.height + 1)
    return encode(msgspec.structs.replace(manifest, header=header))


def _unsealed(raw: bytes) -> bytes:
    manifest = manifest_codec.decode(raw)
    certificate = msgspec.structs.replace(manifest.certificate, seals=())
    return encode(msgspec.structs.replace(manifest, certificate=certificate))


LIES: dict[str, Alter] = {
    "a flipped bit in the manifest": flip(MANIFEST_SECTION),
    "a flipped bit in the state": flip(STATE_SECTION),
    "a flipped bit in the blocks": flip(BLOCKS_SECTION),
    "another height": of_section(MANIFEST_SECTION, _other_height),
    "no certificate": of_section(MANIFEST_SECTION, _unsealed),
    "no manifest": of_section(MANIFEST_SECTION, lambda raw: b"\x90"),
    "a file in many parts": of_section(STATE_SECTION, lambda raw: raw.ljust(LARGE)),
    "a file cut off": of_section(STATE_SECTION, lambda raw: raw[:-1]),
    "no records": of_section(STATE_SECTION, lambda raw: b""),
    "records twice": of_section(STATE_SECTION, lambda raw: raw + raw),
    "fewer blocks": of_section(BLOCKS_SECTION, lambda raw: encode(blocks_codec.decode(raw)[1:])),
    "no blocks": of_section(BLOCKS_SECTION, lambda raw: encode(())),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_costs_the_liar_and_nobody_else(lie: str) -> None:
    cluster = grown(Watched(8))
    for liar in (0, 1, 2):
        cluster.lie(liar, LIES[lie])
    cluster.start(NEWCOMER)
    cluster.until(
        "joined", lambda: cluster.nodes[NEWCOMER].up and cluster.began_with_snapshot(NEWCOMER)
    )
    cluster.caught_up(NEWCOMER)
    assert cluster.punished
    assert {accused for _, accused in cluster.punished} <= {0, 1, 2}
    cluster.finish()


def test_a_snapshot_that_lacks_a_change_of_validators_is_found_out_by_its_own_state() -> None:
    """A manifest may hide a set whose quorum was one of the set before; the state names it."""
    cluster = Watched(9, size=7)
    cluster.start(*range(FOUNDERS))
    for number in (4, 5):
        cluster.admit(number)
        cluster.nodes[number].start()
        cluster.reach(cluster.add(number))
        cluster.reach(cluster.remove(number))
    cluster.admit(6)
    while cluster.nodes[0].height % EVERY:
        cluster.enrol()
    cluster.enrol()
    cluster.caught_up()
    hidden = of_section(MANIFEST_SECTION, _without_handovers)
    liars = (0, 1, 2)
    for liar in liars:
        cluster.lie(liar, hidden)
    cluster.start(6)
    cluster.until("joined", lambda: cluster.nodes[6].up and cluster.began_with_snapshot(6))
    store, theirs = cluster.nodes[6].running.store, cluster.nodes[0].running.store
    heights = [one.first_height for one in theirs.handovers()]
    assert [one.first_height for one in store.handovers()] == [
        height for height in heights if height <= store.oldest.history + 1
    ]
    assert {accused for _, accused in cluster.punished} <= set(liars)


def test_with_liars_only_nothing_is_believed() -> None:
    cluster = grown(Watched(10))
    for liar in range(FOUNDERS):
        cluster.lie(liar, LIES["a flipped bit in the state"])
    cluster.start(NEWCOMER)
    newcomer = cluster.nodes[NEWCOMER]
    cluster.until("joined by blocks", lambda: newcomer.height >= 3 * EVERY, 3 * PATIENCE_MS)
    assert not cluster.began_with_snapshot(NEWCOMER)


# ---- crashes


@pytest.mark.parametrize("fuse", [5, 40, 90, 140, 200, 400])
def test_after_a_crash_it_goes_on_where_it_was(fuse: int) -> None:
    cluster = grown(Watched(11))
    newcomer = cluster.nodes[NEWCOMER]
    newcomer.start()
    for _ in range(3):
        newcomer.crash_during_output(fuse, of_writes=False)
        cluster.run(6_000)
        newcomer.defuse()
        newcomer.start()
    cluster.caught_up(NEWCOMER)
    assert cluster.began_with_snapshot(NEWCOMER)
    asked = [request.file for number, request in cluster.asked if number == NEWCOMER]
    # Of what a crash may have cost, the last file or two are asked for again, not all.
    assert len(asked) - len(set(asked)) <= 4 * 4
    cluster.finish()


def test_under_faults() -> None:
    """Newcomers and stragglers while nodes crash, routes break and messages get lost."""
    for seed in range(20, 24):
        cluster = grown(Watched(seed))
        chance = Random(seed)
        cluster.lie(chance.randrange(FOUNDERS), LIES[chance.choice(list(LIES))])
        cluster.trouble()
        cluster.nodes[NEWCOMER].start()
        for _ in range(2 * EVERY):
            cluster.enrol()
        cluster.peace()
        cluster.run(GRACE_MS)
        cluster.enrol()
        cluster.finish()

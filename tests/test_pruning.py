"""Pruning: what goes, what stays whatever the operator says, and that it gives room back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contracts.catalog import CONTRACTS
from node.check import inspect
from node.disk import Disk
from node.protocol.errors import Refused
from node.protocol.transaction import VALID_FOR_MS_MAX
from node.pruning import Pruner
from node.query import Query
from node.state import pruning
from node.state.keyvalue import KeyValue, MemoryKeyValue
from node.state.layout import EVERYTHING, HISTORY, Oldest
from node.state.level import open_level
from node.state.pruning import first_needed, prune_blocks, prune_history
from node.state.sealed import SealedKeyValue
from node.state.shelf import NO_SNAPSHOTS
from node.state.snapshot import make_snapshot
from node.state.store import Store
from node.state.vault import Vault
from tests.http.support import PRIVACY_KEY, VAULT, World
from tests.sim.cluster import FOUNDERS, Cluster
from tests.sim.world import SECRET

PLENTY = 1 << 40
HEAD = 23


def grown(database: KeyValue) -> World:
    """A shop, ten visits, more than ten minutes, and ten visits more: 23 blocks."""
    world = World(database)
    world.open_shop()
    for seq in range(1, 21):
        if seq == 11:
            world.now_ms += VALID_FOR_MS_MAX + 60_000
        world.commit(world.consume(seq, 10))
    return world


def sealed(database: KeyValue, vault: Vault = VAULT) -> SealedKeyValue:
    return SealedKeyValue(database, vault)


def prune(database: KeyValue, below: int, vault: Vault = VAULT) -> None:
    database = sealed(database, vault)
    oldest = EVERYTHING
    for step in prune_blocks(database, oldest, below):
        database.write(step.puts, sync=False)
        oldest = step.oldest
    for step in prune_history(database, oldest, below):
        database.write(step.puts, sync=False)


def reopened(world: World, database: KeyValue) -> Store:
    return Store(database, VAULT, world.genesis.tree_depth, world.genesis.hash)


def faults(world: World, database: KeyValue) -> list[str]:
    found = inspect(world.genesis, PRIVACY_KEY, VAULT, database, lambda *_: None)
    return [fault for finding in found for fault in finding.faults]


@pytest.mark.parametrize(
    ("keep", "snapshots", "expected"),
    [
        (1, (), 1),  # no snapshot: nobody could begin here
        (1, (20,), 13),  # the window of ten minutes, and one block older
        (5, (20,), 13),
        (12, (20,), 12),
        (20, (20,), 4),
        (HEAD, (20,), 1),
        (1_000, (20,), 1),
        (1, (6, 20), 6),  # whoever begins with the older snapshot goes on from here
    ],
)
def test_what_is_needed_stays_whatever_the_operator_says(
    keep: int, snapshots: tuple[int, ...], expected: int
) -> None:
    database = MemoryKeyValue()
    grown(database)
    assert first_needed(sealed(database), EVERYTHING, HEAD, keep, snapshots) == expected
    assert first_needed(sealed(database), Oldest(15, 15), HEAD, keep, snapshots) == 15


def test_after_it_everything_that_remains_is_as_it_was() -> None:
    database, untouched = MemoryKeyValue(), MemoryKeyValue()
    world, before = grown(database), grown(untouched)
    prune(database, 13)
    assert faults(world, database) == []
    store = reopened(world, database)
    assert store.oldest == Oldest(13, 13)
    assert store.head == before.store.head
    accounts = [key for key, _ in store.scan("kernel/accounts", b"", None, 100)]
    assert accounts
    for height in range(1, HEAD + 1):
        assert (store.block(height) is not None) == (height >= 13)
        for receipt in before.store.receipts(height):
            place = before.store.find(receipt.transaction_id)
            assert store.find(receipt.transaction_id) == (place if height >= 13 else None)
        for account in accounts:
            if height >= 13:
                assert store.balance_at(account, height) == before.store.balance_at(account, height)
                continue
            with pytest.raises(Refused, match="PRUNED"):
                store.balance_at(account, height)
    query = Query(store, CONTRACTS, world.genesis, world.salts, world.opener)
    assert query.status_view()["pruned_below"] == "13"
    with pytest.raises(Refused, match="PRUNED"):
        query.block(12)


def test_old_balances_go_but_for_the_newest_of_each_account() -> None:
    database = MemoryKeyValue()
    world = grown(database)
    before = sum(1 for _ in database.iterate(HISTORY, b"i"))
    prune(database, HEAD)
    kept = [key[:-8] for key, _ in database.iterate(HISTORY, b"i")]
    assert len(kept) == len(set(kept)) < before
    assert faults(world, database) == []


def test_the_chain_goes_on_and_a_snapshot_can_be_made(tmp_path: Path) -> None:
    database = MemoryKeyValue()
    world = grown(database)
    below = first_needed(sealed(database), EVERYTHING, HEAD, 1, (20,))
    prune(database, below)
    again = World(database)
    again.now_ms = world.now_ms
    block = again.commit(world.consume(21, 10))
    assert block.header.height == HEAD + 1
    for _ in make_snapshot(again.store.snapshot_source(), tmp_path):
        pass
    assert (tmp_path / str(HEAD + 1) / "manifest").exists()


def test_a_crash_between_any_two_batches_leaves_a_sound_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pruning, "PUTS_PER_BATCH", 7)
    monkeypatch.setattr(pruning, "SCANNED_PER_STEP", 3)
    database = MemoryKeyValue()
    world = grown(database)
    steps = 0
    for step in prune_blocks(sealed(database), EVERYTHING, 13):
        database.write(step.puts, sync=False)
        assert faults(world, database) == []
        assert reopened(world, database).oldest == step.oldest
        steps += 1
    for step in prune_history(sealed(database), Oldest(13, 0), 13):
        database.write(step.puts, sync=False)
        assert faults(world, database) == []
        steps += 1
    assert steps > 10


def test_changes_of_validators_are_never_pruned() -> None:
    cluster = Cluster(seed=4, size=6)
    cluster.start(*range(FOUNDERS))
    for newcomer in (4, 5):
        cluster.admit(newcomer)
        cluster.nodes[newcomer].start()
        cluster.reach(cluster.add(newcomer))
    cluster.caught_up()
    node = cluster.nodes[0]
    database, core = node.machine.state_disk, node.running
    vault = node.machine.vault
    prune(database, core.store.head.height, vault)
    genesis = cluster.genesis
    store = Store(database, vault, genesis.tree_depth, genesis.hash)
    query = Query(store, CONTRACTS, genesis, core.executor.salts, core.opener)
    for handover in core.store.handovers():
        view = query.block(handover.header.height)
        assert view["transactions"] is None
        assert view["header"]["id"] == handover.certificate.block_id.hex()
    with pytest.raises(Refused, match="PRUNED"):
        query.block(1)
    found = inspect(genesis, SECRET.privacy_key, vault, database, lambda *_: None)
    assert [finding for finding in found if not finding.ok] == []


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


class Shelf:
    """Says that there are snapshots of these heights."""

    def __init__(self, *heights: int) -> None:
        self._heights = heights

    def heights(self) -> tuple[int, ...]:
        return self._heights

    def read(self, height: int, file: object) -> bytes | None:
        return None


async def finished(pruner: Pruner) -> None:
    async with asyncio.timeout(30):
        while pruner.busy:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_pruner_gives_room_back_beside_the_chain(tmp_path: Path) -> None:
    database = open_level(tmp_path / "data")
    world = World(database)
    world.open_shop()
    for seq in range(1, 400):
        world.commit(world.consume(seq, 1))
    world.now_ms += VALID_FOR_MS_MAX + 60_000
    for seq in range(400, 404):
        world.commit(world.consume(seq, 1))
    database.compact(b"", b"\xff")
    before = _size(tmp_path / "data")
    disk = Disk(lambda: PLENTY)
    pruner = Pruner(world.store, sealed(database), disk, Shelf(400), keep=10, every=8)
    for height in (world.store.head.height, 400):
        pruner.on_committed(height, ())
    assert not pruner.busy  # only half-way between two snapshots
    world.commit(world.consume(404, 1))
    world.commit(world.consume(405, 1))
    pruner.on_committed(404, ())
    pruner.on_committed(404, ())
    assert pruner.busy
    world.commit(world.consume(406, 1))
    await finished(pruner)
    await pruner.stop()
    assert world.store.oldest.block == world.store.oldest.history == 395
    assert _size(tmp_path / "data") < before / 2
    assert faults(world, database) == []
    # With nothing to keep less of, or without a snapshot, nothing happens.
    for shelf, keep in ((Shelf(400), 0), (NO_SNAPSHOTS, 1)):
        other = Pruner(world.store, sealed(database), disk, shelf, keep=keep, every=8)
        other.on_committed(404, ())
        await finished(other)
        assert world.store.oldest.block == 395
    database.close()

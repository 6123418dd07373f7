"""Check, snapshot and restore on a chain whose validators have all been replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from node.check import inspect
from node.execution import Salts
from node.protocol.encoding import encode
from node.protocol.errors import Refused
from node.protocol.history import Handover, handover_codec
from node.state.findings import Finding
from node.state.keyvalue import KeyValue, MemoryKeyValue, Put
from node.state.layout import HANDOVERS, number
from node.state.restoring import read_snapshot
from node.state.sealed import SealedKeyValue
from node.state.snapshot import MANIFEST, Manifest, make_snapshot, manifest_codec
from node.state.snapshot_files import SnapshotFiles
from node.state.store import Store
from node.trust import trust_with
from tests.sim.cluster import FOUNDERS, Cluster
from tests.sim.world import SECRET, vault_of

SIZE = 8
VAULT = vault_of(f"node{SIZE - 1}")
SALTS = Salts(SECRET.privacy_key)


class Chain(NamedTuple):
    """A cluster, a node that has it all, and a snapshot of its head."""

    cluster: Cluster
    store: Store
    database: KeyValue
    snapshot: Path


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Four founders, each followed by another: nine sets."""
    cluster = Cluster(seed=3, size=SIZE)
    cluster.start(*range(FOUNDERS))
    for newcomer in range(FOUNDERS, SIZE):
        cluster.admit(newcomer)
        cluster.nodes[newcomer].start()
        cluster.reach(cluster.add(newcomer))
        cluster.reach(cluster.remove(newcomer - FOUNDERS))
    cluster.enrol()
    cluster.caught_up()
    node = cluster.nodes[SIZE - 1]
    folder = tmp_path_factory.mktemp("snapshots")
    for _ in make_snapshot(node.running.store.snapshot_source(), folder):
        pass
    return Chain(cluster, node.running.store, node.machine.state_disk, folder / str(node.height))


def findings(chain: Chain, database: KeyValue) -> dict[str, Finding]:
    found = inspect(chain.cluster.genesis, SECRET.privacy_key, VAULT, database, lambda *_: None)
    return {finding.check: finding for finding in found}


def restored(chain: Chain, folder: Path) -> MemoryKeyValue:
    genesis, database = chain.cluster.genesis, MemoryKeyValue()
    files, trust = SnapshotFiles(folder, VAULT), trust_with(genesis, SALTS)
    read_snapshot(files, trust, SealedKeyValue(database, VAULT), lambda *_: None)
    return database


def altered(chain: Chain, folder: Path, change: Callable[[Manifest], Manifest]) -> Path:
    """The snapshot with another manifest."""
    shutil.copytree(chain.snapshot, folder)
    files = SnapshotFiles(folder, VAULT)
    manifest = manifest_codec.decode(files.read(MANIFEST) or b"")
    files.write(MANIFEST, encode(change(manifest)))
    return folder


def test_the_check_follows_every_change(chain: Chain) -> None:
    found = findings(chain, chain.database)
    assert [finding for finding in found.values() if not finding.ok] == []
    assert found["validators"].seen == "9 sets"
    assert [handover.validators.size for handover in chain.store.handovers()] == [5, 4] * 4


def _lost(handover: Handover) -> Handover | None:
    return None


def _forged(handover: Handover) -> Handover:
    founders = handover.validators.members[::-1]
    return msgspec.structs.replace(
        handover, validators=msgspec.structs.replace(handover.validators, members=founders)
    )


@pytest.mark.parametrize("change", [_lost, _forged])
def test_a_change_that_is_not_proved_is_damage(
    chain: Chain, change: Callable[[Handover], Handover | None]
) -> None:
    database = MemoryKeyValue()
    database.write(list(chain.database.iterate(b"", b"\xff")), sync=True)
    (key, raw), *_ = database.iterate(HANDOVERS, HANDOVERS + b"\xff" * 8)
    changed = change(handover_codec.decode(raw))
    puts: list[Put] = [(key, None if changed is None else encode(changed))]
    database.write(puts, sync=True)
    found = findings(chain, database)
    assert not found["chain"].ok
    assert not found["records"].ok
    assert "names validators that are not known" in found["chain"].faults[0]


def test_a_change_out_of_place_is_damage(chain: Chain) -> None:
    database = MemoryKeyValue()
    database.write(list(chain.database.iterate(b"", b"\xff")), sync=True)
    (_, raw), *_ = database.iterate(HANDOVERS, HANDOVERS + b"\xff" * 8)
    database.write([(HANDOVERS + number(3), raw)], sync=True)
    assert "out of place" in findings(chain, database)["validators"].faults[0]


def test_a_database_that_began_with_a_snapshot_is_checked_from_the_founders_on(
    chain: Chain,
) -> None:
    database = restored(chain, chain.snapshot)
    found = findings(chain, database)
    assert [finding for finding in found.values() if not finding.ok] == []
    assert found["validators"].seen == "9 sets"
    genesis = chain.cluster.genesis
    store = Store(database, VAULT, genesis.tree_depth, genesis.hash)
    assert store.handovers() == chain.store.handovers()
    assert store.handover(store.handovers()[2].first_height) == store.handovers()[2]
    assert store.handover(1) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda m: msgspec.structs.replace(m, handovers=()),
        lambda m: msgspec.structs.replace(m, handovers=m.handovers[:-1]),
        lambda m: msgspec.structs.replace(m, handovers=m.handovers[::2]),
        lambda m: msgspec.structs.replace(m, handovers=m.handovers[1:]),
        lambda m: msgspec.structs.replace(m, handovers=m.handovers[::-1]),
        lambda m: msgspec.structs.replace(m, handovers=(*m.handovers, m.handovers[-1])),
    ],
)
def test_a_snapshot_whose_validators_are_not_proved_is_refused(
    chain: Chain, tmp_path: Path, change: Callable[[Manifest], Manifest]
) -> None:
    with pytest.raises(Refused, match=r"BAD_SNAPSHOT|BAD_MANIFEST"):
        restored(chain, altered(chain, tmp_path / "altered", change))

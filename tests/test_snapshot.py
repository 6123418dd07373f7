"""Snapshots: all of the state comes back from them, and nothing that was changed on the way."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import audit
from node.check import inspect
from node.execution import Salts
from node.protocol.encoding import encode
from node.protocol.errors import Refused, StoreFailure
from node.protocol.proofs import verify_state_proof
from node.protocol.transaction import VALID_FOR_MS_MAX, Call, Transaction
from node.protocol.validators import ValidatorSet
from node.query import Query
from node.snapshots import SnapshotMaker
from node.state import snapshot
from node.state.keyvalue import MemoryKeyValue
from node.state.level import open_level
from node.state.restoring import Assembly, read_snapshot
from node.state.sealed import SealedKeyValue
from node.state.snapshot import (
    blocks_codec,
    is_snapshot_height,
    make_snapshot,
    snapshot_heights,
)
from node.state.snapshot_check import records_in
from node.state.snapshot_files import SnapshotFiles
from node.state.store import Store
from node.state.trust import Trust
from node.state.vault import Vault
from node.trust import trust_with
from node.vaults import open_vault
from tests.http.support import BANK, CARD, MERCHANT, PRIVACY_KEY, VAULT, World

SALTS = Salts(PRIVACY_KEY)


def trust(world: World, founders: ValidatorSet | None = None) -> Trust:
    known = trust_with(world.genesis, SALTS)
    return known._replace(founders=founders or known.founders)


def quiet(*_: Any) -> None:
    """No progress."""


def grown() -> World:
    """A shop with visits, more than ten minutes, and more visits."""
    world = World()
    world.open_shop()
    for seq in range(1, 4):
        world.commit(world.consume(seq))
    world.now_ms += VALID_FOR_MS_MAX + 60_000
    world.commit(world.consume(4))
    world.commit(world.consume(5), world.consume(6))
    return world


def made(world: World, folder: Path) -> Path:
    """The folder of a snapshot of the head."""
    for _ in make_snapshot(world.store.snapshot_source(), folder):
        pass
    return folder / str(world.store.head.height)


def restored(world: World, path: Path) -> tuple[MemoryKeyValue, Assembly]:
    database = MemoryKeyValue()
    into = SealedKeyValue(database, VAULT)
    return database, read_snapshot(SnapshotFiles(path, VAULT), trust(world), into, quiet)


def opened(world: World, database: MemoryKeyValue) -> Store:
    return Store(database, VAULT, world.genesis.tree_depth, world.genesis.hash)


def filing(world: World, number: int) -> Transaction:
    identity = number.to_bytes(16, "big")
    args = {"merchant": identity, "name": "x" * 50, "custodian": BANK.public_key}
    return world.transaction(MERCHANT, Call("prepaid", "file_merchant", args))


def test_the_state_comes_back_with_its_proofs_and_passes_every_check(tmp_path: Path) -> None:
    world = grown()
    database, assembly = restored(world, made(world, tmp_path))
    store = opened(world, database)
    assert store.head == world.store.head
    assert assembly.manifest.height == store.head.height == 8
    before, after = (
        {name: report.figures for name, report in audit(CONTRACTS, one).items()}
        for one in (world.store, store)
    )
    assert before == after
    card = store.get("prepaid/cards", CARD)
    assert card is not None
    salt = trust(world).salt_of("prepaid/cards", CARD, card)
    root, proof = store.head.state_root, store.prove("prepaid/cards", CARD)
    verify_state_proof(root, "prepaid/cards", CARD, card, proof, salt)
    findings = inspect(world.genesis, PRIVACY_KEY, VAULT, database, quiet)
    assert [finding for finding in findings if not finding.ok] == []


def test_it_carries_the_replay_set_of_ten_minutes(tmp_path: Path) -> None:
    world = grown()
    database, assembly = restored(world, made(world, tmp_path))
    store = opened(world, database)
    # One block more than the window, to show by its time that the window is whole.
    assert assembly.blocks_from == store.oldest.block == 6
    window_ms = assembly.manifest.header.time_ms - VALID_FOR_MS_MAX
    for height in range(1, 9):
        block = world.store.block(height)
        assert block is not None
        for receipt in world.store.receipts(height):
            place = world.store.find(receipt.transaction_id)
            found = store.find(receipt.transaction_id)
            assert found == (place if height >= 6 else None)
            assert found is not None or block.header.time_ms < window_ms


def test_the_chain_goes_on_from_it(tmp_path: Path) -> None:
    world = grown()
    database, _ = restored(world, made(world, tmp_path))
    block = world.commit(world.consume(7))
    copy = World(database)
    copy.now_ms = world.now_ms - 1_000
    assert copy.commit(*block.transactions).header == block.header


def test_what_is_older_is_pruned_and_said_to_be(tmp_path: Path) -> None:
    world = grown()
    database, _ = restored(world, made(world, tmp_path))
    store = opened(world, database)
    query = Query(store, CONTRACTS, world.genesis, SALTS, world.opener)
    assert query.status_view()["pruned_below"] == "6"
    assert world.query.status_view()["pruned_below"] == "1"
    for height in (1, 5):
        with pytest.raises(Refused, match="PRUNED"):
            query.block(height)
    assert query.block(6) == world.query.block(6)
    listed = query.blocks(None, 100)
    assert [item["height"] for item in listed["items"]] == ["8", "7", "6"]
    assert listed["next"] is None
    assert query.blocks(None, 2)["next"] == "7"
    account = next(key for key, _ in store.scan("kernel/accounts", b"", None, 1))
    with pytest.raises(Refused, match="PRUNED"):
        store.balance_at(account, 7)
    assert store.balance_at(account, 8) == store.get("kernel/accounts", account)
    assert query.figures()["consensus_num_txs"] == 2.0


def test_a_node_with_one_block_only_has_figures(tmp_path: Path) -> None:
    world = World()
    world.open_shop()
    path = made(world, tmp_path)
    database, _ = restored(world, path)
    store = opened(world, database)
    assert store.oldest.block == 1
    assert Query(store, CONTRACTS, world.genesis, SALTS, world.opener).figures()


def test_every_flipped_bit_and_every_lost_file_is_noticed(tmp_path: Path) -> None:
    world = grown()
    path = made(world, tmp_path / "made")
    files = sorted(path.iterdir())
    assert {file.name.partition("-")[0] for file in files} == {"manifest", "state", "blocks"}
    for file in files:
        content = file.read_bytes()
        for at in {0, len(content) // 3, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[at] ^= 1
            _expect_refusal(world, path, file, bytes(changed))
        _expect_refusal(world, path, file, content[:-1])
        _expect_refusal(world, path, file, content + b"\x00")
        _expect_refusal(world, path, file, None)
    restored(world, path)


def _expect_refusal(world: World, path: Path, file: Path, content: bytes | None) -> None:
    genuine = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    database = MemoryKeyValue()
    files, into = SnapshotFiles(path, VAULT), SealedKeyValue(database, VAULT)
    with pytest.raises(Refused, match="BAD_SNAPSHOT"):
        read_snapshot(files, trust(world), into, quiet)
    assert database.get(b"mgenesis") is None, "it must not pass for a whole one"
    file.write_bytes(genuine)


def test_records_of_other_places_are_refused(tmp_path: Path) -> None:
    world = grown()
    path = made(world, tmp_path)
    files = SnapshotFiles(path, VAULT)
    first, second, *_ = sorted(path.glob("state-*"))
    one, other = content(path)[first.name], content(path)[second.name]
    for mine, yours in ((other, one), (one + other, other), (one + one, other)):
        files.write(first.name, mine)
        files.write(second.name, yours)
        with pytest.raises(Refused, match="BAD_SNAPSHOT"):
            restored(world, path)


def test_segments_belong_to_their_file_and_their_offset(tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path, VAULT)
    for part in (b"one", b"two"):
        files.append("a", part)
        files.append("b", part)
    assert files.read("a") == b"onetwo"
    assert files.read("none") is None
    one, other = (tmp_path / name for name in "ab")
    raw = one.read_bytes()
    half = len(raw) // 2
    for wrong in (other.read_bytes(), raw[half:] + raw[:half], raw[half:], raw[:-1], raw + raw):
        one.write_bytes(wrong)
        with pytest.raises(Refused, match="altered"):
            files.read("a")


def test_a_snapshot_of_strangers_is_refused(tmp_path: Path) -> None:
    world = grown()
    path = made(world, tmp_path)
    stranger = ValidatorSet(tuple(key.public_key for key in (BANK, MERCHANT)), 0)
    with pytest.raises(Refused, match="a seal is from a stranger"):
        read_snapshot(SnapshotFiles(path, VAULT), trust(world, stranger), None, quiet)


def content(path: Path, vault: Vault = VAULT) -> dict[str, bytes]:
    """What the files of a snapshot hold."""
    files = SnapshotFiles(path, vault)
    return {file.name: files.read(file.name) or b"" for file in path.iterdir()}


def test_all_nodes_make_the_same_files_but_for_the_order_of_records(tmp_path: Path) -> None:
    world = grown()
    path = made(world, tmp_path / "one")
    other = open_vault(b"o" * 32)
    database = MemoryKeyValue()
    files, into = SnapshotFiles(path, VAULT), SealedKeyValue(database, other)
    read_snapshot(files, trust(world), into, quiet)
    again = made(World(database, other), tmp_path / "two")
    one, two = content(path), content(again, other)
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith("state"):
            assert sorted(records_in(one[name])) == sorted(records_in(two[name]))
        else:
            assert one[name] == two[name]
        assert (path / name).read_bytes() != (again / name).read_bytes()


def test_it_opens_under_the_storage_key_of_its_node_only(tmp_path: Path) -> None:
    world = grown()
    path = made(world, tmp_path)
    files = SnapshotFiles(path, open_vault(b"o" * 32))
    with pytest.raises(Refused, match=r"BAD_SNAPSHOT: .*not sealed under this storage key"):
        read_snapshot(files, trust(world), None, quiet)
    raw = b"".join(file.read_bytes() for file in path.iterdir())
    for private in (CARD, BANK.public_key, MERCHANT.public_key):
        assert private not in raw


def test_a_large_state_is_written_little_by_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "BUFFERED_BYTES_MAX", 2_000)
    monkeypatch.setattr(snapshot, "RECORDS_PER_STEP", 7)
    world = World()
    world.commit(*(filing(world, number) for number in range(100)))
    source = world.store.snapshot_source()
    steps = sum(1 for _ in make_snapshot(source, tmp_path))
    assert steps > 15
    database, _ = restored(world, tmp_path / "1")
    assert opened(world, database).head == world.store.head


def test_many_blocks_make_several_files_that_end_where_they_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "BLOCKS_BYTES_TARGET", 4_000)
    world = World()
    for number in range(12):
        world.commit(filing(world, number))
    path = made(world, tmp_path)
    files = sorted(path.glob("blocks-*"))
    assert len(files) > 2
    database, assembly = restored(world, path)
    assert assembly.blocks_from == 1
    assert opened(world, database).head == world.store.head
    # A file with fewer or more blocks, all of them genuine, is none.
    before, whole = (blocks_codec.decode(content(path)[file.name]) for file in files[-2:])
    for wrong in (whole[1:], (), (*before, *whole)):
        SnapshotFiles(path, VAULT).write(files[-1].name, encode(wrong))
        with pytest.raises(Refused, match="BAD_SNAPSHOT"):
            restored(world, path)


def test_two_are_kept_and_half_made_ones_do_not_count(tmp_path: Path) -> None:
    world = World()
    for number in range(4):
        world.commit(filing(world, number))
        made(world, tmp_path)
    assert snapshot_heights(tmp_path) == [3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]
    world.commit(filing(world, 9))
    steps = make_snapshot(world.store.snapshot_source(), tmp_path)
    next(steps)
    assert snapshot_heights(tmp_path) == [3, 4]
    made(world, tmp_path)
    assert snapshot_heights(tmp_path) == [4, 5]
    assert snapshot_heights(tmp_path / "nowhere") == []


def test_heights_are_the_same_for_all() -> None:
    assert [height for height in range(20) if is_snapshot_height(height, 5)] == [5, 10, 15]


def test_genesis_alone_has_no_snapshot() -> None:
    with pytest.raises(StoreFailure, match="NO_BLOCK_YET"):
        World().store.snapshot_source()


async def test_the_maker_works_beside_the_chain(tmp_path: Path) -> None:
    database = open_level(tmp_path / "data")
    world = World(database)
    maker = SnapshotMaker(world.store.snapshot_source, tmp_path / "snapshots", every=3)
    maker.on_demand()  # there is nothing yet, which is no harm
    for number in range(4):
        world.commit(filing(world, number))
        maker.on_block(world.store.head.height)
    assert maker.busy
    maker.on_demand()  # one at a time
    async with asyncio.timeout(10):
        while maker.busy:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # It is the state of height 3, although the chain went on.
    assert snapshot_heights(tmp_path / "snapshots") == [3]
    assert restored(world, tmp_path / "snapshots" / "3")[1].manifest.height == 3
    maker.on_demand()
    async with asyncio.timeout(10):
        while maker.busy:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert snapshot_heights(tmp_path / "backup") == [4]
    maker.on_demand()
    await maker.stop()
    database.close()


async def test_a_snapshot_that_cannot_be_made_is_no_harm(tmp_path: Path) -> None:
    world = grown()
    (tmp_path / "snapshots").write_text("in the way")
    maker = SnapshotMaker(world.store.snapshot_source, tmp_path / "snapshots", every=1)
    maker.on_block(8)
    async with asyncio.timeout(10):
        while maker.busy:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await maker.stop()
    assert (tmp_path / "snapshots").read_text() == "in the way"
    shutil.rmtree(tmp_path, ignore_errors=True)

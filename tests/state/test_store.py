"""The store: everything written at a height is read back, after a restart too, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.protocol.encoding import encode
from node.protocol.errors import Refused, StoreFailure
from node.protocol.proofs import verify_state_proof
from node.state.keyvalue import KeyValue, MemoryKeyValue, Put
from node.state.level import open_level
from node.state.store import Store
from tests.state.samples import (
    ACCOUNTS,
    CARDS,
    DEPTH,
    GENESIS_HASH,
    VAULT,
    digest,
    grow,
    leaf_changes,
    new_store,
    next_block,
    receipt,
)

Reopen = Callable[[Store | None], Store]


@pytest.fixture(params=["level", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the store, first as a new one, later (given the old one) after a restart."""
    memory = MemoryKeyValue()
    current: list[Store] = []

    def database() -> KeyValue:
        return open_level(tmp_path / "data") if request.param == "level" else memory

    def open_store(before: Store | None) -> Store:
        if before is not None:
            before.close()
            current.clear()
        store = Store(database(), VAULT, DEPTH, GENESIS_HASH) if before else new_store(database())
        current.append(store)
        return store

    yield open_store
    for store in current:
        store.close()


def test_the_genesis_state_is_height_0() -> None:
    database = MemoryKeyValue()
    store = Store(database, VAULT, DEPTH, GENESIS_HASH)
    assert store.is_new
    writes = {(ACCOUNTS, b"alice"): b"100"}
    delta = store.tree.update(leaf_changes(writes))
    store.commit(store.genesis_batch(writes, delta))
    assert not store.is_new
    again = Store(database, VAULT, DEPTH, GENESIS_HASH)
    assert not again.is_new
    assert again.head == store.head == (0, GENESIS_HASH, None, delta.root, 0)
    assert again.get(ACCOUNTS, b"alice") == again.balance_at(b"alice", 0) == b"100"
    assert again.block(0) is None
    assert again.receipts(0) == ()


def test_a_block_is_read_back_after_a_restart(reopen: Reopen) -> None:
    store = reopen(None)
    batch = next_block(store, {(CARDS, b"one"): b"1"}, ("pay", "refund"))
    store.commit(batch)
    grow(store, {(CARDS, b"two"): b"2"}, ("close",))
    before = store.head
    store = reopen(store)
    assert store.head == before
    assert (store.head.height, store.head.transactions) == (2, 3)
    assert store.tree.root == store.head.state_root
    block = store.block(1)
    assert block is not None
    assert block.transactions == (b"pay", b"refund")
    assert store.height_of(block.certificate.block_id) == 1
    assert store.height_of(digest("unknown")) is None
    assert store.receipts(1) == (receipt("pay"), receipt("refund"))
    assert store.find(digest("refund")) == (1, 1)
    assert store.find(digest("close")) == (2, 0)
    assert store.find(digest("never sent")) is None
    assert (store.get(CARDS, b"one"), store.get(CARDS, b"two")) == (b"1", b"2")
    assert store.block(3) is None


def test_scans_are_bounded_by_table_prefix_after_and_limit(reopen: Reopen) -> None:
    store = reopen(None)
    keys = [b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"ab", b"b"]
    grow(store, {(CARDS, key): key for key in keys} | {("prepaid/card", b"x"): b"other"})
    assert [key for key, _ in store.scan(CARDS, b"", None, 100)] == sorted(keys)
    assert [key for key, _ in store.scan(CARDS, b"a", None, 100)] == sorted(keys[:5])
    assert [key for key, _ in store.scan(CARDS, b"a\xff", None, 100)] == [b"a\xff", b"a\xff\xff"]
    assert [key for key, _ in store.scan(CARDS, b"a", b"a\x00", 2)] == [b"ab", b"a\xff"]
    assert store.scan(CARDS, b"a", b"b", 100) == []
    assert store.scan(CARDS, b"a", None, 0) == []
    assert store.scan("prepaid/card", b"", None, 100) == [(b"x", b"other")]
    assert store.scan("prepaid/none", b"", None, 100) == []


def test_deleted_records_are_gone_from_state_and_tree(reopen: Reopen) -> None:
    store = reopen(None)
    empty = store.tree.root
    grow(store, {(CARDS, b"one"): b"1"})
    grow(store, {(CARDS, b"one"): None})
    assert store.get(CARDS, b"one") is None
    assert store.scan(CARDS, b"", None, 10) == []
    assert store.tree.root == empty


def test_balances_are_kept_by_height(reopen: Reopen) -> None:
    store = reopen(None)
    grow(store, {(ACCOUNTS, b"alice"): b"10", (ACCOUNTS, b"alice2"): b"7"})
    grow(store, {(CARDS, b"alice"): b"no account"})
    grow(store, {(ACCOUNTS, b"alice"): None})
    grow(store, {(ACCOUNTS, b"alice"): b"30"})
    store = reopen(store)
    seen = [store.balance_at(b"alice", height) for height in range(5)]
    assert seen == [None, b"10", b"10", None, b"30"]
    assert store.balance_at(b"alice2", 4) == b"7"
    assert store.balance_at(b"ali", 4) is None
    for height in (-1, 5):
        with pytest.raises(Refused, match="NO_SUCH_HEIGHT"):
            store.balance_at(b"alice", height)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.tuples(st.sampled_from([ACCOUNTS, CARDS]), st.binary(max_size=2)),
            st.none() | st.binary(min_size=1, max_size=3),
            max_size=6,
        ),
        max_size=6,
    )
)
def test_state_and_history_are_those_of_a_dict(
    history: list[dict[tuple[str, bytes], bytes | None]],
) -> None:
    database = MemoryKeyValue()
    store = new_store(database)
    states: list[dict[tuple[str, bytes], bytes]] = [{}]
    for writes in history:
        grow(store, writes)
        merged = states[-1] | writes
        states.append({place: value for place, value in merged.items() if value is not None})
    store = Store(database, VAULT, DEPTH, GENESIS_HASH)
    for table in (ACCOUNTS, CARDS):
        expected = sorted((key, v) for (name, key), v in states[-1].items() if name == table)
        assert store.scan(table, b"", None, 1_000) == expected
    for height, state in enumerate(states):
        for _, key in states[-1]:
            assert store.balance_at(key, height) == state.get((ACCOUNTS, key))


def test_blocks_before_a_height_come_newest_first(reopen: Reopen) -> None:
    store = reopen(None)
    for number in range(5):
        grow(store, {}, (f"transaction {number}",))
    assert [block.header.height for block in store.blocks_before(4, 2)] == [3, 2]
    assert [block.header.height for block in store.blocks_before(1_000, 3)] == [5, 4, 3]
    assert [block.header.height for block in store.blocks_before(3, 10)] == [2, 1]
    assert list(store.blocks_before(1, 10)) == []
    assert list(store.blocks_before(5, 0)) == []


def test_the_head_proves_its_records(reopen: Reopen) -> None:
    store = reopen(None)
    grow(store, {(CARDS, b"one"): b"1", (CARDS, b"two"): b"2"})
    store = reopen(store)
    root = store.head.state_root
    verify_state_proof(root, CARDS, b"one", b"1", store.prove(CARDS, b"one"))
    verify_state_proof(root, CARDS, b"six", None, store.prove(CARDS, b"six"))


# ---- writing


def test_readers_see_a_block_only_once_it_is_adopted(tmp_path: Path) -> None:
    store = new_store(open_level(tmp_path))
    grow(store, {(CARDS, b"one"): b"old"})
    before = store.head
    batch = next_block(store, {(CARDS, b"one"): b"new"}, ("pay",))
    store.write(batch)
    assert store.head == before
    assert store.get(CARDS, b"one") == b"old"
    assert store.find(digest("pay")) is None
    verify_state_proof(before.state_root, CARDS, b"one", b"old", store.prove(CARDS, b"one"))
    store.adopt(batch)
    assert store.get(CARDS, b"one") == b"new"
    verify_state_proof(store.head.state_root, CARDS, b"one", b"new", store.prove(CARDS, b"one"))
    store.close()


class BrokenDisk(MemoryKeyValue):
    """A disk that refuses every write once `broken`."""

    broken = False

    def write(self, puts: Sequence[Put], sync: bool) -> None:
        """Write, or fail as a full disk does."""
        if self.broken:
            raise StoreFailure("DISK_FAILED", "no space left")
        super().write(puts, sync)


def test_a_failed_write_leaves_the_head_where_it_was() -> None:
    disk = BrokenDisk()
    store = new_store(disk)
    grow(store, {(CARDS, b"one"): b"1"})
    before, root = store.head, store.tree.root
    disk.broken = True
    with pytest.raises(StoreFailure, match="DISK_FAILED"):
        grow(store, {(CARDS, b"one"): b"2"})
    assert (store.head, store.tree.root) == (before, root)
    assert store.get(CARDS, b"one") == b"1"


def test_a_block_is_one_synced_write() -> None:
    class Recorder(MemoryKeyValue):
        """Counts writes."""

        writes: list[bool] = []  # noqa: RUF012

        def write(self, puts: Sequence[Put], sync: bool) -> None:
            """Write and remember."""
            self.writes.append(sync)
            super().write(puts, sync)

    disk = Recorder()
    store = new_store(disk)
    disk.writes.clear()
    grow(store, {(CARDS, b"one"): b"1"}, ("pay",))
    assert disk.writes == [True]


def test_blocks_can_only_be_committed_in_order() -> None:
    store = new_store(MemoryKeyValue())
    first = next_block(store, {(CARDS, b"one"): b"1"})
    rival = next_block(store, {(CARDS, b"one"): b"2"})
    store.commit(first)
    for again in (first, rival):
        with pytest.raises(AssertionError, match="after 1"):
            store.commit(again)


def test_a_batch_must_follow_its_head_and_match_its_results() -> None:
    store = new_store(MemoryKeyValue())
    grow(store, {}, ("pay",))
    block = store.block(1)
    assert block is not None
    delta = store.tree.update({})
    with pytest.raises(AssertionError, match="does not follow"):
        store.block_batch(block, [receipt("pay")], {}, delta)
    fresh = new_store(MemoryKeyValue())
    other = fresh.tree.update(leaf_changes({(CARDS, b"one"): b"1"}))
    for receipts, delta in (([], fresh.tree.update({})), ([receipt("pay")], other)):
        with pytest.raises(AssertionError, match="another block"):
            fresh.block_batch(block, receipts, {}, delta)


# ---- refusing to open


def damaged(puts: list[Put]) -> MemoryKeyValue:
    """A database of two blocks with something changed behind the store's back."""
    database = MemoryKeyValue()
    store = new_store(database)
    grow(store, {(CARDS, b"one"): b"1"}, ("pay",))
    grow(store, {(CARDS, b"two"): b"2"}, ("pay again",))
    database.write(puts, sync=True)
    return database


def test_a_store_of_another_genesis_is_refused() -> None:
    database = damaged([])
    for genesis_hash, depth in ((digest("other"), DEPTH), (GENESIS_HASH, DEPTH + 1)):
        with pytest.raises(StoreFailure, match=r"WRONG_GENESIS: .*use the right genesis\.json"):
            Store(database, VAULT, depth, genesis_hash)


def test_a_store_of_another_layout_is_refused() -> None:
    database = damaged([(b"mgenesis", encode([99, GENESIS_HASH, DEPTH]))])
    with pytest.raises(StoreFailure, match=r"WRONG_LAYOUT: .*layout 99"):
        Store(database, VAULT, DEPTH, GENESIS_HASH)


HEIGHT_2 = (2).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("puts", "reason"),
    [
        ([(b"mgenesis", None)], "which network"),
        ([(b"mgenesis", b"\xc1")], "cannot be read"),
        ([(b"mhead", None)], "no head"),
        ([(b"mhead", b"torn")], "cannot be read"),
        ([(b"b" + HEIGHT_2, None)], "block 2 is missing"),
        ([(b"b" + HEIGHT_2, b"\x90")], "does not open"),
        ([(b"b" + HEIGHT_2, VAULT.sealer().seal(b"b" + HEIGHT_2, b"\x90"))], "cannot be read"),
        ([(b"t" + bytes(4), b"e" * 64)], "not the one of its head"),
        ([(b"t" + bytes(4), b"e" * 65)], "malformed"),
    ],
)
def test_damage_stops_with_a_line_that_says_what_to_do(puts: list[Put], reason: str) -> None:
    with pytest.raises(StoreFailure, match=rf"DATABASE_DAMAGED: .*{reason}.*groat node repair"):
        Store(damaged(puts), VAULT, DEPTH, GENESIS_HASH)


def test_a_damaged_block_is_noticed_when_read() -> None:
    height_1 = (1).to_bytes(8, "big")
    store = Store(damaged([(b"b" + height_1, b"\x90")]), VAULT, DEPTH, GENESIS_HASH)
    with pytest.raises(StoreFailure, match="DATABASE_DAMAGED"):
        store.block(1)
    store = Store(damaged([(b"b" + height_1, None)]), VAULT, DEPTH, GENESIS_HASH)
    with pytest.raises(StoreFailure, match="block 1 is missing"):
        list(store.blocks_before(2, 1))


def test_a_store_goes_on_after_its_database_was_opened_again(tmp_path: Path) -> None:
    store = new_store(open_level(tmp_path))
    grow(store, {(CARDS, b"one"): b"1"})
    batch = next_block(store, {(CARDS, b"two"): b"2"}, ("pay",))
    store.write(batch)
    store.reopen()  # the write was said to have failed, but all of it is there
    assert store.head.height == 1
    store.commit(batch)
    assert (store.head.height, store.get(CARDS, b"two")) == (2, b"2")
    verify_state_proof(store.head.state_root, CARDS, b"one", b"1", store.prove(CARDS, b"one"))
    store.close()

"""Encryption at rest: what is sealed opens in its own place only, and hidden keys keep their order.

The store's own tests run over a vault without secrets; here tables have some.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.protocol.errors import StoreFailure
from node.state.keyvalue import MemoryKeyValue
from node.state.layout import table_prefix
from node.state.places import Places
from node.state.store import Store
from node.state.vault import Unopened, Vault
from tests.state.samples import ACCOUNTS, CARDS, DEPTH, GENESIS_HASH, grow

ENTRIES = "prepaid/entries"
IDENTITIES = "kernel/identities"
SECRETS = {ACCOUNTS: 16, CARDS: 16, ENTRIES: 16, IDENTITIES: 33}
STORAGE_KEY = b"k" * 32
HOLDER = bytes(range(100, 133))


def vault(storage_key: bytes = STORAGE_KEY) -> Vault:
    return Vault(storage_key, lambda table: SECRETS.get(table, 0))


def card(number: int) -> bytes:
    return b"card" + number.to_bytes(12, "big")


def line(of: bytes, number: int) -> bytes:
    return of + number.to_bytes(8, "big")


# ---- values


@given(st.binary(max_size=50), st.binary(max_size=300))
def test_a_value_opens_in_its_place(place: bytes, value: bytes) -> None:
    assert vault().open(place, vault().sealer().seal(place, value)) == value


def test_it_opens_nowhere_else_and_not_when_a_bit_of_it_changed() -> None:
    sealed = vault().sealer().seal(b"here", b"value")
    for place, raw in (
        (b"there", sealed),
        (b"her", sealed),
        (b"here", sealed[:-1]),
        (b"here", sealed + b"\x00"),
        (b"here", b""),
        (b"here", b"value"),
        *((b"here", _flipped(sealed, bit)) for bit in range(len(sealed) * 8)),
    ):
        with pytest.raises(Unopened):
            vault().open(place, raw)
    with pytest.raises(Unopened):
        vault(b"K" * 32).open(b"here", sealed)


def _flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_no_key_meets_a_nonce_twice() -> None:
    """The first 16 bytes are the salt that makes the key, and the count that makes the nonce."""
    one, other = vault().sealer(), vault().sealer()
    sealed = [sealer.seal(b"here", b"value") for sealer in (one, other) for _ in range(300)]
    assert len({raw[:16] for raw in sealed}) == len(set(sealed)) == 600
    assert len({raw[:12] for raw in sealed}) == 2


def test_a_storage_key_has_its_size_and_its_id_tells_it_from_others() -> None:
    with pytest.raises(AssertionError):
        Vault(b"short")
    assert vault().id == vault().id != vault(b"K" * 32).id
    assert STORAGE_KEY not in vault().id


# ---- keys


@given(st.sampled_from([*SECRETS, "kernel/assets"]), st.binary(max_size=60))
def test_hidden_keys_can_be_shown(table: str, key: bytes) -> None:
    assert vault().show(table, vault().hide(table, key)) == key


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=8), st.binary(max_size=8))
def test_within_one_secret_order_and_prefixes_stay(secret: bytes, one: bytes, two: bytes) -> None:
    hidden = [vault().hide(ENTRIES, secret + rest) for rest in (b"", one, two)]
    assert all(key.startswith(hidden[0]) for key in hidden)
    assert (hidden[1] < hidden[2]) == (one < two)


def test_a_secret_looks_different_in_each_table_and_on_each_node() -> None:
    looks = [vault().hide(table, card(1)) for table in (CARDS, ENTRIES, ACCOUNTS)]
    looks += [vault(b"K" * 32).hide(CARDS, card(1)), vault().hide(IDENTITIES, HOLDER)]
    assert len(set(looks)) == len(looks)
    for look in looks:
        assert not any(part in look for part in (card(1)[:4], HOLDER[:4], HOLDER[-4:]))
    assert vault().hide("kernel/assets", b"CNY") == b"CNY"


def test_a_key_that_was_altered_is_none() -> None:
    hidden = vault().hide(CARDS, card(1))
    for bit in range(len(hidden) * 8):
        with pytest.raises(Unopened):
            vault().show(CARDS, _flipped(hidden, bit))
    places = Places(vault())
    for place in (table_prefix(CARDS) + b"short", b"sno separator", b"s\xff\x00" + hidden):
        with pytest.raises(StoreFailure, match="DATABASE_DAMAGED"):
            places.own(place)


def test_a_part_of_a_secret_is_no_prefix() -> None:
    with pytest.raises(AssertionError):
        Places(vault()).span(CARDS, card(1)[:15], None)


# ---- the store over it


def filled(storage_key: bytes = STORAGE_KEY) -> tuple[MemoryKeyValue, Store]:
    """Two blocks: six cards with three lines each, an account that changed, and a holder."""
    database = MemoryKeyValue()
    store = Store(database, vault(storage_key), DEPTH, GENESIS_HASH)
    store.commit(store.genesis_batch({}, store.tree.update({})))
    cards = {(CARDS, card(number)): b"of somebody" for number in range(6)}
    lines = {
        (ENTRIES, line(card(number), at)): b"line %d of %d" % (at, number)
        for number in range(6)
        for at in (1, 2, 300)
    }
    grow(store, cards | lines | {(ACCOUNTS, b"a" * 16): b"rich"}, ("pay",))
    grow(store, {(ACCOUNTS, b"a" * 16): b"poor", (IDENTITIES, HOLDER): b"a holder"}, ("again",))
    return database, store


def test_nothing_that_is_secret_stands_on_the_disk() -> None:
    database, store = filled()
    content = b"".join(key + value for key, value in database.iterate(b"", b"\xff"))
    for secret in (
        card(3),
        b"somebody",
        b"line 2",
        b"rich",
        b"poor",
        HOLDER[:8],
        HOLDER[8:],
        b"pay",
    ):
        assert secret not in content, secret
    assert store.get(CARDS, card(3)) == b"of somebody"
    assert store.balance_at(b"a" * 16, 1) == b"rich"
    assert store.get(IDENTITIES, HOLDER) == b"a holder"


def test_scans_within_a_secret_are_in_order_on_every_node() -> None:
    for storage_key in (STORAGE_KEY, b"K" * 32):
        _, store = filled(storage_key)
        expected = [(line(card(4), at), b"line %d of 4" % at) for at in (1, 2, 300)]
        assert store.scan(ENTRIES, card(4), None, 100) == expected
        assert store.scan(ENTRIES, card(4), line(card(4), 1), 1) == expected[1:2]
        assert store.scan(ENTRIES, card(4), line(card(4), 299), 100) == expected[2:]
        # As the order of the keys themselves says, wherever the hidden ones stand.
        assert store.scan(ENTRIES, card(4), card(3), 100) == expected
        assert store.scan(ENTRIES, card(4), card(5), 100) == []
        assert store.scan(ENTRIES, card(9), None, 100) == []


def test_pages_of_a_whole_table_hold_each_record_once() -> None:
    _, store = filled()
    pages: list[tuple[bytes, bytes]] = []
    while page := store.scan(ENTRIES, b"", pages[-1][0] if pages else None, 4):
        pages += page
    assert len(pages) == 18
    assert {key for key, _ in pages} == {
        line(card(number), at) for number in range(6) for at in (1, 2, 300)
    }


def test_nodes_with_other_storage_keys_have_the_same_state_and_another_order() -> None:
    stores = [filled(bytes([number]) * 32)[1] for number in range(8)]
    assert all(one.head == other.head for one, other in pairwise(stores))
    orders = {tuple(key for key, _ in one.scan(CARDS, b"", None, 10)) for one in stores}
    assert {frozenset(order) for order in orders} == {frozenset(map(card, range(6)))}
    assert len(orders) > 1


def test_it_opens_under_its_own_storage_key_only() -> None:
    database, store = filled()
    again = Store(database, vault(), DEPTH, GENESIS_HASH)
    assert again.head == store.head
    assert again.scan(ENTRIES, card(2), None, 9) == store.scan(ENTRIES, card(2), None, 9)
    with pytest.raises(StoreFailure, match=r"WRONG_STORAGE_KEY: .*put back the storage\.key\.json"):
        Store(database, vault(b"K" * 32), DEPTH, GENESIS_HASH)


@pytest.mark.parametrize("prefix", [b"s", b"h"])
def test_values_that_changed_places_stop_the_node_with_one_line(prefix: bytes) -> None:
    database, _ = filled()
    one, other, *_ = database.iterate(prefix, prefix + b"\xff")
    database.write([(one[0], other[1]), (other[0], one[1])], sync=True)
    store = Store(database, vault(), DEPTH, GENESIS_HASH)
    with pytest.raises(StoreFailure, match=r"DATABASE_DAMAGED: .*does not open.*repair"):
        _read_all(store)


def _read_all(store: Store) -> None:
    for table in SECRETS:
        store.scan(table, b"", None, 100)
    store.balance_at(b"a" * 16, 1)


def test_what_is_cached_is_what_is_on_the_disk() -> None:
    database, store = filled()
    grow(store, {(CARDS, card(1)): None, (CARDS, card(2)): b"another's"})
    again = Store(database, vault(), DEPTH, GENESIS_HASH)
    for number in range(6):
        assert store.get(CARDS, card(number)) == again.get(CARDS, card(number))
    assert again.get(CARDS, card(1)) is None

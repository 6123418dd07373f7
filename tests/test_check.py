"""The check of a whole database: silent about a sound one, naming the place of each damage."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from node.check import Reporter, inspect
from node.protocol.block import CertifiedBlock, CommitSeal, block_codec, receipts_codec
from node.protocol.encoding import encode
from node.state.findings import FAULTS_SHOWN_MAX, Finding
from node.state.keyvalue import KeyValue, MemoryKeyValue, Put
from node.state.layout import head_codec, history_prefix, number, table_prefix
from node.state.level import open_level
from node.state.sealed import SealedKeyValue
from tests.http.support import CARD, PRIVACY_KEY, SHOP, VAULT, World

CHECKS = [
    "origin",
    "oldest",
    "head",
    "validators",
    "chain",
    "receipts",
    "index",
    "tree",
    "records",
    "history",
    "strays",
]
CARDS = table_prefix("prepaid/cards")
BLOCK_2, RECEIPTS_2 = b"b" + number(2), b"r" + number(2)

Damage = Callable[[KeyValue], list[Put]]


def grown(database: KeyValue) -> World:
    """A chain of seven blocks with a shop, a private card and some visits."""
    world = World(database)
    world.open_shop()
    for seq in range(1, 4):
        world.commit(world.consume(seq))
    world.commit(world.consume(4), world.consume(5))
    return world


def sealed(database: KeyValue) -> SealedKeyValue:
    """The values themselves: a fault of this program, or of whoever has the storage key."""
    return SealedKeyValue(database, VAULT)


def checked(world: World, database: KeyValue) -> list[Finding]:
    return inspect(world.genesis, PRIVACY_KEY, VAULT, database, lambda check, done, total: None)


def bad(findings: list[Finding]) -> dict[str, tuple[str, ...]]:
    """The faults by check, of the checks that found some."""
    return {finding.check: finding.faults for finding in findings if not finding.ok}


def value(database: KeyValue, key: bytes) -> bytes:
    found = database.get(key)
    assert found is not None
    return found


def first(database: KeyValue, prefix: bytes) -> tuple[bytes, bytes]:
    return next(database.iterate(prefix, prefix + b"\xff" * 40))


def flipped(raw: bytes, at: int = -1) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= 1
    return bytes(changed)


def with_block(change: Callable[[CertifiedBlock], CertifiedBlock]) -> Damage:
    def damage(database: KeyValue) -> list[Put]:
        block = block_codec.decode(value(database, BLOCK_2))
        return [(BLOCK_2, encode(change(block)))]

    return damage


def _later(block: CertifiedBlock) -> CertifiedBlock:
    header = msgspec.structs.replace(block.header, time_ms=block.header.time_ms + 1)
    return msgspec.structs.replace(block, header=header)


def _forged(block: CertifiedBlock) -> CertifiedBlock:
    seals = list(block.certificate.seals)
    seals[0] = CommitSeal(seals[0].signer, flipped(seals[0].signature, 5))
    certificate = msgspec.structs.replace(block.certificate, seals=tuple(seals))
    return msgspec.structs.replace(block, certificate=certificate)


def _too_few(block: CertifiedBlock) -> CertifiedBlock:
    seals = block.certificate.seals[:1]
    certificate = msgspec.structs.replace(block.certificate, seals=seals)
    return msgspec.structs.replace(block, certificate=certificate)


def _other_receipt(database: KeyValue) -> list[Put]:
    (receipt,) = receipts_codec.decode(value(database, RECEIPTS_2))
    lied = msgspec.structs.replace(receipt, code="FORBIDDEN")
    return [(RECEIPTS_2, encode((lied,)))]


def _moved_head(database: KeyValue) -> list[Put]:
    head = head_codec.decode(value(database, b"mhead"))
    return [(b"mhead", encode(msgspec.structs.replace(head, height=head.height - 1)))]


def _swapped_cards(database: KeyValue) -> list[Put]:
    """The card's record under another key: every value is still genuine."""
    key, raw = first(database, CARDS)
    return [(key, None), (key[:-1] + b"\x00", raw)]


def _forgotten_balance(database: KeyValue) -> list[Put]:
    """The newest balance of an account that had others before."""
    keys = [key for key, _ in database.iterate(b"h", b"i")]
    newest = [key for low, key in pairwise(keys) if low[:-8] == key[:-8]][-1]
    return [(newest, None)]


def shown(table: str, key: bytes) -> str:
    """A place as the check names it, which tells nothing to whoever reads over its shoulder."""
    return f"{table} {VAULT.hide(table, key).hex()}"


def flip(key_or_prefix: bytes, at: int = -1) -> Damage:
    def damage(database: KeyValue) -> list[Put]:
        key, raw = first(database, key_or_prefix)
        return [(key, flipped(raw, at))]

    return damage


def remove(key_or_prefix: bytes) -> Damage:
    return lambda database: [(first(database, key_or_prefix)[0], None)]


def put(key: bytes, raw: bytes) -> Damage:
    return lambda database: [(key, raw)]


def test_a_sound_database_has_no_faults(tmp_path: Path) -> None:
    memory, level = MemoryKeyValue(), open_level(tmp_path)
    for database in (memory, level):
        world = grown(database)
        findings = checked(world, database)
        assert bad(findings) == {}
        assert [finding.check for finding in findings] == CHECKS
        seen = {finding.check: finding.seen for finding in findings}
        assert (seen["chain"], seen["receipts"]) == ("7 blocks", "8 transactions")
        assert int(seen["records"].split()[0]) == int(seen["tree"].split()[0]) > 10
    level.close()


def test_a_database_at_height_0_is_sound() -> None:
    database = MemoryKeyValue()
    assert bad(checked(World(database), database)) == {}


@pytest.mark.parametrize(
    ("damage", "check", "words"),
    [
        (remove(b"mgenesis"), "origin", "the origin is missing"),
        (put(b"mgenesis", b"\x01"), "origin", "the origin cannot be read"),
        (put(b"mgenesis", encode([9, bytes(32), 2])), "origin", "layout 9"),
        (put(b"mgenesis", encode([2, bytes(32), 2])), "origin", "network of genesis 0000"),
        (remove(b"mhead"), "head", "the head is missing"),
        (put(b"mhead", b"torn"), "head", "the head cannot be read"),
        (_moved_head, "head", "it is not the id of block 6"),
        (_moved_head, "strays", "block 7: beyond the head"),
        (remove(BLOCK_2), "chain", "block 2 is missing"),
        (remove(b"b" + number(7)), "chain", "block 7 is missing"),
        (put(BLOCK_2, b"\x90"), "chain", "block 2 cannot be read"),
        (with_block(_later), "chain", "the certificate of block 2: "),
        (with_block(_later), "chain", "block 3 does not follow block 2"),
        (with_block(_forged), "chain", "the certificate of block 2: a seal's signature"),
        (with_block(_too_few), "chain", "the certificate of block 2: 1 seals, 3 needed"),
        (
            with_block(lambda block: msgspec.structs.replace(block, transactions=())),
            "chain",
            "the transactions of block 2 are not",
        ),
        (
            lambda database: [(BLOCK_2, value(database, b"b" + number(3)))],
            "chain",
            "block 2 says that it is 3",
        ),
        (remove(RECEIPTS_2), "receipts", "the receipts of block 2 is missing"),
        (put(RECEIPTS_2, b"\x90\x90"), "receipts", "the receipts of block 2 cannot be read"),
        (_other_receipt, "receipts", "the receipts of block 2 are not those of its header"),
        (
            lambda database: [(RECEIPTS_2, value(database, b"r" + number(3)))],
            "receipts",
            "the receipts of block 2 are of other transactions",
        ),
        (remove(b"n"), "receipts", "the index does not find block "),
        (flip(b"n"), "receipts", "the index does not find block "),
        (remove(b"i"), "receipts", "the index does not find transaction 0 of block "),
        (flip(b"i"), "receipts", "the index does not find transaction "),
        (put(b"i" + b"x" * 16, bytes(12)), "index", "9 entries for 8 transactions"),
        (put(b"n" + b"x" * 16, bytes(8)), "index", "8 entries for 7 blocks"),
        (flip(b"t"), "tree", "its root is "),
        (remove(b"t"), "tree", "its root is "),
        (flip(b"t", 0), "tree", "bucket "),
        (put(b"t" + bytes(4), b"short"), "tree", "bucket 0 of the state tree is malformed"),
        (flip(b"t"), "records", "its value is not the one of the state root"),
        (flip(CARDS), "records", f"{shown('prepaid/cards', CARD)}: its value is not"),
        (flip(table_prefix("prepaid/merchants")), "records", shown("prepaid/merchants", SHOP)),
        (remove(CARDS), "records", " records for "),
        (put(CARDS + b"new", b"\x90"), "records", f"prepaid/cards {b'new'.hex()}: its value"),
        (put(b"sno table", b""), "records", "no table"),
        (put(table_prefix("none/such") + b"x", b""), "records", "none/such 78"),
        (_swapped_cards, "records", "its value is not"),
        (flip(table_prefix("kernel/accounts")), "history", "the newest balance"),
        (_forgotten_balance, "history", "the newest balance"),
        (put(history_prefix(b"acct") + number(3), b"\x01"), "history", "is not in the state"),
        (put(history_prefix(b"acct") + number(99), b""), "history", "at height 99: there is no"),
        (put(b"h\x00\x09key" + number(1), b""), "history", "there is no such place"),
        (put(b"b" + number(0), b""), "strays", "block 0: beyond"),
        (put(b"r" + number(8), b""), "strays", "receipts 8: beyond the head"),
        (put(b"mystery", b""), "strays", f"key {b'mystery'.hex()}"),
        (put(b"\x00", b""), "strays", "key 00: of no known kind"),
        (put(b"zebra", b""), "strays", f"key {b'zebra'.hex()}"),
    ],
)
def test_damage_is_found_and_named(damage: Damage, check: str, words: str) -> None:
    database = MemoryKeyValue()
    world = grown(database)
    sealed(database).write(damage(sealed(database)), sync=True)
    faults = bad(checked(world, database))
    assert check in faults, faults
    assert any(words in fault for fault in faults[check]), faults


def test_every_single_record_counts() -> None:
    """Whatever key is taken away, or its value changed by a bit, some check says so."""
    database = MemoryKeyValue()
    world = grown(database)
    for key, raw in list(database.iterate(b"", b"\xff")):
        for lost in (None, flipped(raw) if raw else b"x"):
            database.write([(key, lost)], sync=True)
            if lost or not _is_old_balance(database, key):
                assert bad(checked(world, database)), key
        database.write([(key, raw)], sync=True)


def _is_old_balance(database: MemoryKeyValue, key: bytes) -> bool:
    """Balances of earlier heights are in no root, so that one of them can be missing unseen."""
    newer = database.iterate(key + b"\x00", key[:-8] + b"\xff" * 9, limit=1)
    return key.startswith(b"h") and next(newer, None) is not None


def test_a_gap_is_named_once_and_the_rest_is_still_checked() -> None:
    database = MemoryKeyValue()
    world = grown(database)
    gap: list[Put] = [(b"b" + number(height), None) for height in (3, 4, 5)]
    sealed(database).write([*gap, *with_block(_forged)(sealed(database))], sync=True)
    faults = bad(checked(world, database))["chain"]
    assert faults[0].startswith("the certificate of block 2")
    assert faults[1:] == ("blocks 3 to 5 are missing",)


def test_many_faults_are_counted_and_the_first_shown() -> None:
    database = MemoryKeyValue()
    world = grown(database)
    sealed(database).write([(b"mystery %d" % one, b"") for one in range(50)], sync=True)
    (strays,) = (finding for finding in checked(world, database) if not finding.ok)
    assert (strays.check, strays.fault_count, len(strays.faults)) == (
        "strays",
        50,
        FAULTS_SHOWN_MAX,
    )


def test_progress_is_a_line_now_and_then() -> None:
    lines: list[str] = []
    reporter = Reporter(lines.append)
    for done in range(1_000):
        reporter.report("chain", done, 1_000)
    assert lines == ["progress: chain 0 1000\n"]

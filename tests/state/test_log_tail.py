"""A torn end of a log is no harm, one wrong bit in it is: LevelDB itself cannot tell them apart."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.protocol.errors import StoreFailure
from node.state import level
from node.state.level import open_level
from node.state.log_tail import BLOCK_BYTES, _crc32c, damaged_logs
from node.state.vote_log import VoteLog, open_vote_database
from tests.state.samples import VAULT

HEADER_BYTES = 7
VOTES = 12
SMALL, LARGE = 400, 90_000


def make(folder: Path, size: int, count: int = VOTES) -> list[bytes]:
    """A vote log as a killed node leaves it: everything in LevelDB's log."""
    chance = random.Random(size)
    votes = VoteLog(open_vote_database(folder / "live"), VAULT)
    for number in range(count):
        votes.append(chance.randbytes(size), number)
    shutil.copytree(folder / "live", folder / "votes")
    written = votes.load()
    votes.close()
    return written


def log_of(folder: Path) -> Path:
    (path,) = [one for one in (folder / "votes").glob("*.log") if one.stat().st_size]
    return path


def load(folder: Path) -> list[bytes]:
    """What a restarted node finds."""
    database = open_vote_database(folder / "votes")
    try:
        return VoteLog(database, VAULT).load()
    finally:
        database.close()


def headers(content: bytes) -> list[int]:
    """Where the fragments stand."""
    places, at = [], 0
    while at + HEADER_BYTES <= len(content):
        if BLOCK_BYTES - at % BLOCK_BYTES < HEADER_BYTES:
            at += BLOCK_BYTES - at % BLOCK_BYTES
            continue
        places.append(at)
        at += HEADER_BYTES + int.from_bytes(content[at + 4 : at + 6], "little")
    return places


def test_the_sum_is_crc_32c() -> None:
    assert _crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_log_that_a_crash_cut_off_anywhere_is_tolerated(tmp_path: Path, size: int) -> None:
    written = make(tmp_path, size)
    path = log_of(tmp_path)
    whole = path.read_bytes()
    for cut in sorted(random.Random(1).sample(range(len(whole) - 2 * size, len(whole)), 40)):
        path.write_bytes(whole[:cut])
        assert list(damaged_logs(path.parent)) == []
    path.write_bytes(whole[:-1])
    assert load(tmp_path) == written[:-1]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_zeros_behind_the_last_record_are_tolerated(tmp_path: Path, size: int) -> None:
    written = make(tmp_path, size)
    path = log_of(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(40_000))
    assert load(tmp_path) == written


def test_a_record_torn_in_the_middle_of_its_pages_is_tolerated(tmp_path: Path) -> None:
    """A power cut may leave later pages of one write on the disk and not the earlier ones."""
    make(tmp_path, LARGE)
    path = log_of(tmp_path)
    content = bytearray(path.read_bytes())
    last = len(content) - LARGE - 200
    hole = last - last % 4_096 + 4_096
    content[hole : hole + 4_096] = bytes(4_096)
    path.write_bytes(bytes(content))
    assert list(damaged_logs(path.parent)) == []


def test_no_wrong_bit_in_any_length_loses_a_vote(tmp_path: Path) -> None:
    make(tmp_path, SMALL)
    path = log_of(tmp_path)
    whole = path.read_bytes()
    for at in headers(whole):
        for bit in range(16):
            broken = bytearray(whole)
            broken[at + 4 + bit // 8] ^= 1 << bit % 8
            path.write_bytes(bytes(broken))
            with pytest.raises(StoreFailure, match="DAMAGED_VOTES"):
                load(tmp_path)


def test_a_zeroed_sector_with_votes_behind_it_loses_none(tmp_path: Path) -> None:
    make(tmp_path, SMALL)
    path = log_of(tmp_path)
    broken = bytearray(path.read_bytes())
    broken[440:952] = bytes(512)  # from where the second record begins
    path.write_bytes(bytes(broken))
    with pytest.raises(StoreFailure, match="DAMAGED_VOTES"):
        load(tmp_path)


Harm = Callable[[bytearray, random.Random], None]


@settings(max_examples=120)
@given(seed=st.integers(0, 10_000))
def test_whatever_is_damaged_nothing_is_lost_in_silence(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """A database with a table, a log and a manifest: one wrong byte in any of its files."""
    made = _made(tmp_path_factory)
    chance, folder = random.Random(seed), tmp_path_factory.mktemp("harmed")
    shutil.copytree(made / "votes", folder / "votes")
    files = [one for one in sorted((folder / "votes").iterdir()) if one.stat().st_size]
    path = chance.choice(files)
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(content))
    found: list[bytes] | str
    try:
        found = load(folder)
    except StoreFailure as failure:
        found = failure.code
    level._open_here.clear()
    shutil.rmtree(folder)
    assert found in (_WRITTEN["all"], "DAMAGED_VOTES", "DATABASE_DAMAGED")


_WRITTEN: dict[str, list[bytes]] = {}
_MADE: list[Path] = []


def _made(factory: pytest.TempPathFactory) -> Path:
    """Made once: opened twice, so that there is a table, and copied while it is open."""
    if not _MADE:
        folder = factory.mktemp("made")
        make(folder, SMALL)
        chance = random.Random(7)
        votes = VoteLog(open_vote_database(folder / "live"), VAULT)
        for number in range(VOTES, 2 * VOTES):
            votes.append(chance.randbytes(SMALL), number)
        shutil.rmtree(folder / "votes")
        shutil.copytree(folder / "live", folder / "votes")
        _WRITTEN["all"] = votes.load()
        votes.close()
        _MADE.append(folder)
    return _MADE[0]


def count_keys(folder: Path, reverse: bool) -> int | str:
    """How many keys a walk finds, or what it fails of."""
    try:
        database = open_level(folder)
    except StoreFailure as failure:
        return failure.code
    try:
        return sum(1 for _ in database.iterate(b"k", b"l", reverse))
    except StoreFailure as failure:
        return failure.code
    finally:
        database.close()


def test_the_end_of_a_walk_is_not_taken_for_the_end_of_the_records(tmp_path: Path) -> None:
    """The last block of a table cannot be read: both ways of walking say so."""
    database = open_level(tmp_path / "data", write_buffer_bytes=1 << 16)
    for number in range(2_000):
        database.write([(b"k%06d" % number, bytes([number % 251]) * 50)], sync=False)
    database.close()
    open_level(tmp_path / "data").close()  # everything into tables
    tables = sorted((tmp_path / "data").glob("*.ldb"))
    found = 0
    for path in tables:
        whole = path.read_bytes()
        for at in range(0, len(whole), 1_999):
            broken = bytearray(whole)
            broken[at] ^= 0xFF
            path.write_bytes(bytes(broken))
            for reverse in (False, True):
                counted = count_keys(tmp_path / "data", reverse)
                assert counted in (2_000, "DATABASE_DAMAGED")
                found += counted != 2_000
        path.write_bytes(whole)
    assert found > 10

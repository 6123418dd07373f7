"""One suite for both databases, since everything above trusts them to behave the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.protocol.errors import StoreFailure
from node.state.keyvalue import KeyValue, MemoryKeyValue, Put
from node.state.level import open_level

short_keys = st.binary(max_size=2)
batches = st.lists(st.tuples(short_keys, st.none() | st.binary(max_size=3)), max_size=10)


@pytest.fixture(params=["level", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValue]:
    opened = open_level(tmp_path / "database") if request.param == "level" else MemoryKeyValue()
    yield opened
    opened.close()


def test_a_batch_is_written_and_later_puts_win(database: KeyValue) -> None:
    database.write([(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"b", None)], sync=True)
    assert database.get(b"a") == b"3"
    assert database.get(b"b") is None
    assert database.get(b"c") is None


def test_ranges_are_half_open_and_go_both_ways(database: KeyValue) -> None:
    database.write([(bytes([i]), bytes([i])) for i in range(10)], sync=False)
    keys = [key[0] for key, _ in database.iterate(b"\x02", b"\x06")]
    assert keys == [2, 3, 4, 5]
    keys = [key[0] for key, _ in database.iterate(b"\x02", b"\x06", reverse=True, limit=2)]
    assert keys == [5, 4]
    assert list(database.iterate(b"\x06", b"\x02")) == []


def test_iteration_does_not_see_later_writes(database: KeyValue) -> None:
    database.write([(b"a", b"1"), (b"b", b"2")], sync=False)
    pairs = database.iterate(b"", b"\xff")
    database.write([(b"a", None), (b"b", b"3"), (b"c", b"4")], sync=False)
    assert list(pairs) == [(b"a", b"1"), (b"b", b"2")]


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(batches, max_size=5), short_keys, short_keys)
def test_it_is_a_sorted_dict(
    database: KeyValue, history: list[list[Put]], start: bytes, stop: bytes
) -> None:
    database.write([(key, None) for key, _ in database.iterate(b"", b"\xff" * 3)], sync=False)
    model: dict[bytes, bytes] = {}
    for batch in history:
        database.write(batch, sync=False)
        for key, value in batch:
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
    inside = sorted((k, v) for k, v in model.items() if start <= k < stop)
    assert list(database.iterate(start, stop)) == inside
    assert list(database.iterate(start, stop, reverse=True, limit=3)) == inside[::-1][:3]
    assert database.get(start) == model.get(start)


def test_a_snapshot_does_not_see_later_writes(tmp_path: Path) -> None:
    level = open_level(tmp_path)
    level.write([(b"a", b"1")], sync=True)
    snapshot = level.snapshot()
    level.write([(b"a", b"2"), (b"b", b"3")], sync=True)
    assert snapshot.get(b"a") == b"1"
    assert list(snapshot.iterate(b"", b"\xff")) == [(b"a", b"1")]
    assert level.get(b"a") == b"2"
    level.close()


def test_what_was_synced_is_there_after_opening_again(tmp_path: Path) -> None:
    level = open_level(tmp_path)
    level.write([(b"a", b"1")], sync=True)
    level.close()
    level = open_level(tmp_path)
    assert level.get(b"a") == b"1"
    level.close()


# ---- failures, each with a code and a line that says what to do

SECOND_OPEN = """
import sys
from pathlib import Path
from node.protocol.errors import StoreFailure
from node.state.level import open_level
try:
    open_level(Path(sys.argv[1]))
except StoreFailure as failure:
    print(failure)
"""


def open_elsewhere(path: Path) -> str:
    """What another process says that opens the same folder."""
    command = [sys.executable, "-c", SECOND_OPEN, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_second_open_refuses_here_and_elsewhere(tmp_path: Path) -> None:
    level = open_level(tmp_path)
    assert "DATABASE_IN_USE" in open_elsewhere(tmp_path)
    with pytest.raises(StoreFailure, match=r"DATABASE_IN_USE: .* stop it first"):
        open_level(tmp_path)
    # The refusal must not have lifted the lock.
    assert "DATABASE_IN_USE" in open_elsewhere(tmp_path)
    level.close()
    assert open_elsewhere(tmp_path) == ""


def flip_byte(path: Path, at: int) -> None:
    """Damage one byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("pattern", ["*.log", "MANIFEST-*", "CURRENT"])
def test_a_damaged_file_refuses_to_open(tmp_path: Path, pattern: str) -> None:
    level = open_level(tmp_path)
    level.write([(b"key", b"value" * 100)], sync=True)
    level.close()
    (damaged,) = tmp_path.glob(pattern)
    flip_byte(damaged, 10)
    with pytest.raises(StoreFailure, match=r"DATABASE_DAMAGED: .*groat node repair"):
        open_level(tmp_path)


def test_a_path_that_is_no_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreFailure, match=r"DISK_FAILED: .*file cannot be read or written"):
        open_level(tmp_path / "file")

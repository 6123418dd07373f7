"""The books of an audit: what a node writes adds up, and no change to a file goes unnoticed."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node import audit
from node.protocol.audit_file import (
    COLUMNS,
    Books,
    Row,
    chained,
    read_rows,
    row,
    write_head,
    write_line,
)
from node.protocol.errors import Misconfigured, Refused
from tests.http.support import World


@pytest.fixture(scope="module")
def world() -> World:
    """A shop, a card, and some visits."""
    made = World()
    made.open_shop()
    for seq in range(1, 6):
        made.commit(made.consume(seq))
    return made


def rows_of(world: World) -> list[Row]:
    return list(chained(audit.book_rows(world.genesis, world.store, 0)))


def written(rows: list[Row], suffix: str) -> io.StringIO:
    file = io.StringIO(newline="")
    write_head(file, suffix)
    for one in rows:
        write_line(file, suffix, one)
    file.seek(0)
    return file


def judged(rows: Iterator[Row]) -> Books:
    books = Books()
    for one in rows:
        books.add(one)
    books.finish()
    return books


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_what_a_node_writes_adds_up(world: World, suffix: str) -> None:
    rows = rows_of(world)
    books = judged(read_rows(written(rows, suffix), suffix))
    assert books.height == world.store.head.height == 8
    assert books.state_root == world.store.head.state_root.hex()
    assert books.genesis_hash == world.genesis.hash.hex()
    # 100.00 came in, and each visit moved 10.00 from escrow to the merchant.
    assert books.assets == {"CNY": (15_000, 15_000)}
    assert books.violations == 0
    entries = [one for one in rows if one["row"] == "entry"]
    assert len(entries) == 2 + 5 * 2
    assert {one["height"] for one in entries} == {str(height) for height in range(3, 9)}


def test_both_formats_carry_the_same_hashes(world: World) -> None:
    rows = rows_of(world)
    for suffix in (".jsonl", ".csv"):
        assert list(read_rows(written(rows, suffix), suffix)) == rows


def test_any_change_of_any_row_is_noticed(world: World) -> None:
    rows = rows_of(world)
    for index, one in enumerate(rows):
        for name in COLUMNS:
            changed = [*rows[:index], {**one, name: one[name] + "1"}, *rows[index + 1 :]]
            with pytest.raises(Refused) as refused:
                judged(iter(changed))
            assert f"row {index + 1}:" in refused.value.message


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows[:-1],
        lambda rows: rows[1:],
        lambda rows: [*rows[:3], *rows[4:]],
        lambda rows: [*rows, rows[-1]],
        lambda rows: [*rows[:4], rows[5], rows[4], *rows[6:]],
        lambda rows: [],
    ],
)
def test_missing_and_moved_rows_are_noticed(
    world: World, spoil: Callable[[list[Row]], list[Row]]
) -> None:
    with pytest.raises(Refused):
        judged(iter(spoil(rows_of(world))))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("entry", {"debit": "1", "credit": "1"}),
        ("entry", {"credit": "7", "balance": "7"}),
        ("entry", {"height": "99"}),
        ("entry", {"height": "1"}),
        ("entry", {"asset": "USD"}),
        ("closing", {"balance": "1"}),
        ("closing", {"debit": "1"}),
        ("total", {"debit": "1"}),
        ("total", {"asset": "USD"}),
        ("entry", {"row": "opening", "height": "9"}),
        ("end", {"note": "rows=1 violations=0"}),
        ("entry", {"debit": "-5"}),
        ("entry", {"row": "gift"}),
    ],
)
def test_books_that_do_not_add_up_are_refused_even_with_right_hashes(
    world: World, kind: str, change: dict[str, str]
) -> None:
    bare = [{name: one[name] for name in COLUMNS} for one in rows_of(world)]
    place = next(index for index, one in enumerate(bare) if one["row"] == kind)
    bare[place] = {**bare[place], **change}
    with pytest.raises(Refused):
        judged(chained(bare))


def test_a_doubled_account_is_refused(world: World) -> None:
    bare = [{name: one[name] for name in COLUMNS} for one in rows_of(world)]
    last = max(index for index, one in enumerate(bare) if one["row"] == "closing")
    with pytest.raises(Refused):
        judged(chained([*bare[: last + 1], row("closing", **_zero(bare[last])), *bare[last + 1 :]]))


def _zero(one: Row) -> dict[str, str]:
    return {**one, "debit": "0", "credit": "0", "balance": "0"} | {"row": "closing"}


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".jsonl", "{\n"),
        (".jsonl", "[]\n"),
        (".jsonl", json.dumps({"row": 1}) + "\n"),
        (".jsonl", "[" * 100_000),
        (".jsonl", json.dumps(dict.fromkeys([*COLUMNS, "hash"], 1)) + "\n"),
        (".csv", "a,b\n"),
        (".csv", ",".join([*COLUMNS, "hash"]) + '\n"open\n'),
        (".csv", ",".join([*COLUMNS, "hash"]) + "\nx,y\n"),
    ],
)
def test_what_is_no_file_of_books_is_one_line(suffix: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        judged(read_rows(io.StringIO(text), suffix))
    assert refused.value.code == "BAD_AUDIT_FILE"


def test_files_are_new_private_and_of_known_formats(world: World, tmp_path: Path) -> None:
    path = tmp_path / "books.csv"
    audit.write_books(world.genesis, world.store, [path, tmp_path / "books.jsonl"], 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as file:
        assert judged(read_rows(file, ".csv")).entries == 12
    with pytest.raises(Misconfigured) as refused:
        audit.write_books(world.genesis, world.store, [path], 0)
    assert refused.value.code == "NOT_WRITABLE"
    with pytest.raises(Misconfigured):
        audit.audit_folder(tmp_path, [tmp_path / "books.xls"])

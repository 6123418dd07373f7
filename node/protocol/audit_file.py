"""The audit's books as a file: every account's postings, block by block, chained by hashes.

A file is rows of text fields, as JSON lines or as CSV with the same hashes. Its rows, in order:
one `audit` (the height and state root that it holds for); per account an `opening` if older
postings are no longer kept, its `entry` for each block that moved it, its `closing`; per asset a
`total`; one `end`. Each row carries the hash of itself and of all before it. Reading the books of a
node's database is the node's part; here is what they must satisfy.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TextIO

from node.protocol.errors import Refused

COLUMNS = (
    "row",
    "height",
    "account",
    "owner",
    "asset",
    "purpose",
    "debit",
    "credit",
    "balance",
    "note",
)
HASH = "hash"
LINE_CHARS_MAX = 4096
FORMATS = (".jsonl", ".csv")
_START = sha256(b"groat/audit/1").hexdigest()

Row = dict[str, str]


def row(kind: str, **given: object) -> Row:
    """One row; what is not given is empty. Amounts are minor units."""
    return {name: str({"row": kind, **given}.get(name, "")) for name in COLUMNS}


def chained(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows with their hashes."""
    before = _START
    for one in rows:
        before = _hash(before, one)
        yield {**one, HASH: before}


def _hash(before: str, one: Row) -> str:
    values = [one[name] for name in COLUMNS]
    text = json.dumps([before, *values], ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


# ---- writing and reading


def write_line(file: TextIO, suffix: str, one: Row) -> None:
    """Append one chained row, in the format that a file's suffix names."""
    if suffix == ".csv":
        csv.writer(file, lineterminator="\n").writerow([one[name] for name in (*COLUMNS, HASH)])
    else:
        file.write(json.dumps(one, ensure_ascii=False) + "\n")


def write_head(file: TextIO, suffix: str) -> None:
    """What stands before the first row: in CSV the names of the columns."""
    if suffix == ".csv":
        csv.writer(file, lineterminator="\n").writerow([*COLUMNS, HASH])


def read_rows(file: TextIO, suffix: str) -> Iterator[Row]:
    """The chained rows of a file; raises `Refused` `BAD_AUDIT_FILE` with the line."""
    lines = _lines(file)
    names = (*COLUMNS, HASH)
    if suffix == ".csv":
        head = next(lines, "")
        if next(csv.reader([head]), []) != list(names):
            raise _bad(1, "it does not begin with the names of the columns")
    for number, line in enumerate(lines, 2 if suffix == ".csv" else 1):
        try:
            if suffix == ".csv":
                values = next(csv.reader([line], strict=True))
                one = dict(zip(names, values, strict=True))
            else:
                one = json.loads(line)
        except (ValueError, csv.Error, RecursionError):
            raise _bad(number, "it cannot be read") from None
        if not isinstance(one, dict) or list(one) != list(names):
            raise _bad(number, "it has other fields")
        if not all(isinstance(value, str) for value in one.values()):
            raise _bad(number, "its fields are not all text")
        yield one


def _lines(file: TextIO) -> Iterator[str]:
    number = 0
    while line := file.readline(LINE_CHARS_MAX):
        number += 1
        if len(line) >= LINE_CHARS_MAX:
            raise _bad(number, "it is too long")
        yield line


# ---- judging


@dataclass
class Books:
    """What the rows must satisfy, fed one by one. Raises `Refused` `BAD_AUDIT_FILE`."""

    height: int = 0
    state_root: str = ""
    genesis_hash: str = ""
    accounts: int = 0
    entries: int = 0
    violations: int = 0
    assets: dict[str, tuple[int, int]] = field(default_factory=dict)
    _rows: int = 0
    _hash: str = _START
    _open: Row | None = None
    _account: str = ""
    _sums: tuple[int, int] = (0, 0)
    _blocks: dict[tuple[str, str], int] = field(default_factory=dict)
    _totals: dict[str, None] = field(default_factory=dict)
    _ended: bool = False

    def add(self, one: Row) -> None:
        """The next row."""
        self._rows += 1
        self._need(not self._ended, "something follows the end")
        expected = _hash(self._hash, one)
        self._need(one.get(HASH) == expected, "its hash does not follow from the rows before it")
        self._hash = expected
        kind = one["row"]
        self._need(
            (kind == "audit") == (self._rows == 1), "the audit row is the first and no other"
        )
        if kind == "audit":
            self._begin(one)
        elif kind in ("opening", "entry", "closing"):
            self._book(kind, one)
        elif kind == "total":
            self._total(one)
        elif kind == "end":
            self._end(one)
        else:
            self._need(False, "a row of an unknown kind")

    def finish(self) -> None:
        """All rows were added."""
        if not self._ended:
            raise Refused("BAD_AUDIT_FILE", "the file ends too early")

    def _begin(self, one: Row) -> None:
        self.height = self._number(one["height"])
        words = dict(word.partition("=")[::2] for word in one["note"].split(" "))
        self.state_root = words.get("state_root", "")
        self.genesis_hash = words.get("genesis", "")

    def _book(self, kind: str, one: Row) -> None:
        debit, credit = self._number(one["debit"]), self._number(one["credit"])
        known = self._open
        if known is None or known["account"] != one["account"]:
            self._need(known is None, "an account has no closing row")
            self._need(one["account"] > self._account, "accounts are out of order")
            self._account = one["account"]
            self._need(kind != "closing" or debit == credit == 0, "it closes what was not booked")
            self._open, self._sums, self.accounts = one, (0, 0), self.accounts + 1
            known = one
        else:
            self._need(kind != "opening", "a second opening row")
        same = ("owner", "asset", "purpose")
        self._need(
            [known[name] for name in same] == [one[name] for name in same], "another account"
        )
        if kind == "closing":
            self._need(
                (debit, credit) == self._sums, "the closing row is not the sum of the entries"
            )
        else:
            self._sums = (self._sums[0] + debit, self._sums[1] + credit)
        self._need(
            one["balance"] == str(self._sums[1] - self._sums[0]), "the balance does not add up"
        )
        if kind == "closing":
            debits, credits = self.assets.get(one["asset"], (0, 0))
            self.assets[one["asset"]] = (debits + debit, credits + credit)
            self._open = None
            return
        self.entries += kind == "entry"
        self._need(self._number(one["height"]) <= self.height, "it is of a later height")
        place = (one["height"] if kind == "entry" else "opening", one["asset"])
        net = self._blocks.pop(place, 0) + debit - credit
        if net:
            self._blocks[place] = net

    def _total(self, one: Row) -> None:
        sums = (self._number(one["debit"]), self._number(one["credit"]))
        self._need(self._open is None, "an account has no closing row")
        self._need(
            self.assets.get(one["asset"]) == sums, "the total is not the sum of the accounts"
        )
        self._need(sums[0] == sums[1], "debits and credits differ")
        self._totals[one["asset"]] = None

    def _end(self, one: Row) -> None:
        self._need(not self._blocks, "there is a block whose debits and credits differ")
        self._need(list(self._totals) == sorted(self.assets), "a total is missing")
        words = dict(word.partition("=")[::2] for word in one["note"].split(" "))
        self._need(words.get("rows") == str(self._rows), "rows are missing")
        self.violations = self._number(words.get("violations", ""))
        self._ended = True

    def _number(self, text: str) -> int:
        self._need(text.isascii() and text.isdecimal() and len(text) <= 40, "not a number")
        return int(text)

    def _need(self, holds: bool, why: str) -> None:
        if not holds:
            raise _bad(self._rows, why)


def _bad(number: int, why: str) -> Refused:
    return Refused("BAD_AUDIT_FILE", f"row {number}: {why}")

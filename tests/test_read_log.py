"""The log of regulators' reads: chained, sealed, and never told of what it could not note."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.errands import ANCHOR_PAUSE_MS, ReadAnchors
from node.housekeeping import Due
from node.protocol.errors import Refused
from node.read_log import WHAT_CHARS_MAX, ReadEntry, ReadLog, empty_log, opened, read_log
from node.state.vault import Vault
from tests.contracts.network import Network
from tests.contracts.world import DAY_MS, key_of
from tests.protocol.support import CHAIN, HOLDER

NODE = key_of("node1")
VAULT = Vault(b"k" * 32)
CARD = "ab" * 16


def open_log(path: Path, node: bytes = NODE) -> ReadLog:
    return ReadLog(path / "reads.log", CHAIN, node, VAULT)


def entry(number: int) -> ReadEntry:
    return ReadEntry(1_000 + number, number, HOLDER.public_key, f"query card {CARD} {number}")


def grown(path: Path, count: int) -> ReadLog:
    log = open_log(path)
    for number in range(count):
        log.note(entry(number))
    return log


def test_it_goes_on_after_a_restart_and_opens_with_the_storage_key(tmp_path: Path) -> None:
    first = grown(tmp_path, 3)
    heads = [first.head_at(count) for count in range(4)]
    first.close()
    log = open_log(tmp_path)
    assert (log.count, log.head) == (3, first.head)
    log.note(entry(3))
    noted = list(read_log(tmp_path / "reads.log", empty_log(CHAIN, NODE)))
    assert [opened(VAULT, one) for one in noted] == [entry(number) for number in range(4)]
    assert [one.before for one in noted] == heads
    assert log.head_at(5) is None
    assert opened(Vault(b"o" * 32), noted[0]) is None


def test_the_file_shows_nothing_and_is_for_its_owner(tmp_path: Path) -> None:
    grown(tmp_path, 2).sync()
    path = tmp_path / "reads.log"
    raw = path.read_bytes()
    for words in (CARD.encode(), bytes.fromhex(CARD), b"query", HOLDER.public_key):
        assert words not in raw
    assert path.stat().st_mode & 0o077 == 0


def test_every_change_changes_the_hash(tmp_path: Path) -> None:
    log = grown(tmp_path, 3)
    path, start = tmp_path / "reads.log", empty_log(CHAIN, NODE)
    raw = path.read_bytes()
    entries = [one.sealed for one in read_log(path, start)]

    def head_of(content: bytes) -> bytes:
        path.write_bytes(content)
        return [start, *(one.head for one in read_log(path, start))][-1]

    framed = [len(one).to_bytes(4, "big") + one for one in entries]
    assert head_of(b"".join(framed)) == log.head
    assert head_of(b"".join(framed[:2])) != log.head
    assert head_of(b"".join([framed[1], framed[0], framed[2]])) != log.head
    for place in range(0, len(raw), 7):
        assert head_of(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]) != log.head
    assert empty_log(CHAIN, key_of("node2")) != start  # another node's log is another one


def test_an_entry_cut_short_by_a_power_failure_is_taken_away(tmp_path: Path) -> None:
    log = grown(tmp_path, 2)
    head, size = log.head, (tmp_path / "reads.log").stat().st_size
    log.note(entry(2))
    os.truncate(tmp_path / "reads.log", size + 9)
    again = open_log(tmp_path)
    assert (again.count, again.head) == (2, head)
    again.note(entry(2))
    assert open_log(tmp_path).count == 3


def test_what_cannot_be_noted_is_refused_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = grown(tmp_path, 1)
    write, head = os.write, log.head
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:10]))
        with pytest.raises(Refused) as refusal:
            log.note(entry(1))
    assert refusal.value.code == "READ_LOG_FAILED"
    assert (log.count, log.head) == (1, head)
    log.note(entry(1))
    assert open_log(tmp_path).head == log.head


def test_what_was_asked_is_bounded(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.note(ReadEntry(1, 1, HOLDER.public_key, "x" * 100_000))
    (noted,) = read_log(tmp_path / "reads.log", empty_log(CHAIN, NODE))
    found = opened(VAULT, noted)
    assert found is not None
    assert len(found.what) == WHAT_CHARS_MAX


# ---- anchoring


class Anchoring:
    """A chain, a log, and the errand between them."""

    def __init__(self, path: Path) -> None:
        self.network = Network()
        self.path = path
        self.alarms: list[str] = []
        self.start()

    def start(self) -> None:
        self.log = open_log(self.path)
        memory, scale = self.network.memory, self.network.time_scale
        self.errand = ReadAnchors(
            NODE, memory, self.log, scale, lambda code, message: self.alarms.append(code)
        )

    def due(self) -> Due | None:
        return self.errand.due(self.network.time_ms)

    def book(self) -> str:
        due = self.due()
        assert due is not None
        return self.network.do("node1", due.action, contract="kernel", **due.args)


@pytest.fixture
def anchoring(tmp_path: Path) -> Anchoring:
    return Anchoring(tmp_path)


def test_the_head_is_anchored_once_a_day_if_there_is_something_new(anchoring: Anchoring) -> None:
    assert anchoring.due() is None
    anchoring.log.note(entry(0))
    assert anchoring.book() == "OK"
    assert anchoring.due() is None
    anchoring.log.note(entry(1))
    assert anchoring.due() is None  # tomorrow
    anchoring.network.advance(DAY_MS)
    assert anchoring.book() == "OK"
    anchoring.network.advance(DAY_MS)
    assert anchoring.due() is None
    assert anchoring.alarms == []


def test_where_days_are_short_it_takes_its_time(anchoring: Anchoring) -> None:
    anchoring.network.time_scale = 10_000_000
    anchoring.start()
    anchoring.log.note(entry(0))
    assert anchoring.book() == "OK"
    anchoring.log.note(entry(1))
    anchoring.network.advance(1_000)
    assert anchoring.due() is None
    anchoring.network.advance(ANCHOR_PAUSE_MS)
    assert anchoring.book() == "OK"


@pytest.mark.parametrize("change", ["shorter", "other"])
def test_a_log_that_is_not_what_was_anchored_raises_an_alarm(
    anchoring: Anchoring, tmp_path: Path, change: str
) -> None:
    for number in range(3):
        anchoring.log.note(entry(number))
    assert anchoring.book() == "OK"
    path = tmp_path / "reads.log"
    raw = path.read_bytes()
    path.write_bytes(raw[:-10] if change == "shorter" else raw[:50] + b"!" + raw[51:])
    anchoring.start()
    assert anchoring.due() is None
    assert anchoring.due() is None
    assert anchoring.alarms == ["READ_LOG_ALTERED"]

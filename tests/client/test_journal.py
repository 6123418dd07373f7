"""The journal of connectors: what is written stays, belongs to one key, does not grow for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from client import journal as module
from client.journal import Entry, Journal
from node.protocol.errors import Misconfigured


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal"
    with Journal(path, "me") as journal:
        assert (journal.height, journal.entry("a")) == (0, None)
        journal.record("a", b"raw")
    with Journal(path, "me") as journal:
        assert journal.entry("a") == Entry("a", b"raw", "")
        journal.record("a", b"again")
        journal.finish("a", 7, "OK")
    with Journal(path, "me") as journal:
        assert (journal.height, journal.entry("a")) == (7, Entry("a", b"again", "OK"))
    assert path.stat().st_mode & 0o077 == 0


def test_it_belongs_to_one_network_and_key(tmp_path: Path) -> None:
    Journal(tmp_path / "j", "me").close()
    with pytest.raises(Misconfigured) as caught:
        Journal(tmp_path / "j", "you")
    assert caught.value.code == "BAD_JOURNAL"
    Journal(tmp_path / "j", "me").close()


def test_one_connector_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", "me"), pytest.raises(Misconfigured):
        Journal(tmp_path / "j", "me", patience_seconds=0.1)


def test_what_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"not a database, but long enough to look like one" * 20)
    for path in (tmp_path / "j", tmp_path):
        with pytest.raises(Misconfigured) as caught:
            Journal(path, "me")
        assert caught.value.code == "BAD_JOURNAL"


def test_old_entries_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 3)
    with Journal(tmp_path / "j", "me") as journal:
        for number in range(10):
            journal.record(str(number), b"")
            journal.finish(str(number), number, "OK")
        assert [one.event for one in journal.entries(10)] == ["9", "8", "7"]

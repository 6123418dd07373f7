"""The vote log keeps every record in order, and says so when one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.protocol.errors import StoreFailure
from node.state.keyvalue import MemoryKeyValue
from node.state.vote_log import VoteLog, open_vote_database
from tests.state.samples import VAULT


def filled(count: int) -> tuple[MemoryKeyValue, VoteLog]:
    """A log with two records a height from height 1 on."""
    records = MemoryKeyValue()
    log = VoteLog(records, VAULT)
    for number in range(count):
        log.append(b"vote %d" % number, number // 2 + 1)
    return records, log


def test_records_come_back_in_order() -> None:
    records, log = filled(300)
    expected = [b"vote %d" % number for number in range(300)]
    assert log.load() == expected
    assert VoteLog(records, VAULT).load() == expected


def test_only_a_fresh_database_is_new() -> None:
    records, log = filled(0)
    assert log.is_new
    assert not VoteLog(records, VAULT).is_new


def test_trimming_drops_lower_heights_only() -> None:
    records, log = filled(6)
    log.trim(below_height=3)
    assert log.load() == VoteLog(records, VAULT).load() == [b"vote 4", b"vote 5"]
    log.trim(below_height=3)
    assert log.load() == [b"vote 4", b"vote 5"]


def test_sequences_go_on_after_everything_was_trimmed() -> None:
    records, log = filled(6)
    log.trim(below_height=100)
    assert log.load() == []
    reopened = VoteLog(records, VAULT)
    reopened.append(b"later", 101)
    assert VoteLog(records, VAULT).load() == [b"later"]


def test_a_record_above_one_of_a_lower_height_is_not_skipped() -> None:
    """Trimming stops at the first record that is still needed, whatever follows."""
    _, log = filled(0)
    for height in (1, 3, 2):
        log.append(b"about %d" % height, height)
    log.trim(below_height=3)
    assert log.load() == [b"about 3", b"about 2"]


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_a_gap_stops_with_a_line_that_says_what_to_do(missing: int) -> None:
    records, _ = filled(5)
    records.write([(b"v" + missing.to_bytes(8, "big"), None)], sync=True)
    with pytest.raises(StoreFailure, match=rf"DAMAGED_VOTES: .*{missing} is missing.*votes-lost"):
        VoteLog(records, VAULT)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"f", b"short"),
        (b"f", (2).to_bytes(8, "big")),
        (b"v" + bytes(8), b"torn"),
        (b"v" + bytes(9), b"stray" * 3),
        (b"v\x00", b"stray" * 3),
    ],
)
def test_other_damage_stops_too(key: bytes, value: bytes) -> None:
    records, _ = filled(5)
    records.write([(key, value)], sync=True)
    with pytest.raises(StoreFailure, match="DAMAGED_VOTES"):
        VoteLog(records, VAULT)


def test_on_disk_it_survives_and_refuses_damage(tmp_path: Path) -> None:
    log = VoteLog(open_vote_database(tmp_path), VAULT)
    log.append(b"vote" * 50, 1)
    log.close()
    log = VoteLog(open_vote_database(tmp_path), VAULT)
    assert log.load() == [b"vote" * 50]
    log.append(b"vote" * 50, 1)
    log.close()
    (written,) = tmp_path.glob("*.log")
    content = bytearray(written.read_bytes())
    content[30] ^= 0xFF
    written.write_bytes(bytes(content))
    with pytest.raises(StoreFailure, match=r"DAMAGED_VOTES: .*could sign twice"):
        open_vote_database(tmp_path)


def test_an_oversized_record_is_a_bug() -> None:
    _, log = filled(0)
    with pytest.raises(AssertionError):
        log.append(bytes((32 << 20) + 1), 1)

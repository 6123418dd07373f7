"""Reading the purchase log: strict, to the cent, and never from anything but the expected bytes."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from _replay import log
from _replay.log import Purchase, Truth, load_log, parse_log, read_wheel
from node.protocol.errors import Misconfigured

HEADER = b" customer_id  date number_of_cds  dollar_value\r\n"
SAMPLE = (
    HEADER
    + b" 00001 19970101  1   11.77\r\n"
    + b" 00002 19970112  1   12.00\r\n"
    + b" 00002 19970112  1   12.00\r\n"
    + b" 00002 19970112  1   12.00\r\n"
    + b" 00003 19970102  2    0.00\r\n"
    + b" 00004 19970101  2 1234.07\r\n"
    + b" 00004 19970118  2    0.00\r\n"
)


def refused(raw: bytes) -> str:
    """The message with which `raw` is refused as a log."""
    with pytest.raises(Misconfigured) as caught:
        parse_log(raw, "sample")
    assert caught.value.code == "BAD_LOG"
    return caught.value.message


def test_rows_become_cents_in_file_order() -> None:
    parsed = parse_log(SAMPLE, "sample")
    assert parsed.purchases[0] == Purchase(2, "00001", 1_177)
    assert parsed.purchases[5] == Purchase(7, "00004", 123_407)
    assert [purchase.line for purchase in parsed.purchases] == [2, 3, 4, 5, 6, 7, 8]


def test_truth_counts_zeros_and_repeated_lines() -> None:
    assert parse_log(SAMPLE, "sample").truth == Truth(
        rows=7,
        customers=4,
        cents=1_177 + 3 * 1_200 + 123_407,
        zero_rows=2,
        zero_customers=1,
        repeated=1,
        extra=2,
    )


def test_a_prefix_has_its_own_truth() -> None:
    prefix = parse_log(SAMPLE, "sample", 2)
    assert (prefix.truth.rows, prefix.truth.cents, prefix.truth.repeated) == (2, 2_377, 0)


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (b" 00001 19970101  1   11.77\n", "CRLF"),
        (b" 00001 19970101  1   11.77", "CRLF"),
        (b" 00001 19970101  1   11.7\r\n", "two decimals"),
        (b" 00001 19970101  1   11,77\r\n", "two decimals"),
        (b" 00001 19970101  1  -11.77\r\n", "two decimals"),
        (b" 00001 19970101  1   1e3\r\n", "two decimals"),
        (b" 00001 19970101  1   11.77 x\r\n", "two decimals"),
        (b" 00001 19970101  11.77\r\n", "two decimals"),
        (b"\r\n", "two decimals"),
        (" 0000１ 19970101  1   11.77\r\n".encode(), "two decimals"),
    ],
)
def test_malformed_rows_name_their_line(row: bytes, word: str) -> None:
    message = refused(SAMPLE + row)
    assert word in message
    assert "line 9" in message


def test_a_customer_that_comes_back_is_refused() -> None:
    assert "00001 comes back" in refused(SAMPLE + b" 00001 19970101  1   11.77\r\n")


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"a b c d\r\n", SAMPLE[len(HEADER) :]])
def test_another_header_is_refused(raw: bytes) -> None:
    assert "header" in refused(raw) or "CRLF" in refused(raw)


def test_a_log_without_purchases_is_refused() -> None:
    assert "no purchase" in refused(HEADER)


def test_a_file_may_take_the_place_of_the_wheel(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(SAMPLE)
    assert load_log(path, tmp_path / "none", None).truth.rows == 7
    with pytest.raises(Misconfigured, match="NO_FILE"):
        load_log(tmp_path / "absent", tmp_path / "none", None)


def make_wheel(folder: Path, content: bytes) -> Path:
    """A wheel in `folder` that holds this log."""
    wheel = folder / "Lifetimes-0.11.3-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(log.WHEEL_MEMBER, content)
    return wheel


def test_a_wheel_with_another_log_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, SAMPLE)
    with pytest.raises(Misconfigured, match="WRONG_LOG"):
        read_wheel(wheel)
    wheel.write_bytes(b"no archive")
    with pytest.raises(Misconfigured, match="WRONG_LOG"):
        read_wheel(wheel)


def test_a_cached_wheel_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path, SAMPLE)
    monkeypatch.setattr(log, "CDNOW_SHA256", parse_log(SAMPLE, "sample").sha256)
    monkeypatch.setattr(subprocess, "run", None)
    assert load_log(None, tmp_path, None).truth.rows == 7


def test_without_a_network_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution\n")

    monkeypatch.setattr(subprocess, "run", no_network)
    with pytest.raises(Misconfigured) as caught:
        load_log(None, tmp_path, None)
    assert caught.value.code == "NO_LOG"
    assert "--file" in caught.value.message
    assert "No matching distribution" in caught.value.message

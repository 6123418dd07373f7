"""The file of cut lines: written for its owner alone, refused where it is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.protocol.cut import CUT_FILE, read_cut, write_cut
from node.protocol.errors import Misconfigured
from node.protocol.keys import PrivateKey

KEYS = {PrivateKey.derive(bytes(32), str(number)).public_key for number in range(3)}


def test_what_was_written_is_read_and_nothing_cuts_nothing(tmp_path: Path) -> None:
    assert read_cut(tmp_path) == frozenset()
    write_cut(tmp_path, KEYS)
    assert read_cut(tmp_path) == KEYS
    assert (tmp_path / CUT_FILE).stat().st_mode & 0o777 == 0o600
    write_cut(tmp_path, list(KEYS)[:1])
    assert read_cut(tmp_path) == {next(iter(KEYS))}
    write_cut(tmp_path, ())
    assert list(tmp_path.iterdir()) == []
    write_cut(tmp_path, ())


@pytest.mark.parametrize(
    "content", [b"zz\n", b"02\n", b"\xff\xfe", b"00" * 33, b"0" * 1_000_000], ids=range(5)
)
def test_a_file_that_lists_no_keys_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CUT_FILE).write_bytes(content)
    with pytest.raises(Misconfigured, match="BAD_CUT"):
        read_cut(tmp_path)

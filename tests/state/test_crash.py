"""A process killed while it writes blocks loses none that it has reported, and tears none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from node.state.level import open_level
from node.state.store import Store
from tests.state.samples import CARDS, DEPTH, GENESIS_HASH, VAULT, digest

BLOCKS_BEFORE_KILL = 60
WRITER = """
import sys
from pathlib import Path
from node.state.level import open_level
from tests.state.samples import CARDS, grow, new_store
store = new_store(open_level(Path(sys.argv[1]), write_buffer_bytes=1 << 16))
while True:
    height = store.head.height + 1
    writes = {(CARDS, b"%d" % (height * i % 97)): b"%d" % height * 20 for i in range(100)}
    grow(store, writes, tuple(f"{height}:{i}" for i in range(20)))
    print(height, flush=True)
"""


def test_reported_blocks_survive_a_kill(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    with writer.stdout:
        reported = [int(writer.stdout.readline()) for _ in range(BLOCKS_BEFORE_KILL)]
        writer.kill()
        reported += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
    writer.wait()
    store = Store(open_level(tmp_path), VAULT, DEPTH, GENESIS_HASH)
    head = store.head.height
    assert reported[-1] <= head <= reported[-1] + 1
    for height in range(1, head + 1):
        assert store.block(height) is not None
        assert len(store.receipts(height)) == 20
        assert store.find(digest(f"{height}:19")) == (height, 19)
    assert store.get(CARDS, b"0") == b"%d" % head * 20
    assert store.tree.root == store.head.state_root
    store.close()

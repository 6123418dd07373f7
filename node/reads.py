"""What a node's read log says, for its operator: `python -m node reads`.

It reads the file of a node that runs or not, and prints one JSON object: the length and hash of the
log, its hash after some entries on demand, and the newest entries opened. Whether the log is what
was anchored on chain is found out by the client.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.folder import load_node
from node.protocol.errors import StoreFailure
from node.protocol.json_view import time_to_json
from node.read_log import READ_LOG_FILE, Noted, empty_log, opened, read_log
from node.state.vault import Vault
from node.vaults import open_vault


def show_reads(folder: Path, counts: Sequence[int], last: int) -> int:
    """Print the log of the node in `folder`, with its hash after each of `counts` entries."""
    settings = load_node(folder)
    path, vault = folder / READ_LOG_FILE, open_vault(settings.storage_key)
    head, count = empty_log(settings.genesis.chain, settings.key.public_key), 0
    wanted, heads = set(counts), dict[int, bytes]()
    newest: deque[tuple[int, Noted]] = deque(maxlen=last)
    try:
        for noted in read_log(path, head) if path.exists() else ():
            head, count = noted.head, count + 1
            newest.append((count, noted))
            if count in wanted:
                heads[count] = head
    except OSError as error:
        raise StoreFailure("DISK_FAILED", f"{path}: {error.strerror}") from None
    report = {
        "count": str(count),
        "head": head.hex(),
        "heads": {str(number): one.hex() for number, one in heads.items()},
        "entries": [_shown(vault, number, noted) for number, noted in newest],
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return 0


def _shown(vault: Vault, number: int, noted: Noted) -> dict[str, Any]:
    entry = opened(vault, noted)
    if entry is None:
        return {"number": str(number), "what": "does not open: altered, or of another storage key"}
    return {
        "number": str(number),
        "time": time_to_json(entry.time_ms),
        "height": str(entry.height),
        "reader": entry.reader.hex(),
        "what": entry.what,
    }

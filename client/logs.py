"""Reading nodes' log files: their ends, and new lines as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

LOG_LINE_BYTES_MAX = 4_096
FOLLOW_SECONDS = 0.2


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a text file, [] if there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - (lines + 1) * LOG_LINE_BYTES_MAX))
            content = file.read()
    except OSError:
        return []
    return content.decode(errors="replace").splitlines()[-lines:]


def follow(paths: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """New lines of several files as they are written, each with its file's name; endless."""
    offsets = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(min(offsets[name], path.stat().st_size))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    offsets[name] = file.tell()
                    yield name, line.decode(errors="replace").rstrip("\n")
        time.sleep(FOLLOW_SECONDS)

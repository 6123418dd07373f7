"""The adoption of a fetched snapshot: its database takes the place of the node's own.

    DATA.staged      the snapshot on its way (see `state.staging`)
    DATA.replaced    the old state, while the two change places

The old state is deleted: peers have all of it, and a node that falls behind again and again must
not fill its disk. A crash between any two steps is made good at the next start.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from node.state.keyvalue import KeyValue
from node.state.layout import GENESIS_KEY, HEAD_KEY, decoded, head_codec
from node.state.staging import Staging
from node.state.vault import Vault

STAGED_SUFFIX = ".staged"
REPLACED_SUFFIX = ".replaced"

Opener = Callable[[Path], KeyValue]


def staged_path(data: Path) -> Path:
    """Where a snapshot for the node with this data folder is put together."""
    return data.with_name(data.name + STAGED_SUFFIX)


def open_staging(data: Path, open_database: Opener, vault: Vault) -> Staging:
    """The staging of a node; what was begun before is still there."""
    path = staged_path(data)
    return Staging(lambda: open_database(path), vault, path.exists())


def adopt(data: Path, open_database: Opener) -> None:
    """Put a whole staged database in the place of `data`, unless that has got as far itself.

    Neither may be open. Does nothing where none is whole.
    """
    staged, replaced = staged_path(data), data.with_name(data.name + REPLACED_SUFFIX)
    if data.exists():
        shutil.rmtree(replaced, ignore_errors=True)
    if not staged.exists():
        return
    height = _height(staged, open_database)
    if height is None:
        return
    if not data.exists() or height > (_height(data, open_database) or 0):
        if data.exists():
            os.rename(data, replaced)
        os.rename(staged, data)
        _sync_folder(data.parent)
    shutil.rmtree(staged, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)


def _height(path: Path, open_database: Opener) -> int | None:
    """The head of a database; None if it is not a whole one."""
    database = open_database(path)
    try:
        if database.get(GENESIS_KEY) is None:
            return None
        head = decoded(head_codec, database.get(HEAD_KEY))
        return None if head is None else head.height
    finally:
        database.close()


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot; the renames are done anyhow
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

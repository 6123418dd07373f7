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
from node.state.layout import (
    GENESIS_KEY,
    HEAD_KEY,
    STAGED_MANIFEST_KEY,
    decoded,
    head_codec,
)
from node.state.snapshot import manifest_codec
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
    """Put a whole staged database in the place of `data`; neither may be open.

    One that `data` has passed is deleted, one that is half-made is left to be completed.
    """
    staged, replaced = staged_path(data), data.with_name(data.name + REPLACED_SUFFIX)
    if data.exists():
        shutil.rmtree(replaced, ignore_errors=True)
    if not staged.exists():
        return
    height, is_whole = _staged_height(staged, open_database)
    head = _head(data, open_database) if data.exists() else -1
    if height > head:
        if not is_whole:
            return
        if data.exists():
            os.rename(data, replaced)
        os.rename(staged, data)
        _sync_folder(data.parent)
    shutil.rmtree(staged, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)


def _staged_height(path: Path, open_database: Opener) -> tuple[int, bool]:
    """The height of a staged snapshot, and whether it is whole; -1 if it is not even begun."""
    database = open_database(path)
    try:
        if database.get(GENESIS_KEY) is not None:
            return _height(database), True
        manifest = decoded(manifest_codec, database.get(STAGED_MANIFEST_KEY))
        return -1 if manifest is None else manifest.height, False
    finally:
        database.close()


def _head(path: Path, open_database: Opener) -> int:
    """The head of a node's database; 0 also where that is damaged or empty."""
    database = open_database(path)
    try:
        return _height(database)
    finally:
        database.close()


def _height(database: KeyValue) -> int:
    head = decoded(head_codec, database.get(HEAD_KEY))
    return 0 if head is None else head.height


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot; the renames are done anyhow
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

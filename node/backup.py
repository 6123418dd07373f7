"""Backup and restore of a node's state: `python -m node backup` and `restore`.

A backup is the newest snapshot of a node, running or not, copied elsewhere and checked there to the
last record against the state root of its certified header. It stays sealed under the storage key of
its node; that key's file, encrypted under the node's password, is copied with it. Restoring checks
all again, and seals it under the storage key of the node that gets it.

A validator must not sign what it may have signed before: where its vote log is whole it is kept and
knows; where it is lost, the node only watches below a height that the operator names, which must be
beyond all that it may have voted on (see `client.upkeep`, which asks the other nodes for theirs).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from contracts.kernel.registry import next_validators
from node.check import Reporter, check_votes
from node.folder import load_node, node_password
from node.protocol.errors import Misconfigured, Refused, StoreFailure
from node.protocol.keystore import decrypt_seed, read_private_file
from node.protocol.password import read_password
from node.protocol.validators import ValidatorSet
from node.repair import put_aside, set_votes
from node.snapshots import BACKUP_FOLDER, SNAPSHOT_FOLDER
from node.state.level import open_level
from node.state.restoring import Assembly, Progress, read_snapshot
from node.state.sealed import SealedKeyValue
from node.state.snapshot import PARTIAL_SUFFIX, snapshot_heights
from node.state.snapshot_files import SnapshotFiles
from node.state.store import Store
from node.state.trust import Trust
from node.state.vault import Vault
from node.trust import trust_of
from node.vaults import open_vault

INCOMING_SUFFIX = ".incoming"
STORAGE_KEY = "storage.key.json"


def backup_folder(folder: Path, target: Path) -> int:
    """Copy the newest snapshot of the node in `folder` to `target`, a folder that does not exist.

    Prints as JSON what was copied and checked.
    """
    settings = load_node(folder)
    vault, trust = open_vault(settings.storage_key), trust_of(settings.genesis, settings.secret)
    newest = newest_snapshot(folder)
    if newest is None:
        raise StoreFailure("NO_SNAPSHOT", f"{folder} holds no snapshot; is there a block yet?")
    if target.exists():
        raise Misconfigured("EXISTS", f"{target} exists; name a folder that does not")
    partial = target.with_name(target.name + PARTIAL_SUFFIX)
    try:
        shutil.copytree(newest, partial)
        shutil.copy(settings.storage_key_file, partial / STORAGE_KEY)
        copy = read_snapshot(SnapshotFiles(partial, vault), trust, None, _report())
        partial.rename(target)
    except OSError as error:
        raise StoreFailure("DISK_FAILED", f"{partial}: {error.strerror or error}") from None
    _print(copy, {"backup": str(target)})
    return 0


def restore_folder(
    folder: Path, source: Path, vote_from: int | None, password_file: Path | None = None
) -> int:
    """Give the stopped node in `folder` the state of a backup; its old one is put aside.

    `password_file` has the password of the node that made the backup, if it is not this one's.
    """
    password = node_password(folder)
    settings = load_node(folder, password, storage_key_lost=vote_from is not None)
    key_file = source / STORAGE_KEY
    key_password = password if password_file is None else read_password(password_file)
    sealed_under = decrypt_seed(read_private_file(key_file), key_password, str(key_file))
    files = SnapshotFiles(source, open_vault(sealed_under))
    votes = check_votes(settings)
    if not votes.ok and vote_from is None:
        raise StoreFailure(
            "VOTES_MISSING",
            f"{votes.faults[0]}, and without its votes this validator could sign twice; "
            "`groat node restore --votes-lost` keeps it silent for as long as that is so",
        )
    incoming = settings.data.with_name(settings.data.name + INCOMING_SUFFIX)
    shutil.rmtree(incoming, ignore_errors=True)
    try:
        trust = trust_of(settings.genesis, settings.secret)
        restored = restore_into(incoming, open_vault(settings.storage_key), files, trust)
        if vote_from is not None:
            set_votes(settings, votes.ok, vote_from)
        aside = put_aside(settings.data) if settings.data.exists() else None
        incoming.rename(settings.data)
    except OSError as error:
        raise StoreFailure("DISK_FAILED", f"{incoming}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    done = {"set_aside": None if aside is None else str(aside)}
    _print(restored, {**done, "vote_from": None if vote_from is None else str(vote_from)})
    return 0


def restore_into(path: Path, vault: Vault, files: SnapshotFiles, trust: Trust) -> Assembly:
    """Make a database at `path` of a snapshot, and open it as a node would."""
    database = open_level(path)
    try:
        assembly = read_snapshot(files, trust, SealedKeyValue(database, vault), _report())
        manifest = assembly.manifest
        store = Store(database, vault, trust.depth, trust.chain.genesis_hash)
        members = ValidatorSet(*next_validators(store, manifest.height + 1))
        if members.hash != manifest.header.next_validators_hash:
            raise Refused("BAD_SNAPSHOT", "its validators are not those that its header names")
    finally:
        database.close()
    return assembly


def newest_snapshot(folder: Path) -> Path | None:
    """The node's snapshot of the greatest height, made on demand or at a fixed height."""
    found = [
        (height, folder / name / str(height))
        for name in (SNAPSHOT_FOLDER, BACKUP_FOLDER)
        for height in snapshot_heights(folder / name)
    ]
    return max(found)[1] if found else None


def _report() -> Progress:
    return Reporter(sys.stderr.write).report


def _print(assembly: Assembly, more: dict[str, str | None]) -> None:
    manifest = assembly.manifest
    report = {
        "height": str(manifest.height),
        "state_root": manifest.header.state_root.hex(),
        "transactions": str(assembly.transactions),
        "blocks_from": str(assembly.blocks_from),
        **more,
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))

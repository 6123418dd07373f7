"""The repair of a stopped node whose state is damaged: `python -m node repair`.

It puts the data folder aside and leaves the votes where they are, so that the node starts with the
genesis state, fetches the chain from its peers, and executes every block of it again. Nothing is
deleted. Below the height of its trimmed votes the node only watches (see `state.vote_log`), so that
it cannot sign what it may have signed before; where the votes are lost too, the
operator says from which height on it may vote.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from node.check import check_votes
from node.clock import now_ms
from node.folder import NodeSettings, load_node
from node.protocol.errors import StoreFailure
from node.protocol.json_view import time_to_json
from node.state.level import open_level
from node.state.vault import Vault
from node.state.vote_log import VoteLog, open_vote_database
from node.vaults import open_vault


def repair_folder(folder: Path, vote_from: int | None = None) -> int:
    """Put the state of the node in `folder` aside, and print what was done as JSON.

    With `vote_from` the votes may be lost: it signs nothing below that height.
    """
    settings = load_node(folder, storage_key_lost=vote_from is not None)
    votes = check_votes(settings)
    if not votes.ok and vote_from is None:
        raise StoreFailure(
            "DAMAGED_VOTES",
            f"the state can be fetched again, the votes cannot ({votes.faults[0]}), and without "
            "them this validator could sign twice; `groat node repair --votes-lost` keeps it "
            "silent for as long as that is so",
        )
    if not settings.data.exists():
        raise _nothing_there(settings.data)
    if settings.genesis.validator_set.size == 1:
        raise StoreFailure("NO_PEERS", "this network has one node: nobody can give its state back")
    if vote_from is not None:
        set_votes(settings, votes.ok, vote_from)
    aside = put_aside(settings.data)
    log = VoteLog(open_vote_database(settings.votes), open_vault(settings.storage_key))
    watches_below = log.vote_from
    log.close()
    report = {"set_aside": str(aside), "votes": votes.seen, "watches_below": str(watches_below)}
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return 0


def set_votes(settings: NodeSettings, sound: bool, vote_from: int) -> None:
    """Sign nothing below `vote_from`; damaged votes are put aside.

    From 0 on: the whole network begins again at a backup, and old votes are about nothing.
    """
    votes, vault = settings.votes, open_vault(settings.storage_key)
    if sound and vote_from:
        _raise_floor(votes, vault, vote_from)
        return
    fresh = votes.with_name(votes.name + ".incoming")
    shutil.rmtree(fresh, ignore_errors=True)
    _raise_floor(fresh, vault, vote_from)
    if votes.exists():
        put_aside(votes)
    fresh.rename(votes)


def _raise_floor(votes: Path, vault: Vault, vote_from: int) -> None:
    log = VoteLog(open_vote_database(votes), vault)
    log.raise_floor(vote_from)
    log.close()


def put_aside(data: Path) -> Path:
    """Rename a data folder; its new name. Raises `StoreFailure` if it is missing or in use."""
    if not data.exists():
        raise _nothing_there(data)
    try:
        open_level(data).close()
    except StoreFailure as failure:
        if failure.code == "DATABASE_IN_USE":
            raise
    stamp = time_to_json(now_ms()).replace(":", "").replace(".", "-")
    aside = data.with_name(f"{data.name}.damaged-{stamp}")
    os.rename(data, aside)
    with suppress(OSError):  # some file systems cannot sync a folder; the rename is done anyhow
        descriptor = os.open(data.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return aside


def _nothing_there(data: Path) -> StoreFailure:
    return StoreFailure("NO_DATABASE", f"{data} does not exist; start the node, it will sync")

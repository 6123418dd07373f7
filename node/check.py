"""The check of a stopped node's whole database, and of its votes: `python -m node check`.

It changes nothing. Progress goes to stderr, one JSON object with a finding for each check to
stdout. What is compared with what is `state.inspection`'s part; what to do about damage is
`repair`'s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.bodies import vote_entry_codec
from node.clock import now_ms
from node.consensus.recovery import read_records
from node.execution import Salts
from node.folder import NodeSettings, load_node
from node.protocol.errors import GroatError, StoreFailure
from node.protocol.genesis import Genesis
from node.state import inspection
from node.state.findings import Finding
from node.state.inspection import Inspection
from node.state.keyvalue import KeyValue
from node.state.level import open_level
from node.state.vault import Vault
from node.state.vote_log import VoteLog, open_vote_database
from node.trust import trust_with
from node.vaults import open_vault

EXIT_DAMAGED = 1
PROGRESS_MS = 500
PROGRESS_PREFIX = "progress: "


def check_folder(folder: Path) -> int:
    """Print what the database of the node in `folder` is worth; 1 if anything is wrong."""
    settings = load_node(folder)
    findings = check_node(settings, Reporter(sys.stderr.write).report)
    report = {
        "ok": all(finding.ok for finding in findings),
        "findings": [_shown(finding) for finding in findings],
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return 0 if report["ok"] else EXIT_DAMAGED


def check_node(settings: NodeSettings, progress: inspection.Progress) -> list[Finding]:
    """One finding for each check. Raises `StoreFailure` where there is no database or it is in use.

    A database that does not open at all is a finding.
    """
    if not settings.data.exists():
        raise StoreFailure(
            "NO_DATABASE", f"{settings.data} does not exist; has this node ever run?"
        )
    try:
        database = open_level(settings.data)
    except StoreFailure as failure:
        if failure.code != "DATABASE_DAMAGED":
            raise
        return [_fault("files", failure)]
    try:
        vault = open_vault(settings.storage_key)
        privacy_key = settings.secret.privacy_key
        findings = inspect(settings.genesis, privacy_key, vault, database, progress)
    finally:
        database.close()
    return [*findings, check_votes(settings)]


def inspect(
    genesis: Genesis,
    privacy_key: bytes,
    vault: Vault,
    database: KeyValue,
    progress: inspection.Progress,
) -> list[Finding]:
    """The findings about an open state database."""
    trust = trust_with(genesis, Salts(privacy_key))
    return Inspection(trust, vault, database.snapshot(), progress).run()


def check_votes(settings: NodeSettings) -> Finding:
    """The vote log: whole, readable, and this node's own."""
    if not settings.votes.exists():
        return Finding("votes", "", (f"{settings.votes} is missing",), 1)
    try:
        database = open_vote_database(settings.votes)
    except StoreFailure as failure:
        return _fault("votes", failure)
    try:
        log = VoteLog(database, open_vault(settings.storage_key))
        entries = [vote_entry_codec.decode(raw).record for raw in log.load()]
        read_records(settings.genesis.chain, settings.key.public_key, entries)
    except GroatError as failure:
        return _fault("votes", failure)
    finally:
        database.close()
    return Finding("votes", f"{len(entries):,} records", (), 0)


def _fault(check: str, failure: GroatError) -> Finding:
    return Finding(check, "", (failure.message.partition(";")[0],), 1)


def _shown(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "ok": finding.ok,
        "seen": finding.seen,
        "faults": list(finding.faults),
        "fault_count": finding.fault_count,
    }


class Reporter:
    """Writes how far a check is, a line at most twice a second."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._last_ms = 0

    def report(self, check: str, done: int, total: int) -> None:
        """`progress: CHECK DONE TOTAL`."""
        now = now_ms()
        if now - self._last_ms >= PROGRESS_MS:
            self._last_ms = now
            self._write(f"{PROGRESS_PREFIX}{check} {done} {total}\n")

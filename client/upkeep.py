"""The upkeep of a node on this machine: check, repair, backup, restore, and its log of reads.

The work is done by `python -m node check` and its like, which print one JSON object; here they are
run, and their progress is passed on. What the findings mean is the node's business.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from client.local import (
    NODE_PREFIX,
    POLL_SECONDS,
    STANDARD_INPUT,
    LocalNode,
    NodeFailure,
    find_node_password,
    node_environment,
    python_node,
)

PROGRESS_PREFIX = "progress: "
BACKUP_FOLDER = "backup"
MANIFEST = "manifest"
SNAPSHOT_SECONDS_MAX = 3_600.0
ASK_AGAIN_SECONDS = 10.0

Progress = Callable[[str, int, int], None]
"""Told the name of a check, how far it is, and how far it will go (0: unknown)."""


def check(one: LocalNode, progress: Progress) -> dict[str, Any]:
    """Verify the whole database of a stopped node: `ok`, and `findings` with their `faults`."""
    return _run(one, "check", progress)


def repair(one: LocalNode, vote_from: int | None) -> dict[str, Any]:
    """Put the state of a stopped node aside, so that it fetches it again when it starts.

    With `vote_from` its votes may be lost: it signs nothing below that height.
    """
    return _run(one, "repair", lambda name, done, total: None, _vote_from(vote_from))


def backup(one: LocalNode, target: Path, progress: Progress) -> dict[str, Any]:
    """Copy a snapshot of this node to `target` and verify it; a running node makes one now."""
    if one.process is not None:
        _have_snapshot_made(one)
    return _run(one, "backup", progress, ["--to", str(target)], stopped=False)


def restore(
    one: LocalNode,
    source: Path,
    vote_from: int | None,
    progress: Progress,
    password_file: Path | None = None,
) -> dict[str, Any]:
    """Give a stopped node the state of a backup.

    With `vote_from` its votes may be lost: it signs nothing below that height. `password_file` has
    the password of the node that made the backup, if it is not this one's.
    """
    arguments = ["--backup", str(source), *_vote_from(vote_from)]
    if password_file is not None:
        arguments += ["--password-file", str(password_file)]
    return _run(one, "restore", progress, arguments)


def reads(one: LocalNode, counts: Sequence[int], last: int) -> dict[str, Any]:
    """The log of regulators' reads of this node: `count`, `head`, the `last` entries.

    `heads` has the hash after each of `counts` entries.
    """
    arguments = ["--last", str(last), *(word for count in counts for word in ("--at", str(count)))]
    return _run(one, "reads", lambda name, done, total: None, arguments, stopped=False)


def _vote_from(height: int | None) -> list[str]:
    return [] if height is None else ["--vote-from", str(height)]


def _have_snapshot_made(one: LocalNode) -> None:
    """Ask a running node for a snapshot of its head, and wait until it is there."""
    folder = one.folder / BACKUP_FOLDER
    before = {path: path.stat().st_mtime_ns for path in folder.glob(f"*/{MANIFEST}")}
    asked, deadline = 0.0, time.monotonic() + SNAPSHOT_SECONDS_MAX
    while True:
        if time.monotonic() - asked > ASK_AGAIN_SECONDS:  # it may be busy with another one
            one.signal(signal.SIGUSR1)
            asked = time.monotonic()
        now = {path: path.stat().st_mtime_ns for path in folder.glob(f"*/{MANIFEST}")}
        if now and now != before:
            return
        if one.process is None or time.monotonic() > deadline:
            raise NodeFailure("NO_SNAPSHOT", f"{one.name} made none: {one.last_words()}")
        time.sleep(POLL_SECONDS)


def _run(
    one: LocalNode,
    tool: str,
    progress: Progress,
    arguments: Sequence[str] = (),
    stopped: bool = True,
) -> dict[str, Any]:
    if stopped and one.process is not None:
        raise NodeFailure(
            "STILL_RUNNING", f"{one.name} runs; `groat net stop {one.name}` to {tool} it"
        )
    password = find_node_password([one])
    command = [*python_node(), tool, "--folder", str(one.folder), *arguments]
    words = "no message"
    with tempfile.TemporaryFile("w+") as printed:
        child = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL if password is None else subprocess.PIPE,
            stdout=printed,
            stderr=subprocess.PIPE,
            text=True,
            env=node_environment(None if password is None else STANDARD_INPUT),
        )
        with child:
            if child.stdin is not None and password is not None:
                child.stdin.write(password.decode() + "\n")
                child.stdin.close()
            for line in child.stderr or ():
                if line.startswith(PROGRESS_PREFIX):
                    name, done, total = line.removeprefix(PROGRESS_PREFIX).split()
                    progress(name, int(done), int(total))
                elif line.strip():
                    words = line.strip()
        printed.seek(0)
        try:
            return dict(json.load(printed))
        except ValueError:
            raise _failure(one, tool, words) from None


def _failure(one: LocalNode, tool: str, words: str) -> NodeFailure:
    code, _, message = words.removeprefix(NODE_PREFIX).partition(": ")
    if not message or not code.isupper():
        code, message = f"{tool.upper()}_FAILED", words
    return NodeFailure(code, f"{one.name}: {message}")

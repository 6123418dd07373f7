"""The upkeep of a stopped node on this machine: check its database, have its state fetched again.

The work is done by `python -m node check` and `repair`, which print one JSON object; here they are
run, and their progress is passed on. What the findings mean is the node's business.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

from client.local import (
    NODE_PREFIX,
    STANDARD_INPUT,
    LocalNode,
    NodeFailure,
    find_node_password,
    node_environment,
    python_node,
)

PROGRESS_PREFIX = "progress: "

Progress = Callable[[str, int, int], None]
"""Told the name of a check, how far it is, and how far it will go (0: unknown)."""


def check(one: LocalNode, progress: Progress) -> dict[str, Any]:
    """Verify the whole database of a stopped node: `ok`, and `findings` with their `faults`."""
    return _run(one, "check", progress)


def repair(one: LocalNode) -> dict[str, Any]:
    """Put the state of a stopped node aside, so that it fetches it again when it starts."""
    return _run(one, "repair", lambda name, done, total: None)


def _run(one: LocalNode, tool: str, progress: Progress) -> dict[str, Any]:
    if one.process is not None:
        raise NodeFailure(
            "STILL_RUNNING", f"{one.name} runs; `groat net stop {one.name}` to {tool} it"
        )
    password = find_node_password([one])
    command = [*python_node(), tool, "--folder", str(one.folder)]
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

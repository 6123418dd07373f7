"""Where a password comes from: a file that is named or known, or a prompt on the terminal.

Never the command line, and never the environment itself, which other processes can read.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from node.protocol.errors import Misconfigured
from node.protocol.keystore import read_private_file

PASSWORD_VARIABLE = "GROAT_PASSWORD_FILE"  # noqa: S105
PASSWORD_BYTES_MIN = 8


def find_password(own: Path | None = None, *, new: bool = False) -> bytes:
    """The password in the file that GROAT_PASSWORD_FILE names, else in `own`, else asked for.

    A `new` one is asked for twice. Raises `Misconfigured` `NO_FILE`, `NO_PASSWORD` or
    `WEAK_PASSWORD`.
    """
    named = os.environ.get(PASSWORD_VARIABLE)
    if not named:
        return _ask(new) if own is None else read_password(own)
    password = read_password(Path(named))
    if new:
        _check_strength(password)
    return password


def read_password(path: Path) -> bytes:
    """A password file's first line; raises `Misconfigured` `NO_FILE` or `NO_PASSWORD`."""
    lines = read_private_file(path).splitlines()
    if not lines or not lines[0]:
        raise Misconfigured("NO_PASSWORD", f"{path} is empty; its first line is the password")
    return lines[0]


def _ask(new: bool) -> bytes:
    if not sys.stdin.isatty():
        raise Misconfigured(
            "NO_PASSWORD",
            f"no terminal to ask for the password; set {PASSWORD_VARIABLE} to the path of a file "
            "whose first line it is",
        )
    first = getpass.getpass("Password for the key: ")
    if new:
        _check_strength(first.encode())
        if getpass.getpass("The same again: ") != first:
            raise Misconfigured("NO_PASSWORD", "the two passwords differ")
    return first.encode()


def _check_strength(password: bytes) -> None:
    if len(password) < PASSWORD_BYTES_MIN:
        raise Misconfigured("WEAK_PASSWORD", f"use at least {PASSWORD_BYTES_MIN} characters")

"""The project's own environment: `.venv` with Python 3.11 or 3.12 and everything installed.

Standard library only, and no syntax newer than Python 3.8: it runs before anything is installed,
perhaps under an interpreter that is too old or too new, and then finds another. The scripts call
`enter`, which comes back only inside `.venv`. What is installed is remembered by the hash of
pyproject.toml, so that the second time costs nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VERSIONS = ((3, 12), (3, 11))
PROBE_SECONDS_MAX = 30
_PYTHON = VENV / "bin" / "python"
_STAMP = VENV / "groat.json"
_ENTERED = "GROAT_ENTERED_VENV"


def enter(extras: str) -> None:
    """Return inside `.venv` with the package and its `extras` installed, or exit with one line.

    `extras` is "" or "dev". Called from outside, it makes the environment and runs the calling
    script again inside.
    """
    with (ROOT / "pyproject.toml").open("rb") as project:
        fcntl.flock(project, fcntl.LOCK_EX)  # two scripts at once would both install
        if not _installed(extras):
            _prepare(extras)
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    if os.environ.get(_ENTERED) == str(VENV):
        _fail(".venv does not work; delete it and start again")
    environment = dict(os.environ, **{_ENTERED: str(VENV)})
    environment.pop("PYTHONHOME", None)
    sys.stdout.flush()
    os.execve(str(_PYTHON), [str(_PYTHON), *sys.argv], environment)  # noqa: S606


def _prepare(extras: str) -> None:
    if _version(str(_PYTHON)) not in VERSIONS:
        base = _find_python()
        print("Making .venv …", file=sys.stderr, flush=True)
        _run([base, "-m", "venv", "--clear", str(VENV)], "the venv module failed")
    print(
        "Installing into .venv, which takes a minute the first time …", file=sys.stderr, flush=True
    )
    target = str(ROOT) + ("[" + extras + "]" if extras else "")
    pip = [str(_PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, "--editable", target], "pip could not install; is there a way to PyPI?")
    _STAMP.write_text(json.dumps({"project": _project_hash(), "extras": extras}))


def _installed(extras: str) -> bool:
    try:
        stamp = json.loads(_STAMP.read_text())
        return stamp["project"] == _project_hash() and stamp["extras"] in (extras, "dev")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _project_hash() -> str:
    # The place counts too: an environment that was moved points to where it was.
    content = os.fsencode(ROOT) + (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(content).hexdigest()


def _find_python() -> str:
    """An interpreter of a version that we support, with venv; exits with one line if none is."""
    names = [f"python{major}.{minor}" for major, minor in VERSIONS]
    paths = [sys.executable, *[shutil.which(name) for name in names], shutil.which("python3")]
    without_venv = ""
    for path in paths:
        version = _version(path) if path else None
        if path is None or version is None or version not in VERSIONS:
            continue
        if _succeeds([path, "-c", "import venv, ensurepip"]):
            return path
        without_venv = without_venv or f"python{version[0]}.{version[1]}-venv"
    if without_venv:
        _fail("Python is here, but its venv module is not: apt install " + without_venv)
    _fail("Python 3.11 or 3.12 is needed: apt install python3.11 python3.11-venv")


def _version(python: str) -> tuple[int, int] | None:
    try:
        done = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS_MAX,
            check=True,
        )
        major, minor = done.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _succeeds(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS_MAX, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _run(command: list[str], complaint: str) -> None:
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        _fail(complaint + ": " + str(error))
    else:
        if code != 0:
            _fail(complaint + " (see above)")


def _fail(line: str) -> NoReturn:
    sys.exit("groat: " + line)

"""The scripts' own environment: which interpreter is taken, and the one line where none is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
Version = tuple[int, int] | None


@pytest.fixture
def environment() -> ModuleType:
    """A fresh copy of the module, which is no part of a package."""
    path = SCRIPTS / "_environment.py"
    spec = importlib.util.spec_from_file_location("environment_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def machine(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, Version], set[str]], ModuleType]:
    """A machine with these interpreters on its PATH, some of them without the venv module."""

    def make(versions: dict[str, Version], without_venv: set[str]) -> ModuleType:
        monkeypatch.setattr(environment.sys, "executable", "running")
        monkeypatch.setattr(
            environment.shutil, "which", lambda name: name if name in versions else None
        )
        monkeypatch.setattr(environment, "_version", versions.get)
        monkeypatch.setattr(
            environment, "_succeeds", lambda command: command[0] not in without_venv
        )
        return environment

    return make


def test_the_running_interpreter_is_taken_if_it_fits(
    machine: Callable[[dict[str, Version], set[str]], ModuleType],
) -> None:
    assert machine({"running": (3, 11), "python3.12": (3, 12)}, set())._find_python() == "running"


def test_otherwise_another_on_the_path(
    machine: Callable[[dict[str, Version], set[str]], ModuleType],
) -> None:
    found = {"running": (3, 13), "python3.12": None, "python3.11": (3, 11)}
    assert machine(found, set())._find_python() == "python3.11"
    found = {"running": (3, 12), "python3.11": (3, 11)}
    assert machine(found, {"running"})._find_python() == "python3.11"


def test_one_line_where_there_is_none(
    machine: Callable[[dict[str, Version], set[str]], ModuleType],
) -> None:
    with pytest.raises(SystemExit) as end:
        machine({"running": (3, 13), "python3": (3, 9)}, set())._find_python()
    assert end.value.code == (
        "groat: Python 3.11 or 3.12 is needed: apt install python3.11 python3.11-venv"
    )


def test_one_line_where_venv_is_missing(
    machine: Callable[[dict[str, Version], set[str]], ModuleType],
) -> None:
    with pytest.raises(SystemExit) as end:
        machine({"running": (3, 12)}, {"running"})._find_python()
    assert end.value.code == (
        "groat: Python is here, but its venv module is not: apt install python3.12-venv"
    )


def test_what_is_installed_is_remembered(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "_STAMP", tmp_path / "stamp")
    monkeypatch.setattr(environment, "_version", lambda python: (3, 11))
    monkeypatch.setattr(environment, "_run", lambda command, complaint: ran.append(command))
    (tmp_path / "pyproject.toml").write_text("one")
    assert not environment._installed("")
    environment._prepare("dev")
    assert ran[-1][-1] == f"{tmp_path}[dev]"
    assert environment._installed("dev")
    assert environment._installed("")
    (tmp_path / "pyproject.toml").write_text("two")
    assert not environment._installed("")
    environment._prepare("")
    assert ran[-1][-1] == str(tmp_path)
    assert environment._installed("")
    assert not environment._installed("dev")
    (tmp_path / "stamp").write_text("[]")
    assert not environment._installed("")


def test_the_probe_tells_the_version_of_a_real_interpreter(environment: ModuleType) -> None:
    assert environment._version(sys.executable) == sys.version_info[:2]
    assert environment._version("/nonexistent/python") is None
    assert environment._version("/bin/false") is None
    assert environment._succeeds([sys.executable, "-c", "import venv"])
    assert not environment._succeeds([sys.executable, "-c", "import no_such_module"])


def test_the_gate_runs_what_the_integration_calls() -> None:
    ci = (SCRIPTS.parent / ".ci/run").read_text()
    assert ci.rstrip().endswith("exec python3 scripts/check.py")
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "check.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for stage in ("format", "lint", "types", "layers", "tests", "simulator", "network"):
        assert stage in done.stdout

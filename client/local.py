"""The nodes of a network folder as processes on this machine: start, stop, and harm them.

Each node runs detached (`python -m node run --folder …`) with its output in `node.log` and its
process id and start time in `node.pid`; the start time tells the node from a stranger that was
given the same id later. Nothing here speaks to the network; that is `node_api`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import node
from client.folder import NetworkFolder
from client.logs import tail
from node.protocol.errors import GroatError, Misconfigured
from node.protocol.password import PASSWORD_VARIABLE, find_password

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0
POLL_SECONDS = 0.05
SIGNAL_SECONDS_MAX = 2.0
PROBE_SECONDS = 1.0
CREATE_SECONDS_MAX = 300.0
AUDIT_SECONDS_MAX = 3_600.0
NETWORK_FILE = "network.toml"
_OWN_MODE = 0o600
STANDARD_INPUT = Path("/dev/stdin")
# What `python -m node` puts before its one line about what went wrong.
NODE_PREFIX = "groat node: "


class NodeFailure(GroatError):
    """A node process did not do what it was told; `message` carries its own last words."""


class State(StrEnum):
    """What a process is doing, as the operating system sees it."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class Process(NamedTuple):
    """A process that is surely ours: its id, and its start time in clock ticks since boot."""

    pid: int
    started: int


class LocalNode:
    """One node folder and the process that runs it, if any.

    `http_url` is where this host reaches it: by its own settings, since `endpoint_url`, where the
    world does, may be a proxy's. `settings` is its node.toml, {} where that is unreadable.
    """

    def __init__(self, name: str, folder: Path, endpoint_url: str) -> None:
        self.name = name
        self.folder = folder
        self.settings = _settings(folder)
        own = self.settings.get("http")
        self.http_url = f"http://{own}" if own else endpoint_url
        self.log = folder / "node.log"
        self._pid_file = folder / "node.pid"

    @property
    def process(self) -> Process | None:
        """The running process, or None."""
        try:
            pid, started = (int(word) for word in self._pid_file.read_text().split())
        except (OSError, ValueError):
            return None
        with suppress(ChildProcessError, OSError):
            os.waitpid(pid, os.WNOHANG)  # a dead child of ours would stay a zombie
        found = _inspect(pid)
        alive = found is not None and found[0] == started and found[1] not in "ZX"
        return Process(pid, started) if alive else None

    @property
    def state(self) -> State:
        """Running, paused or stopped."""
        process = self.process
        found = _inspect(process.pid) if process else None
        if found is None:
            return State.STOPPED
        return State.PAUSED if found[1] in "Tt" else State.RUNNING

    def start(self, password: bytes | None = None) -> None:
        """Spawn the process unless it runs; does not wait for it to serve.

        The password goes through a pipe; with None the node finds a file that holds it.
        """
        if self.process is not None:
            return
        if not self.folder.is_dir():
            raise Misconfigured("NO_NODE", f"{self.folder} does not exist; it runs elsewhere")
        if self.serves():
            raise NodeFailure(
                "ADDRESS_IN_USE",
                f"another program answers at {self.http_url}; end it, or change http in "
                f"{self.folder / 'node.toml'}",
            )
        command = [*python_node(), "run", "--folder", str(self.folder)]
        for path in (self.log, self._pid_file):
            path.touch(_OWN_MODE)
        with self.log.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL if password is None else subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=node_environment(None if password is None else STANDARD_INPUT),
            )
        if child.stdin is not None and password is not None:
            with suppress(BrokenPipeError), child.stdin as pipe:
                pipe.write(password + b"\n")
        found = _inspect(child.pid)
        self._pid_file.write_text(f"{child.pid} {found[0] if found else 0}\n")
        child.returncode = 0  # it is meant to outlive us: no warning when the object goes

    def serves(self) -> bool:
        """Whether it answers over HTTP."""
        try:
            with urllib.request.urlopen(f"{self.http_url}/livez", timeout=PROBE_SECONDS) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError, ValueError):
            return False

    def wait_serving(self, deadline: float) -> None:
        """Wait until it answers; raises `NodeFailure` if it ends or is late."""
        while not self.serves():
            if self.process is None:
                raise NodeFailure("NODE_ENDED", f"{self.name} ended: {self.last_words()}")
            if time.monotonic() > deadline:
                raise NodeFailure("NODE_SILENT", f"{self.name} does not answer; see {self.log}")
            time.sleep(POLL_SECONDS)

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False if the node does not run."""
        process = self.process
        if process is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
        return True

    def wait_ended(self, deadline: float) -> bool:
        """Whether the process is gone before the deadline (monotonic seconds)."""
        while self.process is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        self._pid_file.unlink(missing_ok=True)
        return True

    def audit(self, books: Sequence[Path] = ()) -> dict[str, Any]:
        """The whole-state audit of this stopped node: `ok`, `height`, `figures`, `violations`.

        `books` are files to write as well, see `node.protocol.audit_file`.
        """
        if self.process is not None:
            raise NodeFailure("STILL_RUNNING", f"{self.name} runs; stop it to audit its state")
        password = find_node_password([self])
        command = [*python_node(), "audit", "--folder", str(self.folder)]
        for path in books:
            command += ["--books", str(path.absolute())]
        done = subprocess.run(  # noqa: S603
            command,
            input="" if password is None else password.decode() + "\n",
            capture_output=True,
            text=True,
            timeout=AUDIT_SECONDS_MAX,
            env=node_environment(None if password is None else STANDARD_INPUT),
            check=False,
        )
        try:
            report = json.loads(done.stdout)
        except ValueError:
            words = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise NodeFailure("AUDIT_FAILED", f"{self.name}: {words}") from None
        return dict(report)

    def last_words(self) -> str:
        """The last line of its log."""
        lines = tail(self.log, 1)
        return lines[-1].removeprefix(NODE_PREFIX) if lines else "it left no message"


class LocalNetwork:
    """All node folders under one network folder."""

    def __init__(self, folder: NetworkFolder) -> None:
        self.folder = folder
        self.nodes = tuple(
            LocalNode(endpoint.name, path, endpoint.http_url)
            for endpoint in folder.endpoints
            if (path := folder.path / "nodes" / endpoint.name).is_dir()
        )

    def select(self, names: Sequence[str]) -> tuple[LocalNode, ...]:
        """The nodes of these names (or places from 1 on); all of them for none."""
        if not names:
            return self.nodes
        wanted = [self.folder.endpoint(name).name for name in names]
        local = {node.name: node for node in self.nodes}
        for name in wanted:
            if name not in local:
                raise Misconfigured("NO_NODE", f"{name} does not run on this machine")
        return tuple(local[name] for name in dict.fromkeys(wanted))

    def start(self, names: Sequence[str] = ()) -> None:
        """Start nodes and wait until they answer; raises `NodeFailure`."""
        with self._lock():
            chosen = self.select(names)
            password = find_node_password(chosen)
            for one in chosen:
                one.start(password)
            deadline = time.monotonic() + START_SECONDS_MAX
            for one in chosen:
                if one.state is State.RUNNING:
                    one.wait_serving(deadline)
                elif one.state is State.STOPPED:
                    raise NodeFailure("NODE_ENDED", f"{one.name} ended: {one.last_words()}")

    def stop(self, names: Sequence[str] = ()) -> None:
        """SIGTERM and wait; a node that does not go in time is killed."""
        with self._lock():
            chosen = self.select(names)
            for one in chosen:
                one.signal(signal.SIGTERM)
                one.signal(signal.SIGCONT)  # a paused process cannot end by itself
            deadline = time.monotonic() + STOP_SECONDS_MAX
            for one in chosen:
                if not one.wait_ended(deadline):
                    self._kill(one)

    def kill(self, names: Sequence[str]) -> None:
        """SIGKILL: the power cut."""
        with self._lock():
            for one in self.select(names):
                self._kill(one)

    def pause(self, names: Sequence[str]) -> None:
        """SIGSTOP: the process hangs; its sockets stay open."""
        self._signal_all(names, signal.SIGSTOP, State.PAUSED)

    def resume(self, names: Sequence[str]) -> None:
        """SIGCONT after a pause."""
        self._signal_all(names, signal.SIGCONT, State.RUNNING)

    def _kill(self, one: LocalNode) -> None:
        one.signal(signal.SIGKILL)
        if not one.wait_ended(time.monotonic() + STOP_SECONDS_MAX):
            raise NodeFailure("NODE_STUCK", f"{one.name} does not end even when killed")

    def _signal_all(self, names: Sequence[str], number: signal.Signals, wanted: State) -> None:
        for one in self.select(names):
            if not one.signal(number):
                raise NodeFailure(
                    "NOT_RUNNING", f"{one.name} does not run; `groat net start {one.name}`"
                )
            deadline = time.monotonic() + SIGNAL_SECONDS_MAX
            while one.state is not wanted and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        # Two commands at once would start a node twice.
        with (self.folder.path / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def create_network(directory: Path, arguments: Sequence[str]) -> None:
    """Run `python -m node create --dir DIR …`; raises `Misconfigured` with its one line."""
    found("create", directory, arguments)


def prepare(directory: Path, name: str, address: str, http: str) -> dict[str, Any]:
    """Run `python -m node prepare …`, see `node.joining`: what a new node's admission says."""
    arguments = [name, "--address", address, "--http", http]
    plan: dict[str, Any] = json.loads(found("prepare", directory, arguments))
    return plan


def found(part: str, directory: Path, arguments: Sequence[str]) -> str:
    """Run one part of founding a network, `create`, `init`, `join` or `prepare`; what it printed.

    Raises as above.
    """
    return _run_node(part, ["--dir", str(directory), *arguments])


def bundled_code() -> list[dict[str, str]]:
    """The versions of the contracts in this program, see `node.code_hashes`; raises as above."""
    versions: list[dict[str, str]] = json.loads(_run_node("code", []))
    return versions


def _run_node(part: str, arguments: Sequence[str]) -> str:
    command = [*python_node(), part, *arguments]
    # Its standard input stays ours: it may have to ask for a password.
    done = subprocess.run(  # noqa: S603
        command,
        capture_output=True,
        text=True,
        timeout=CREATE_SECONDS_MAX,
        env=node_environment(None),
        check=False,
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        last = lines[-1].removeprefix(NODE_PREFIX) if lines else "no message"
        code, _, message = last.partition(": ")
        if not message or not code.isupper():
            code, message = f"{part.upper()}_FAILED", f"{code}: {message}".rstrip(": ")
        raise Misconfigured(code, message)
    return done.stdout


def network_file(given: Path | None) -> Path:
    """The description to use: the given one, ./network.toml, or the one that comes with us."""
    if given is not None:
        return given
    shipped = Path(node.__file__ or "").absolute().parent.parent / NETWORK_FILE
    for path in (Path(NETWORK_FILE), shipped, Path(__file__).with_name(NETWORK_FILE)):
        if path.exists():
            return path
    raise Misconfigured("NO_FILE", f"there is no {NETWORK_FILE} here; give one with --network")


def remove_network(folder: NetworkFolder) -> None:
    """Delete a dev network with everything in it; its nodes must be stopped."""
    if not (folder.path / "network.json").exists():
        raise Misconfigured("NO_NETWORK", f"{folder.path} holds no network; nothing is deleted")
    if not folder.genesis.dev:
        raise Misconfigured("NOT_DEV", f"{folder.path} is no dev network; delete it by hand")
    shutil.rmtree(folder.path)


def python_node() -> list[str]:
    """The command that runs this very installation's `node` package, wherever we stand."""
    return [sys.executable, "-P", "-m", "node"]


def node_environment(password_file: Path | None) -> dict[str, str]:
    """Our environment, with this installation's packages, and where a password is to be read."""
    environment = dict(os.environ)
    root = str(Path(node.__file__ or "").absolute().parent.parent)
    environment["PYTHONPATH"] = root
    if password_file is not None:
        environment[PASSWORD_VARIABLE] = str(password_file)
    return environment


def find_node_password(nodes: Sequence[LocalNode]) -> bytes | None:
    """Asked for if a node is to start whose settings name no file, and no variable does either."""
    silent = any(
        one.process is None and one.settings and not one.settings.get("password_file")
        for one in nodes
    )
    return find_password() if silent and not os.environ.get(PASSWORD_VARIABLE) else None


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / "node.toml").read_text())
    except (OSError, ValueError):
        return {}  # the node itself will say what is wrong with it


def _inspect(pid: int) -> tuple[int, str] | None:
    """Start time and state letter of a process, from /proc; None if there is none."""
    try:
        # The second field, the command, may hold spaces and brackets: count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19]), fields[0]
    except (OSError, IndexError, ValueError):
        return None

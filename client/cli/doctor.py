"""`groat doctor`: looks for what usually goes wrong, and says how to put it right."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import resource
import shutil
import socket
import stat
import sys
import time
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import typer

from client.cli.session import Session, command
from client.errors import ClientError
from client.local import PROBE_SECONDS, LocalNetwork, LocalNode, State
from client.outcomes import failed_checks
from node.protocol.errors import GroatError
from node.protocol.settings import split_address

PYTHONS = ((3, 11), (3, 12))
PACKAGES = ("aiohttp", "coincurve", "cryptography", "msgspec", "plyvel", "pydantic", "rich")
DISK_FREE_BYTES_MIN = 1 << 30
FILES_MIN = 1_024
CLOCK_SKEW_SECONDS_MAX = 2.0
ANSWER_BYTES_MAX = 1 << 20
OK, WARNING, FAILED = "ok", "warning", "FAILED"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Finding(NamedTuple):
    """One check: what was found, and what to do if it is not well."""

    check: str
    result: str
    detail: str
    remedy: str = ""


class Ill(ClientError):
    """At least one check failed."""


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "doctor")(doctor)


def doctor(session: Session) -> None:
    """Check Python, files, permissions, ports, clocks, versions and disk room."""
    findings = [*_machine(session), *_files(session)]
    if session.folder.exists:
        findings += _nodes(session)
    rows = [finding._asdict() for finding in findings]
    session.out.table(rows, ("check", "result", "detail", "remedy"))
    failed = sum(finding.result == FAILED for finding in findings)
    if failed:
        raise Ill("ILL", f"{failed} checks failed; the table says what to do")


def _machine(session: Session) -> Iterator[Finding]:
    version = platform.python_version()
    fits = sys.version_info[:2] in PYTHONS
    yield _verdict("python", fits, version, "install Python 3.11 or 3.12")
    yield _verdict("system", sys.platform == "linux", platform.platform(), "use Linux on x86_64")
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    detail = "missing: " + ", ".join(absent) if absent else "all there"
    yield _verdict("packages", not absent, detail, "pip install .")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield _verdict("open files", files >= FILES_MIN, f"{files} allowed", "ulimit -n 4096", WARNING)
    place = next(one for one in (session.folder.path, *session.folder.path.parents) if one.exists())
    free = shutil.disk_usage(place).free
    enough = free >= DISK_FREE_BYTES_MIN
    yield _verdict("disk", enough, f"{free / 2**30:.1f} GiB free at {place}", "make room")


def _files(session: Session) -> Iterator[Finding]:
    folder = session.folder
    if not folder.exists:
        yield Finding("network", WARNING, f"none in {folder.path}", "groat up")
        return
    yield _attempt("genesis", lambda: folder.genesis.chain_id, "get the genuine genesis.json")
    yield _attempt("interface", lambda: f"{len(folder.interface)} contracts", "get the genuine one")
    yield _attempt("network.json", lambda: f"{len(folder.endpoints)} nodes", "get the genuine one")
    yield _attempt("keys", lambda: f"{len(folder.wallet.entries())} readable", "see the detail")
    exposed = [str(path) for path in _secrets(folder.path) if path.stat().st_mode & _OTHERS]
    yield _verdict(
        "secrets",
        not exposed,
        "open to others: " + ", ".join(exposed) if exposed else "for their owner only",
        "chmod 600 " + " ".join(exposed),
    )
    writable = os.access(folder.path, os.W_OK)
    yield _verdict("folder", writable, str(folder.path), "give yourself write access, or use --dir")


def _nodes(session: Session) -> Iterator[Finding]:
    try:
        local = {one.name: one for one in LocalNetwork(session.folder).nodes}
        genesis_hash = session.folder.genesis.hash.hex()
    except GroatError:
        return  # reported with the files already
    versions: dict[str, str] = {}
    for endpoint in session.folder.endpoints:
        one = local.get(endpoint.name)
        if one is not None and one.state is not State.RUNNING:
            yield _stopped(one, str(one.settings.get("listen", endpoint.peer_address)))
            continue
        started = time.time()
        status, clock = _ask(f"{endpoint.http_url}/v1/status")
        if status is None:
            remedy = f"groat net logs {endpoint.name}" if one else "ask who runs it"
            yield Finding(endpoint.name, FAILED, f"no answer at {endpoint.http_url}", remedy)
            continue
        yield _health(endpoint.name, status, genesis_hash)
        if clock is not None:
            skew = abs(clock - (started + time.time()) / 2)
            right = skew <= CLOCK_SKEW_SECONDS_MAX
            yield _verdict(f"{endpoint.name} clock", right, f"{skew:.0f} s off", "use NTP on both")
        version, _ = _ask(f"{endpoint.http_url}/version")
        versions[endpoint.name] = str((version or {}).get("version", "unknown"))
    if versions:
        same = len(set(versions.values())) == 1
        detail = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield _verdict("versions", same, detail, "run the same version everywhere", WARNING)


def _stopped(one: LocalNode, listen: str) -> Finding:
    if one.state is State.PAUSED:
        return Finding(one.name, WARNING, "paused", f"groat net resume {one.name}")
    taken = [
        address for address in (one.http_url.partition("://")[2], listen) if not _is_free(address)
    ]
    if taken:
        detail = f"stopped, and cannot listen on {', '.join(taken)}"
        remedy = "end the program that does, or change the address in node.toml"
        return Finding(one.name, FAILED, detail, remedy)
    return Finding(one.name, WARNING, f"stopped: {one.last_words()}", f"groat net start {one.name}")


def _health(name: str, status: dict[str, Any], genesis_hash: str) -> Finding:
    if status.get("genesis_hash") != genesis_hash:
        return Finding(name, FAILED, "it serves another network", "check its folder and ports")
    failed = [f"{component}: {reason}" for component, reason in failed_checks(status)]
    if failed:
        return Finding(name, WARNING, "; ".join(failed), "groat status")
    return Finding(name, OK, f"at height {status.get('height')}")


def _secrets(path: Path) -> Iterator[Path]:
    for pattern in ("keys/*", "ca/*.json", "nodes/*/*.json", "nodes/*/tls.key"):
        yield from (one for one in path.glob(pattern) if one.is_file())


def _is_free(address: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(split_address(address))
        except (OSError, ValueError, OverflowError):
            return False
    return True


def _ask(url: str) -> tuple[dict[str, Any] | None, float | None]:
    """A resource, and the clock of the node in seconds since 1970; (None, None) if silent."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as answer:  # noqa: S310
            body = json.loads(answer.read(ANSWER_BYTES_MAX))
            date = answer.headers.get("Date")
        clock = parsedate_to_datetime(date).timestamp() if date else None
    except (OSError, ValueError):
        return None, None
    return (body, clock) if isinstance(body, dict) else (None, None)


def _attempt(check: str, work: Any, remedy: str) -> Finding:
    try:
        return Finding(check, OK, str(work()))
    except GroatError as error:
        return Finding(check, FAILED, f"{error.code}: {error.message}", remedy)


def _verdict(check: str, good: bool, detail: str, remedy: str, otherwise: str = FAILED) -> Finding:
    return Finding(check, OK, detail) if good else Finding(check, otherwise, detail, remedy)

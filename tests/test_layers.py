"""The architecture as a test: who may import what, and how large things may grow.

Imports are judged by syntax, over all of the sources. `ROOMS` says what of our own each room may
import, by the longest name that fits; `DOORS` says which rooms alone may touch the outside world.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("contracts", "node", "client", "scripts", "tests")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
# What is longer says why, in its docstring, after these words.
LONGER = "Longer than most because"

# Shorthand: the stages of the spine and the pure helpers that they share.
PROTOCOL = {"node.protocol"}
KERNEL = {"contracts.kernel"}
CANDIDATES = {"node.admission"}
VIEWS = {"node.query", "node.records", "node.views"}

ROOMS: dict[str, set[str]] = {
    "contracts": {"contracts"},
    "contracts.kernel": KERNEL,
    "contracts.exchange": {"contracts.kernel", "contracts.exchange"},
    "contracts.payments": {"contracts.kernel", "contracts.payments"},
    "contracts.deposits": {"contracts.kernel", "contracts.deposits"},
    "contracts.licensing": {"contracts.kernel", "contracts.licensing"},
    "contracts.prepaid": {"contracts.kernel", "contracts.prepaid"},
    "node.protocol": PROTOCOL,
    # Stages: none imports another.
    "node.consensus": PROTOCOL | {"node.consensus"},
    "node.state": PROTOCOL | {"node.state"},
    "node.net": PROTOCOL | {"node.net"},
    "node.http": PROTOCOL | KERNEL | VIEWS | {"node.http"},
    "node.mempool": PROTOCOL | CANDIDATES,
    "node.execution": PROTOCOL | KERNEL | CANDIDATES | {"node.code"},
    "node.query": PROTOCOL | KERNEL | VIEWS,
    "node.records": PROTOCOL | KERNEL | VIEWS,
    "node.views": PROTOCOL | KERNEL,
    # What stages hand to each other.
    "node.admission": PROTOCOL | KERNEL,
    "node.bodies": PROTOCOL | CANDIDATES,
    "node.code": PROTOCOL | KERNEL | {"node.outputs"},
    "node.outputs": PROTOCOL | CANDIDATES,
    "node.keyring": PROTOCOL | KERNEL,
    "node.read_log": PROTOCOL | {"node.state.vault"},
    "node.importer": PROTOCOL | KERNEL | CANDIDATES | {"node.code", "node.execution"},
    "node.intake": PROTOCOL
    | KERNEL
    | CANDIDATES
    | {"node.bodies", "node.code", "node.mempool", "node.outputs"},
    "node.evidence": PROTOCOL | {"node.consensus.votes"},
    "node.examination": set(),
    "node.heads": PROTOCOL,
    "node.pace": set(),
    "node.stopwatch": set(),
    "node.progress": {"node.sync"},
    "node.serving": PROTOCOL | CANDIDATES | {"node.net.catch_up", "node.state.shelf"},
    "node.sync": PROTOCOL
    | {"node.importer", "node.outputs", "node.pace", "node.state", "node.stopwatch"}
    | {"node.net.catch_up", "node.net.sources", "node.net.state_sync"},
    "node.trust": PROTOCOL | {"contracts", "node.execution", "node.state.trust"},
    # Files and settings.
    "node.config": PROTOCOL | {"node.http.limits"},
    "node.code_hashes": PROTOCOL | {"contracts", "node.code"},
    "node.known_peers": PROTOCOL | {"node.net.peers"},
    "node.genesis": PROTOCOL
    | {"contracts", "node.code_hashes", "node.config", "node.members", "node.net.tls"},
    "node.joining": PROTOCOL | {"node.config", "node.folder", "node.members", "node.net.tls"},
    "node.folder": PROTOCOL
    | {"node.code_hashes", "node.config", "node.http.limits", "node.net.tls"},
    "node.members": PROTOCOL | {"node.code_hashes", "node.config", "node.folder", "node.net.tls"},
    # `node` is where its sources lie, for the processes that the client starts.
    "client": PROTOCOL | {"client", "node"},
}
# The spine alone knows the order of the stages, and nothing of the outside.
SPINE = {"node.engine", "node.intake", "node.proposals"}
NOT_FOR_THE_SPINE = {"node.http", "node.driver", "node.service", "node.app", "node.query"}
# The shell puts everything together and may import all of it.
SHELL = {
    "node.__main__",
    "node.adoption",
    "node.app",
    "node.audit",
    "node.backup",
    "node.check",
    "node.core",
    "node.disk",
    "node.driver",
    "node.errands",
    "node.housekeeping",
    "node.pruning",
    "node.reads",
    "node.repair",
    "node.roster",
    "node.service",
    "node.snapshots",
    "node.vaults",
    "node.vitals",
}

# What of the standard library a pure scheduler needs.
PURE = {"__future__", "collections", "collections.abc", "dataclasses", "enum", "typing"}
ASYNC = {
    "node.net",
    "node.http",
    "node.disk",
    "node.driver",
    "node.housekeeping",
    "node.pruning",
    "node.snapshots",
    "node.service",
    "node.app",
    "node.verifier",
}
DOORS: dict[str, set[str]] = {
    "asyncio": ASYNC | {"client"},
    "uvloop": {"node.app"},
    "plyvel": {"node.state.level"},
    "aiohttp": {
        "node.http",
        "client.connection",
        "client.events",
        "client.payments",
        "client.webhook",
    },
    "argon2": {"client.payments.vault"},
    "sqlite3": {"client.journal", "client.payments"},
    "Crypto": {"client.product.keys"},
    "PIL": {"client.product.symbols"},
    "segno": {"client.cli.headset", "client.product.symbols"},
    "zxingcpp": {"client.product.symbols"},
    "coincurve": {"node.protocol.keys"},
    "ecdsa": {"node.protocol.keys"},
    "cryptography": {
        "client.payments.terminal",
        "client.product.keys",
        "node.genesis",
        "node.net.tls",
        "node.protocol.es256",
        "node.protocol.keys",
        "node.protocol.keystore",
        "node.protocol.sealing",
        "node.state.vault",
    },
    "socket": {"node.net", "client.cli.doctor"},
    "ssl": {"node.net"},
    "time": {"node.clock", "node.net", "node.http", "client"},
    "random": {"node.net"},
    "secrets": {
        "client",
        "node.genesis",
        "node.housekeeping",
        "node.http",
        "node.net",
        "node.protocol.keystore",
        "node.protocol.sealing",
        "node.state.vault",
    },
    "threading": set(),
    "multiprocessing": {"node.verifier"},
    "subprocess": {"client.local", "client.upkeep"},
    "uuid": set(),
    "logging": {"node.__main__", "node.http"},
    "typer": {"client.cli"},
    "rich": {"client.cli"},
}
# The only places that may catch whatever comes: the roots of tasks and commands, clean-up that
# raises again, and the border at which a contract's bug becomes a poison transaction.
CATCH_ALL = {
    "client.cli.session",
    "node.execution",
    "node.http.api",
    "node.net.listener",
    "node.net.streams",
    "node.net.transport",
    "tests.sim.run",
}


@cache
def sources() -> dict[str, Path]:
    """All modules of ours, by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    """The syntax tree of one module."""
    return ast.parse(sources()[module].read_text())


def imports(module: str) -> set[str]:
    """Dotted names that a module imports anywhere, our own submodules resolved."""
    names = set()
    for found in ast.walk(tree(module)):
        if isinstance(found, ast.Import):
            names |= {alias.name for alias in found.names}
        elif isinstance(found, ast.ImportFrom):
            assert found.level == 0, f"{module}: imports are absolute"
            for alias in found.names:
                inner = f"{found.module}.{alias.name}"
                names.add(inner if inner in sources() else str(found.module))
    return names


def inside(name: str, rooms: set[str]) -> bool:
    """Whether a dotted name is one of these rooms or in one."""
    return any(name == room or name.startswith(room + ".") for room in rooms - {"node"}) or (
        name == "node" and "node" in rooms
    )


def own(names: set[str]) -> set[str]:
    """Those that are ours."""
    return {name for name in names if name.partition(".")[0] in PACKAGES}


def room_of(module: str) -> str | None:
    """The entry of `ROOMS` that a module falls under, the longest that fits."""
    fitting = [room for room in ROOMS if inside(module, {room})]
    return max(fitting, key=len, default=None)


PRODUCT = [name for name in sources() if name.partition(".")[0] in ("contracts", "node", "client")]


@pytest.mark.parametrize("module", PRODUCT)
def test_rooms_import_only_what_they_may(module: str) -> None:
    room = room_of(module)
    if room is None:
        free = SHELL | SPINE | {"node", "node.verifier", "node.clock"}
        assert module in free, "a new room: add it to ROOMS"
        assert not {name for name in imports(module) if inside(name, {"client", "tests"})}
        return
    wrong = {name for name in own(imports(module)) if not inside(name, ROOMS[room])}
    assert not wrong, f"{module} is in {room}, which may not import {sorted(wrong)}"


@pytest.mark.parametrize("module", sorted(SPINE))
def test_the_spine_knows_the_stages_and_nothing_outside(module: str) -> None:
    assert not {name for name in imports(module) if inside(name, NOT_FOR_THE_SPINE)}
    assert not {name for name in imports(module) if inside(name, {"node.net"})}


SCHEDULERS = {"node.net.catch_up", "node.net.sources", "node.net.state_sync"}


@pytest.mark.parametrize("module", sorted(SCHEDULERS))
def test_catch_up_is_a_matter_of_pure_schedulers(module: str) -> None:
    for name in imports(module):
        assert inside(name, PROTOCOL | SCHEDULERS) or name in PURE, name


@pytest.mark.parametrize("module", PRODUCT)
def test_the_outside_world_has_doors(module: str) -> None:
    for name in imports(module):
        door = DOORS.get(name.partition(".")[0])
        assert door is None or inside(module, door), f"{module} may not import {name}"


def test_pure_rooms_have_no_clock_no_chance_and_no_disk() -> None:
    banned = {"os", "pathlib", "datetime", "io", "tempfile", "shutil", *DOORS}
    pure = SPINE | {"node.consensus", "node.mempool", "node.execution", "node.admission"}
    pure |= {"node.bodies", "node.outputs", "node.importer", "node.query", "node.records"}
    pure |= {"node.evidence", "node.examination", "node.heads", "node.serving", "node.views"}
    for module in PRODUCT:
        if inside(module, pure):
            wrong = {name for name in imports(module) if name.partition(".")[0] in banned}
            assert not wrong, f"{module} is pure and may not import {sorted(wrong)}"


def test_no_module_needs_itself() -> None:
    edges = {module: own(imports(module)) & set(PRODUCT) for module in PRODUCT}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path, module])
        if module not in done:
            for name in sorted(edges[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in PRODUCT:
        visit(module, ())


def test_first_scripts_need_the_standard_library_only() -> None:
    for module in ("scripts.check", "scripts.quickstart", "scripts._environment"):
        for name in imports(module):
            first = name.partition(".")[0]
            assert first in {*sys.stdlib_module_names, "_environment"}, f"{module}: {name}"


def test_nothing_imports_the_tests() -> None:
    for module in PRODUCT:
        assert not {name for name in imports(module) if inside(name, {"tests", "scripts"})}


def test_contracts_have_no_floats_and_no_true_division() -> None:
    for module in sources():
        if inside(module, {"contracts"}):
            for found in ast.walk(tree(module)):
                line = f"{module}:{getattr(found, 'lineno', 0)}"
                assert not isinstance(found, ast.Div), line
                assert not (isinstance(found, ast.Constant) and type(found.value) is float), line


@pytest.mark.parametrize("module", sources())
def test_every_module_says_what_it_is(module: str) -> None:
    path = sources()[module]
    if path.name == "__init__.py":
        assert not path.read_bytes(), f"{path}: is empty by rule"
        return
    assert ast.get_docstring(tree(module)), f"{path}: opens with a paragraph"


@pytest.mark.parametrize("module", sources())
def test_files_and_functions_stay_small(module: str) -> None:
    lines = len(sources()[module].read_text().splitlines())
    reason = ast.get_docstring(tree(module)) or ""
    assert lines <= FILE_LINES_MAX or LONGER in reason, f"{module}: {lines} lines"
    for function in functions(module):
        length = (function.end_lineno or 0) - function.lineno + 1
        reason = ast.get_docstring(function) or ""
        place = f"{module}:{function.lineno} {function.name}"
        assert length <= FUNCTION_LINES_MAX or LONGER in reason, f"{place}: {length} lines"


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, nested ones too."""
    for found in ast.walk(tree(module)):
        if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
            yield found


@pytest.mark.parametrize("module", sources())
def test_only_task_roots_catch_everything(module: str) -> None:
    if module in CATCH_ALL:
        return
    for found in ast.walk(tree(module)):
        if isinstance(found, ast.ExceptHandler):
            caught = ast.unparse(found.type) if found.type else "BaseException"
            place = f"{module}:{found.lineno}"
            assert caught not in {"Exception", "BaseException"}, place


@pytest.mark.parametrize("module", sources())
def test_nothing_is_left_for_later_and_no_test_is_left_out(module: str) -> None:
    text = sources()[module].read_text()
    for word in ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"):
        assert word not in text, f"{module}: {word}"
    left_out = {"skip", "skipif", "xfail", "importorskip", "skipTest"}
    for found in ast.walk(tree(module)):
        if isinstance(found, ast.Attribute):
            assert found.attr not in left_out, f"{module}:{found.lineno}"

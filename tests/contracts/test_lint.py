"""The determinism lint: our own contracts pass; each way of being indeterminate is found."""

from __future__ import annotations

from pathlib import Path

import pytest

import contracts
from contracts.kernel.lint import lint

SOURCES = sorted(Path(contracts.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_every_contract_source_passes(path: Path) -> None:
    assert lint(path.read_text(), path.name) == []


def test_there_are_sources() -> None:
    assert len(SOURCES) > 20


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("import time", "import of time"),
        ("import random as r", "import of random"),
        ("from os import urandom", "import of os"),
        ("from datetime import datetime", "import of datetime"),
        ("import node.state", "import of node.state"),
        ("from client import wallet", "import of client"),
        ("import math", "import of math"),
        ("from . import rules", "relative import"),
        ("from typing import *", "import of everything"),
        ("rate = 0.5", "float literal"),
        ("rate = 1e3", "float literal"),
        ("x = 2j", "float literal"),
        ("half = amount / 2", "true division"),
        ("amount /= 2", "true division"),
        ("x = float(amount)", "use of float"),
        ("x = round(amount)", "use of round"),
        ("x = 2 ** n", "power"),
        ("x = 2 ** -1", "power"),
        ("x = hash(name)", "use of hash"),
        ("x = id(name)", "use of id"),
        ("f = hash", "use of hash"),
        ("open('file')", "use of open"),
        ("eval('1')", "use of eval"),
        ("x = y.now()", "use of .now"),
        ("x = [].__class__", "use of .__class__"),
        ("x = d.popitem()", "use of .popitem"),
        ("for x in {1, 2}: pass", "iteration over a set"),
        ("for x in set(names): pass", "iteration over a set"),
        ("x = [n for n in frozenset(names)]", "iteration over a set"),
        ("x = [n for n in {m for m in names}]", "iteration over a set"),
        ("x = list({1, 2})", "iteration over a set"),
        ("x = tuple(set(a) - set(b))", "iteration over a set"),
        ("x = ','.join({'a', 'b'})", "iteration over a set"),
        ("x = [*{1, 2}]", "iteration over a set"),
        ("x = a.union(b)\nfor y in x: pass", "iteration over a set"),
        ("def f():\n    s = set()\n    return list(s)", "iteration over a set"),
        ("def f(s: set[str]):\n    return list(s)", "iteration over a set"),
        ("def f(s: frozenset[str]):\n    for x in s: pass", "iteration over a set"),
        ("def f():\n    s = set()\n    return s.pop()", "element of a set"),
        ("def f():\n    yield from {1}", "iteration over a set"),
        ("x = dict.fromkeys({1, 2})", "iteration over a set"),
        ("def f():\n    global x", "global state"),
        ("def f():\n    x = 1\n    def g():\n        nonlocal x", "state in a closure"),
        ("SEEN = {}\ndef f(k):\n    SEEN[k] = 1", "state outside the state"),
        ("SEEN = []\ndef f(k):\n    SEEN.append(k)", "state outside the state"),
        ("def f(seen=[]): pass", "mutable default"),
        ("async def f(): pass", "async function"),
        ("try:\n    f()\nexcept:\n    pass", "catches everything"),
        ("try:\n    f()\nexcept Exception:\n    pass", "catches everything"),
        ("try:\n    f()\nexcept (ValueError, BaseException):\n    pass", "catches everything"),
        ("def (", "not valid Python"),
    ],
)
def test_indeterminate_source_is_found(source: str, finding: str) -> None:
    findings = lint(source, "bad.py")
    assert any(finding in text for text in findings), findings
    assert all(text.startswith("bad.py:") for text in findings)


@pytest.mark.parametrize(
    "source",
    [
        "x = sorted({1, 2})",
        "if name in {'a', 'b'}: pass",
        "if name in frozenset(names): pass",
        "x = len(set(names)) == len(names)",
        "x = amount * 3 // 10",
        "x = amount ** 2",
        "for x in sorted(set(names)): pass",
        "def f():\n    s = set(n)\n    s = sorted(s)\n    return list(s)",
        "def f():\n    seen = {}\n    seen['k'] = 1",
        "try:\n    f()\nexcept ValueError:\n    pass",
        "x = max({1, 2})",
    ],
)
def test_determinate_source_passes(source: str) -> None:
    assert lint(source, "good.py") == []


def test_findings_come_in_order_of_lines() -> None:
    findings = lint("import os\nx = 1\ny = 0.5\n", "bad.py")
    assert findings == ["bad.py:1: import of os", "bad.py:3: float literal"]

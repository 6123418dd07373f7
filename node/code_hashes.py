"""The hash of each contract's sources, which genesis puts on chain.

A node runs a contract only if it holds the very sources that the network agreed on, and only if
they pass the determinism lint; otherwise it stops before it can vote on another result.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import contracts
from contracts.catalog import CONTRACTS
from contracts.kernel.lint import lint
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis

KERNEL = "kernel"
_CATALOG = "catalog.py"
_ROOT = Path(next(iter(contracts.__path__)))


def contract_sources(name: str) -> dict[str, str]:
    """Relative path to text of the sources of one contract, or of the kernel with the catalogue.

    Line ends are normalised, so that a checkout with CRLF holds the same contract.
    """
    paths = sorted((_ROOT / name).rglob("*.py"))
    if name == KERNEL:
        paths.append(_ROOT / _CATALOG)
    return {path.relative_to(_ROOT).as_posix(): path.read_text("utf-8") for path in paths}


def code_hashes() -> dict[str, str]:
    """sha256 in hex of each contract's sources and of the kernel's, by name."""
    names = sorted({KERNEL, *CONTRACTS})
    return {name: sha256(encode(contract_sources(name))).hex() for name in names}


def check_contracts(genesis: Genesis) -> None:
    """Raise `Misconfigured` `UNKNOWN_CONTRACT_HASH` or `CONTRACT_LINT`, in one line."""
    own = code_hashes()
    for name, agreed in genesis.contracts.items():
        if own.get(name) != agreed:
            found = own.get(name, "none")[:12]
            advice = "install the version of groat that the network uses"
            if genesis.dev:
                advice += ", or start this dev network afresh with `groat reset --yes`"
            raise Misconfigured(
                "UNKNOWN_CONTRACT_HASH",
                f"this network runs contract {name} {agreed[:12]}, this program has {found}; "
                + advice,
            )
    check_sources(genesis.contracts)


def check_sources(names: Iterable[str]) -> None:
    """Raise `Misconfigured` `CONTRACT_LINT` unless these contracts pass the determinism lint."""
    for name in names:
        for path, source in contract_sources(name).items():
            faults = lint(source, path)
            if faults:
                raise Misconfigured(
                    "CONTRACT_LINT", f"{faults[0]}; a contract must be deterministic: mend it"
                )

"""The hashes of the contracts' sources, by which the chain names what it runs.

A node runs a contract only if it holds the very sources that the network agreed on, and only if
they pass the determinism lint; otherwise it stops before it can vote on another result.
"""

from __future__ import annotations

from pathlib import Path

import contracts
from contracts.catalog import CONTRACTS, PACKAGES
from contracts.kernel.contract import Contract
from contracts.kernel.lint import lint
from contracts.kernel.registry import interface
from node.code import Library
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Misconfigured
from node.protocol.genesis import Genesis, interface_hash

_ROOT = Path(next(iter(contracts.__path__)))


def contract_sources(package: str) -> dict[str, str]:
    """Relative path to text of the sources of one version of a contract, or of the kernel.

    Line ends are normalised, so that a checkout with CRLF holds the same contract.
    """
    paths = sorted((_ROOT / package).rglob("*.py"))
    return {path.relative_to(_ROOT).as_posix(): path.read_text("utf-8") for path in paths}


def source_hash(package: str) -> bytes:
    """sha256 of one version's sources."""
    return sha256(encode(contract_sources(package)))


def code_hashes() -> dict[str, str]:
    """The source hash in hex of the newest version of each contract, by name."""
    newest = {contract.name: package for package, contract in PACKAGES.items()}
    return {name: source_hash(newest[name]).hex() for name in sorted(CONTRACTS)}


def bundled() -> Library:
    """All versions in this program; raises `Misconfigured` `CONTRACT_LINT`."""
    versions: dict[str, dict[bytes, Contract]] = {}
    for package, contract in PACKAGES.items():
        check_sources(package)
        versions.setdefault(contract.name, {})[source_hash(package)] = contract
    return Library(versions)


def describe() -> list[dict[str, str]]:
    """Each version in this program, with the two hashes by which an upgrade names it."""
    return [
        {
            "contract": contract.name,
            "package": package,
            "source_hash": source_hash(package).hex(),
            "interface_hash": interface_hash(interface({contract.name: contract})).hex(),
        }
        for package, contract in PACKAGES.items()
    ]


def check_contracts(genesis: Genesis) -> None:
    """That the versions of genesis are here.

    Raises `Misconfigured` `UNKNOWN_CONTRACT_HASH` or `CONTRACT_LINT`, in one line.
    """
    bundled().find(genesis_hashes(genesis), dev=genesis.dev)


def genesis_hashes(genesis: Genesis) -> dict[str, bytes]:
    """The source hash of each contract as genesis has it."""
    return {name: bytes.fromhex(one) for name, one in sorted(genesis.contracts.items())}


def check_sources(package: str) -> None:
    """Raise `Misconfigured` `CONTRACT_LINT` unless the sources pass the determinism lint."""
    for path, source in contract_sources(package).items():
        faults = lint(source, path)
        if faults:
            raise Misconfigured(
                "CONTRACT_LINT", f"{faults[0]}; a contract must be deterministic: mend it"
            )

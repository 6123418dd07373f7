"""The versions of the contracts that this program holds, and which of them a height runs.

The chain says by hashes of sources what each height runs; a `Library` finds the contracts for them,
`Code` does so for the stored state. A version that is not here is named before it is needed, and
`Misconfigured` where it is: a node must stop before it would compute, or vote on, something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from contracts.kernel.contract import Contract
from contracts.kernel.registry import Version, code_at, code_coming, is_private
from contracts.kernel.state import Reader, Table
from node.outputs import Alarm
from node.protocol.errors import Misconfigured

Contracts = Mapping[str, Contract]
Versions = Mapping[str, Mapping[bytes, Contract]]
ADVICE = "install the version of groat that has it"
# An alarm is raised when an upgrade is decided, and again when it is this near.
SOON_HEIGHTS = 10
DEV_ADVICE = ", or start this dev network afresh with `groat reset --yes`"


class Head(Protocol):
    """Where the state stands."""

    @property
    def height(self) -> int: ...


class Stored(Reader, Protocol):
    """What is needed of the store."""

    @property
    def head(self) -> Head: ...


class Library:
    """Contracts by name and source hash. The same hashes give the same mapping object."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._tables = _tables([one for of in versions.values() for one in of.values()])
        self._known: dict[tuple[tuple[str, bytes], ...], Contracts] = {}

    def holds(self, name: str, source_hash: bytes) -> bool:
        """Whether this version is here."""
        return source_hash in self._versions.get(name, {})

    def is_private(self, table: str) -> bool:
        """Whether a table of any version here is private."""
        return not self._tables[table].public

    def find(self, hashes: Mapping[str, bytes], dev: bool = False) -> Contracts:
        """Just these versions; raises `Misconfigured` `UNKNOWN_CONTRACT_HASH`."""
        key = tuple(hashes.items())
        if key not in self._known:
            for name, source_hash in key:
                if not self.holds(name, source_hash):
                    own = [one.hex()[:12] for one in self._versions.get(name, {})]
                    raise Misconfigured(
                        "UNKNOWN_CONTRACT_HASH",
                        f"this network runs contract {name} {source_hash.hex()[:12]}, this program "
                        f"has {' and '.join(own) or 'none'}; {ADVICE}{DEV_ADVICE if dev else ''}",
                    )
            self._known[key] = {name: self._versions[name][one] for name, one in key}
        return self._known[key]


def _tables(contracts: list[Contract]) -> dict[str, Table[Any]]:
    """Each table by name.

    State roots rest on what is private, and databases on what is secret: that is the same in all
    versions.
    """
    tables: dict[str, Table[Any]] = {}
    for contract in contracts:
        for table in contract.tables:
            known = tables.setdefault(table.name, table)
            if (known.public, known.secret) != (table.public, table.secret):
                raise AssertionError(f"{table.name} is not private alike in all versions")
    return tables


class Code(Mapping[str, Contract]):
    """What the chain runs; as a mapping, the contracts of the next height."""

    def __init__(self, state: Stored, library: Library) -> None:
        self._state = state
        self._library = library
        self._next: tuple[int, Contracts] | None = None

    def at(self, height: int) -> Contracts:
        """The contracts of a height that the stored state settles, which the next few are."""
        return self._library.find(code_at(self._state, height))

    def is_private(self, table: str) -> bool:
        """Whether a table's values are salted, which is the same in all versions that have it."""
        return self._library.is_private(table)

    def founding(self, hashes: Mapping[str, bytes]) -> Contracts:
        """The contracts that write the state before the first block."""
        return self._library.find(hashes)

    @property
    def now(self) -> Contracts:
        """The contracts of the next height, the same object as long as they are the same."""
        height = self._state.head.height + 1
        if self._next is None or self._next[0] != height:
            self._next = (height, self.at(height))
        return self._next[1]

    def coming_and_missing(self) -> list[tuple[str, Version]]:
        """The versions that take over after the next height and are not here."""
        coming = code_coming(self._state, self._state.head.height + 1)
        return [one for one in coming if not self._library.holds(one[0], one[1].source_hash)]

    def __getitem__(self, name: str) -> Contract:
        return self.now[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


class FixedCode(Code):
    """One version of each contract at all heights, for whoever chooses them without a chain."""

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts

    def at(self, height: int) -> Contracts:
        """The contracts."""
        return self._contracts

    def is_private(self, table: str) -> bool:
        """Whether the contracts call a table private."""
        return is_private(self._contracts, table)

    def founding(self, hashes: Mapping[str, bytes]) -> Contracts:
        """The contracts."""
        return self._contracts

    @property
    def now(self) -> Contracts:
        """The contracts."""
        return self._contracts

    def coming_and_missing(self) -> list[tuple[str, Version]]:
        """Nothing is to come."""
        return []


class Warner:
    """Tells an operator of versions that will be needed here: at once, and again shortly before."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._told: dict[tuple[str, bytes, bool], None] = {}

    def warnings(self, height: int) -> list[Alarm]:
        """What to say after the block of `height`."""
        alarms = []
        for name, version in self._code.coming_and_missing():
            left = version.first_height - height
            told = (name, version.source_hash, left <= SOON_HEIGHTS)
            if told not in self._told:
                self._told[told] = None
                alarms.append(Alarm("UPGRADE_NEEDED", _needed(name, version, left)))
        return alarms

    def lacking(self) -> str | None:
        """Why the next height cannot be executed here, if it cannot."""
        try:
            assert self._code.now is not None
        except Misconfigured as lacking:
            return lacking.message
        return None


def _needed(name: str, version: Version, left: int) -> str:
    return (
        f"from block {version.first_height} on, in {left} blocks, this network runs contract "
        f"{name} {version.source_hash.hex()[:12]}, and this node will stop: {ADVICE}"
    )

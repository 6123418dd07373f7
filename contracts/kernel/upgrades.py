"""Upgrades: which version of each contract runs from which height on.

The network agrees on hashes of sources. Two administrators name the version that takes over and the
first height that it runs, some way ahead, so that every node can be given the program that has it;
a node without it stops there. Until then the same two persons may call it off. A version reads what
the one before it wrote: it keeps its tables, and adds fields at the end of records, with defaults.
Which program holds which version is the node's business.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import Field

from contracts.kernel.context import Context
from contracts.kernel.contract import Details, Governed
from contracts.kernel.identity import ADMINISTRATOR
from contracts.kernel.state import Reader, State, Table
from contracts.kernel.types import AMOUNT_MAX, Code, Hash32, Proposing, Record

# Blocks between an approval and the first one that runs the new version, at least.
NOTICE_HEIGHTS_MIN = 10
CONTRACTS_MAX = 100
Height = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]


class Version(Record, frozen=True):
    """The version of a contract that runs from `first_height` on.

    `interface_hash` is that of its own interface; empty for the founders' versions, which genesis
    names.
    """

    source_hash: bytes
    interface_hash: bytes
    first_height: int


class History(Record, frozen=True):
    """All versions of one contract, in order; the last one may be yet to come."""

    versions: tuple[Version, ...]


CODE = Table("kernel/code", History, "the contract's name in UTF-8")


class Upgrade(Proposing):
    """A contract, the version that takes over, and the first height that it runs.

    `groat net code` prints the two hashes of what a program holds.
    """

    contract: Code
    source_hash: Hash32
    interface_hash: Hash32
    activation_height: Height


class CancelUpgrade(Proposing):
    """A contract whose next version is not wanted after all."""

    contract: Code


# ---- reading


def found_code(state: State, hashes: dict[str, bytes]) -> None:
    """Write the founders' versions."""
    for name, source_hash in hashes.items():
        state.put(CODE, name.encode(), History((Version(source_hash, b"", 1),)))


def code_at(reader: Reader, height: int) -> dict[str, bytes]:
    """The source hash of each contract that the block of `height` runs, as far as is settled."""
    return {
        name: [one for one in history.versions if one.first_height <= height][-1].source_hash
        for name, history in _histories(reader)
    }


def code_coming(reader: Reader, height: int) -> list[tuple[str, Version]]:
    """The versions that take over after `height`, by contract."""
    return [
        (name, one)
        for name, history in _histories(reader)
        for one in history.versions
        if one.first_height > height
    ]


def _histories(reader: Reader) -> list[tuple[str, History]]:
    found = reader.scan(CODE.name, b"", None, CONTRACTS_MAX)
    return [(key.decode(), CODE.decode(raw)) for key, raw in found]


# ---- changing


def check_upgrade(ctx: Context, args: Upgrade) -> None:
    """A version that is not the present one, far enough ahead, and no other is to come."""
    latest = ctx.state.need(CODE, args.contract.encode()).versions[-1]
    if latest.first_height > ctx.height:
        ctx.reject("BAD_STATE", why="another version is to come", first_height=latest.first_height)
    if latest.source_hash == args.source_hash:
        ctx.reject("BAD_STATE", why="it runs this version already")
    if args.activation_height < ctx.height + NOTICE_HEIGHTS_MIN:
        ctx.reject("BAD_STATE", why="too soon", earliest=ctx.height + NOTICE_HEIGHTS_MIN)


def upgrade(ctx: Context, args: Upgrade) -> Details:
    """From a height on, a contract runs another version; nodes without it stop there."""
    key = args.contract.encode()
    known = ctx.state.need(CODE, key)
    coming = Version(args.source_hash, args.interface_hash, args.activation_height)
    ctx.state.put(CODE, key, History((*known.versions, coming)))
    return {"first_height": args.activation_height}


def check_cancellation(ctx: Context, args: CancelUpgrade) -> None:
    """A version that is still far enough ahead: blocks under way may not depend on it."""
    latest = ctx.state.need(CODE, args.contract.encode()).versions[-1]
    if latest.first_height < ctx.height + NOTICE_HEIGHTS_MIN // 2:
        ctx.reject("BAD_STATE", why="no other version is to come, or it is too late")


def cancel_upgrade(ctx: Context, args: CancelUpgrade) -> Details:
    """A contract keeps the version that it runs: the one that was to come is called off."""
    key = args.contract.encode()
    known = ctx.state.need(CODE, key)
    ctx.state.put(CODE, key, msgspec.structs.replace(known, versions=known.versions[:-1]))
    return {}


_TWO = ((ADMINISTRATOR,), (ADMINISTRATOR,))
GOVERNED = {
    "upgrade": Governed(Upgrade, check_upgrade, upgrade, *_TWO),
    "cancel_upgrade": Governed(CancelUpgrade, check_cancellation, cancel_upgrade, *_TWO),
}

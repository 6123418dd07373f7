"""A prepaid card's statement with its proof: fetched and verified, exported, verified offline.

The card's record, proved against a certified header, holds the end of a hash chain over its
statement; so one proof stands for all lines. The exported file holds the lines, the interface that
explains them and the answers that prove the card; the genesis file is all that is needed beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from client.errors import NotFound, Unproven
from client.evidence import Recorded, Recorder
from client.folder import NetworkFolder, read_given
from client.interface import Schema, read_record, sums_of
from client.light import LightClient
from client.node_api import NodeApi
from client.upgrades import running_interface
from client.verified import ProvenRecord, VerifiedReader
from node.protocol.encoding import sha256
from node.protocol.errors import Misconfigured, Refused
from node.protocol.genesis import Genesis, interface_hash
from node.protocol.json_view import bytes_from_json, to_json
from node.protocol.keys import PrivateKey
from node.protocol.keystore import write_private_file

FORMAT = "groat-statement/1"
CONTRACT = "prepaid"
NO_HEAD = bytes(32)
PAGE = "100"
LINES_MAX = 1_000_000


class Statement(NamedTuple):
    """A verified statement: the card and its lines in JSON form, and the block that they hold for.

    `raw_lines` are the lines' canonical bytes, `answers` the evidence.
    """

    card: dict[str, Any]
    lines: list[dict[str, Any]]
    proven: ProvenRecord
    raw_lines: list[bytes]
    answers: list[dict[str, Any]]


async def fetch(
    api: NodeApi, folder: NetworkFolder, card: bytes, viewer: PrivateKey | None
) -> Statement:
    """The statement of a card, for whoever may read it; raises `Unproven` `NotFound`.

    Lines that are booked meanwhile are left out: it is the statement of one block.
    """
    recorder = Recorder(api)
    reader = VerifiedReader(LightClient(api.genesis), recorder)
    interface = await _explanation(reader, folder.founding_interface, folder.upgraded_interface)
    proven = await _card_record(reader, card, viewer)
    entries = int(_card(interface, card, proven)["entries"])
    raw: list[bytes] = []
    while len(raw) < entries:
        asked = {"card": card.hex(), "cursor": str(len(raw)), "limit": PAGE}
        page = (await api.query(CONTRACT, "statement", asked, viewer)).get("result", {})
        items = page.get("items") if isinstance(page, dict) else None
        if not isinstance(items, list) or not items:
            raise Unproven("BAD_STATEMENT", f"line {len(raw) + 1} of {entries} is missing")
        raw += [_bytes(item, "canonical") for item in items[: entries - len(raw)]]
    return _checked(interface, card, proven, raw, recorder.answers)


def export(statement: Statement, folder: NetworkFolder, path: Path) -> None:
    """Write a new file, for its owner only; whoever has the genesis file can verify it."""
    content = {
        "format": FORMAT,
        "genesis_hash": folder.genesis.hash.hex(),
        "card": statement.card["card"],
        "lines": [line.hex() for line in statement.raw_lines],
        "answers": statement.answers,
        "interface": folder.founding_interface,
        "upgraded": folder.upgraded_interface,
    }
    write_private_file(path, json.dumps(content, indent=1) + "\n")


async def verify(path: Path, genesis: Genesis) -> Statement:
    """Verify an exported file against genesis alone; raises `Unproven` `Misconfigured`."""
    try:
        content = json.loads(read_given(path))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise Misconfigured("BAD_STATEMENT", f"{path} is no exported statement")
    if content.get("genesis_hash") != genesis.hash.hex():
        raise Misconfigured("WRONG_GENESIS", f"{path} is of another network")
    founding = content.get("interface")
    if not isinstance(founding, dict) or _hash(founding) != genesis.interface_hash:
        raise Unproven("WRONG_INTERFACE", f"{path} explains its lines otherwise than genesis does")
    lines, card = content.get("lines"), _bytes(content, "card")
    if not isinstance(lines, list) or len(lines) > LINES_MAX:
        raise Unproven("BAD_STATEMENT", f"{path} has no list of lines")
    recorded = Recorded(content.get("answers"), str(path))
    reader = VerifiedReader(LightClient(genesis), recorded)
    interface = await _explanation(reader, founding, content.get("upgraded"))
    proven = await _card_record(reader, card, None)
    raw = [_bytes({"line": line}, "line") for line in lines]
    return _checked(interface, card, proven, raw, [])


async def _explanation(reader: VerifiedReader, founding: Schema, upgraded: object) -> Schema:
    """The interface that explains the records: the founders', or the one that the chain names."""
    named = await running_interface(reader, founding, CONTRACT)
    if named is None:
        return founding
    newer = upgraded.get(CONTRACT) if isinstance(upgraded, dict) else None
    if newer is None or _hash({CONTRACT: newer}) != named:
        raise Unproven("WRONG_INTERFACE", "the contract was upgraded: first groat net code --fetch")
    return {**founding, CONTRACT: newer}


async def _card_record(
    reader: VerifiedReader, card: bytes, viewer: PrivateKey | None
) -> ProvenRecord:
    proven = await reader.record(CONTRACT, "cards", card, viewer)
    if proven.value is None:
        raise NotFound("NOT_FOUND", f"proved absent at height {proven.height}")
    return proven


def _checked(
    interface: Schema,
    card: bytes,
    proven: ProvenRecord,
    raw: list[bytes],
    answers: list[dict[str, Any]],
) -> Statement:
    """The statement, if its lines are all of those that the card's record is chained to."""
    record = _card(interface, card, proven)
    head = NO_HEAD
    for line in raw:
        head = sha256(head + line)
    if len(raw) != int(record["entries"]) or head.hex() != record["head"]:
        raise Unproven("BAD_STATEMENT", "the lines are not those that the card's record stands for")
    lines = [
        {"number": str(number), **_record(interface, "entries", line)}
        for number, line in enumerate(raw, 1)
    ]
    return Statement(record, lines, proven, raw, answers)


def _card(interface: Schema, card: bytes, proven: ProvenRecord) -> dict[str, Any]:
    record = _record(interface, "cards", proven.value or b"")
    sums = interface[CONTRACT]["queries"]["card"]["rests_on"]["sums"]
    return {"card": card.hex(), **record, **sums_of(sums, record)}


def _record(interface: Schema, table: str, value: bytes) -> dict[str, Any]:
    try:
        return read_record(interface, CONTRACT, table, value)
    except (Refused, KeyError, TypeError):
        raise Unproven("BAD_STATEMENT", f"a record is none of {CONTRACT}/{table}") from None


def _bytes(source: dict[str, Any], field: str) -> bytes:
    try:
        return bytes_from_json(source.get(field), field)
    except (Refused, AttributeError):
        raise Unproven("BAD_STATEMENT", f"{field} is not hex") from None


def _hash(interface: dict[str, Any]) -> str:
    try:
        return interface_hash(interface).hex()
    except Refused:
        return ""


def card_rows(statement: Statement) -> dict[str, Any]:
    """What of the card a person wants to see above its lines."""
    names = ("card", "state", "remaining", "consumed", "paid", "earned", "refunded", "owed")
    row: dict[str, Any] = {name: to_json(statement.card[name]) for name in names}
    return {**row, "lines": str(len(statement.lines)), "height": str(statement.proven.height)}

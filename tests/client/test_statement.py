"""Statements with their proof: fetched, exported, verified by whoever has the genesis file."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client import statement
from client.errors import NotFound, Unproven
from client.folder import NetworkFolder
from client.node_api import NodeApi
from node.protocol.errors import GroatError, Misconfigured
from node.protocol.genesis import Genesis
from tests.client.command import Groat, genesis_with_interface, write_network
from tests.client.live import LiveNode
from tests.http.support import CARD, HOLDER, OTHER, World

CARD_WORDS = ("--card", CARD.hex())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A chain whose genesis names the real interface, with a card that was used 120 times."""
    monkeypatch.setattr("tests.http.support.genesis", genesis_with_interface)
    world = World()
    world.open_shop()
    for seq in range(1, 121):
        world.commit(world.consume(seq, 10))
    return world


@pytest.fixture
def folder(world: World, tmp_path: Path) -> NetworkFolder:
    """What a client has of this network."""
    write_network(tmp_path / "net", world.genesis, [])
    return NetworkFolder(tmp_path / "net")


async def exported(folder: NetworkFolder, api: NodeApi, path: Path) -> Genesis:
    found = await statement.fetch(api, folder, CARD, HOLDER)
    statement.export(found, folder, path)
    return folder.genesis


async def test_b3_8_a_statement_is_checked_by_whoever_has_the_genesis_file(
    world: World,
    folder: NetworkFolder,
    api: NodeApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    founding = await exported(folder, api, tmp_path / "out")
    await api.close()
    monkeypatch.setattr(socket, "socket", None)  # no network from here on
    found = await statement.verify(tmp_path / "out", founding)
    assert len(found.lines) == 121
    assert [line["remaining"] for line in found.lines[:3]] == ["10000", "9990", "9980"]
    assert found.card["remaining"] == found.lines[-1]["remaining"] == "8800"
    assert found.proven.height == world.store.head.height
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


async def test_lines_booked_meanwhile_are_left_out(
    world: World, folder: NetworkFolder, api: NodeApi
) -> None:
    asked = api.query

    async def query_after_a_visit(*arguments: Any, **more: Any) -> dict[str, Any]:
        world.commit(world.consume(world_seq(world) + 1, 10))
        return await asked(*arguments, **more)

    api.query = query_after_a_visit  # type: ignore[method-assign]
    found = await statement.fetch(api, folder, CARD, HOLDER)
    assert len(found.lines) == 121


def world_seq(world: World) -> int:
    return world.store.head.height - 3


async def test_a_statement_is_for_those_concerned(folder: NetworkFolder, api: NodeApi) -> None:
    for viewer in (OTHER, None):
        with pytest.raises(GroatError):
            await statement.fetch(api, folder, CARD, viewer)
    with pytest.raises(NotFound):
        await statement.fetch(api, folder, b"A" * 16, HOLDER)


Change = Callable[[dict[str, Any]], None]


def flipped(text: str) -> str:
    """The same hex with another last digit."""
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def other_line(content: dict[str, Any]) -> None:
    content["lines"][5] = flipped(content["lines"][5])


def no_first_line(content: dict[str, Any]) -> None:
    content["lines"].pop(0)


def no_last_line(content: dict[str, Any]) -> None:
    content["lines"].pop()


def one_line_twice(content: dict[str, Any]) -> None:
    content["lines"].append(content["lines"][-1])


def other_order(content: dict[str, Any]) -> None:
    content["lines"][1], content["lines"][2] = content["lines"][2], content["lines"][1]


def other_card(content: dict[str, Any]) -> None:
    content["card"] = flipped(content["card"])


def other_record(content: dict[str, Any]) -> None:
    body = content["answers"][-1]["body"]
    body["value"] = flipped(body["value"])


def no_answers(content: dict[str, Any]) -> None:
    content["answers"] = []


def answers_of_another_form(content: dict[str, Any]) -> None:
    content["answers"] = [{"path": 1}]


def other_header(content: dict[str, Any]) -> None:
    proof = content["answers"][-1]["body"]["proof"]
    proof["header"] = flipped(proof["header"])


def other_certificate(content: dict[str, Any]) -> None:
    proof = content["answers"][-1]["body"]["proof"]
    proof["certificate"] = flipped(proof["certificate"])


def other_interface(content: dict[str, Any]) -> None:
    fields = content["interface"]["prepaid"]["tables"]["entries"]["record"]["properties"]
    content["interface"]["prepaid"]["tables"]["entries"]["record"]["properties"] = dict(
        reversed(fields.items())
    )
    content["interface"]["prepaid"]["errors"] = []


def lines_that_are_no_hex(content: dict[str, Any]) -> None:
    content["lines"] = [{"a": 1}]


def no_lines(content: dict[str, Any]) -> None:
    content["lines"] = None


@pytest.mark.parametrize(
    "change",
    [
        other_line,
        no_first_line,
        no_last_line,
        one_line_twice,
        other_order,
        other_card,
        other_record,
        no_answers,
        answers_of_another_form,
        other_header,
        other_certificate,
        other_interface,
        lines_that_are_no_hex,
        no_lines,
    ],
)
async def test_a_file_that_was_changed_is_found_out(
    folder: NetworkFolder, api: NodeApi, tmp_path: Path, change: Change
) -> None:
    founding = await exported(folder, api, tmp_path / "out")
    content = json.loads((tmp_path / "out").read_text())
    change(content)
    (tmp_path / "changed").write_text(json.dumps(content))
    with pytest.raises(Unproven):
        await statement.verify(tmp_path / "changed", founding)


async def test_files_that_are_no_statements(
    folder: NetworkFolder, api: NodeApi, tmp_path: Path
) -> None:
    founding = await exported(folder, api, tmp_path / "out")
    for number, text in enumerate(("", "[]", "{}", "[" * 100_000, '{"format": "x"}')):
        path = tmp_path / str(number)
        path.write_text(text)
        with pytest.raises(Misconfigured):
            await statement.verify(path, founding)
    content = json.loads(founding.to_text()) | {"chain_id": "another"}
    with pytest.raises(Misconfigured, match="another network"):
        await statement.verify(tmp_path / "out", Genesis.parse(json.dumps(content)))
    with pytest.raises(Misconfigured, match="exists"):
        await exported(folder, api, tmp_path / "out")


# ---- the command


def test_r3_5_a_bookkeeper_books_what_the_holder_signed(
    live: LiveNode, groat: Groat, tmp_path: Path
) -> None:
    words = ("prepaid", "consume", *CARD_WORDS, "--amt", "250", "--seq", "1")
    ticket = groat("ticket", *words, "--key", "holder", "-o", "json")
    (tmp_path / "ticket").write_text(ticket.out)
    booked = groat("prepaid", "book", "--key", "bookkeeper", "--ticket", str(tmp_path / "ticket"))
    assert booked.code == 0, booked
    assert "9750" in booked.out
    again = ("--amt", "250", "--seq", "2", "--ticket-from", "holder", "-o", "json")
    booked = groat("prepaid", "book", "--key", "bookkeeper", *CARD_WORDS, *again)
    assert booked.json["receipt"]["details"] == {"remaining": "9500"}
    lines = groat("prepaid", "statement", *CARD_WORDS, "--key", "holder", "-o", "json").json[
        "lines"
    ]
    assert [(one["initial"], one["amount"], one["remaining"]) for one in lines] == [
        ("10000", "10000", "10000"),
        ("10000", "250", "9750"),
        ("10000", "250", "9500"),
    ]
    assert lines[-1]["transaction"] == booked.json["id"]


def test_a_statement_by_the_command(live: LiveNode, groat: Groat, tmp_path: Path) -> None:
    file, genesis = tmp_path / "statement", tmp_path / "net" / "genesis.json"
    shown = groat("prepaid", "statement", *CARD_WORDS, "--key", "holder", "--export", str(file))
    assert shown.code == 0, shown
    assert "verified against genesis" in shown.err
    (tmp_path / "net" / "network.json").unlink()
    checked = groat("prepaid", "verify", str(file), "--genesis", str(genesis))
    assert (checked.code, checked.out) == (0, shown.out)
    file.chmod(0o600)
    file.write_text(file.read_text().replace('"lines": [', '"lines": ["00",'))
    refused = groat("prepaid", "verify", str(file), "--genesis", str(genesis))
    assert (refused.code, refused.err.partition(":")[0]) == (1, "BAD_STATEMENT")


def test_what_the_commands_refuse(live: LiveNode, groat: Groat) -> None:
    for words in (
        ("book", "--key", "bookkeeper", *CARD_WORDS, "--amt", "1", "--seq", "1"),
        ("book", "--key", "bookkeeper", "--ticket", "no such file"),
        ("statement", "--card", "xyz", "--key", "holder"),
        ("verify", "no such file"),
    ):
        assert groat("prepaid", *words).code == 2
    assert groat("prepaid", "statement", *CARD_WORDS, "--key", "other").code == 3

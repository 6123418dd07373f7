"""What a person typed becomes typed arguments, tickets and records, by the interface alone."""

from __future__ import annotations

from typing import Any

import pytest

from client.interface import (
    TICKET_FOR_MS,
    arguments_of_json,
    arguments_of_words,
    fields,
    find,
    operations,
    read_record,
    ticket_terms,
    without_ticket,
)
from contracts.catalog import CONTRACTS
from contracts.kernel.registry import interface
from contracts.prepaid.arguments import OpenCard
from node.protocol.encoding import encode
from node.protocol.errors import Refused
from tests.http.support import CARD, HOLDER, SHOP, World

INTERFACE = interface(CONTRACTS)
CONSUME = find(INTERFACE, "actions", "prepaid", "consume")
OPEN = find(INTERFACE, "actions", "prepaid", "open_card")
KEYS = {"alice": HOLDER.public_key.hex()}
WORDS = ["--card", CARD.hex(), "--amt", "1000", "--seq", "1"]


def _parse(*words: str) -> dict[str, Any]:
    return arguments_of_words(CONSUME, words, KEYS.__getitem__)


def test_words_become_typed_arguments() -> None:
    assert _parse(*WORDS) == {"card": CARD, "amt": 1_000, "seq": 1}
    assert _parse(f"--card={CARD.hex()}", "--amt=1000", "--seq=1") == _parse(*WORDS)
    text = f'{{"card": "{CARD.hex()}", "amt": "1000", "seq": 1}}'
    assert arguments_of_json(CONSUME, text) == _parse(*WORDS)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (WORDS[:4], "seq"),
        ([*WORDS, "--amt", "1"], "amt"),
        ([*WORDS, "--tip", "1"], "tip"),
        (["--card", "zz", *WORDS[2:]], "card"),
        ([*WORDS[:2], "--amt", "1.5", *WORDS[4:]], "amt"),
        ([*WORDS[:2], "--amt", "1e3", *WORDS[4:]], "amt"),
        ([*WORDS[:2], "--amt", "9" * 30, *WORDS[4:]], "amt"),
        ([*WORDS[:2], "--amt", "true", *WORDS[4:]], "amt"),
        (WORDS[:5], "seq"),
    ],
)
def test_a_bad_word_is_refused_by_the_name_of_its_field(words: list[str], field: str) -> None:
    with pytest.raises(Refused) as error:
        _parse(*words)
    assert (error.value.code, error.value.details.get("field")) == ("BAD_ARG", field)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"amt": 1.5}', "[" * 10_000])
def test_bad_json_is_refused(text: str) -> None:
    with pytest.raises(Refused) as error:
        arguments_of_json(CONSUME, text)
    assert error.value.code == "BAD_ARG"


def test_a_loose_word_is_refused() -> None:
    with pytest.raises(Refused, match="stands where a --field was expected"):
        _parse("1000", *WORDS)


def test_a_name_stands_for_its_public_key() -> None:
    words = ["--merchant", SHOP.hex(), "--holder-pub", "@alice", "--class", "gym", "--paid", "0"]
    values = arguments_of_words(
        without_ticket(OPEN), [*words, "--card", CARD.hex()], KEYS.__getitem__
    )
    assert values["holder_pub"] == HOLDER.public_key


def test_the_terms_of_a_ticket_are_those_that_the_contract_checks() -> None:
    words = ["--merchant", SHOP.hex(), "--holder_pub", "@alice", "--class", "gym", "--paid", "5"]
    given = arguments_of_words(
        without_ticket(OPEN), [*words, "--card", CARD.hex()], KEYS.__getitem__
    )
    terms = ticket_terms(OPEN, given, now_ms=7)
    assert terms["ticket_until"] == 7 + TICKET_FOR_MS
    args = OpenCard.model_validate({**terms, "ticket": bytes(64)})
    assert encode(args.terms()) == encode(terms)


def test_an_action_without_ticket_takes_none() -> None:
    approve = find(INTERFACE, "actions", "prepaid", "approve")
    with pytest.raises(Refused) as error:
        ticket_terms(approve, {}, 0)
    assert error.value.code == "NO_TICKET"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(Refused, match="there are kernel, prepaid"):
        find(INTERFACE, "actions", "bank", "rob")
    with pytest.raises(Refused, match="consume"):
        find(INTERFACE, "actions", "prepaid", "rob")
    with pytest.raises(Refused, match="statement"):
        find(INTERFACE, "queries", "prepaid", "consume")


def test_everything_of_the_interface_can_be_listed() -> None:
    listed = {(row["contract"], row["name"]) for row in operations(INTERFACE, "actions")}
    assert ("prepaid", "consume") in listed
    for contract, name in listed:
        rows = fields(find(INTERFACE, "actions", contract, name))
        assert all(row["field"].startswith("--") and row["type"] for row in rows)
    types = {row["field"]: row["type"] for row in fields(CONSUME)}
    assert types["--card"] == "16 bytes in hex"


def test_a_record_is_read_without_the_node(world: World) -> None:
    world.open_shop()
    value = world.store.get("prepaid/cards", CARD)
    assert value is not None
    record = read_record(INTERFACE, "prepaid", "cards", value)
    assert record["paid"] == "10000"
    assert record["holder"] == HOLDER.public_key.hex()
    assert record["lots"][0]["bonus"] == "0"


def test_a_record_of_another_shape_is_refused() -> None:
    for value in (b"", encode([1, 2]), encode("text"), b"\xff" * 40):
        with pytest.raises(Refused):
            read_record(INTERFACE, "prepaid", "cards", value)
    with pytest.raises(Refused) as error:
        read_record(INTERFACE, "prepaid", "secrets", encode([]))
    assert error.value.code == "NOT_FOUND"


def test_no_field_has_the_name_of_an_option_of_the_command() -> None:
    taken = {"args", "clear", "debug", "dir", "help", "key", "node", "output", "seal"}
    taken |= {"ticket-from", "timeout", "verify", "wait"}
    for content in INTERFACE.values():
        for one in (*content["actions"].values(), *content["queries"].values()):
            assert not taken & set(one["args"].get("properties", {})), one["doc"]


def test_a_record_of_an_earlier_version_lacks_its_last_fields() -> None:
    record = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "integer"}},
        "required": ["a", "b"],
    }
    schemas = {"area": {"tables": {"things": {"record": record}}}}
    assert read_record(schemas, "area", "things", encode([1, "x"])) == {"a": "1", "b": "x"}
    whole = read_record(schemas, "area", "things", encode([1, "x", 2]))
    assert whole == {"a": "1", "b": "x", "c": "2"}
    for wrong in ([1], [1, "x", 2, 3]):
        with pytest.raises(Refused):
            read_record(schemas, "area", "things", encode(wrong))

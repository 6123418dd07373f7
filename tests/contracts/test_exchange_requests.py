"""The parsing unit: each way in which a raw request is malformed, and why it says it is."""

from __future__ import annotations

import pytest

from tests.contracts.exchange_world import ExchangeWorld


def asking(world: ExchangeWorld, raw: str) -> str:
    """Ann sends this text; the receipt's code."""
    return world.act("ann", "submit_request", order=world.new_id(), raw=raw)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "cut short"),
        ("[]", "lists are not used here"),
        ('"product"', "not an object"),
        ('{"product": "coffee"', "cut short"),
        ('{"product": "coffee"} x', "something follows the object"),
        ('{"product": "coffee", "product": "coffee"}', "the same key twice"),
        ('{"product": "coffee", "colour": "red"}', "unknown field"),
        ('{"product": "coffee", "user": {"name": "Ann"}}', "unknown field"),
        ('{"product": "coffee", "exchange": {}}', "unknown field"),
        ('{"product": "coffee", "quantity": 1.0}', "fractions are not used here"),
        ('{"product": "coffee", "quantity": 1e0}', "fractions are not used here"),
        ('{"product": "coffee", "quantity": 1}', "not an amount"),
        ('{"product": "coffee", "quantity": "01"}', "not an amount"),
        ('{"product": "coffee", "quantity": "-1"}', "not an amount"),
        ('{"product": "coffee", "quantity": "1.5"}', "not an amount"),
        ('{"product": "coffee", "quantity": "\\u0661"}', "not an amount"),
        ('{"product": "coffee", "quantity": "0"}', "out of range"),
        ('{"product": "coffee", "quantity": null}', "not an amount"),
        ('{"product": "coffee", "quantity": 99999999999999999999}', "out of range"),
        ('{"product": "coffee", "own": "9223372036854775808"}', "out of range"),
        ('{"product": ""}', "not a code"),
        ('{"product": "\\u0000"}', "not a code"),
        ('{"product": "\\ud800"}', "not JSON"),
        ('{"product": "\\ud800\\u0041"}', "half a character"),
        ('{"product": "\\udc00"}', "half a character"),
        ('{"product": "a\tb"}', "a control character"),
        ('{"product": "\\x41"}', "not JSON"),
        ('{"product": true}', "not a code"),
        ("{'product': 'coffee'}", "not JSON"),
        ('{"product": NaN}', "not JSON"),
        ('{"product": -Infinity}', "not JSON"),
        ('{"product": "coffee",}', "not JSON"),
        ('{"product": "coffee", "user": []}', "lists are not used here"),
        ('{"product": "coffee", "user": {"reader": "02ab"}}', "not a public key"),
        ('{"product": "coffee", "user": {"reader": "04' + "11" * 32 + '"}}', "not a public key"),
        ('{"product": "coffee", "user": {"details": "' + "x" * 513 + '"}}', "not a text of up to"),
        ('{"exchange": {"from": "GP", "to": "GP", "amt": "1"}}', "from and to are the same asset"),
        ('{"exchange": {"from": "GP", "to": "AIR"}}', "not an amount"),
        ('{"exchange": {"from": "GP", "to": "AIR", "amt": "1", "product": "x"}}', "unknown field"),
        ("{}", "names neither"),
        ("{" * 4_000, "not JSON"),
        ('{"product":' * 300 + "1" + "}" * 300, "nested too deeply"),
        ('{"product": "' + "x" * 4_096 + '"}', "longer than 4096 bytes"),
        ('{"product": "' + "é" * 2_045 + '"}', "longer than 4096 bytes"),
    ],
)
def test_bad_requests_say_why(raw: str, why: str) -> None:
    world = ExchangeWorld()
    assert asking(world, raw) == "BAD_REQUEST"
    assert str(world.details["why"]).startswith(why), world.details


@pytest.mark.parametrize(
    "raw",
    [
        ' \r\n{"product"\t:"coffee"} ',
        '{"product": "c\\u006fffee", "quantity": "1"}',
        '{"user": {"details": "\\ud83d\\ude00 \\"\\\\\\/\\n"}, "product": "coffee"}',
        '{"user": {}, "product": "coffee", "own": "0"}',
    ],
)
def test_good_requests_may_be_written_in_many_ways(raw: str) -> None:
    assert asking(ExchangeWorld(), raw) == "OK"

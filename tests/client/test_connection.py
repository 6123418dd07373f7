"""Fail-over: whatever one node does, another one is asked, and errors say whose fault it is."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from aiohttp import web

from client.connection import ANSWER_BYTES_MAX, Connection, Request
from client.errors import (
    ClientError,
    NoQuorum,
    NotAllowed,
    NotFound,
    Overloaded,
    Rejected,
    Unreachable,
    exit_code_of,
)
from node.protocol.errors import Misconfigured, Refused
from tests.client.support import ATTEMPT_SECONDS, serve_handler, serve_silence

DEAD = "http://127.0.0.1:9"
GET = Request("GET", "/v1/status")


def _answer(content: bytes, status: int = 200, **headers: str) -> Callable[..., object]:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=content, status=status, headers=headers)

    return handler


def _problem(status: int, code: str, **headers: str) -> Callable[..., object]:
    body = {"type": "/problems/x", "title": "X", "status": status, "detail": "why", "code": code}
    return _answer(json.dumps(body).encode(), status, **headers)


GOOD = _answer(b'{"fine": true}')


@pytest.mark.parametrize(
    "bad",
    [
        _answer(b"not json"),
        _answer(b"[1, 2]"),
        _answer(b'"text"'),
        _answer(b"\xff\xfe"),
        _answer(b"[" * 100_000),
        _answer(b""),
        _problem(500, "INTERNAL"),
        _answer(b"<html>", 502),
        _answer(b"", 302, Location="http://127.0.0.1:9/"),
        _problem(503, "NOT_READY"),
        _problem(429, "MEMPOOL_FULL"),
    ],
)
async def test_a_bad_node_is_passed_over(bad: Callable[..., object]) -> None:
    async with (
        serve_handler(bad) as first,
        serve_handler(GOOD) as second,
        Connection([first, second], ATTEMPT_SECONDS) as connection,
    ):
        answer = await connection.ask(GET)
    assert (answer.url, answer.body) == (second, {"fine": True})


async def test_a_dead_and_a_silent_node_are_passed_over_and_asked_last() -> None:
    async with (
        serve_silence() as silent,
        serve_handler(GOOD) as good,
        Connection([DEAD, silent, good], ATTEMPT_SECONDS) as connection,
    ):
        assert (await connection.ask(GET)).url == good
        assert connection.order() == [good, DEAD, silent]


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ANSWER_BYTES_MAX >= 1 << 20
    monkeypatch.setattr("client.connection.ANSWER_BYTES_MAX", 1_000)
    async with (
        serve_handler(_answer(b" " * 1_001)) as url,
        Connection([url], ATTEMPT_SECONDS) as connection,
    ):
        with pytest.raises(Unreachable, match="larger than 1000 bytes"):
            await connection.ask(GET)


async def test_when_no_node_answers_each_reason_is_given_once() -> None:
    async with (
        serve_silence() as silent,
        Connection([DEAD, silent, DEAD + "9"], ATTEMPT_SECONDS) as connection,
    ):
        with pytest.raises(Unreachable) as error:
            await connection.ask(GET)
    assert error.value.code == "UNREACHABLE"
    assert f"Connection refused ({DEAD}, {DEAD}9)" in error.value.message
    assert f"no answer in time ({silent})" in error.value.message


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "BAD_MSGPACK", Rejected),
        (401, "SESSION_REQUIRED", NotAllowed),
        (403, "FORBIDDEN", NotAllowed),
        (404, "NOT_FOUND", NotFound),
        (409, "NO_BLOCK_YET", Rejected),
        (413, "TOO_LARGE", Rejected),
        (422, "BAD_ENVELOPE", Rejected),
        (429, "RATE_LIMITED", Overloaded),
        (503, "STOPPING", Overloaded),
        (503, "NO_QUORUM", NoQuorum),
    ],
)
async def test_a_refusal_is_typed_and_keeps_its_code(
    status: int, code: str, kind: type[ClientError]
) -> None:
    async with (
        serve_handler(_problem(status, code)) as url,
        Connection([url], ATTEMPT_SECONDS) as connection,
    ):
        with pytest.raises(kind) as error:
            await connection.ask(GET)
    assert type(error.value) is kind
    assert (error.value.code, error.value.message) == (code, "why")


async def test_a_refusal_is_not_shopped_around() -> None:
    """What one node refuses for good, another is not asked: it would be asked for ever."""
    async with (
        serve_handler(_problem(422, "BAD_SIGNATURE")) as first,
        serve_handler(GOOD) as second,
        Connection([first, second], ATTEMPT_SECONDS) as connection,
    ):
        with pytest.raises(Rejected):
            await connection.ask(GET)


@pytest.mark.parametrize(("header", "seconds"), [("2", 2.0), ("999", 5.0), ("soon", 1.0)])
async def test_how_long_to_stay_away_is_bounded(header: str, seconds: float) -> None:
    busy = _answer(b'{"code": "MEMPOOL_FULL"}', 429, **{"Retry-After": header})
    async with serve_handler(busy) as url, Connection([url], ATTEMPT_SECONDS) as connection:
        with pytest.raises(Overloaded) as error:
            await connection.ask(GET)
    assert error.value.details["retry_after"] == seconds


def test_exit_codes_tell_what_happened() -> None:
    codes = [
        exit_code_of(error)
        for error in (
            ClientError("X", "x"),
            Misconfigured("X", "x"),
            Refused("X", "x"),
            Rejected("X", "x"),
            Unreachable("X", "x"),
            NoQuorum("X", "x"),
        )
    ]
    assert codes == [1, 2, 2, 3, 5, 6]

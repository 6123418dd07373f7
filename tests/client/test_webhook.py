"""Webhooks: the specification's own example, what is refused, and delivery to a real server."""

from __future__ import annotations

import pytest
from aiohttp import web

from client.webhook import (
    SIGNATURE_HEADER,
    TIME_HEADER,
    TOLERANCE_SECONDS,
    BadSignature,
    Undelivered,
    Webhook,
    format_secret,
    parse_secret,
    sign,
    verify,
)
from node.protocol.errors import Misconfigured
from tests.client.support import serve_handler

# The example that the libraries of the specification are tested with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, TIME = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_specifications_example() -> None:
    secret = parse_secret(SECRET)
    headers = sign(secret, ID, TIME, BODY)
    assert headers[SIGNATURE_HEADER] == SIGNATURE
    assert verify(secret, headers, BODY, TIME) == ID
    assert format_secret(secret) == SECRET


def test_one_good_signature_among_several_will_do() -> None:
    headers = sign(parse_secret(SECRET), ID, TIME, BODY)
    headers[SIGNATURE_HEADER] = f"v1,AAAA v2,zzzz {SIGNATURE}"
    assert verify(parse_secret(SECRET), headers, BODY, TIME + TOLERANCE_SECONDS) == ID


@pytest.mark.parametrize(
    ("changed", "body", "now"),
    [
        ({}, b'{"test": 1}', TIME),
        ({}, BODY, TIME + TOLERANCE_SECONDS + 1),
        ({}, BODY, TIME - TOLERANCE_SECONDS - 1),
        ({"webhook-id": "msg_other"}, BODY, TIME),
        ({"webhook-id": ""}, BODY, TIME),
        ({TIME_HEADER: str(TIME + 1)}, BODY, TIME),
        ({TIME_HEADER: "soon"}, BODY, TIME),
        ({TIME_HEADER: "9" * 400}, BODY, TIME),
        ({SIGNATURE_HEADER: ""}, BODY, TIME),
        ({SIGNATURE_HEADER: "v1a," + SIGNATURE[3:]}, BODY, TIME),
        ({SIGNATURE_HEADER: "v1,é"}, BODY, TIME),
    ],
)
def test_what_is_not_genuine_is_refused(changed: dict[str, str], body: bytes, now: int) -> None:
    headers = {**sign(parse_secret(SECRET), ID, TIME, BODY), **changed}
    with pytest.raises(BadSignature):
        verify(parse_secret(SECRET), headers, body, now)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_AAAA", "whsec_!!!!", "x" * 500])
def test_a_secret_that_is_none(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_secret(text)
    assert caught.value.code == "BAD_SECRET"


async def test_a_delivery_is_signed_and_answered() -> None:
    secret, ids = parse_secret(SECRET), []

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        ids.append(verify(secret, request.headers, body, TIME))
        return web.json_response({"seen": (await request.json())["n"]})

    async with serve_handler(receive) as url, Webhook(url, secret) as webhook:
        assert await webhook.deliver("evt_1", TIME, {"n": 7}) == {"seen": 7}
        assert await webhook.deliver("evt_1", TIME, {"n": 7}) == {"seen": 7}
    assert ids == ["evt_1", "evt_1"]


@pytest.mark.parametrize(
    ("status", "text"),
    [(500, ""), (302, ""), (404, "{}"), (200, "[]"), (200, "{"), (200, '"' + "x" * 70_000)],
)
async def test_another_answer_counts_as_undelivered(status: int, text: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with serve_handler(answer) as url, Webhook(url, parse_secret(SECRET)) as webhook:
        with pytest.raises(Undelivered):
            await webhook.deliver("evt_1", TIME, {})


async def test_nobody_there_and_nobody_who_answers() -> None:
    async with Webhook("http://127.0.0.1:9/", parse_secret(SECRET)) as webhook:
        with pytest.raises(Undelivered):
            await webhook.deliver("evt_1", TIME, {})

"""Challenges and tokens: what is accepted, and every way in which they are not."""

from __future__ import annotations

from typing import Any

import pytest

from node.http.sessions import SESSION_MS, Sessions
from node.protocol.errors import Refused
from node.protocol.session import session_digest
from tests.http.conftest import Api
from tests.http.support import HOLDER, OTHER, STRANGER, World
from tests.protocol.support import CHAIN, MEMBERS

NODE = MEMBERS[0].public_key
PATH = "/v1/contracts/kernel/queries/identity"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def open_session(sessions: Sessions, who: Any = HOLDER) -> tuple[str, int]:
    challenge, expires_at = sessions.challenge(who.public_key)
    digest = session_digest(CHAIN, NODE, who.public_key, challenge, expires_at)
    return sessions.open(who.public_key, challenge, who.sign(digest))


def refused(code: str) -> Any:
    return pytest.raises(Refused, match=f"^{code}:")


def test_a_token_says_who_for_fifteen_minutes() -> None:
    clock = Clock()
    sessions = Sessions(CHAIN, NODE, clock)
    token, expires_at = open_session(sessions)
    assert expires_at == clock.now_ms + SESSION_MS <= clock.now_ms + 15 * 60 * 1000
    clock.now_ms = expires_at
    assert sessions.key_of(token) == HOLDER.public_key
    clock.now_ms += 1
    with refused("SESSION_EXPIRED"):
        sessions.key_of(token)


def test_a_challenge_is_for_one_key_for_a_minute() -> None:
    clock = Clock()
    sessions = Sessions(CHAIN, NODE, clock)
    challenge, expires_at = sessions.challenge(HOLDER.public_key)

    def answer(who: Any, node: bytes = NODE, until: int = expires_at) -> bytes:
        digest = session_digest(CHAIN, node, who.public_key, challenge, until)
        return bytes(who.sign(digest))

    with refused("BAD_CHALLENGE"):
        sessions.open(OTHER.public_key, challenge, answer(OTHER))
    with refused("BAD_SIGNATURE"):
        sessions.open(HOLDER.public_key, challenge, answer(OTHER))
    with refused("BAD_SIGNATURE"):
        sessions.open(HOLDER.public_key, challenge, answer(HOLDER, node=MEMBERS[1].public_key))
    with refused("BAD_SIGNATURE"):
        sessions.open(HOLDER.public_key, challenge, answer(HOLDER, until=expires_at + 1))
    token = sessions.open(HOLDER.public_key, challenge, answer(HOLDER))
    clock.now_ms = expires_at
    assert sessions.open(HOLDER.public_key, challenge, answer(HOLDER)) == token
    clock.now_ms += 1
    with refused("BAD_CHALLENGE"):
        sessions.open(HOLDER.public_key, challenge, answer(HOLDER))


def test_what_was_altered_or_comes_from_elsewhere_is_no_token() -> None:
    sessions = Sessions(CHAIN, NODE, Clock())
    token, _ = open_session(sessions)
    later = format(int(token[98:114], 16) + 1, "016x")
    stranger = OTHER.public_key.hex() + token[66:]
    for bad in ("", "00", "zz", token[:-2], token + "00", token[:-1] + "x", stranger):
        with refused("BAD_TOKEN"):
            sessions.key_of(bad)
    with refused("BAD_TOKEN"):
        sessions.key_of(token[:98] + later + token[114:])
    with refused("BAD_TOKEN"):
        Sessions(CHAIN, NODE, Clock()).key_of(token)
    challenge, _ = sessions.challenge(HOLDER.public_key)
    with refused("BAD_TOKEN"):
        sessions.key_of((HOLDER.public_key + challenge).hex())


def test_nobody_can_use_up_the_sessions_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(CHAIN, NODE, Clock())
    monkeypatch.setattr("node.http.sessions.is_valid", lambda *_: True)
    for _ in range(10_001):
        challenge, _ = sessions.challenge(STRANGER.public_key)
        sessions.open(STRANGER.public_key, challenge, b"")
    open_session(sessions)


async def test_over_http(api: Api, world: World) -> None:
    token = await api.token(HOLDER)
    args = {"public_key": HOLDER.public_key.hex()}
    await api.ask("POST", PATH, 200, HOLDER, json=args)
    world.now_ms += SESSION_MS + 1
    code = await api.code("POST", PATH, 401, reader=HOLDER, json=args)
    assert code == "SESSION_EXPIRED"
    assert api.headers["WWW-Authenticate"] == "Bearer"
    for bad in ("Bearer x", "Bearer", "", "Basic YTpi", f"Token {token}"):
        headers = {"Authorization": bad}
        assert await api.code("POST", PATH, 401, json=args, headers=headers) == "BAD_TOKEN"


@pytest.mark.parametrize("path", ["/v1/challenges", "/v1/sessions"])
@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ({}, {"BAD_ARG"}),
        ({"public_key": 1}, {"BAD_ARG"}),
        ({"public_key": None}, {"BAD_ARG"}),
        ({"public_key": "00", "more": "00"}, {"BAD_ARG"}),
        ({"public_key": ["00"]}, {"BAD_ARG"}),
    ],
)
async def test_bad_bodies(api: Api, path: str, body: Any, codes: set[str]) -> None:
    assert await api.code("POST", path, 400, json=body) in codes


async def test_bad_keys(api: Api) -> None:
    for given, status, code in (
        ("00" * 33, 422, "BAD_KEY"),
        ("00", 400, "BAD_PARAMETER"),
        ("x", 400, "BAD_PARAMETER"),
    ):
        body = {"public_key": given}
        assert await api.code("POST", "/v1/challenges", status, json=body) == code

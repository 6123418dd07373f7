"""Routes over state and contracts: records with proofs, balances, interfaces, queries, sessions."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from node.http.requests import flag, hex_bytes, integer, read_json
from node.http.routing import JSON_TYPE, Ask, Body, Route, reply
from node.protocol.errors import Refused
from node.protocol.json_view import time_to_json
from node.protocol.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, check_public_key

HEIGHT_MAX = (1 << 63) - 1
QUERY_FIELDS_MAX = 32

_hex = {"type": "string", "pattern": "^([0-9a-f]{2})+$"}


async def _get_record(ask: Ask) -> web.Response:
    key = hex_bytes(ask.segment("key"), "key")
    contract, table = ask.segment("contract"), ask.segment("table")
    records, prove = ask.service.query.records, ask.params["prove"]
    return reply(ask.show(lambda viewer: records.state(contract, table, key, viewer, prove)))


async def _get_balance(ask: Ask) -> web.Response:
    account = hex_bytes(ask.segment("account"), "account")
    records, height = ask.service.query.records, ask.params["height"]
    return reply(ask.show(lambda viewer: records.balance(account, height, viewer)))


async def _get_interface(ask: Ask) -> web.Response:
    records = ask.service.query.records
    return reply(records.interface, headers={"ETag": f'"{records.interface_hash}"'})


async def _get_contract(ask: Ask) -> web.Response:
    return reply(ask.service.query.records.contract(ask.segment("contract")))


async def _post_query(ask: Ask) -> web.Response:
    args = await read_json(ask.request)
    async with ask.shared.turn:
        return _run(ask, args)


async def _get_query(ask: Ask) -> web.Response:
    given = ask.request.query
    if len(given) > QUERY_FIELDS_MAX or len(set(given)) != len(given):
        raise Refused("BAD_PARAMETER", "too many fields, or one given twice")
    return _run(ask, dict(given))


def _run(ask: Ask, args: dict[str, Any]) -> web.Response:
    contract, query = ask.segment("contract"), ask.segment("query")
    records = ask.service.query.records
    what = f"query {contract} {query} {msgspec.json.encode(args).decode()}"
    return reply(ask.show(lambda viewer: records.run(contract, query, args, viewer), what))


async def _create_challenge(ask: Ask) -> web.Response:
    body = await read_json(ask.request)
    (public_key,) = _byte_fields(body, {"public_key": PUBLIC_KEY_BYTES})
    check_public_key(public_key)
    challenge, expires_at = ask.shared.sessions.challenge(public_key)
    return reply(
        {
            "challenge": challenge.hex(),
            "expires_at": time_to_json(expires_at),
            "expires_at_ms": str(expires_at),
            "node_key": ask.service.public_key.hex(),
        },
        201,
    )


async def _create_session(ask: Ask) -> web.Response:
    body = await read_json(ask.request)
    sizes = {"public_key": PUBLIC_KEY_BYTES, "challenge": None, "signature": SIGNATURE_BYTES}
    public_key, challenge, signature = _byte_fields(body, sizes)
    check_public_key(public_key)
    token, expires_at = ask.shared.sessions.open(public_key, challenge, signature)
    viewer = ask.service.query.viewer(public_key)
    if viewer.public_key is None:
        raise Refused("KEY_NOT_IN_USE", "this key was replaced, or its identity is suspended")
    view = {
        "token": token,
        "expires_at": time_to_json(expires_at),
        "roles": sorted(viewer.roles),
        "identity": viewer.public_key.hex(),
    }
    return reply(view, 201)


def _byte_fields(body: dict[str, Any], sizes: dict[str, int | None]) -> list[bytes]:
    """The fields named, all of them and no others, as bytes; raises `Refused` `BAD_ARG`."""
    for name in (*sizes, *body):
        if name not in sizes or not isinstance(body.get(name), str):
            raise Refused(
                "BAD_ARG", f"the body must have just: {', '.join(sizes)}, in hex", field=name
            )
    return [hex_bytes(body[name], name, size) for name, size in sizes.items()]


def _object(*names: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(names),
        "properties": dict.fromkeys(names, _hex),
        "additionalProperties": False,
    }


ROUTES = (
    Route(
        "GET",
        "/v1/state/{contract}/{table}/{key}",
        _get_record,
        "getRecord",
        "One record of the current state",
        (flag("prove", "add the proof against a certified header; absence is provable too"),),
    ),
    Route(
        "GET",
        "/v1/balances/{account}",
        _get_balance,
        "getBalance",
        "An account's record now or after a past block",
        (integer("height", "after the block of this height", None, 0, HEIGHT_MAX),),
    ),
    Route("GET", "/v1/contracts", _get_interface, "getInterface", "The interface of all contracts"),
    Route(
        "GET",
        "/v1/contracts/{contract}",
        _get_contract,
        "getContract",
        "One contract's interface and source hash",
    ),
    Route(
        "POST",
        "/v1/contracts/{contract}/queries/{query}",
        _post_query,
        "runQuery",
        "Run a contract's query with JSON arguments",
        body=Body({JSON_TYPE: {"type": "object"}}, required=False),
        in_turn=False,
    ),
    Route(
        "GET",
        "/v1/contracts/{contract}/queries/{query}",
        _get_query,
        "runQueryByUrl",
        "Run a contract's query with its arguments in the URL",
        parameters=None,
    ),
    Route(
        "POST",
        "/v1/challenges",
        _create_challenge,
        "createChallenge",
        "A challenge for a key's holder to sign",
        body=Body({JSON_TYPE: _object("public_key")}),
        answers={201: "the challenge"},
        in_turn=False,
    ),
    Route(
        "POST",
        "/v1/sessions",
        _create_session,
        "createSession",
        "Trade a signed challenge for a token of 15 minutes",
        body=Body({JSON_TYPE: _object("public_key", "challenge", "signature")}),
        answers={201: "the token"},
        in_turn=False,
    ),
)

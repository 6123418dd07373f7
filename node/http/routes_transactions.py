"""Routes for transactions: submit one or a batch, wait, look up, simulate.

A transaction is sent as its canonical signed bytes; a batch as a canonical msgpack array of them.
Sending it again is harmless: its id is the hash of what was signed. A time-out means only that
it is not final yet; `expired` is said only when it can never become final any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Annotated, Any

import msgspec
from aiohttp import web

from contracts.kernel.access import Viewer
from node.http.errors import STATUS_OF, problem
from node.http.requests import choice, flag, hex_bytes, moment, read_body, seconds
from node.http.routing import Ask, Body, Route, reply
from node.http.service import ACCEPTED_CODES, SubmitResult
from node.protocol.encoding import Codec
from node.protocol.errors import Refused
from node.protocol.json_view import time_to_json
from node.protocol.transaction import TRANSACTION_BYTES_MAX, id_of

ONE_TYPE = "application/octet-stream"
BATCH_TYPE = "application/x-groat-batch"
BATCH_TRANSACTIONS_MAX = 500
BATCH_BYTES_MAX = 4 << 20
ID_BYTES = 32
OVERLOADED = 429
EPOCH_ENDED = ("WRONG_EPOCH", "the epoch that it is sealed to has ended; seal the calls again")

_batch_codec: Codec[tuple[bytes, ...]] = Codec(
    Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=BATCH_TRANSACTIONS_MAX)],
    BATCH_BYTES_MAX,
)


async def _submit(ask: Ask) -> web.Response:
    ask.service.check_accepting()
    content_type = ask.request.content_type
    if content_type == BATCH_TYPE:
        with ask.shared.body_room.share() as take:
            raw = await read_body(ask.request, BATCH_BYTES_MAX, take)
            return await _submit_batch(ask, _batch_codec.decode(raw))
    if content_type != ONE_TYPE:
        raise Refused("BAD_CONTENT_TYPE", f"send {ONE_TYPE}, or {BATCH_TYPE} for several")
    return await _submit_one(ask, await read_body(ask.request, TRANSACTION_BYTES_MAX))


async def _submit_one(ask: Ask, raw: bytes) -> web.Response:
    viewer = ask.viewer()
    path = ask.request.path
    if ask.params["wait"] == "none":
        received = id_of(ask.service.query.chain, raw).hex()
        if ask.shared.submit_later((raw,)):
            return reply({"id": received, "status": "unknown", "code": "RECEIVED"}, 202)
    (result,) = await _admit(ask, (raw,))
    identity = result.transaction_id
    if result.code not in ACCEPTED_CODES or identity is None:
        named = None if identity is None else identity.hex()
        return problem(result.code, result.message, path, id=named)
    if ask.params["wait"] == "commit":
        await _wait(ask, identity, ask.params["timeout"])
    async with _turn_for(ask, (result,)):
        view = _show(ask, identity, viewer)
    if view is not None:
        return reply(view)
    if ask.service.was_dropped(identity):
        return problem(*EPOCH_ENDED, path, id=identity.hex())
    location = {"Location": f"/v1/transactions/{identity.hex()}"}
    pending = {"id": identity.hex(), "status": "pending", "code": result.code}
    return reply(pending, 202, location)


async def _submit_batch(ask: Ask, raws: Sequence[bytes]) -> web.Response:
    if ask.params["wait"] == "none":
        chain = ask.service.query.chain
        received = [id_of(chain, raw).hex() for raw in raws]
        if ask.shared.submit_later(raws):
            return reply({"items": [{"id": one, "code": "RECEIVED"} for one in received]}, 202)
    results = await _admit(ask, raws)
    if ask.params["wait"] == "commit":
        await ask.shared.feed.until_closing(_wait_all(ask, results))
    async with _turn_for(ask, results):
        items = [_item(ask, result) for result in results]
    overloaded = any(STATUS_OF.get(result.code) == OVERLOADED for result in results)
    if overloaded and not any(result.code in ACCEPTED_CODES for result in results):
        detail = "none was taken; send them again in a while"
        return problem(results[0].code, detail, ask.request.path, items=items)
    return reply({"items": items}, 202)


async def _admit(ask: Ask, raws: Sequence[bytes]) -> Sequence[SubmitResult]:
    results = await ask.service.submit(raws)
    for result in results:
        if result.code == "PENDING" and result.transaction_id is not None:
            ask.shared.remember(result.transaction_id)
    return results


def _show(ask: Ask, identity: bytes, viewer: Viewer) -> dict[str, Any] | None:
    """A final transaction as the caller may see it."""
    query, prove = ask.service.query, ask.params["prove"]
    what = f"transaction {identity.hex()}"
    return ask.show(lambda one: query.transaction(identity, one, prove), what, viewer)


def _turn_for(ask: Ask, results: Sequence[SubmitResult]) -> AbstractAsyncContextManager[None]:
    """A turn for proofs and for reading blocks of long ago; others are still at hand."""
    old = ask.params["prove"] or any(result.code == "COMMITTED" for result in results)
    return ask.shared.turn if old else nullcontext()


async def _wait(ask: Ask, identity: bytes, timeout_s: float) -> None:
    await ask.shared.feed.until_closing(ask.service.wait_committed(identity, timeout_s))


async def _wait_all(ask: Ask, results: Sequence[SubmitResult]) -> None:
    """Wait for every accepted one, within the one time-out."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ask.params["timeout"]
    for result in results:
        if result.code in ACCEPTED_CODES and result.transaction_id is not None:
            left = max(deadline - loop.time(), 0)
            await ask.service.wait_committed(result.transaction_id, left)


def _item(ask: Ask, result: SubmitResult) -> dict[str, Any]:
    """One line of a batch's answer: the verdict, and the outcome if it is wanted and known."""
    identity = result.transaction_id
    item: dict[str, Any] = {"id": None if identity is None else identity.hex(), "code": result.code}
    if identity is None or result.code not in ACCEPTED_CODES:
        return {**item, "message": result.message}
    if ask.params["wait"] == "commit" or result.code == "COMMITTED":
        outcome = ask.service.query.outcome(identity)
        if outcome is not None:
            height, status, code = outcome
            return {**item, "status": status, "height": str(height), "receipt": {"code": code}}
    if ask.service.was_dropped(identity):
        code, message = EPOCH_ENDED
        return {**item, "code": code, "message": message}
    return item


async def _get_transaction(ask: Ask) -> web.Response:
    identity = hex_bytes(ask.segment("id"), "id", ID_BYTES)
    viewer = ask.viewer()
    if ask.params["wait"] > 0:
        await _wait(ask, identity, ask.params["wait"])
    async with ask.shared.turn:
        view = _show(ask, identity, viewer)
    return reply(view if view is not None else _unfinished(ask, identity))


def _unfinished(ask: Ask, identity: bytes) -> dict[str, Any]:
    """What can be said of a transaction that is not final."""
    view = {"id": identity.hex(), "status": "unknown"}
    if ask.service.was_dropped(identity):
        return {**view, "status": "dropped", "code": EPOCH_ENDED[0]}
    until = ask.service.pending_until(identity)
    if until is None:
        until = ask.shared.valid_until(identity) or ask.params["valid_until"]
    if until is None:
        return view
    expired = ask.service.query.head.time_ms > until
    status = "expired" if expired else "pending"
    return {**view, "status": status, "valid_until": time_to_json(until)}


async def _simulate(ask: Ask) -> web.Response:
    if ask.request.content_type != ONE_TYPE:
        raise Refused("BAD_CONTENT_TYPE", f"send {ONE_TYPE}")
    viewer = ask.viewer()
    raw = await read_body(ask.request, TRANSACTION_BYTES_MAX)
    receipt = await ask.service.simulate(raw)
    query = ask.service.query
    return reply(ask.show(lambda one: query.simulated(raw, receipt, one), viewer=viewer))


_bytes_schema = {"type": "string", "contentMediaType": ONE_TYPE}
_prove = flag("prove", "add the proof that it and its receipt are in the block, if it is one")
_timeout = seconds("timeout", "how long to wait for the block, in seconds", 10.0)

ROUTES = (
    Route(
        "POST",
        "/v1/transactions",
        _submit,
        "submitTransactions",
        "Submit one transaction, or a batch of up to 500",
        (
            choice("wait", "what to wait for", "check", ("none", "check", "commit")),
            _timeout,
            _prove,
        ),
        Body({ONE_TYPE: _bytes_schema, BATCH_TYPE: _bytes_schema}),
        {200: "the transaction is final", 202: "accepted; not final yet"},
        in_turn=False,
    ),
    Route(
        "POST",
        "/v1/transactions/simulate",
        _simulate,
        "simulateTransaction",
        "What would become of a transaction now; nothing is kept",
        body=Body({ONE_TYPE: _bytes_schema}),
        in_turn=False,
    ),
    Route(
        "GET",
        "/v1/transactions/{id}",
        _get_transaction,
        "getTransaction",
        "A transaction's state: pending, committed, failed, expired, dropped or unknown",
        (
            seconds("wait", "how long to wait until it is final, in seconds", 0.0),
            _prove,
            moment("valid_until", "its lifetime, if the caller knows it, to tell `expired`"),
        ),
        in_turn=False,
    ),
)

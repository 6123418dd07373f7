"""Routes over the chain: status, genesis, blocks, validators, peers, mempool, evidence."""

from __future__ import annotations

from aiohttp import web

from node.http.requests import integer
from node.http.routing import Ask, Route, reply, reply_final

PAGE_MAX = 100
PAGE_DEFAULT = 30
HEIGHT_MAX = (1 << 63) - 1
INDEX_MAX = 1_000_000

_limit = integer("limit", "how many items at most", PAGE_DEFAULT, 1, PAGE_MAX)


async def _get_status(ask: Ask) -> web.Response:
    service = ask.service
    identity = {"node": service.name, "node_key": service.public_key.hex()}
    return reply({**identity, **service.query.status_view(), **service.status()})


async def _get_genesis(ask: Ask) -> web.Response:
    genesis = ask.service.query.genesis
    return reply_final(ask.request, genesis.model_dump(mode="json"), genesis.hash.hex())


async def _list_blocks(ask: Ask) -> web.Response:
    return reply(ask.service.query.blocks(ask.params["before"], ask.params["limit"]))


async def _get_block(ask: Ask) -> web.Response:
    query = ask.service.query
    reference = ask.segment("block")
    view = query.block(query.resolve(reference))
    if reference == "latest":
        return reply(view)
    return reply_final(ask.request, view, view["header"]["id"])


async def _list_block_transactions(ask: Ask) -> web.Response:
    query = ask.service.query
    height = query.resolve(ask.segment("block"))
    after = -1 if ask.params["after"] is None else ask.params["after"]
    limit = ask.params["limit"]
    return reply(ask.show(lambda viewer: query.block_transactions(height, after, limit, viewer)))


async def _get_confirmations(ask: Ask) -> web.Response:
    query = ask.service.query
    height = query.resolve(ask.segment("block"))
    certificate = query.block(height)["certificate"]
    return reply(
        {
            "height": str(height),
            "block_id": certificate["block_id"],
            "view": certificate["view"],
            "needed": query.validators_at(height).quorum,
            "confirmed": certificate["seals"],
            **ask.service.confirmations(height),
        }
    )


async def _list_validators(ask: Ask) -> web.Response:
    return reply(ask.service.query.validators_view(ask.params["height"]))


async def _list_peers(ask: Ask) -> web.Response:
    return reply({"items": ask.service.peers()})


async def _get_mempool(ask: Ask) -> web.Response:
    return reply(ask.service.mempool())


async def _list_evidence(ask: Ask) -> web.Response:
    return reply({"items": ask.service.evidence()})


ROUTES = (
    Route("GET", "/v1/status", _get_status, "getStatus", "The node and the head of its chain"),
    Route("GET", "/v1/genesis", _get_genesis, "getGenesis", "The genesis file"),
    Route(
        "GET",
        "/v1/blocks",
        _list_blocks,
        "listBlocks",
        "Final blocks, newest first",
        (integer("before", "blocks below this height", None, 1, HEIGHT_MAX), _limit),
    ),
    Route("GET", "/v1/blocks/{block}", _get_block, "getBlock", "A final block and its certificate"),
    Route(
        "GET",
        "/v1/blocks/{block}/transactions",
        _list_block_transactions,
        "listBlockTransactions",
        "A block's transactions in order, as the caller may see them",
        (integer("after", "transactions after this index", None, 0, INDEX_MAX), _limit),
    ),
    Route(
        "GET",
        "/v1/blocks/{block}/confirmations",
        _get_confirmations,
        "getConfirmations",
        "Which validators confirmed a block, and which dissented",
    ),
    Route(
        "GET",
        "/v1/validators",
        _list_validators,
        "listValidators",
        "Who decides a height",
        (integer("height", "that height, by default the next one", None, 1, HEIGHT_MAX),),
    ),
    Route("GET", "/v1/peers", _list_peers, "listPeers", "The node's peers"),
    Route("GET", "/v1/mempool", _get_mempool, "getMempool", "How much waits for a block"),
    Route(
        "GET",
        "/v1/evidence",
        _list_evidence,
        "listEvidence",
        "Contradicting messages signed by one validator",
    ),
)

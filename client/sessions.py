"""Sessions with nodes: a signed challenge buys a token of some minutes, renewed before it ends.

A token is good at the node that gave it and for the key that signed. What it allows is the node's
decision at each request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from client.connection import Answer, Connection, Request
from client.errors import NotAllowed, Unproven, Unreachable
from node.protocol.errors import Refused
from node.protocol.genesis import Genesis
from node.protocol.json_view import bytes_from_json, time_from_json
from node.protocol.keys import PrivateKey
from node.protocol.session import session_digest

RENEW_BEFORE_MS = 30_000
FORBIDDEN = "FORBIDDEN"


class Token(NamedTuple):
    """A node's token and when it ends by that node's clock, ms since 1970."""

    text: str
    expires_at: int


class Sessions:
    """The open sessions of one client, by node and key."""

    def __init__(
        self,
        genesis: Genesis,
        connection: Connection,
        now_ms: Callable[[], int],
        node_keys: Mapping[str, bytes],
    ) -> None:
        """`node_keys`: the ledger key of each node whose key is known, by url."""
        self._node_keys = node_keys
        self._chain = genesis.chain
        self._connection = connection
        self._now_ms = now_ms
        self._tokens: dict[tuple[str, bytes], Token] = {}

    async def headers(self, key: PrivateKey, url: str) -> dict[str, str]:
        """The headers that show `key` to the node at `url`, opening a session if needed."""
        token = self._tokens.get((url, key.public_key))
        if token is None or token.expires_at - RENEW_BEFORE_MS < self._now_ms():
            token = await self._open(key, url)
            self._tokens[(url, key.public_key)] = token
        return {"Authorization": f"Bearer {token.text}"}

    async def ask(self, key: PrivateKey, request: Request, url: str | None = None) -> Answer:
        """An answer for the eyes of `key`, with fail-over; raises as `Connection.ask` does."""
        faults: list[str] = []
        for node in [url] if url else self._connection.order():
            try:
                return await self._ask_one(key, request, node)
            except Unreachable as error:
                faults.append(error.message)
        raise Unreachable("UNREACHABLE", "; ".join(faults))

    async def _ask_one(self, key: PrivateKey, request: Request, url: str) -> Answer:
        try:
            return await self._connection.ask(request, url, await self.headers(key, url))
        except NotAllowed as error:
            if error.code == FORBIDDEN:
                raise
        # The node may have been restarted since, which ends its sessions.
        self._tokens.pop((url, key.public_key), None)
        return await self._connection.ask(request, url, await self.headers(key, url))

    async def _open(self, key: PrivateKey, url: str) -> Token:
        public_key = key.public_key.hex()
        asked = await self._connection.ask(
            Request("POST", "/v1/challenges", body={"public_key": public_key}), url
        )
        try:
            challenge = bytes_from_json(asked.body.get("challenge"), "challenge")
            node_key = bytes_from_json(asked.body.get("node_key"), "node_key", 33)
            expires_at = time_from_json(str(asked.body.get("expires_at")))
            self._check_node(url, node_key)
            digest = session_digest(self._chain, node_key, key.public_key, challenge, expires_at)
            answer = {
                "public_key": public_key,
                "challenge": challenge.hex(),
                "signature": key.sign(digest).hex(),
            }
            opened = await self._connection.ask(Request("POST", "/v1/sessions", body=answer), url)
            return Token(str(opened.body["token"]), time_from_json(str(opened.body["expires_at"])))
        except (Refused, KeyError):
            raise Unreachable("BAD_ANSWER", f"{url} gave no usable session") from None

    def _check_node(self, url: str, node_key: bytes) -> None:
        """Sign for no other node than the one asked: it could pass the signature on to that one."""
        if self._node_keys.get(url, node_key) != node_key:
            raise Unproven("OTHER_NODE", f"{url} shows the key of another node: do not believe it")

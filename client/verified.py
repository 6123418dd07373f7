"""Answers of nodes, checked against the genesis file: headers by their seals, records by proof.

A node that answers with something unproved gets an `Unproven` raised against it, never a fallback.
"""

from __future__ import annotations

from typing import NamedTuple

from client.connection import Answer, Connection, Json
from client.errors import Unproven
from client.light import LightClient, check_state, decode_certificate, decode_header
from node.protocol.block import BlockHeader
from node.protocol.errors import Refused
from node.protocol.json_view import bytes_from_json, integer_from_json
from node.protocol.keys import PUBLIC_KEY_BYTES
from node.protocol.validators import ValidatorSet


class ProvenRecord(NamedTuple):
    """A verified record: `value` canonical bytes, None if proved absent, after block `height`."""

    value: bytes | None
    record: Json | None
    height: int
    time_ms: int
    block_id: bytes


class Verifier:
    """Checks what nodes answer; feeds and fills the light client."""

    def __init__(self, light: LightClient, connection: Connection) -> None:
        self._light = light
        self._connection = connection

    async def block(self, reference: str, answer: Answer) -> BlockHeader:
        """The header in the answer of `/v1/blocks/{reference}`; raises `Unproven`."""
        header = await self.certified(answer.body.get("canonical"), answer.url)
        other_height = reference.isdecimal() and int(reference) != header.height
        other_id = len(reference) == 64 and header.id(self._light.chain).hex() != reference
        if other_height or other_id:
            raise Unproven("OTHER_BLOCK", f"{answer.url} answered with another block")
        return header

    async def record(self, table: str, key: bytes, answer: Answer) -> ProvenRecord:
        """The record in the answer of `/v1/state/…?prove=true`; raises `Unproven`."""
        proof, given = answer.body.get("proof"), answer.body.get("value")
        if not isinstance(proof, dict):
            raise Unproven("NO_PROOF", f"{answer.url} gave no proof")
        header = await self.certified(proof, answer.url)
        value = None if given is None else _bytes(given, answer.url)
        path, salt = _bytes(proof.get("path"), answer.url), _bytes(proof.get("salt"), answer.url)
        check_state(header, table, key, value, path, salt)
        block_id = header.id(self._light.chain)
        return ProvenRecord(
            value, answer.body.get("record"), header.height, header.time_ms, block_id
        )

    async def certified(self, canonical: object, url: str) -> BlockHeader:
        """The header in `{"header": hex, "certificate": hex}`; raises `Unproven`."""
        if not isinstance(canonical, dict):
            raise Unproven("NO_PROOF", f"{url} gave no certified header")
        header = decode_header(_bytes(canonical.get("header"), url))
        certificate = decode_certificate(_bytes(canonical.get("certificate"), url))
        self._light.check(header, certificate)
        if self._light.names_new_validators(header):
            await self._learn_validators(header, url)
        return header

    async def _learn_validators(self, header: BlockHeader, url: str) -> None:
        answer = await self._connection.ask("GET", "/v1/validators", url=url)
        try:
            members = tuple(
                bytes_from_json(item["public_key"], "public_key", PUBLIC_KEY_BYTES)
                for item in answer.body["items"]
            )
            more_than = integer_from_json(answer.body["confirmations_more_than"], "preset")
        except (KeyError, TypeError, Refused):
            raise Unproven("BAD_VALIDATORS", f"{url} gave no validator set") from None
        self._light.learn(header, ValidatorSet(members, more_than))


def _bytes(given: object, url: str) -> bytes:
    try:
        return bytes_from_json(given, "proof")
    except Refused as refusal:
        raise Unproven("BAD_PROOF", f"{url}: {refusal.message}") from None

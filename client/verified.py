"""Answers of nodes, checked against the genesis file: headers by their seals, records by proof.

A node that answers with something unproved gets an `Unproven` raised against it, never a fallback:
whoever asks here wants to know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from client.connection import Answer, Request
from client.errors import Unproven, Unreachable
from client.light import (
    LightClient,
    check_receipt,
    check_state,
    decode_certificate,
    decode_header,
)
from client.outcomes import Json
from node.protocol.block import BlockHeader, public_receipt_hash
from node.protocol.errors import Refused
from node.protocol.json_view import bytes_from_json, integer_from_json
from node.protocol.keys import PUBLIC_KEY_BYTES, PrivateKey
from node.protocol.messages import CertifiedHeader
from node.protocol.validators import ValidatorSet

STEADY_ATTEMPTS_MAX = 5


class ProvenRecord(NamedTuple):
    """A verified record: `value` canonical bytes, None if proved absent, after block `height`."""

    value: bytes | None
    height: int
    time_ms: int
    block_id: bytes
    url: str


class Asker(Protocol):
    """How to ask nodes: `NodeApi`, as far as it is needed here."""

    async def ask(
        self, request: Request, viewer: PrivateKey | None = None, url: str | None = None
    ) -> Answer:
        """Any resource, with fail-over unless `url` names a node."""
        ...


class VerifiedReader:
    """Reads what can be proved; feeds the light client and is limited by it."""

    def __init__(self, light: LightClient, asker: Asker) -> None:
        self._light = light
        self._asker = asker

    async def header(self, reference: str, url: str | None = None) -> BlockHeader:
        """The header of a height, of a block id in hex, or `latest`."""
        return (await self.block(reference, url)).header

    async def block(self, reference: str, url: str | None = None) -> CertifiedHeader:
        """The same with the certificate that proves it."""
        answer = await self._asker.ask(Request("GET", f"/v1/blocks/{reference}"), url=url)
        block = await self.certified(answer.body.get("canonical"), answer.url)
        header = block.header
        other_height = reference.isdecimal() and int(reference) != header.height
        other_id = len(reference) == 64 and header.id(self._light.chain).hex() != reference
        if other_height or other_id:
            raise Unproven("OTHER_BLOCK", f"{answer.url} answered with another block")
        return block

    async def record(
        self,
        contract: str,
        table: str,
        key: bytes,
        viewer: PrivateKey | None = None,
        url: str | None = None,
    ) -> ProvenRecord:
        """One record of the current state, or the proof that there is none."""
        path = f"/v1/state/{contract}/{table}/{key.hex()}"
        answer = await self._asker.ask(Request("GET", path, {"prove": "true"}), viewer, url)
        proof, given = answer.body.get("proof"), answer.body.get("value")
        if not isinstance(proof, dict):
            raise Unproven("NO_PROOF", f"{answer.url} gave no proof")
        header = (await self.certified(proof, answer.url)).header
        value = None if given is None else _bytes(given, answer.url)
        way, salt = _bytes(proof.get("path"), answer.url), _bytes(proof.get("salt"), answer.url)
        check_state(header, f"{contract}/{table}", key, value, way, salt)
        block_id = header.id(self._light.chain)
        return ProvenRecord(value, header.height, header.time_ms, block_id, answer.url)

    async def receipt(self, transaction_id: bytes) -> BlockHeader:
        """The header of the block that holds this transaction with the code that the node says."""
        path = f"/v1/transactions/{transaction_id.hex()}"
        answer = await self._asker.ask(Request("GET", path, {"prove": "true"}))
        proof, receipt = answer.body.get("proof"), answer.body.get("receipt")
        if not isinstance(proof, dict) or not isinstance(receipt, dict):
            raise Unproven("NO_PROOF", f"{answer.url} gave no proof; is the transaction final?")
        header = (await self.certified(proof, answer.url)).header
        private = _bytes(proof.get("private_hash"), answer.url)
        leaf = public_receipt_hash(transaction_id, str(receipt.get("code")), private)
        check_receipt(header, leaf, _bytes(proof.get("receipt_path"), answer.url))
        return header

    async def query(
        self,
        contract: str,
        name: str,
        args: Json,
        *,
        table: str,
        key: bytes,
        read: Callable[[bytes], Json],
        viewer: PrivateKey | None = None,
    ) -> tuple[Json | None, ProvenRecord]:
        """A query's result with the proved record that it shows, both of one height.

        `read` names a record's fields; each simple field that result and record share must be
        equal. The result is None where the record is proved absent.
        """
        path = f"/v1/contracts/{contract}/queries/{name}"
        for _ in range(STEADY_ATTEMPTS_MAX):
            proven = await self.record(contract, table, key, viewer)
            if proven.value is None:
                return None, proven
            answer = await self._asker.ask(Request("POST", path, body=args), viewer, proven.url)
            if answer.body.get("height") != str(proven.height):
                continue  # a block came in between
            result = answer.body.get("result")
            if not isinstance(result, dict):
                raise Unproven("WRONG_RESULT", f"{answer.url} gave no result")
            _check_agree(result, read(proven.value), answer.url)
            return result, proven
        raise Unreachable("STATE_MOVED", "blocks came too fast to compare; ask again")

    async def certified(self, canonical: object, url: str) -> CertifiedHeader:
        """The block in `{"header": hex, "certificate": hex}` as the node at `url` gave it."""
        if not isinstance(canonical, dict):
            raise Unproven("NO_PROOF", f"{url} gave no certified header")
        header = decode_header(_bytes(canonical.get("header"), url))
        certificate = decode_certificate(_bytes(canonical.get("certificate"), url))
        self._light.check(header, certificate)
        if self._light.names_new_validators(header):
            await self._learn_validators(header, url)
        return CertifiedHeader(header, certificate)

    async def _learn_validators(self, header: BlockHeader, url: str) -> None:
        answer = await self._asker.ask(Request("GET", "/v1/validators"), url=url)
        try:
            members = tuple(
                bytes_from_json(item["public_key"], "public_key", PUBLIC_KEY_BYTES)
                for item in answer.body["items"]
            )
            more_than = integer_from_json(answer.body["confirmations_more_than"], "preset")
        except (KeyError, TypeError, Refused):
            raise Unproven("BAD_VALIDATORS", f"{url} gave no validator set") from None
        self._light.learn(header, ValidatorSet(members, more_than))


def _check_agree(result: Json, record: Json, url: str) -> None:
    for field, value in record.items():
        shown: Any = result.get(field, value)
        if not isinstance(value, list | dict) and shown != value:
            raise Unproven("WRONG_RESULT", f"{url} says that {field} is {shown}, it is {value}")


def _bytes(given: object, url: str) -> bytes:
    try:
        return bytes_from_json(given, "proof")
    except Refused as refusal:
        raise Unproven("BAD_PROOF", f"{url}: {refusal.message}") from None

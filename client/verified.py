"""Answers of nodes, checked against the genesis file: headers by their seals, records by proof.

A node that answers with something unproved gets an `Unproven` raised against it, never a fallback:
whoever asks here wants to know. Nothing that a node merely says is returned from here.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from client.connection import Answer, Request
from client.errors import Unproven
from client.light import (
    LightClient,
    check_receipt,
    check_state,
    decode_certificate,
    decode_header,
    decode_receipt,
)
from client.outcomes import Json, Outcome, parse_outcome
from node.protocol.block import BlockHeader, Receipt, public_receipt_hash, receipt_hash
from node.protocol.errors import Refused
from node.protocol.json_view import bytes_from_json, integer_from_json, time_to_json, to_json
from node.protocol.keys import PUBLIC_KEY_BYTES, PrivateKey
from node.protocol.messages import CertifiedHeader
from node.protocol.validators import ValidatorSet

STALE_RETRIES = 5
STALE_PAUSE_SECONDS = 0.2
ERAS_MAX = 10_000


class ProvenRecord(NamedTuple):
    """A verified record: `value` canonical bytes, None if proved absent, after block `height`."""

    value: bytes | None
    height: int
    time_ms: int
    block_id: bytes
    url: str


class ProvenReceipt(NamedTuple):
    """A verified outcome in the block of `header`; `receipt` is None where only `code` is proved.

    The whole receipt is for those alone who may read all of it.
    """

    code: str
    receipt: Receipt | None
    header: BlockHeader


class _Era(NamedTuple):
    """A validator set and the first height that it decides, as one node says."""

    since: int
    validators: ValidatorSet


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
        """One record of the current state, or the proof that there is none.

        Current means: not older than what was verified before. Raises `Unproven` `STALE`.
        """
        known = self._light.head.height
        proven = await self._record(contract, table, key, viewer, url)
        for _ in range(STALE_RETRIES):
            if proven.height >= known:
                return proven
            await asyncio.sleep(STALE_PAUSE_SECONDS)  # a node may lag behind another for a moment
            proven = await self._record(contract, table, key, viewer, url)
        if proven.height >= known:
            return proven
        message = f"{proven.url} shows the state of block {proven.height}, but {known} is final"
        raise Unproven("STALE", message)

    async def _record(
        self, contract: str, table: str, key: bytes, viewer: PrivateKey | None, url: str | None
    ) -> ProvenRecord:
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

    async def receipt(
        self, transaction_id: bytes, viewer: PrivateKey | None = None
    ) -> ProvenReceipt:
        """What became of a final transaction: its code, and all else that `viewer` may read."""
        path = f"/v1/transactions/{transaction_id.hex()}"
        answer = await self._asker.ask(Request("GET", path, {"prove": "true"}), viewer)
        return await self._receipt(transaction_id, answer)

    async def outcome(
        self, transaction_id: bytes, answer: Answer | None = None, viewer: PrivateKey | None = None
    ) -> Outcome:
        """The same as an outcome, which shows nothing of the receipt that is not proved.

        It is made of an `answer` that has it with its proof, or asked for.
        """
        if answer is None:
            path = f"/v1/transactions/{transaction_id.hex()}"
            answer = await self._asker.ask(Request("GET", path, {"prove": "true"}), viewer)
        proven = await self._receipt(transaction_id, answer)
        said = {name: value for name, value in answer.body.items() if name != "proof"}
        return proven_outcome(transaction_id, proven, said)

    async def _receipt(self, transaction_id: bytes, answer: Answer) -> ProvenReceipt:
        """What an answer proves."""
        url, shown, proof = answer.url, answer.body.get("receipt"), answer.body.get("proof")
        if not isinstance(proof, dict) or not isinstance(shown, dict):
            raise Unproven("NO_PROOF", f"{url} gave no proof; is the transaction final?")
        header = (await self.certified(proof, url)).header
        receipt, code = None, str(shown.get("code"))
        leaf = public_receipt_hash(transaction_id, code, _bytes(proof.get("private_hash"), url))
        if proof.get("receipt") is not None:
            receipt = decode_receipt(_bytes(proof["receipt"], url))
            code, leaf = receipt.code, receipt_hash(receipt, _bytes(proof.get("salt"), url))
            if receipt.transaction_id != transaction_id:
                raise Unproven("OTHER_RECEIPT", f"{url} answered for another transaction")
        check_receipt(header, leaf, _bytes(proof.get("receipt_path"), url))
        return ProvenReceipt(code, receipt, header)

    async def certified(self, canonical: object, url: str) -> CertifiedHeader:
        """The block in `{"header": hex, "certificate": hex}` as the node at `url` gave it."""
        block = _decoded(canonical, url)
        header = block.header
        try:
            self._light.check(header, block.certificate)
        except Unproven:
            # Others may decide by now: follow the changes of the set up to there.
            if not await self._follow_validators(header.height, url):
                raise
            self._light.check(header, block.certificate)
        if self._light.names_new_validators(header):
            await self._follow_validators(header.height + 1, url)
            if self._light.names_new_validators(header):
                raise Unproven("BAD_VALIDATORS", f"{url} does not know the next validators")
        return block

    async def _follow_validators(self, height: int, url: str) -> bool:
        """Learn every set from the newest known one to that of `height`; whether there was any.

        Each is named by the last header that the one before it sealed.
        """
        eras: list[_Era] = []
        while height > self._light.newest_since and len(eras) < ERAS_MAX:
            era = await self._era(height, url)
            if not self._light.newest_since < era.since <= height:
                break
            eras.append(era)
            height = era.since - 1
        for era in reversed(eras):
            answer = await self._asker.ask(Request("GET", f"/v1/blocks/{era.since - 1}"), url=url)
            last = _decoded(answer.body.get("canonical"), url)
            if last.header.height != era.since - 1:
                raise Unproven("OTHER_BLOCK", f"{url} answered with another block")
            self._light.check(last.header, last.certificate)
            self._light.learn(last.header, era.validators)
        return bool(eras)

    async def _era(self, height: int, url: str) -> _Era:
        """The set that decides `height` as the node at `url` says; nothing is proved yet."""
        request = Request("GET", "/v1/validators", {"height": str(height)})
        answer = await self._asker.ask(request, url=url)
        try:
            members = tuple(
                bytes_from_json(item["public_key"], "public_key", PUBLIC_KEY_BYTES)
                for item in answer.body["items"]
            )
            more_than = integer_from_json(answer.body["confirmations_more_than"], "preset")
            since = integer_from_json(answer.body["since"], "since")
        except (KeyError, TypeError, Refused):
            raise Unproven("BAD_VALIDATORS", f"{url} gave no validator set") from None
        return _Era(since, ValidatorSet(members, more_than))


def proven_outcome(identity: bytes, proven: ProvenReceipt, said: Json | None = None) -> Outcome:
    """A proved outcome; of what a node `said` it keeps what no receipt shows, such as the calls."""
    receipt: Json = {"code": proven.code}
    if proven.receipt is not None:
        receipt["details"] = to_json(proven.receipt.details)
        receipt["events"] = [
            {"contract": one.contract, "name": one.name, "data": to_json(one.data)}
            for one in proven.receipt.events
        ]
    body = {
        **(said or {}),
        "id": identity.hex(),
        "status": "committed" if proven.code == "OK" else "failed",
        "height": str(proven.header.height),
        "time": time_to_json(proven.header.time_ms),
        "receipt": receipt,
        "verified": True,
    }
    return parse_outcome(identity.hex(), body)


def _decoded(canonical: object, url: str) -> CertifiedHeader:
    if not isinstance(canonical, dict):
        raise Unproven("NO_PROOF", f"{url} gave no certified header")
    header = decode_header(_bytes(canonical.get("header"), url))
    return CertifiedHeader(header, decode_certificate(_bytes(canonical.get("certificate"), url)))


def _bytes(given: object, url: str) -> bytes:
    try:
        return bytes_from_json(given, "proof")
    except Refused as refusal:
        raise Unproven("BAD_PROOF", f"{url}: {refusal.message}") from None

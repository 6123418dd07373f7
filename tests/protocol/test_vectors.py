"""Frozen bytes: what the protocol writes must never change by accident.

`vectors.json` is the frozen file. After a deliberate change of the protocol run
`GROAT_REWRITE=1 python -m pytest tests/protocol/test_vectors.py` and review the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from node.protocol.block import Event, Receipt, receipt_hash
from node.protocol.encoding import Value, decode, encode, sha256
from node.protocol.json_view import to_json
from node.protocol.keys import PrivateKey
from node.protocol.messages import decode_message, encode_message
from node.protocol.proofs import merkle_root
from node.protocol.sealing import EphemeralKey, Opener, seal_call
from node.protocol.session import session_digest
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import SealedCall, parse_transaction, sign_transaction
from node.protocol.validators import ValidatorSet
from tests.protocol.samples import BLOCK, TRANSACTION, messages
from tests.protocol.support import (
    CALL,
    CHAIN,
    EPOCH,
    EPOCH_SECRET,
    HOLDER,
    MEMBERS,
    NONCE,
    SENDER,
    VALID_UNTIL,
    genesis_content,
    key,
    steady_bytes,
)
from tests.protocol.test_genesis import parse

PATH = Path(__file__).with_name("vectors.json")
REWRITE = os.environ.get("GROAT_REWRITE") == "1"

VALUES: dict[str, Value] = {
    "nil": None,
    "booleans": [True, False],
    "integers": [0, 127, 128, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1],
    "negatives": [-1, -32, -33, -128, -129, -32_769, -(1 << 31) - 1, -(1 << 63)],
    "texts": ["", "a" * 31, "a" * 32, "a" * 256, "钱 ₤ \0"],
    "bytes": [b"", bytes(255), bytes(256)],
    "map": {"b": 1, "a": {"ä": [], "z": {}}, "aa": None, "B": b""},
}
RECEIPT = Receipt(
    TRANSACTION.id,
    "OK",
    {"replayed": False},
    (Event("prepaid", "Consumed", {"amount": 30_000}, ("role:regulator",)),),
    (HOLDER.public_key.hex(),),
)


def sealed_call(monkeypatch: pytest.MonkeyPatch) -> SealedCall:
    """A call sealed with "random" bytes that are always the same."""
    steady = steady_bytes()
    monkeypatch.setattr("secrets.token_bytes", lambda count: next(steady)[:count])
    return seal_call(
        CHAIN,
        EPOCH,
        SENDER.public_key,
        NONCE,
        VALID_UNTIL,
        0,
        CALL,
        EphemeralKey(key(30)),
        (HOLDER.public_key,),
    )


def vectors(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Everything that is frozen, by name."""
    sealed = sealed_call(monkeypatch)
    sealed_transaction = sign_transaction(CHAIN, SENDER, NONCE, VALID_UNTIL, (sealed,))
    validators = ValidatorSet(tuple(member.public_key for member in MEMBERS), 2)
    terms: dict[str, Value] = {"card": bytes(16), "paid": 300_000}
    genesis = parse(genesis_content())
    return {
        **{f"value/{name}": encode(value) for name, value in VALUES.items()},
        "key/public": key(1).public_key,
        "key/signature": key(1).sign(sha256(b"message")),
        "key/derived": PrivateKey.derive(bytes(32), "customer/1").secret,
        "key/exchange": key(1).shared_secret(key(2).public_key),
        "chain/prefix": CHAIN.prefix("transaction"),
        "chain/network": CHAIN.network,
        "transaction/raw": TRANSACTION.raw,
        "transaction/id": TRANSACTION.id,
        "transaction/content_hash": TRANSACTION.content_hash,
        "sealed/call": encode(sealed),
        "sealed/transaction": sealed_transaction.raw,
        "ticket/signature": sign_ticket(CHAIN, HOLDER, "prepaid", "open_card", terms),
        "session/digest": session_digest(
            CHAIN, MEMBERS[0].public_key, SENDER.public_key, bytes(32), VALID_UNTIL
        ),
        "block/header": encode(BLOCK),
        "block/id": BLOCK.id(CHAIN),
        "block/receipt": encode(RECEIPT),
        "block/receipt_hash": receipt_hash(RECEIPT, bytes(32)),
        "block/root_of_three": merkle_root([sha256(b"1"), sha256(b"2"), sha256(b"3")]),
        "validators/hash": validators.hash,
        "genesis/hash": genesis.hash,
        **{f"message/{name}": encode_message(message) for name, message in messages().items()},
    }


def frozen() -> dict[str, bytes]:
    """The content of the frozen file."""
    return {name: bytes.fromhex(text) for name, text in json.loads(PATH.read_text()).items()}


def test_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    current = vectors(monkeypatch)
    if REWRITE:
        text = json.dumps({name: raw.hex() for name, raw in current.items()}, indent=1)
        PATH.write_text(text + "\n")
    assert to_json(current) == to_json(frozen())


def test_frozen_bytes_are_still_read() -> None:
    old = frozen()
    for name, value in VALUES.items():
        assert decode(old[f"value/{name}"]) == value
    for name, message in messages().items():
        assert decode_message(old[f"message/{name}"]) == message
    assert parse_transaction(CHAIN, old["transaction/raw"]) == TRANSACTION
    sealed = parse_transaction(CHAIN, old["sealed/transaction"]).body
    call = sealed.calls[0]
    assert isinstance(call, SealedCall)
    opened = Opener(CHAIN, {1: EPOCH_SECRET}).open(
        call, sealed.sender, sealed.nonce, sealed.valid_until, 0
    )
    assert opened == CALL

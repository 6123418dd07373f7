"""Fixed keys, one chain and one genesis file for the protocol tests; all of it is deterministic."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from node.protocol.block import EMPTY_ROOT, BlockHeader, CommitCertificate, CommitSeal, vote_digest
from node.protocol.committee import seal_epoch_secret
from node.protocol.domain import Chain
from node.protocol.encoding import sha256
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.sealing import ALGORITHM, EpochKey
from node.protocol.transaction import Call

CHAIN = Chain("vectors", sha256(b"a genesis file"))
NONCE = bytes(range(16))
VALID_UNTIL = 1_800_000_000_000
TIME_MS = 1_799_999_900_000
CALL = Call("prepaid", "consume", {"amount": 30_000, "card": bytes(16), "seq": 1})


def key(number: int) -> PrivateKey:
    """The `number`-th test key."""
    return PrivateKey(sha256(b"test key %d" % number))


MEMBERS = tuple(sorted((key(n) for n in range(4)), key=lambda k: k.public_key))
SENDER = key(10)
HOLDER = key(11)
EPOCH_SECRET = key(20)
EPOCH = EpochKey(1, EPOCH_SECRET.public_key)


def steady_bytes() -> Iterator[bytes]:
    """An endless source of reproducible "random" blocks of 64 bytes."""
    counter = 0
    while True:
        yield hashlib.sha512(b"steady %d" % counter).digest()
        counter += 1


def header(height: int = 1) -> BlockHeader:
    """A block header."""
    return BlockHeader(
        version=1,
        height=height,
        time_ms=TIME_MS,
        parent=CHAIN.genesis_hash,
        transactions_root=EMPTY_ROOT,
        receipts_root=EMPTY_ROOT,
        state_root=sha256(b"state"),
        next_validators_hash=sha256(b"set"),
        proposer=MEMBERS[0].public_key,
    )


def certificate(block: BlockHeader, count: int, view: int = 0) -> CommitCertificate:
    """The first `count` members' COMMITs of `view` for `block`."""
    identity = block.id(CHAIN)
    digest = vote_digest(CHAIN, "commit", block.height, view, identity)
    seals = tuple(CommitSeal(k.public_key, k.sign(digest)) for k in MEMBERS[:count])
    return CommitCertificate(block.height, view, identity, seals)


def genesis_content() -> dict[str, Any]:
    """The content of a genesis file of four validators, with wraps that are not opened."""
    return {
        "version": 1,
        "chain_id": "vectors",
        "created_at": "2026-01-31T08:00:00.000Z",
        "dev": True,
        "time_scale": 1,
        "tree_depth": 2,
        "validators": [
            {
                "name": f"node{number}",
                "public_key": member.public_key.hex(),
                "address": f"127.0.0.1:{27_100 + number}",
                "tls_fingerprint": sha256(b"certificate %d" % number).hex(),
            }
            for number, member in enumerate(MEMBERS, 1)
        ],
        "confirmations_more_than": 2,
        "limits": {
            "block_transactions": 1_000,
            "block_bytes": 1 << 20,
            "block_calls": 2_000,
            "block_writes": 10_000,
        },
        "timeouts": {"base_ms": 1_000, "cap_ms": 8_000},
        "identities": [
            {"name": "bank", "public_key": SENDER.public_key.hex(), "roles": ["bank"]},
            {"name": "alice", "public_key": HOLDER.public_key.hex(), "roles": []},
        ],
        "assets": [{"code": "CNY", "scale": 2}],
        "contracts": {"kernel": sha256(b"kernel").hex(), "prepaid": sha256(b"prepaid").hex()},
        "interface_hash": sha256(b"interface").hex(),
        "parameters": {"prepaid": {"allow_clear": True}},
        "epoch": {
            "number": 1,
            "algorithm": ALGORITHM,
            "public_key": EPOCH.public_key.hex(),
            "wraps": {member.public_key.hex(): "00" for member in MEMBERS},
        },
    }


def genesis_with_wraps() -> Genesis:
    """The same genesis with wraps that each member can open."""
    content = genesis_content()
    content["epoch"]["wraps"] = {
        member.public_key.hex(): seal_epoch_secret(
            "vectors", 1, EPOCH_SECRET.secret, member.public_key, key(21), sha256(b"privacy")
        ).hex()
        for member in MEMBERS
    }
    return Genesis.parse(json.dumps(content))

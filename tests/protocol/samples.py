"""One good message of every kind, for round trips and for the frozen vectors."""

from __future__ import annotations

from node.protocol.block import CertifiedBlock
from node.protocol.encoding import encode, sha256
from node.protocol.messages import (
    MANIFEST_FILE,
    STATE_SECTION,
    BlockRange,
    BlockRequest,
    CertifiedHeader,
    Commit,
    Dissent,
    Evidence,
    Head,
    Message,
    Prepare,
    PreparedProof,
    PrePrepare,
    SnapshotFile,
    SnapshotPart,
    SnapshotRequest,
    TransactionRequest,
    Transactions,
    ViewChange,
    sign_message,
)
from node.protocol.transaction import sign_transaction
from tests.protocol.support import (
    CALL,
    CHAIN,
    MEMBERS,
    NONCE,
    SENDER,
    VALID_UNTIL,
    certificate,
    header,
)

BLOCK = header()
BLOCK_ID = BLOCK.id(CHAIN)
TRANSACTION = sign_transaction(CHAIN, SENDER, NONCE, VALID_UNTIL, (CALL,))
LEADER = MEMBERS[0]


def prepare(member: int, view: int = 0) -> Prepare:
    """A member's signed PREPARE."""
    signer = MEMBERS[member]
    return sign_message(CHAIN, signer, Prepare(1, view, BLOCK_ID, signer.public_key, b""))


def commit(member: int, view: int = 0) -> Commit:
    """A member's signed COMMIT."""
    signer = MEMBERS[member]
    return sign_message(CHAIN, signer, Commit(1, view, BLOCK_ID, signer.public_key, b""))


def messages() -> dict[str, Message]:
    """By name."""
    hashes = (TRANSACTION.content_hash,)
    prepares = (prepare(0), prepare(1), prepare(2))
    idle = sign_message(CHAIN, LEADER, ViewChange(1, 1, -1, b"", LEADER.public_key, b"", None))
    proof = PreparedProof(BLOCK, hashes, prepares)
    prepared = sign_message(
        CHAIN, LEADER, ViewChange(1, 1, 0, BLOCK_ID, LEADER.public_key, b"", proof)
    )
    dissent = Dissent(1, 0, BLOCK_ID, BLOCK.state_root, sha256(b"mine"), LEADER.public_key, b"")
    return {
        "prepare": prepare(0),
        "commit": commit(0),
        "view_change": idle,
        "view_change_prepared": prepared,
        "pre_prepare": sign_message(
            CHAIN, LEADER, PrePrepare(0, BLOCK, hashes, LEADER.public_key, b"", (), ())
        ),
        "pre_prepare_justified": sign_message(
            CHAIN, LEADER, PrePrepare(1, BLOCK, hashes, LEADER.public_key, b"", (idle,), prepares)
        ),
        "dissent": sign_message(CHAIN, LEADER, dissent),
        "certified_header": CertifiedHeader(BLOCK, certificate(BLOCK, 3)),
        "transactions": Transactions((TRANSACTION.raw,)),
        "transaction_request": TransactionRequest(hashes),
        "block_request": BlockRequest(1, 64),
        "block_range": BlockRange(
            (CertifiedBlock(BLOCK, (TRANSACTION.raw,), certificate(BLOCK, 3)),), 9
        ),
        "head": Head(9, 3, (4, 8)),
        "snapshot_request": SnapshotRequest(8, SnapshotFile(STATE_SECTION, 7), 1 << 20),
        "snapshot_part": SnapshotPart(8, SnapshotFile(STATE_SECTION, 7), 0, 3, b"abc"),
        "snapshot_gone": SnapshotPart(8, MANIFEST_FILE, 0, None, b""),
        "evidence": Evidence(encode(prepare(0)), encode(prepare(0, 1))),
    }

"""Blocks, receipts and commit certificates.

A header commits to the order, to the results and to the whole state after the block; its id
excludes view and seals, so a block proposed again in a later view is the same block. A commit
certificate is a quorum of COMMIT signatures of one view over that id: the proof that a light
client checks. Deciding and executing blocks happens elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from node.protocol.domain import Chain
from node.protocol.encoding import Codec, Record, encode, sha256
from node.protocol.errors import Refused
from node.protocol.keys import is_valid
from node.protocol.transaction import Hash, Height, PublicKey, Signature, TimeMs
from node.protocol.validators import VALIDATORS_MAX, ValidatorSet

BLOCK_VERSION = 1
BLOCK_TRANSACTIONS_MAX = 1_000
BLOCK_BYTES_MAX = 4 << 20
VIEW_MAX = (1 << 32) - 1
EMPTY_ROOT = sha256(b"groat/empty/1")

View = Annotated[int, msgspec.Meta(ge=0, le=VIEW_MAX)]


class BlockHeader(Record, frozen=True):
    """What the votes are on. The parent of height 1 is the genesis hash."""

    version: Annotated[int, msgspec.Meta(ge=BLOCK_VERSION, le=BLOCK_VERSION)]
    height: Height
    time_ms: TimeMs
    parent: Hash
    transactions_root: Hash
    receipts_root: Hash
    state_root: Hash
    next_validators_hash: Hash
    proposer: PublicKey

    def id(self, chain: Chain) -> bytes:
        """The block id, 32 bytes."""
        return chain.digest("block", encode(self))


class CommitSeal(Record, frozen=True):
    """One member's COMMIT signature inside a certificate."""

    signer: PublicKey
    signature: Signature


class CommitCertificate(Record, frozen=True):
    """q COMMITs of one view for one block, seals ascending by signer."""

    height: Height
    view: View
    block_id: Hash
    seals: Annotated[tuple[CommitSeal, ...], msgspec.Meta(max_length=VALIDATORS_MAX)]


class CertifiedBlock(Record, frozen=True):
    """A final block as it is stored and as catch-up receives it: raw signed transactions."""

    header: BlockHeader
    transactions: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=BLOCK_TRANSACTIONS_MAX)]
    certificate: CommitCertificate


class Event(Record, frozen=True):
    """Something a contract announced. `readers`: public keys in hex, `role:NAME`, or `public`."""

    contract: str
    name: str
    data: dict[str, Any]
    readers: tuple[str, ...]


class Receipt(Record, frozen=True):
    """The result of one transaction. `code` is `OK` or the rejection's; only it is public."""

    transaction_id: Hash
    code: str
    details: dict[str, Any]
    events: tuple[Event, ...]
    readers: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the transaction's writes were kept."""
        return self.code == "OK"


block_codec: Codec[CertifiedBlock] = Codec(CertifiedBlock, BLOCK_BYTES_MAX + (1 << 20))
receipts_codec: Codec[tuple[Receipt, ...]] = Codec(tuple[Receipt, ...], 64 << 20)


def receipt_hash(receipt: Receipt, salt: bytes) -> bytes:
    """The leaf of the receipts root: public id and code, and the salted hash of all the rest."""
    private = sha256(salt + encode([receipt.details, receipt.events, receipt.readers]))
    return public_receipt_hash(receipt.transaction_id, receipt.code, private)


def public_receipt_hash(transaction_id: bytes, code: str, private_hash: bytes) -> bytes:
    """The same leaf for a reader who may know only id, code and the private part's hash."""
    return sha256(b"\x00" + encode([transaction_id, code, private_hash]))


def vote_digest(chain: Chain, kind: str, height: int, view: int, block_id: bytes) -> bytes:
    """What a vote of `kind` (`pre_prepare`, `prepare`, `commit`) signs, 32 bytes."""
    return chain.digest(kind, encode([height, view, block_id]))


def check_certificate(
    chain: Chain, header: BlockHeader, certificate: CommitCertificate, validators: ValidatorSet
) -> None:
    """Raise `Refused` `BAD_CERTIFICATE` unless a quorum of `validators` sealed `header`.

    `validators` is the set of that very height; every seal must be valid, and all are of the
    certificate's one view.
    """
    if certificate.height != header.height or certificate.block_id != header.id(chain):
        raise Refused("BAD_CERTIFICATE", "the certificate is for another block")
    signers = [seal.signer for seal in certificate.seals]
    if signers != sorted(set(signers)):
        raise Refused("BAD_CERTIFICATE", "seals are not distinct and in order")
    if not set(signers) <= set(validators.members):
        raise Refused("BAD_CERTIFICATE", "a seal is from a stranger")
    if len(signers) < validators.quorum:
        raise Refused("BAD_CERTIFICATE", f"{len(signers)} seals, {validators.quorum} needed")
    digest = vote_digest(
        chain, "commit", certificate.height, certificate.view, certificate.block_id
    )
    for seal in certificate.seals:
        if not is_valid(seal.signer, digest, seal.signature):
            raise Refused("BAD_CERTIFICATE", "a seal's signature does not match")

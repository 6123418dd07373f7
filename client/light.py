"""The light client: believes a node only as far as the genesis file and a quorum's seals reach.

It starts from the validators of the genesis file and follows their changes by the hash of the next
set that each certified header carries. What it has verified is kept in a file, so that validators
of long ago, whose keys may have leaked since, cannot show it another history. Pure but for that
file; fetching headers is `node_api`.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from client.errors import Unproven
from node.protocol.block import BlockHeader, CommitCertificate, Receipt, check_certificate
from node.protocol.encoding import Codec
from node.protocol.errors import Misconfigured, Refused
from node.protocol.genesis import Genesis
from node.protocol.proofs import (
    list_proof_codec,
    state_proof_codec,
    verify_path,
    verify_state_proof,
)
from node.protocol.settings import Hex32, HexKey, Settings, parse_settings
from node.protocol.validators import ValidatorSet

HEADER_BYTES_MAX = 4 * 1024
CERTIFICATE_BYTES_MAX = 16 * 1024
RECEIPT_BYTES_MAX = 8 << 20
TRUST_BYTES_MAX = 4 << 20
SALT_BYTES = 32

_header_codec: Codec[BlockHeader] = Codec(BlockHeader, HEADER_BYTES_MAX)
_certificate_codec: Codec[CommitCertificate] = Codec(CommitCertificate, CERTIFICATE_BYTES_MAX)
_receipt_codec: Codec[Receipt] = Codec(Receipt, RECEIPT_BYTES_MAX)


class VerifiedHead(NamedTuple):
    """The highest block known to be final; the genesis itself is height 0."""

    height: int
    block_id: bytes
    time_ms: int


class EraEntry(Settings):
    """The validators from one height on."""

    first_height: Annotated[int, Field(ge=1)]
    members: tuple[HexKey, ...]
    confirmations_more_than: Annotated[int, Field(ge=0)]


class Trust(Settings):
    """The content of the file."""

    genesis_hash: Hex32
    height: Annotated[int, Field(ge=0)]
    block_id: Hex32
    time_ms: Annotated[int, Field(ge=0)]
    eras: Annotated[tuple[EraEntry, ...], Field(min_length=1)]


class LightClient:
    """Verified heads and validator sets of one network; `path` None keeps them in memory only."""

    def __init__(self, genesis: Genesis, path: Path | None = None) -> None:
        self.chain = genesis.chain
        self.head = VerifiedHead(0, genesis.hash, genesis.created_ms)
        self._eras: list[tuple[int, ValidatorSet]] = [(1, genesis.validator_set)]
        self._path = path
        self._saved_height = 0
        if path is not None and path.exists():
            self._restore(path)

    def validators_at(self, height: int) -> ValidatorSet:
        """The newest verified set that may decide `height`."""
        found = (members for first, members in reversed(self._eras) if first <= height)
        return next(found, self._eras[0][1])

    @property
    def newest_since(self) -> int:
        """The first height of the newest set known here."""
        return self._eras[-1][0]

    def check(self, header: BlockHeader, certificate: CommitCertificate) -> None:
        """Raise `Unproven` unless a quorum sealed this header; remember it if it is the highest."""
        validators = self.validators_at(header.height)
        try:
            check_certificate(self.chain, header, certificate, validators)
        except Refused as refusal:
            raise Unproven(refusal.code, refusal.message, height=header.height) from None
        if header.height == self.head.height and certificate.block_id != self.head.block_id:
            raise Unproven(
                "FORK", f"two certified blocks at height {header.height}: alert everyone"
            )
        if header.height > self.head.height:
            self.head = VerifiedHead(header.height, certificate.block_id, header.time_ms)

    def names_new_validators(self, header: BlockHeader) -> bool:
        """Whether the next height has another set than the newest one known here."""
        return (
            header.height + 1 > self._eras[-1][0]
            and header.next_validators_hash != self._eras[-1][1].hash
        )

    def learn(self, header: BlockHeader, validators: ValidatorSet) -> None:
        """Take the set that a checked header announces for its next height."""
        if validators.hash != header.next_validators_hash:
            raise Unproven("BAD_VALIDATORS", "these are not the validators that the header names")
        if self.names_new_validators(header):
            self._eras.append((header.height + 1, validators))

    def save(self) -> None:
        """Write the file, unless another process has verified further meanwhile."""
        if self._path is None or self.head.height <= self._saved_height:
            return
        try:
            saved = self._load(self._path).height if self._path.exists() else 0
            if saved < self.head.height:
                self._write(self._path)
        except OSError as error:
            message = f"{self._path}: {error.strerror}; give another --dir"
            raise Misconfigured("NOT_WRITABLE", message) from None
        self._saved_height = self.head.height

    def _write(self, path: Path) -> None:
        eras = tuple(
            EraEntry(
                first_height=first,
                members=tuple(member.hex() for member in validators.members),
                confirmations_more_than=validators.confirmations_more_than,
            )
            for first, validators in self._eras
        )
        trust = Trust(
            genesis_hash=self.chain.genesis_hash.hex(),
            height=self.head.height,
            block_id=self.head.block_id.hex(),
            time_ms=self.head.time_ms,
            eras=eras,
        )
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".client-")
        with os.fdopen(descriptor, "w") as file:
            json.dump(trust.model_dump(mode="json"), file, indent=2)
        os.replace(temporary, path)

    def _restore(self, path: Path) -> None:
        trust = self._load(path)
        self.head = VerifiedHead(trust.height, bytes.fromhex(trust.block_id), trust.time_ms)
        self._saved_height = trust.height
        self._eras = [
            (
                era.first_height,
                ValidatorSet(
                    tuple(bytes.fromhex(member) for member in era.members),
                    era.confirmations_more_than,
                ),
            )
            for era in trust.eras
        ]

    def _load(self, path: Path) -> Trust:
        if path.stat().st_size > TRUST_BYTES_MAX:
            raise Misconfigured("BAD_CONFIG", f"{path} is too large; delete it to verify anew")
        trust = parse_settings(Trust, path.read_bytes(), str(path))
        if trust.genesis_hash != self.chain.genesis_hash.hex():
            raise Misconfigured(
                "WRONG_GENESIS", f"{path} is of another network; delete it to verify anew"
            )
        return trust


def decode_header(raw: bytes) -> BlockHeader:
    """A header from canonical bytes; raises `Unproven`."""
    try:
        return _header_codec.decode(raw)
    except Refused as refusal:
        raise Unproven("BAD_HEADER", f"{refusal.code}: {refusal.message}") from None


def decode_certificate(raw: bytes) -> CommitCertificate:
    """A certificate from canonical bytes; raises `Unproven`."""
    try:
        return _certificate_codec.decode(raw)
    except Refused as refusal:
        raise Unproven("BAD_CERTIFICATE", f"{refusal.code}: {refusal.message}") from None


def decode_receipt(raw: bytes) -> Receipt:
    """A receipt from canonical bytes; raises `Unproven`."""
    try:
        return _receipt_codec.decode(raw)
    except Refused as refusal:
        raise Unproven("BAD_RECEIPT", f"{refusal.code}: {refusal.message}") from None


def check_state(
    header: BlockHeader, table: str, key: bytes, value: bytes | None, proof: bytes, salt: bytes
) -> None:
    """Raise `Unproven` unless the state after `header` holds exactly this (None: nothing)."""
    if len(salt) not in (0, SALT_BYTES):
        raise Unproven("BAD_PROOF", f"a salt has {SALT_BYTES} bytes, or none")
    try:
        decoded = state_proof_codec.decode(proof)
        verify_state_proof(header.state_root, table, key, value, decoded, salt)
    except Refused as refusal:
        raise Unproven(refusal.code, refusal.message) from None


def check_receipt(header: BlockHeader, leaf: bytes, path: bytes) -> None:
    """Raise `Unproven` unless `path` leads from the leaf hash to the receipts root."""
    try:
        verify_path(header.receipts_root, leaf, list_proof_codec.decode(path))
    except Refused as refusal:
        raise Unproven(refusal.code, refusal.message) from None

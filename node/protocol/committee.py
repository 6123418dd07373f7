"""The committee's secret: the private keys of its epochs, and the key of the private salts.

A secret rests only as *wraps*: sealed to one node's ledger key. The founders' are in the genesis
file, those of later epochs on chain; a node also keeps its own in `epochs.json`, for whoever cannot
read its database, and one that joins later finds in `joining.json` those of all epochs before it
came. Which epoch is in force is the chain's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError

from node.protocol.encoding import Codec, Record, Value, encode
from node.protocol.errors import Misconfigured, Refused
from node.protocol.genesis import PRIVACY_KEY_BYTES, Genesis
from node.protocol.keys import PrivateKey
from node.protocol.sealing import open_bytes, seal_bytes
from node.protocol.settings import HexBytes, Settings, parse_settings

WRAPS_FILE = "epochs.json"
WRAPS_BYTES_MAX = 4 << 20
EPOCH_SECRET_BYTES = 32
EPOCH_RECORD_BYTES_MAX = 256
# Contract, table and key of the epoch in force.
CURRENT_EPOCH = ("kernel", "epochs", b"current")
BAD_EPOCH_WRAP = "BAD_EPOCH_WRAP"


class EpochRecord(Record, frozen=True):
    """An epoch as the chain keeps it, see `contracts.kernel.epochs`."""

    number: int
    public_key: bytes
    proposed_height: int
    first_height: int
    grace_ms: int
    previous: int
    previous_until_ms: int

    def has_ended(self, epoch: int, time_ms: int) -> bool:
        """Whether, this one being in force at that block time, no block accepts `epoch` again."""
        if epoch == self.previous:
            return time_ms >= self.previous_until_ms and epoch < self.number
        return epoch < self.number


epoch_codec: Codec[EpochRecord] = Codec(EpochRecord, EPOCH_RECORD_BYTES_MAX)


class WrapEntry(Settings):
    """An epoch's secret, sealed to the node whose file this is."""

    epoch: Annotated[int, Field(ge=0, le=(1 << 32) - 1)]
    wrap: HexBytes


class Wraps(Settings):
    """The content of `epochs.json`."""

    wraps: tuple[WrapEntry, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Wraps:
        """The file's content, nothing if there is no file; raises `Misconfigured` `BAD_CONFIG`."""
        if not path.exists():
            return cls()
        if path.stat().st_size > WRAPS_BYTES_MAX:
            raise Misconfigured("BAD_CONFIG", f"{path}: larger than {WRAPS_BYTES_MAX} bytes")
        return parse_settings(cls, path.read_bytes(), str(path))

    @classmethod
    def of(cls, wraps: Mapping[int, bytes]) -> Wraps:
        """These wraps by epoch."""
        entries = [WrapEntry(epoch=number, wrap=wraps[number].hex()) for number in sorted(wraps)]
        return cls(wraps=tuple(entries))

    @property
    def by_epoch(self) -> dict[int, bytes]:
        """The wraps by epoch."""
        return {entry.epoch: bytes.fromhex(entry.wrap) for entry in self.wraps}


class CommitteeSecret(Settings):
    """What a node holds: epochs' private keys by number, and the key of the private salts."""

    epochs: dict[int, bytes]
    privacy_key: Annotated[bytes, Field(min_length=PRIVACY_KEY_BYTES, max_length=PRIVACY_KEY_BYTES)]

    def __repr__(self) -> str:
        return "CommitteeSecret(…)"


class Opened(NamedTuple):
    """What came out of a wrap; `privacy_key` is empty in those that a rotation brings."""

    epoch_key: PrivateKey
    privacy_key: bytes

    def __repr__(self) -> str:
        return "Opened(…)"


def seal_epoch_secret(
    chain_id: str,
    epoch: int,
    epoch_secret: bytes,
    node: bytes,
    ephemeral: PrivateKey,
    privacy_key: bytes = b"",
) -> bytes:
    """A wrap: the secret sealed to one node's ledger key.

    The key of the private salts goes with it to a node that does not have it yet.
    """
    return seal_bytes(node, ephemeral, epoch_secret + privacy_key, _aad(chain_id, epoch))


class NextEpoch(NamedTuple):
    """A new epoch for the chain: its public key, and its secret sealed to nodes."""

    number: int
    public_key: bytes
    wraps: dict[bytes, bytes]

    @property
    def arguments(self) -> dict[str, Value]:
        """The fields of a kernel call that brings an epoch."""
        wraps = {node.hex(): wrap for node, wrap in self.wraps.items()}
        return {"epoch": self.number, "epoch_key": self.public_key, "wraps": wraps}


def make_epoch(chain_id: str, number: int, nodes: Iterable[bytes]) -> NextEpoch:
    """A new secret, sealed to these nodes' ledger keys, and forgotten here."""
    key, ephemeral = PrivateKey.generate(), PrivateKey.generate()
    wraps = {
        node: seal_epoch_secret(chain_id, number, key.secret, node, ephemeral) for node in nodes
    }
    return NextEpoch(number, key.public_key, wraps)


def open_wrap(chain_id: str, epoch: int, key: PrivateKey, wrap: bytes) -> Opened:
    """What a wrap holds; raises `Refused` `BAD_EPOCH_WRAP`.

    That it is the secret of the epoch's public key is left to be checked.
    """
    try:
        plaintext = open_bytes(key, wrap, _aad(chain_id, epoch))
        privacy_key = plaintext[EPOCH_SECRET_BYTES:]
        if len(privacy_key) in (0, PRIVACY_KEY_BYTES):
            return Opened(PrivateKey(plaintext[:EPOCH_SECRET_BYTES]), privacy_key)
    except Refused:
        pass
    raise Refused(BAD_EPOCH_WRAP, f"the wrap of epoch {epoch} does not open with this node's key")


def open_committee_secret(
    genesis: Genesis, key: PrivateKey, wraps: Mapping[int, bytes]
) -> CommitteeSecret:
    """What the node with this ledger key holds, from the genesis file and its own `wraps`.

    Raises `Misconfigured` `NOT_A_VALIDATOR` where neither is for it, or `BAD_EPOCH_WRAP`.
    """
    known = dict(wraps)
    first = genesis.epoch.number
    if (listed := genesis.epoch.wraps.get(key.public_key.hex())) is not None:
        known[first] = bytes.fromhex(listed)
    if not known:
        raise Misconfigured(
            "NOT_A_VALIDATOR", "the genesis file does not list this node's key; use its own folder"
        )
    try:
        opened = {
            number: open_wrap(genesis.chain_id, number, key, known[number]) for number in known
        }
        privacy_keys = {one.privacy_key for one in opened.values() if one.privacy_key}
        genuine = first not in opened or (
            opened[first].epoch_key.public_key == genesis.epoch_key.public_key
        )
        if genuine and len(privacy_keys) == 1:
            secrets = {number: one.epoch_key.secret for number, one in opened.items()}
            return CommitteeSecret(epochs=secrets, privacy_key=privacy_keys.pop())
    except (Refused, ValidationError):
        pass
    raise Misconfigured(
        BAD_EPOCH_WRAP, "a wrap of this node's epochs does not open; get the genuine file"
    )


def _aad(chain_id: str, epoch: int) -> bytes:
    # The genesis hash cannot be bound: the genesis file contains the first wraps.
    return encode(["groat/epoch wrap/1", chain_id, epoch])

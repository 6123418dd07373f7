"""The papers with which several organisations found one network; public parts only.

Each member makes its own keys and hands a `Member` to the founder. The founder answers each with an
`Admission`: the genesis file, what belongs to it, and the member's certificate. Making the keys and
completing a node's folder is `node.members`'s work, founding is `node.genesis`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from node.protocol.committee import WrapEntry
from node.protocol.encoding import encode, sha256
from node.protocol.errors import Misconfigured
from node.protocol.genesis import GENESIS_BYTES_MAX, Genesis, interface_hash
from node.protocol.keys import PrivateKey, is_valid
from node.protocol.settings import (
    DialAddress,
    Hex32,
    HexBytes,
    HexKey,
    HostPort,
    HttpUrl,
    S,
    Settings,
    ShortName,
    misconfigured,
    parse_settings,
)
from node.protocol.validators import VALIDATORS_MAX

PAPER_VERSION = 1
MEMBER_BYTES_MAX = 8_192
ADMISSION_BYTES_MAX = 2 * GENESIS_BYTES_MAX
CERTIFICATE_CHARS_MAX = 16_384
JOINING_BYTES_MAX = 1 << 22
JOINING_FILE = "joining.json"
MEMBER_SUFFIX = ".member.json"
ADMISSION_SUFFIX = ".admission.json"

Version = Annotated[int, Field(ge=PAPER_VERSION, le=PAPER_VERSION)]
Certificate = Annotated[str, Field(max_length=CERTIFICATE_CHARS_MAX)]


class Endpoint(Settings):
    """Where one node listens."""

    name: ShortName
    http_url: HttpUrl
    peer_address: HostPort
    public_key: HexKey


class Endpoints(Settings):
    """The content of `network.json`."""

    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1)]


class PeerEntry(Settings):
    """A node to dial, and the certificate that it shows."""

    public_key: HexKey
    address: HostPort
    tls_fingerprint: Hex32


class Joining(Settings):
    """The content of `joining.json`: what a node needs that is not in the genesis file.

    `wraps` are the secrets of all epochs so far, sealed to its ledger key; `peers` are the nodes at
    that time.
    """

    version: Version = PAPER_VERSION
    wraps: Annotated[tuple[WrapEntry, ...], Field(min_length=1)]
    peers: Annotated[tuple[PeerEntry, ...], Field(min_length=1)]

    @classmethod
    def load(cls, path: Path) -> Joining:
        """Read the file; raises `Misconfigured` `NO_FILE` or `BAD_CONFIG`."""
        return _load(cls, path, JOINING_BYTES_MAX)


class KnownPeers(Settings):
    """The content of `known_peers.json`: a node's peers at a height, lest it lose its state.

    Those of genesis may be gone when it starts from there again.
    """

    version: Version = PAPER_VERSION
    height: Annotated[int, Field(ge=0)]
    peers: Annotated[tuple[PeerEntry, ...], Field(min_length=1)]

    @classmethod
    def load(cls, path: Path) -> KnownPeers:
        """Read the file; raises `Misconfigured` `NO_FILE` or `BAD_CONFIG`."""
        return _load(cls, path, JOINING_BYTES_MAX)


class Member(Settings):
    """A future validator by its own account, signed with its ledger key.

    `tls_public_key` is a SubjectPublicKeyInfo in DER; `address` is where other nodes dial it, and
    `http_url` where people and programs find it.
    """

    version: Version = PAPER_VERSION
    name: ShortName
    public_key: HexKey
    tls_public_key: Annotated[HexBytes, Field(max_length=1_024)]
    address: DialAddress
    http_url: HttpUrl
    signature: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")] = ""

    @classmethod
    def make(
        cls, key: PrivateKey, name: str, tls_public_key: bytes, address: str, http_url: str
    ) -> Member:
        """A signed one; raises `Misconfigured` `BAD_CONFIG` naming what is wrong."""
        try:
            member = cls(
                name=name,
                public_key=key.public_key.hex(),
                tls_public_key=tls_public_key.hex(),
                address=address,
                http_url=http_url,
            )
        except ValidationError as error:
            raise misconfigured(error, "member") from None
        return member.model_copy(update={"signature": key.sign(member._digest()).hex()})

    @classmethod
    def load(cls, path: Path) -> Member:
        """Read a member file; raises `Misconfigured` `NO_FILE`, `BAD_CONFIG` or `ALTERED`."""
        member = _load(cls, path, MEMBER_BYTES_MAX)
        member.check(str(path))
        return member

    def check(self, source: str) -> None:
        """Raise `Misconfigured` `ALTERED` unless the ledger key that it names signed it."""
        key, signature = bytes.fromhex(self.public_key), bytes.fromhex(self.signature)
        if not is_valid(key, self._digest(), signature):
            raise Misconfigured(
                "ALTERED",
                f"{source} is not what {self.name} signed; ask for the file that "
                "`groat net init` wrote, unchanged",
            )

    @property
    def endpoint(self) -> Endpoint:
        """Its entry in `network.json`."""
        return Endpoint(
            name=self.name,
            http_url=self.http_url,
            peer_address=self.address,
            public_key=self.public_key,
        )

    def _digest(self) -> bytes:
        # No chain is bound, because there is none yet; this signature is for the ceremony only.
        return sha256(encode(["groat/member/1", self.model_dump(exclude={"signature"})]))


class Admission(Settings):
    """What one member needs to complete its node's folder; certificates are in PEM.

    `members` are all of them, so that each can see that every validator signed for itself.
    """

    version: Version = PAPER_VERSION
    name: ShortName
    certificate: Certificate
    authority: Certificate
    members: Annotated[tuple[Member, ...], Field(min_length=1, max_length=VALIDATORS_MAX)]
    genesis: Genesis
    interface: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Admission:
        """Read an admission file; raises `Misconfigured` as `Member.load` does."""
        admission = _load(cls, path, ADMISSION_BYTES_MAX)
        admission._check(str(path))
        return admission

    @property
    def place(self) -> int:
        """The index of the admitted member among the validators."""
        return [member.name for member in self.members].index(self.name)

    def _check(self, source: str) -> None:
        for member in self.members:
            member.check(source)
        listed = [(one.name, one.public_key, one.address) for one in self.genesis.validators]
        signed = [(one.name, one.public_key, one.address) for one in self.members]
        try:
            genuine = interface_hash(self.interface).hex() == self.genesis.interface_hash
        except (ValueError, OverflowError):
            genuine = False
        if listed != signed or not genuine or self.name not in [one.name for one in self.members]:
            raise Misconfigured(
                "ALTERED",
                f"{source}: its parts do not belong together; ask the founder for the file that "
                "`groat net create` wrote, unchanged",
            )


def check_members(members: Sequence[Member], confirmations_more_than: int) -> None:
    """Raise `Misconfigured` `DUPLICATE_MEMBER`, `TOO_FEW_MEMBERS` or `TOO_MANY_MEMBERS`."""
    for field in ("name", "public_key", "tls_public_key", "address", "http_url"):
        value, count = Counter(getattr(one, field) for one in members).most_common(1)[0]
        if count > 1:
            names = [one.name for one in members if getattr(one, field) == value]
            raise Misconfigured(
                "DUPLICATE_MEMBER",
                f"{' and '.join(names)} have the same {field} {value}; each member file is given "
                "once, and each node has its own",
            )
    if len(members) <= confirmations_more_than:
        raise Misconfigured(
            "TOO_FEW_MEMBERS",
            f"confirmations_more_than = {confirmations_more_than} needs at least "
            f"{confirmations_more_than + 1} members, given are {len(members)}; collect more member "
            "files or lower the number",
        )
    if len(members) > VALIDATORS_MAX:
        raise Misconfigured("TOO_MANY_MEMBERS", f"at most {VALIDATORS_MAX} members")


def _load(model: type[S], path: Path, bytes_max: int) -> S:
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise Misconfigured("NO_FILE", f"{path}: {error.strerror}") from None
    if len(content) > bytes_max:
        raise Misconfigured("BAD_CONFIG", f"{path}: larger than {bytes_max} bytes")
    return parse_settings(model, content, str(path))

"""Who may read what: the one predicate that stands before every private read.

Readers are written as lowercase hex public keys, `role:NAME`, or `public`.
"""

from __future__ import annotations

import msgspec

PUBLIC = "public"
REGULATOR = "role:regulator"


class Viewer(msgspec.Struct, frozen=True):
    """Who is asking: an identity, by its name on chain, or None; and its roles.

    `proved_key` is the key that it signs with, which differs once it was rotated.
    """

    public_key: bytes | None
    roles: frozenset[str]
    proved_key: bytes | None = None


def may_read(viewer: Viewer, readers: tuple[str, ...]) -> bool:
    """Whether `viewer` is among `readers`."""
    own = None if viewer.public_key is None else viewer.public_key.hex()
    for reader in readers:
        if reader in (PUBLIC, own):
            return True
        if reader.startswith("role:") and reader[5:] in viewer.roles:
            return True
    return False

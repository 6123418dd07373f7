"""Cut lines: on a dev network, the peers that a node is to treat as if no wire led to them.

A file in the node's folder names them, one public key a line, for its owner alone; no file cuts
nothing. `groat net partition` and `heal` write it, and signal the node to read it again. What a cut
line means to connections is `node.net`'s part.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from node.protocol.errors import Misconfigured, Refused
from node.protocol.keys import PUBLIC_KEY_BYTES, check_public_key
from node.protocol.validators import VALIDATORS_MAX

CUT_FILE = "cut"
_BYTES_MAX = 64 * VALIDATORS_MAX * PUBLIC_KEY_BYTES
_OWN_MODE = 0o600


def read_cut(folder: Path) -> frozenset[bytes]:
    """The public keys of the peers in the node's `folder` that are cut off from it.

    Raises `Misconfigured` `BAD_CUT`.
    """
    path = folder / CUT_FILE
    try:
        with path.open("rb") as file:
            raw = file.read(_BYTES_MAX + 1)
        if len(raw) > _BYTES_MAX:
            raise ValueError(f"larger than {_BYTES_MAX} bytes")
        keys = frozenset(bytes.fromhex(line) for line in raw.decode("ascii").split())
        for key in keys:
            check_public_key(key)
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, Refused) as error:
        raise Misconfigured(
            "BAD_CUT", f"{path}: not a list of public keys ({error}); `groat net heal` removes it"
        ) from None
    return keys


def write_cut(folder: Path, keys: Collection[bytes]) -> None:
    """Cut these peers off from the node in `folder`, and no others, from its next reading on."""
    path = folder / CUT_FILE
    if not keys:
        path.unlink(missing_ok=True)
        return
    new = path.with_suffix(".new")
    new.touch(_OWN_MODE)
    new.write_text("".join(f"{key.hex()}\n" for key in sorted(keys)))
    new.replace(path)

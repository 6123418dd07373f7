"""The keyring: the private keys of the epochs that this node can open.

It starts with the keys from the node's folder. A later one is opened when it is first asked for,
from the node's own wrap in the state; so whoever executes the chain has each key before the first
block that accepts its epoch. A key counts only if the chain names its public half. What to do about
a wrap that does not open is `housekeeping`'s part.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts.kernel.registry import epoch_of, wrap_of
from contracts.kernel.state import Reader
from node.protocol.committee import BAD_EPOCH_WRAP, open_wrap
from node.protocol.errors import Refused
from node.protocol.keys import PrivateKey


class Keyring:
    """Keys by epoch number, for an `Opener`."""

    def __init__(
        self, chain_id: str, own: PrivateKey, state: Reader, given: Mapping[int, bytes]
    ) -> None:
        """`own` is the node's ledger key, `given` the secrets that its folder holds."""
        self._chain_id = chain_id
        self._own = own
        self._state = state
        self._given = {number: PrivateKey(secret) for number, secret in given.items()}
        self._proved: dict[int, PrivateKey] = {}

    def get(self, number: int, /) -> PrivateKey | None:
        """The epoch's key; None if this node has none, or none that is right."""
        key = self._proved.get(number)
        if key is not None:
            return key
        try:
            return self.open(number)
        except Refused:
            return None

    def open(self, number: int) -> PrivateKey:
        """The same; raises `Refused` `BAD_EPOCH_WRAP`, or `NOT_FOUND` for no epoch or no wrap."""
        epoch = epoch_of(self._state, number)
        if epoch is None:
            raise Refused("NOT_FOUND", f"there is no epoch {number} on chain")
        key = self._given.get(number)
        if key is None or key.public_key != epoch.public_key:
            self._given.pop(number, None)
            key = self._opened(number)
            if key.public_key != epoch.public_key:
                raise Refused(BAD_EPOCH_WRAP, f"the wrap of epoch {number} holds another secret")
        self._proved[number] = key
        return key

    def was_given(self, number: int) -> bool:
        """Whether an epoch's key, once opened, is the one from the node's folder."""
        return number in self._given

    def _opened(self, number: int) -> PrivateKey:
        share = wrap_of(self._state, number, self._own.public_key)
        if share is None:
            raise Refused("NOT_FOUND", f"epoch {number} has no wrap for this node")
        return open_wrap(self._chain_id, number, self._own, share.wrap).epoch_key

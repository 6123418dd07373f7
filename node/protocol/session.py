"""What a reader signs to prove to one node who they are.

The digest binds the chain, the node asked, its challenge and the expiry, so that a node cannot use
the signature at another node, nor anyone after the expiry. Issuing tokens is the API's business.
"""

from __future__ import annotations

from node.protocol.domain import Chain
from node.protocol.encoding import encode


def session_digest(
    chain: Chain, node_key: bytes, public_key: bytes, challenge: bytes, expires_at: int
) -> bytes:
    """The 32-byte digest to sign; `expires_at` in ms since 1970, as the challenge states it."""
    return chain.digest("session", encode([node_key, public_key, challenge, expires_at]))

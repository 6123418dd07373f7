"""The next command to try, by the code of what went wrong."""

from __future__ import annotations

from client.errors import NotAllowed, NotFound, Unproven
from node.protocol.errors import GroatError

_HINTS = {
    "NO_NETWORK": "groat up",
    "NO_GENESIS": "groat up",
    "NO_KEY": "groat key list",
    "NO_NODE": "groat net status",
    "UNREACHABLE": "groat net status",
    "NO_QUORUM": "groat net start",
    "NODE_ENDED": "groat net logs",
    "NODE_SILENT": "groat net logs",
    "TX_EXPIRED": "send it again as a new transaction",
    "TX_TOO_DISTANT": "groat doctor (is this clock right?)",
    "SESSION_REQUIRED": "add --key NAME",
    "BAD_STATEMENT": "do not believe this statement; ask for it again",
    "BAD_EVIDENCE": "do not believe this file; ask for it again",
    "BAD_ENVELOPE": "leave out --clear: this network takes sealed calls only",
    "MEMPOOL_FULL": "try again in a moment",
    "SENDER_LIMIT": "wait for your earlier transactions",
}


def hint_for(error: GroatError) -> str:
    """What to try next, or nothing."""
    given = error.details.get("hint")
    if isinstance(given, str):
        return given
    if error.code in _HINTS:
        known = _HINTS[error.code]
        return "" if known in error.message else known
    if error.code == "PENDING":
        return f"groat tx wait {error.details.get('id', 'ID')}"
    if isinstance(error, NotFound):
        return "groat status; what is private needs the --key of somebody who may read it"
    if isinstance(error, Unproven):
        return "do not trust this node; ask another with --node"
    if isinstance(error, NotAllowed):
        return "use a --key that may read this"
    return ""

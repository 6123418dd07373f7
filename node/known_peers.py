"""The peers that a node knew last, in its folder: how it finds the others if its state is lost.

What is in the file is a hint: whom to dial, and by which certificate to know them. Once the node
has fetched as much of the chain as it knew, the chain alone says who its peers are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from node.net.peers import PeerAddress
from node.protocol.ceremony import Joining, KnownPeers, PeerEntry
from node.protocol.errors import Misconfigured
from node.protocol.settings import split_address

KNOWN_PEERS_FILE = "known_peers.json"

log = structlog.get_logger("node")


def given_peers(folder: Path, joining: Joining | None) -> tuple[dict[bytes, PeerAddress], int]:
    """The peers to start with, and the height at which they were known."""
    try:
        known = KnownPeers.load(folder / KNOWN_PEERS_FILE)
    except Misconfigured:  # it is not there, or was torn: those of before do as well
        return addresses(joining.peers if joining else ()), 0
    return addresses(known.peers), known.height


def save_known_peers(folder: Path, peers: Mapping[bytes, PeerAddress], height: int) -> None:
    """Remember them; a full disk is no harm."""
    entries = tuple(
        PeerEntry(
            public_key=key.hex(),
            address=f"{peer.host}:{peer.port}",
            tls_fingerprint=peer.tls_fingerprint.hex(),
        )
        for key, peer in sorted(peers.items())
    )
    path = folder / KNOWN_PEERS_FILE
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(KnownPeers(height=height, peers=entries).model_dump_json(indent=1))
        os.replace(partial, path)
    except OSError as error:
        log.warning("peers_not_saved", path=str(path), why=error.strerror)


def addresses(entries: tuple[PeerEntry, ...]) -> dict[bytes, PeerAddress]:
    """Entries of a file as the transport wants them."""
    return {
        bytes.fromhex(entry.public_key): PeerAddress(
            *split_address(entry.address), bytes.fromhex(entry.tls_fingerprint)
        )
        for entry in entries
    }

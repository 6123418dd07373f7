"""Forged messages for the scenarios: whatever a byzantine member could sign, and then some.

The harness holds all keys. Options are the words of the `forge` command; a block is given by the
names of its transactions, one letter each, and stands on top of the highest final block.
"""

from __future__ import annotations

import msgspec

from node.protocol.block import BlockHeader, CommitCertificate, CommitSeal
from node.protocol.messages import (
    CertifiedHeader,
    Commit,
    ConsensusMessage,
    Prepare,
    PreparedProof,
    PrePrepare,
    ViewChange,
    sign_message,
)
from tests.consensus.cluster import CHAIN, KEYS, Cluster

SOME_QUORUM = "0,1,2"


class Forger:
    """Makes one message from the options `by=` (the signer), `v=`, `h=`, `block=` and others."""

    def __init__(self, cluster: Cluster, options: dict[str, str]) -> None:
        self._cluster = cluster
        self._options = options
        self._signer = int(options.get("by", "0"))
        self._view = int(options.get("v", 0))
        self._height = 1 + max(len(node.blocks) for node in cluster.nodes)

    def make(self, kind: str) -> ConsensusMessage:
        """A message of this kind."""
        match kind:
            case "prepare":
                return self._prepare(self._signer, self._header(), self._view)
            case "commit":
                return self._commit(self._signer, self._header(), self._view)
            case "view_change":
                return self._view_change(self._signer, self._options)
            case "pre_prepare":
                return self._pre_prepare()
            case "final":
                return self._final()
        raise ValueError(kind)

    def _voted_height(self) -> int:
        return int(self._options.get("h", self._height))

    def _prepare(self, signer: int, header: BlockHeader, view: int) -> Prepare:
        block_id, key = header.id(CHAIN), KEYS[signer]
        vote = Prepare(self._voted_height(), view, block_id, key.public_key, b"")
        return sign_message(CHAIN, key, vote)

    def _commit(self, signer: int, header: BlockHeader, view: int) -> Commit:
        block_id, key = header.id(CHAIN), KEYS[signer]
        vote = Commit(self._voted_height(), view, block_id, key.public_key, b"")
        return sign_message(CHAIN, key, vote)

    def _view_change(self, signer: int, options: dict[str, str]) -> ViewChange:
        """`[prepared=2 block=a [prepares=0,1,2] [body=b]]`: its claim, and the proof of that."""
        prepared, proof, block = int(options.get("prepared", -1)), None, b""
        if prepared >= 0:
            header = self._header(options["block"])
            block = header.id(CHAIN)
            prepares = self._prepares(header, prepared, options.get("prepares", SOME_QUORUM))
            names = self._options.get("body") or self._cluster.bodies[block]
            hashes = self._cluster.hashes(names)
            proof = PreparedProof(header, hashes, prepares)
        key = KEYS[signer]
        height = self._voted_height()
        vote = ViewChange(height, self._view, prepared, block, key.public_key, b"", proof)
        return sign_message(CHAIN, key, vote)

    def _pre_prepare(self) -> PrePrepare:
        """`justify=0,1,2 [claims=0:5/a] [prepared=5 prepares=0,1,2 [of=a]] [body=b]`.

        A claim is what the VIEW-CHANGE of member 0 says: prepared in view 5, block a.
        """
        header, options = self._header(), self._options
        claims = dict(word.split(":") for word in _words(options.get("claims")))
        view_changes = []
        for signer in _words(options.get("justify")):
            claim = {}
            if signer in claims:
                claim = dict(zip(("prepared", "block"), claims[signer].split("/"), strict=True))
            made = self._view_change(int(signer), claim)
            view_changes.append(msgspec.structs.replace(made, proof=None))
        prepares: tuple[Prepare, ...] = ()
        if "prepares" in options:
            voted = self._header(options["of"]) if "of" in options else header
            prepares = self._prepares(voted, int(options["prepared"]), options["prepares"])
        hashes = self._cluster.hashes(options.get("body", options["block"]).replace("-", ""))
        key = KEYS[self._signer]
        proposal = PrePrepare(
            self._view, header, hashes, key.public_key, b"", tuple(view_changes), prepares
        )
        return sign_message(CHAIN, key, proposal)

    def _final(self) -> CertifiedHeader:
        """`seals=0@0,1@0,2@1`: seals with the view in which each was given."""
        header, seals = self._header(), []
        for word in self._options["seals"].split(","):
            signer, view = map(int, word.split("@"))
            vote = self._commit(signer, header, view)
            seals.append(CommitSeal(vote.signer, vote.signature))
        seals.sort(key=lambda seal: seal.signer)
        block_id = header.id(CHAIN)
        certificate = CommitCertificate(header.height, self._view, block_id, tuple(seals))
        return CertifiedHeader(header, certificate)

    def _prepares(self, header: BlockHeader, view: int, signers: str) -> tuple[Prepare, ...]:
        return tuple(self._prepare(int(signer), header, view) for signer in signers.split(","))

    def _header(self, block: str | None = None) -> BlockHeader:
        """The block with these transactions; `-` is the empty one.

        One that was proposed already is found by its name, unless `proposer=` or `time=` say
        which one to make.
        """
        cluster, options = self._cluster, self._options
        names = (block or options["block"]).replace("-", "")
        if "proposer" not in options and "time" not in options:
            for block_id, header in cluster.headers.items():
                if header.height == self._height and cluster.bodies[block_id] == tuple(names):
                    return header
        heads = [node.head for node in cluster.nodes if node.head is not None]
        parent = max(heads, key=lambda head: head.height, default=None)
        proposer = int(options.get("proposer", self._signer))
        ms = cluster.now_ms + int(options.get("time", "0"))
        return cluster.header(proposer, self._height, parent, list(names), ms)


def _words(text: str | None) -> list[str]:
    return text.split(",") if text else []

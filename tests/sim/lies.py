"""Lies: messages that no honest member sends, made from true ones.

Every method takes a traitor's node, the message that its engine meant to send (None: there is
none) and what traitors have heard, and gives one lie, or None where nothing fits. Whom it is told
to is decided in `byzantine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from node.consensus.votes import bare
from node.protocol.block import (
    VIEW_MAX,
    BlockHeader,
    CertifiedBlock,
    CommitCertificate,
    CommitSeal,
)
from node.protocol.encoding import encode
from node.protocol.keys import PrivateKey
from node.protocol.messages import (
    BATCH_TRANSACTIONS_MAX,
    BLOCK_RANGE_MAX,
    BlockRange,
    BlockRequest,
    CertifiedHeader,
    Commit,
    Evidence,
    Head,
    Message,
    Prepare,
    PreparedProof,
    PrePrepare,
    TransactionRequest,
    Transactions,
    ViewChange,
)
from node.protocol.transaction import Call, sign_transaction
from tests.sim.false_proposals import FalseProposals
from tests.sim.forger import Seen, is_open, quorum_at
from tests.sim.node import SimNode

GARBAGE_MAX = 200
STUFFED = 24
PESTERED = 3
RUBBISH_LIFETIME_MS = 60_000
HUGE = (1 << 40, (1 << 62) - 1)


class Lies(FalseProposals):
    """See the module; proposals are made in `false_proposals`."""

    # ---- votes

    def voted(self, vote: Prepare | Commit, block_id: bytes) -> Prepare | Commit:
        """The same vote for another block."""
        return self._signed(replace(vote, block_id=block_id))

    def wrong_block(self, _: SimNode, vote: Prepare | Commit, seen: Seen) -> Message:
        """A vote for a block that was not proposed here, or not at all."""
        known = [
            other.block_id
            for other in seen
            if isinstance(other, Prepare | Commit) and other.block_id != vote.block_id
        ]
        invented = self._chance.randbytes(32)
        return self.voted(vote, self._chance.choice([*known[-5:], invented]))

    def double(self, node: SimNode, vote: Prepare | Commit, seen: Seen) -> Message:
        """A second vote of the same kind, besides the first."""
        return self.wrong_block(node, vote, seen)

    def other_view(self, _: SimNode, vote: Prepare | Commit, __: Seen) -> Message:
        """A vote in a view in which nothing was proposed."""
        view = self._chance.choice((vote.view + 1, self._chance.randint(0, VIEW_MAX), VIEW_MAX))
        return self._signed(replace(vote, view=min(view, VIEW_MAX)))

    # ---- view changes

    def huge_view(self, node: SimNode, _: Message | None, __: Seen) -> Message:
        """A VIEW-CHANGE far ahead of everybody."""
        height = node.running.store.head.height + 1
        view = self._chance.choice((50, 1 << 16, VIEW_MAX))
        return self._ignorant(height, view, node.public_key)

    def deny(self, _: SimNode, message: ViewChange, __: Seen) -> Message:
        """I have prepared nothing."""
        return self._ignorant(message.height, message.view, message.signer)

    def unproved(self, _: SimNode, message: ViewChange, __: Seen) -> Message:
        """I have prepared a block in the last view, but I do not say how I know."""
        block_id = self._chance.randbytes(32)
        claim = replace(
            message, prepared_view=message.view - 1, prepared_block=block_id, proof=None
        )
        return self._signed(claim)

    def false_proof(self, node: SimNode, message: ViewChange, seen: Seen) -> Message | None:
        """I have prepared a block in the last view, by PREPAREs that do not make a quorum."""
        proposals = [m for m in seen if isinstance(m, PrePrepare) and m.height == message.height]
        if not proposals or not is_open(node, message.height):
            return None
        chosen = self._chance.choice(proposals)
        place = (message.height, message.view - 1, chosen.header.id(self._chain))
        prepares = [
            m for m in seen if isinstance(m, Prepare) and (m.height, m.view, m.block_id) == place
        ]
        by_signer = {prepare.signer: prepare for prepare in prepares}
        for traitor in self._secrets:
            by_signer[traitor] = self._signed(Prepare(*place, traitor, b""))
        for victim in self._honest:
            if len(by_signer) < quorum_at(node) and victim not in by_signer:
                by_signer[victim] = self._forged(Prepare(*place, victim, b""))
        proof = PreparedProof(chosen.header, chosen.transaction_hashes, tuple(by_signer.values()))
        claim = replace(
            message, prepared_view=message.view - 1, prepared_block=place[2], proof=proof
        )
        return self._signed(claim)

    # ---- catch-up

    def alter_block(self, _: SimNode, message: BlockRange, __: Seen) -> Message | None:
        """A final block with something else in it."""
        if not message.blocks:
            return None
        place = self._chance.randrange(len(message.blocks))
        block = message.blocks[place]
        flaws: list[CertifiedBlock] = [
            replace(block, transactions=block.transactions[:-1]),
            replace(block, header=replace(block.header, state_root=self._chance.randbytes(32))),
            replace(block, header=replace(block.header, time_ms=block.header.time_ms + 1)),
            replace(block, certificate=replace(block.certificate, view=7)),
        ]
        return self._with_block(message, place, self._chance.choice(flaws))

    def unseal(self, node: SimNode, message: BlockRange, __: Seen) -> Message | None:
        """A block of our own, sealed by traitors alone, and by others who never did."""
        if not message.blocks:
            return None
        place = self._chance.randrange(len(message.blocks))
        block = message.blocks[place]
        header = replace(block.header, time_ms=block.header.time_ms + 1)
        fake = replace(block, header=header, certificate=self._certificate(node, header))
        return self._with_block(message, place, fake)

    def wrong_range(self, _: SimNode, message: BlockRange, __: Seen) -> Message:
        """Other blocks than were asked for, in another order, or none."""
        blocks = message.blocks
        ranges = [blocks[1:], blocks[::-1], blocks[:1] * 3, (), blocks[::2]]
        head = self._chance.choice((message.head, 0, *HUGE))
        return BlockRange(self._chance.choice(ranges), head)

    def false_head(self, _: SimNode, message: Head, __: Seen) -> Message:
        """I have many more blocks, or none."""
        return Head(self._chance.choice((0, message.height + 3, message.height + 200, *HUGE)))

    def false_certificate(self, node: SimNode, _: Message | None, __: Seen) -> Message | None:
        """The open height is final already, if the traitors are to be believed."""
        store = node.running.store
        parent = store.head.header
        if parent is None:
            return None
        header = replace(
            parent,
            height=parent.height + self._chance.choice((1, 1, 2, 1 << 40)),
            parent=store.head.block_id,
            time_ms=parent.time_ms + 1,
        )
        return CertifiedHeader(header, self._certificate(node, header))

    def mixed_certificate(self, node: SimNode, _: Message | None, seen: Seen) -> Message | None:
        """COMMITs of several views for one block, as if they made a quorum together."""
        height = node.height + 1
        proposed = {
            m.header.id(self._chain): m.header
            for m in seen
            if isinstance(m, PrePrepare) and m.height == height
        }
        commits = [m for m in seen if isinstance(m, Commit) and m.block_id in proposed]
        if not commits:
            return None
        view, block_id = commits[-1].view, commits[-1].block_id
        seals = {m.signer: m.signature for m in commits if m.block_id == block_id}
        for traitor in self._secrets:
            unsigned = Commit(height, min(view + 1, VIEW_MAX), block_id, traitor, b"")
            seals[traitor] = self._signed(unsigned).signature
        if len(seals) < quorum_at(node):
            return None
        ordered = tuple(CommitSeal(signer, seals[signer]) for signer in sorted(seals))
        certificate = CommitCertificate(height, view, block_id, ordered)
        return CertifiedHeader(proposed[block_id], certificate)

    # ---- out of the blue

    def replay(self, _: SimNode, __: Message | None, seen: Seen) -> Message | None:
        """Something that somebody said before."""
        return self._chance.choice(seen) if seen else None

    def cross_height(self, node: SimNode, _: Message | None, seen: Seen) -> Message | None:
        """Somebody's vote moved to another height, signature and all."""
        vote = self._some_vote(seen)
        if vote is None:
            return None
        here = node.running.store.head.height + 1
        heights = [h for h in (here, here, here + 1, vote.height + 1) if h != vote.height]
        return replace(vote, height=self._chance.choice(heights))

    def cross_view(self, _: SimNode, __: Message | None, seen: Seen) -> Message | None:
        """Somebody's vote moved to another view, or to another phase."""
        vote = self._some_vote(seen)
        if vote is None:
            return None
        if isinstance(vote, Prepare) and self._chance.random() < 0.5:
            return Commit(vote.height, vote.view, vote.block_id, vote.signer, vote.signature)
        return replace(vote, view=min(vote.view + self._chance.choice((1, 2)), VIEW_MAX))

    def forge(self, node: SimNode, _: Message | None, seen: Seen) -> Message | None:
        """A vote in the name of somebody honest."""
        vote = self._some_vote(seen)
        if vote is None:
            return None
        height = node.running.store.head.height + 1
        signer = self._chance.choice(self._honest)
        return self._forged(replace(vote, height=height, signer=signer))

    def slander(self, _: SimNode, __: Message | None, seen: Seen) -> Message | None:
        """Evidence against somebody honest, with a vote that was never signed."""
        vote = self._some_vote(seen)
        if vote is None:
            return None
        other = self._forged(replace(vote, block_id=self._chance.randbytes(32)))
        if self._chance.random() < 0.5:
            other = replace(other, signature=vote.signature)
        return Evidence(encode(bare(vote)), encode(bare(other)))

    def stuff(self, node: SimNode, _: Message | None, __: Seen) -> Sequence[Message]:
        """Votes in more views than anybody should remember."""
        height, block_id = node.height + 1, self._chance.randbytes(32)
        first, kind = self._chance.randint(0, 1 << 16), self._chance.choice((Prepare, Commit))
        return [
            self._signed(kind(height, first + view, block_id, node.public_key, b""))
            for view in range(STUFFED)
        ]

    def pester(self, node: SimNode, _: Message | None, __: Seen) -> Sequence[Message]:
        """Questions without end: for everything, and for what nobody has."""
        hashes = tuple(self._chance.randbytes(32) for _ in range(BATCH_TRANSACTIONS_MAX))
        first = self._chance.choice((1, node.height + 1, HUGE[0]))
        return [BlockRequest(first, BLOCK_RANGE_MAX), TransactionRequest(hashes)] * PESTERED

    def flood(self, node: SimNode, _: Message | None, __: Seen) -> Message:
        """Rubbish: no transactions at all, and well-signed ones of a stranger."""
        if self._chance.random() < 0.5:
            sizes = (self._chance.randint(0, GARBAGE_MAX) for _ in range(20))
            return Transactions(tuple(self._chance.randbytes(size) for size in sizes))
        key = PrivateKey(self._chance.randbytes(31) + b"\x01")
        until_ms = node.now_ms + RUBBISH_LIFETIME_MS
        call = Call("kernel", "enrol", {"public_key": key.public_key, "roles": ["holder"]})
        made = [
            sign_transaction(self._chain, key, self._chance.randbytes(16), until_ms, (call,))
            for _ in range(3)
        ]
        return Transactions(tuple(transaction.raw for transaction in made))

    def spoil(self, _: SimNode, message: Transactions, __: Seen) -> Message:
        """Transactions with one bit flipped each."""
        return Transactions(tuple(raw[:-1] + bytes([raw[-1] ^ 1]) for raw in message.raws))

    # ---- the craft

    def _certificate(self, node: SimNode, header: BlockHeader) -> CommitCertificate:
        """Seals of all traitors, and forged ones up to a quorum."""
        block_id = header.id(self._chain)
        seals = []
        for signer in [*self._secrets, *self._honest][: quorum_at(node)]:
            unsigned = Commit(header.height, 0, block_id, signer, b"")
            make: Callable[[Commit], Commit] = (
                self._signed if signer in self._secrets else self._forged
            )
            seals.append(CommitSeal(signer, make(unsigned).signature))
        seals.sort(key=lambda seal: seal.signer)
        if self._chance.random() < 0.3:
            seals = [seal for seal in seals if seal.signer in self._secrets]
        return CommitCertificate(header.height, 0, block_id, tuple(seals))

    def _with_block(self, message: BlockRange, place: int, block: CertifiedBlock) -> BlockRange:
        blocks = (*message.blocks[:place], block, *message.blocks[place + 1 :])
        return replace(message, blocks=blocks)

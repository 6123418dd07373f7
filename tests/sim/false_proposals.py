"""False proposals: blocks that no honest leader proposes, or not with this justification.

Methods take a traitor's node, the proposal that its engine meant to send (None: there is none) and
what traitors have heard, and give one lie, or None where nothing fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from node.admission import Candidate
from node.consensus.view_change import NOTHING_PREPARED, highest_prepared
from node.execution import BlockResult
from node.protocol.block import BLOCK_VERSION, VIEW_MAX, BlockHeader
from node.protocol.keys import PrivateKey
from node.protocol.messages import Message, PrePrepare, ViewChange, sign_message
from node.protocol.proofs import merkle_root
from tests.sim.forger import Forger, Seen, is_open, opened_at, quorum_at, view_changes_of
from tests.sim.node import SimNode

NOT_MY_TURN = 0.15
HUGE_VIEW = 0.15

Justify = Callable[[SimNode, int, Seen], Iterable[ViewChange]]


class FalseProposals(Forger):
    """See the module."""

    def rival(self, node: SimNode, message: PrePrepare) -> PrePrepare | None:
        """Another proposal for the same place, as good as the first; None for a re-proposal."""
        if message.prepares or not is_open(node, message.height):
            return None
        known = node.running.engine._proposals._results.get(message.header.id(self._chain))
        if known is None:
            return None
        fewer = len(known.candidates) > 1 and self._chance.random() < 0.5
        candidates = known.candidates[: -1 if fewer else None]
        header, hashes = self._block(node, candidates, message.header.time_ms + 1)
        if not hashes and message.view == 0:
            return None
        return self._signed(replace(message, header=header, transaction_hashes=hashes))

    def wrong_result(self, _: SimNode, message: PrePrepare, __: Seen) -> Message:
        """A block whose result is made up."""
        root = self._chance.choice(("state_root", "receipts_root", "next_validators_hash"))
        header = replace(message.header, **{root: self._chance.randbytes(32)})
        return self._signed(replace(message, header=header))

    def missing_body(self, _: SimNode, message: PrePrepare, __: Seen) -> Message:
        """A block with a transaction that nobody can have."""
        hashes = (*message.transaction_hashes, self._chance.randbytes(32))
        header = replace(message.header, transactions_root=merkle_root(hashes))
        return self._signed(replace(message, header=header, transaction_hashes=hashes))

    def mask(self, node: SimNode, message: PrePrepare, seen: Seen) -> Message | None:
        """A fresh block, justified by the VIEW-CHANGEs that know least of what was prepared."""
        if message.view == 0 or not is_open(node, message.height):
            return None
        said = {vote.signer: vote for vote in message.view_changes}
        for heard in view_changes_of(seen, message.height):
            if heard.view == message.view:
                said[heard.signer] = heard
        for traitor in self._secrets:
            said[traitor] = self._ignorant(message.height, message.view, traitor)
        ignorant = sorted(said.values(), key=lambda vote: (vote.prepared_view, vote.signer))
        chosen = tuple(ignorant[: quorum_at(node)])
        prepares = message.prepares if highest_prepared(chosen) is not None else ()
        header, hashes = self._fresh(node)
        return self._signed(
            PrePrepare(message.view, header, hashes, message.signer, b"", chosen, prepares)
        )

    def unjustified(self, node: SimNode, message: PrePrepare, seen: Seen) -> Message | None:
        """A fresh block in a later view, with VIEW-CHANGEs that justify nothing."""
        if message.view == 0 or not is_open(node, message.height):
            return None
        return self._without_reason(node, message.view, seen)

    def usurp(self, node: SimNode, _: Message | None, seen: Seen) -> Message | None:
        """The same unasked, as soon as this member would lead, and now and then where it does not.

        Whoever believes it leaves the view in which others decide just now.
        """
        opened, chance = opened_at(node), self._chance
        size = len(opened.committee.members)
        turns = range(max(opened.view, 1), min(opened.view + size, VIEW_MAX) + 1)
        mine = [view for view in turns if opened.committee.leader(view) == node.public_key]
        view = chance.choice(turns) if not mine or chance.random() < NOT_MY_TURN else mine[0]
        if chance.random() < HUGE_VIEW:
            view += size * chance.choice((20, 1 << 10, (VIEW_MAX - view) // size))
        return self._without_reason(node, view, seen)

    # ---- the craft

    def _without_reason(self, node: SimNode, view: int, seen: Seen) -> PrePrepare:
        header, hashes = self._fresh(node)
        reasons: tuple[Justify, ...] = (
            lambda *_: (),
            self._too_few,
            self._twice,
            self._of_other_views,
            self._in_other_names,
            self._tampered,
            self._of_strangers,
        )
        chosen = tuple(self._chance.choice(reasons)(node, view, seen))[: quorum_at(node)]
        return self._signed(PrePrepare(view, header, hashes, node.public_key, b"", chosen, ()))

    def _too_few(self, node: SimNode, view: int, _: Seen) -> Iterable[ViewChange]:
        return [self._ignorant(node.height + 1, view, traitor) for traitor in sorted(self._secrets)]

    def _twice(self, node: SimNode, view: int, seen: Seen) -> Iterable[ViewChange]:
        return [*self._too_few(node, view, seen)] * quorum_at(node)

    def _of_other_views(self, node: SimNode, view: int, seen: Seen) -> Iterable[ViewChange]:
        """True ones of honest members, for lower views."""
        own = self._too_few(node, view, seen)
        heard = {vc.signer: vc for vc in view_changes_of(seen, node.height + 1) if vc.view != view}
        return {**heard, **{vc.signer: vc for vc in own}}.values()

    def _in_other_names(self, node: SimNode, view: int, seen: Seen) -> Iterable[ViewChange]:
        own = list(self._too_few(node, view, seen))
        return own + [self._forged(replace(own[0], signer=honest)) for honest in self._honest]

    def _tampered(self, node: SimNode, view: int, seen: Seen) -> Iterable[ViewChange]:
        """True ones of honest members, moved to this view and with what they say cut out."""
        nothing = {"view": view, "prepared_view": NOTHING_PREPARED, "prepared_block": b""}
        heard = view_changes_of(seen, node.height + 1)
        said = {vc.signer: replace(vc, **nothing) for vc in heard}
        own = self._too_few(node, view, seen)
        return {**said, **{vc.signer: vc for vc in own}}.values()

    def _of_strangers(self, node: SimNode, view: int, seen: Seen) -> Iterable[ViewChange]:
        keys = [PrivateKey(self._chance.randbytes(31) + b"\x01") for _ in range(quorum_at(node))]
        own = next(iter(self._too_few(node, view, seen)))
        return [sign_message(self._chain, key, replace(own, signer=key.public_key)) for key in keys]

    def _fresh(self, node: SimNode) -> tuple[BlockHeader, tuple[bytes, ...]]:
        """A block of what waits at this node, as it would propose it now."""
        return self._block(node, node.running.engine.mempool.round_robin(), node.now_ms)

    def _block(
        self, node: SimNode, candidates: Iterable[Candidate], time_ms: int
    ) -> tuple[BlockHeader, tuple[bytes, ...]]:
        core = node.running
        head = core.store.head
        earliest = opened_at(node).committee.parent_time_ms + 1
        time_ms = max(time_ms, earliest)
        result = core.executor.build_block(head.height + 1, time_ms, candidates, lambda _: None)
        hashes = tuple(candidate.content_hash for candidate in result.candidates)
        parent_id = opened_at(node).committee.parent_id
        return _header(head.height + 1, time_ms, parent_id, result, node.public_key), hashes


def _header(
    height: int, time_ms: int, parent_id: bytes, result: BlockResult, proposer: bytes
) -> BlockHeader:
    return BlockHeader(
        BLOCK_VERSION,
        height,
        time_ms,
        parent_id,
        result.transactions_root,
        result.receipts_root,
        result.state_root,
        result.next_validators.hash,
        proposer,
    )

"""Catch-up: whom to ask for which blocks, and what to do when no good answer comes.

A pure scheduler: no sockets, no clock, no execution; time comes in as milliseconds and actions go
out as data. One request is out at a time; where no answer comes soon, a second peer is asked for
the same, so that one that says nothing costs little. Heights that peers claim are hints: they
choose whom to ask, and a peer that does not deliver rests ever longer, so no claim can hold the
node up. One block behind is how every round of consensus ends for somebody, so that alone waits a
moment. What the blocks are worth is judged by whoever executes them; that judgement comes back as
`need` (it went on from there) or as `on_fault` (the peer's blocks were bad).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from node.net.sources import COOL_DOWN_MAX_MS, SLOW_MS, Punish, Source
from node.protocol.block import CertifiedBlock
from node.protocol.encoding import encode
from node.protocol.errors import PeerFault
from node.protocol.messages import BLOCK_RANGE_MAX, BlockRange, BlockRequest

REQUEST_TIMEOUT_MS = 10_000
APPLY_TIMEOUT_MS = 60_000
GRACE_MS = 500
RANGE_BYTES_TARGET = 1 << 20


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this request to this peer."""

    peer: bytes
    request: BlockRequest


@dataclass(frozen=True, slots=True)
class Apply:
    """Check and execute these blocks, which follow each other from the needed height on."""

    peer: bytes
    blocks: tuple[CertifiedBlock, ...]


Action = Ask | Punish | Apply


@dataclass(slots=True)
class _Source(Source):
    """A peer that says it has the blocks from `blocks_from` up to `claims`."""

    claims: int = 0
    blocks_from: int = 1


@dataclass(frozen=True, slots=True)
class _Pending:
    """Either a request that is out, or a range that is being applied, until `deadline`.

    `second` was asked for the same since `peer` is slow to answer.
    """

    peer: bytes
    first: int
    count: int
    deadline: int
    applying: bool
    second: bytes | None = None

    def without(self, peer: bytes) -> _Pending | None:
        """What remains when nothing more is expected of `peer`."""
        if peer == self.second:
            return replace(self, second=None)
        if peer != self.peer:
            return self
        return replace(self, peer=self.second, second=None) if self.second else None

    def after_progress(self, next_height: int, now_ms: int) -> _Pending | None:
        """The same range with a new deadline, or None once all of it is applied."""
        if next_height >= self.first + self.count:
            return None
        return replace(self, deadline=now_ms + APPLY_TIMEOUT_MS)


class CatchUp:
    """Heights of blocks that are missing here, and the peers that may have them.

    `next_height` is the first height not stored here. Every method that may lead to something
    returns the actions in order.
    """

    def __init__(self, next_height: int) -> None:
        self.next_height = next_height
        self._sources: dict[bytes, _Source] = {}
        self._pending: _Pending | None = None
        self._patient_until = 0
        self._held = False

    @property
    def busy(self) -> bool:
        """Whether blocks have been asked for or are being applied."""
        return self._pending is not None

    def claimed_height(self, supporters: int) -> int:
        """The greatest height that at least `supporters` peers claim; 0 with fewer peers.

        With f + 1 supporters at least one honest peer claims that much or more.
        """
        claims = sorted((source.claims for source in self._sources.values()), reverse=True)
        return claims[supporters - 1] if len(claims) >= supporters else 0

    def believed_height(self, supporters: int) -> int:
        """The same, but of fewer peers than `supporters` all must say so."""
        return self.claimed_height(min(supporters, len(self._sources)) or 1)

    def is_cut_off(self, now_ms: int) -> bool:
        """Whether the peers that may be asked have later blocks, and none the one needed next."""
        behind = [source.blocks_from > self.next_height for source in self._ahead(now_ms)]
        return bool(behind) and all(behind)

    def hold(self, held: bool, now_ms: int) -> list[Action]:
        """Ask for no more blocks while `held`: a snapshot is on its way."""
        self._held = held
        return self._ask(now_ms)

    def note(self, peer: bytes, height: int, blocks_from: int) -> None:
        """A connected peer claims to have these blocks; `hold` then says whether to ask for any."""
        source = self._sources.setdefault(peer, _Source())
        source.claims, source.blocks_from = height, blocks_from

    def on_head_hint(
        self, peer: bytes, height: int, now_ms: int, urgent: bool = False
    ) -> list[Action]:
        """A connected peer claims that `height` is final; `urgent` when consensus believes it."""
        source = self._sources.setdefault(peer, _Source())
        source.claims = max(source.claims, height) if urgent else height
        if urgent:
            self._patient_until = 0
        return self._ask(now_ms)

    def need(self, next_height: int, now_ms: int) -> list[Action]:
        """All below `next_height` is stored: by consensus, or by applying what came."""
        if next_height > self.next_height:
            self._patient_until = now_ms + GRACE_MS
            if self._pending is not None and self._pending.applying:
                self._pending = self._pending.after_progress(next_height, now_ms)
        self.next_height = next_height
        return self._ask(now_ms)

    def on_range(self, peer: bytes, answer: BlockRange, now_ms: int) -> list[Action]:
        """Blocks came. Late answers are ignored; blocks that do not follow on are a fault."""
        pending = self._pending
        if pending is None or pending.applying or peer not in (pending.peer, pending.second):
            return []
        heights = [block.header.height for block in answer.blocks]
        if heights and heights[0] != pending.first:
            return []  # the answer to an earlier request, which took too long
        expected = list(range(pending.first, pending.first + len(heights)))
        if heights != expected:
            fault = PeerFault("BAD_RANGE", "the blocks do not follow each other")
            return [Punish(peer, fault), *self.on_fault(peer, now_ms)]
        source = self._sources[peer]
        if peer == pending.second:
            self._sources[pending.peer].rest(now_ms)  # it was overtaken
        blocks = tuple(b for b in answer.blocks if b.header.height >= self.next_height)
        if blocks:
            source.claims = answer.head
            source.delivered(now_ms)
            self._pending = _Pending(
                peer, pending.first, len(heights), now_ms + APPLY_TIMEOUT_MS, applying=True
            )
            return [Apply(peer, blocks)]
        if heights:  # consensus was faster
            self._pending = None
            return self._ask(now_ms)
        source.claims = 0  # it claimed more than it has, or has pruned what we need
        source.rest(now_ms)
        return self._abandon(peer, now_ms)

    def on_fault(self, peer: bytes, now_ms: int) -> list[Action]:
        """The peer's blocks were bad, or it broke the protocol otherwise: turn to another."""
        if (source := self._sources.get(peer)) is not None:
            source.rest(now_ms, COOL_DOWN_MAX_MS)
        return self._abandon(peer, now_ms)

    def on_disconnected(self, peer: bytes, now_ms: int) -> list[Action]:
        """The peer is gone, and its claims with it; blocks that have come may still be good."""
        self._sources.pop(peer, None)
        if self._pending is not None and self._pending.applying:
            return []
        return self._abandon(peer, now_ms)

    def tick(self, now_ms: int) -> list[Action]:
        """Time passes; call a few times a second."""
        pending = self._pending
        if pending is None:
            return self._ask(now_ms)
        if now_ms < pending.deadline:
            return self._ask_second(pending, now_ms)
        if not pending.applying:
            for peer in (pending.peer, pending.second):
                if peer is not None:
                    self._sources[peer].rest(now_ms)
        self._pending = None
        return self._ask(now_ms)

    def _abandon(self, peer: bytes, now_ms: int) -> list[Action]:
        if self._pending is not None:
            self._pending = self._pending.without(peer)
        return self._ask(now_ms)

    def _ask(self, now_ms: int) -> list[Action]:
        idle = self._pending is None and not self._held
        peer = self._choose(now_ms) if idle else None
        if peer is None:
            return []
        request = self._request(peer, now_ms)
        deadline = now_ms + REQUEST_TIMEOUT_MS
        self._pending = _Pending(peer, request.height, request.count, deadline, applying=False)
        return [Ask(peer, request)]

    def _ask_second(self, pending: _Pending, now_ms: int) -> list[Action]:
        """Who does not answer at once may still do so; another one may be faster."""
        waited_ms = REQUEST_TIMEOUT_MS - (pending.deadline - now_ms)
        if pending.applying or pending.second is not None or waited_ms < SLOW_MS:
            return []
        if self.next_height != pending.first:
            return []
        other = self._choose(now_ms, besides=pending.peer)
        if other is None:
            return []
        self._pending = replace(pending, second=other)
        return [Ask(other, self._request(other, now_ms))]

    def _request(self, peer: bytes, now_ms: int) -> BlockRequest:
        source = self._sources[peer]
        source.asked_at = now_ms
        # A claim beyond reason asks for no more than the largest range.
        count = min(BLOCK_RANGE_MAX, source.claims - self.next_height + 1)
        return BlockRequest(self.next_height, count)

    def _choose(self, now_ms: int, besides: bytes = b"") -> bytes | None:
        """The least failing, then longest unasked peer that has the needed block."""
        able = [
            (source.failures, source.asked_at, peer)
            for peer, source in self._sources.items()
            if peer != besides
            and self._is_ahead(source, now_ms)
            and source.blocks_from <= self.next_height
        ]
        return min(able)[2] if able else None

    def _ahead(self, now_ms: int) -> list[_Source]:
        return [source for source in self._sources.values() if self._is_ahead(source, now_ms)]

    def _is_ahead(self, source: _Source, now_ms: int) -> bool:
        """Whether a peer claims the needed height and does not rest."""
        least = self.next_height + (1 if now_ms < self._patient_until else 0)
        return source.claims >= least and source.rests_until <= now_ms


def answer_request(
    request: BlockRequest, block_at: Callable[[int], CertifiedBlock | None], head: int
) -> BlockRange:
    """The answer to a peer's request: consecutive blocks, about `RANGE_BYTES_TARGET` at most.

    The first block is always in, whatever its size; none if it is not here.
    """
    blocks: list[CertifiedBlock] = []
    size = 0
    for block in _present(block_at(request.height + i) for i in range(request.count)):
        size += len(encode(block))
        if blocks and size > RANGE_BYTES_TARGET:
            break
        blocks.append(block)
    return BlockRange(tuple(blocks), head)


def _present(blocks: Iterable[CertifiedBlock | None]) -> Iterable[CertifiedBlock]:
    for block in blocks:
        if block is None:
            return
        yield block

"""The importer: certified blocks from peers, checked and executed in order.

For each block it checks the link to the head, the set of that height, the certificate and the
transactions root; then it executes and compares the roots, checking no signature twice. A bad block
costs its sender the connection. A good block whose result differs here means that this node is
broken: it must halt, and never adopt or overwrite. Asking for blocks is `net.catch_up`'s part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from node.admission import admit_certified
from node.code import Code
from node.execution import (
    NO_EPOCH_SECRET,
    BlockResult,
    Executor,
    Inadmissible,
    Locked,
    Poison,
)
from node.protocol.block import BlockHeader, CertifiedBlock, check_certificate
from node.protocol.domain import Chain
from node.protocol.encoding import sha256
from node.protocol.errors import PeerFault, Refused
from node.protocol.proofs import merkle_root
from node.protocol.sealing import Opener
from node.protocol.validators import ValidatorSet

QUEUE_MAX = 256


class Diverged(Exception):
    """A certified block gives another result here, or none: what is broken is this node.

    `code` is `DIVERGED`, or `NO_EPOCH_SECRET` where it cannot open what the others could.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Imported(msgspec.Struct, frozen=True):
    """A certified block with what executing it gave."""

    block: CertifiedBlock
    result: BlockResult


class Importer:
    """A bounded queue of certified blocks, with the checks that each must pass."""

    def __init__(
        self,
        chain: Chain,
        code: Code,
        opener: Opener,
        executor: Executor,
    ) -> None:
        self._chain = chain
        self._code = code
        self._opener = opener
        self._executor = executor
        self._queue: deque[tuple[bytes, CertifiedBlock]] = deque()

    def offer(self, peer: bytes, blocks: Sequence[CertifiedBlock]) -> None:
        """Queue blocks that `peer` sent; beyond the bound they are dropped and asked for again."""
        for block in blocks:
            if len(self._queue) < QUEUE_MAX:
                self._queue.append((peer, block))

    def drop(self) -> None:
        """Forget all queued blocks, because one of them was bad."""
        self._queue.clear()

    def take(self, height: int) -> tuple[bytes, CertifiedBlock] | None:
        """The queued block of exactly this height, with its sender; earlier ones are skipped."""
        while self._queue and self._queue[0][1].header.height < height:
            self._queue.popleft()
        if not self._queue or self._queue[0][1].header.height != height:
            return None
        return self._queue.popleft()

    def check(
        self, block: CertifiedBlock, parent_id: bytes, parent_time_ms: int, members: ValidatorSet
    ) -> None:
        """Raise `PeerFault` `BAD_BLOCK` unless the block is the certified child of the head."""
        header = block.header
        if header.parent != parent_id or header.time_ms <= parent_time_ms:
            raise PeerFault("BAD_BLOCK", "it does not follow our head")
        try:
            check_certificate(self._chain, header, block.certificate, members)
        except Refused as refusal:
            raise PeerFault("BAD_BLOCK", refusal.message) from None
        leaves = [sha256(b"\x00" + raw) for raw in block.transactions]
        if merkle_root(leaves) != header.transactions_root:
            raise PeerFault("BAD_BLOCK", "its transactions are not those of its header")

    def execute(self, block: CertifiedBlock) -> BlockResult:
        """Execute a checked block; raises `Diverged` if the result is not the certified one."""
        header = block.header
        chain, contracts = self._chain, self._code.at(block.header.height)
        try:
            candidates = [
                admit_certified(chain, contracts, self._opener, raw) for raw in block.transactions
            ]
            result = self._executor.execute_block(header.height, header.time_ms, candidates)
        except Refused as refusal:
            raise _diverged(header, f"holds {refusal.code} here") from None
        except Locked as locked:
            raise Diverged(NO_EPOCH_SECRET, f"block {header.height}: {locked}") from None
        except (Poison, Inadmissible) as failure:
            raise _diverged(header, str(failure)) from None
        if not matches(header, result):
            root, certified = result.state_root.hex(), header.state_root.hex()
            raise _diverged(header, f"state root {root[:16]}… here, {certified[:16]}… certified")
        return result


def _diverged(header: BlockHeader, what: str) -> Diverged:
    advice = "`groat node check` tells if the disk is to blame"
    return Diverged("DIVERGED", f"block {header.height}: {what}; {advice}")


def matches(header: BlockHeader, result: BlockResult) -> bool:
    """Whether our own execution gives what the header claims."""
    return (
        header.state_root == result.state_root
        and header.receipts_root == result.receipts_root
        and header.transactions_root == result.transactions_root
        and header.next_validators_hash == result.next_validators.hash
    )

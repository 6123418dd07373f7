"""What must hold: watched at every message and every final block, and over everything at the end.

The checkers know the protocol's promises and nothing of how the replica keeps them: one block a
height, equal roots, votes that never contradict and never leave before they are on disk, every
acknowledged transaction booked, none twice, and the books in balance. Byzantine nodes are bound by
nothing; of what they do, only this is asked: that it harms and discredits no honest node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import audit, next_validators, validators_at
from contracts.prepaid.tables import CARDS
from node import outputs as io
from node.consensus.votes import check_evidence
from node.protocol.block import Receipt, receipt_hash, vote_digest
from node.protocol.errors import StoreFailure
from node.protocol.genesis import Genesis
from node.protocol.keys import CURVE_ORDER, is_valid
from node.protocol.messages import (
    Commit,
    Dissent,
    Message,
    Prepare,
    PrePrepare,
    ViewChange,
    decode_message,
)
from node.protocol.proofs import merkle_root
from node.protocol.transaction import parse_transaction
from node.protocol.validators import ValidatorSet
from node.state.keyvalue import MemoryKeyValue
from node.state.store import Store
from node.state.tree import StateTree
from tests.sim.limits import exceeded, exceeded_votes
from tests.sim.node import SimNode
from tests.sim.progress import Progress
from tests.sim.story import Made
from tests.sim.witness import Witness

SCAN_MAX = 10_000
INPUTS_PER_GLANCE = 8
INPUTS_PER_LOOK = 64
GRAVE_ALARMS = frozenset({"POISON", "DIVERGED"})
BYZANTINE_ALARMS = frozenset(
    {"EQUIVOCATION", "DISSENT", "DIFFERS", "INADMISSIBLE", "INVALID_PROPOSAL"}
)
"""No reason for these but a byzantine member."""


class Violation(Exception):
    """A promise is broken. `kind` is one word for it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


@dataclass(frozen=True)
class Booked:
    """Where a transaction was booked, and what came of it."""

    height: int
    receipt: Receipt


class Checkers:
    """Watches the honest nodes of one run; every method raises `Violation`."""

    def __init__(
        self, genesis: Genesis, counts: Counter[str], traitors: frozenset[bytes] = frozenset()
    ) -> None:
        """`traitors` are the public keys of the byzantine members."""
        self._genesis = genesis
        self._chain = genesis.chain
        self._counts = counts
        self._blocks: dict[int, tuple[bytes, bytes]] = {}
        self._booked_height = 0
        self._signed: dict[tuple[int, type[Message], int, int], object] = {}
        self._durable: set[bytes] = set()
        self._reported: dict[int, int] = {}
        self._traitors = traitors
        self._proposed: set[bytes] = set()
        self._witness = Witness(self._chain, traitors)
        self._inputs = 0
        self.progress = Progress()
        self.booked: dict[bytes, Booked] = {}

    # ---- while it runs

    def on_started(self, node: SimNode) -> None:
        """What a node once reported as final is there after a crash."""
        self._counts["starts"] += 1
        if not node.honest:
            return
        head = node.running.store.head
        if head.height < self._reported.get(node.number, 0):
            raise Violation(
                "forgotten",
                f"{node.name} reported height {self._reported[node.number]} as final and "
                f"restarts at {head.height}",
            )
        self._check_head(node)

    def on_start_refused(self, node: SimNode, failure: StoreFailure) -> None:
        """No crash may leave disks on which a node cannot start, once there is room again."""
        if failure.code == "DISK_FAILED" and any(disk.failing for disk in node.machine.disks):
            return
        raise Violation("start refused", f"{node.name}: {failure.code} {failure}")

    def on_input(self, node: SimNode, event: io.Input) -> None:
        """An engine is about to be fed."""
        if not node.honest:
            return
        self.progress.on_input(node, event)
        if self._traitors:
            self._witness.on_input(node, event)

    def on_handled(self, node: SimNode) -> None:
        """Contradictions are noticed; what is kept stays within its limits."""
        if not node.honest:
            return
        if self._traitors and (missing := self._witness.missing(node)):
            raise Violation("no evidence", missing)
        self._inputs += 1
        if self._inputs % INPUTS_PER_GLANCE == 0 and (broken := exceeded_votes(node)):
            raise Violation("limits", broken)
        if self._inputs % INPUTS_PER_LOOK == 0:
            self._check_limits(node)

    def on_sending(self, node: SimNode, message: Message) -> None:
        """One's own vote: on disk first, and never against an earlier one."""
        if not node.honest:
            return
        content: object
        match message:
            case Prepare() | Commit():
                content = message.block_id
            case PrePrepare():
                content = message.header.id(self._chain)
                if message.header.proposer == node.public_key:
                    self._proposed.add(content)
            case ViewChange():
                content = (message.prepared_view, message.prepared_block)
            case Dissent() if message.block_id in self._proposed or not self._traitors:
                raise Violation("dissent", f"{node.name} disagrees at {message.height}")
            case _:
                return
        if message.signer != node.public_key:
            raise Violation("relay", f"{node.name} sends a vote that it did not sign")
        if message.signer not in validators_at(node.running.store, message.height).members:
            raise Violation("stranger", f"{node.name} votes at {message.height} as no member")
        if message.signature not in self._durable:
            if not node.machine.has_written(message.signature):
                raise Violation(
                    "unsynced vote", f"{node.name} sends {type(message).__name__} before it is safe"
                )
            self._durable.add(message.signature)
        place = (node.number, type(message), message.height, message.view)
        if self._signed.setdefault(place, content) != content:
            raise Violation(
                "contradiction",
                f"{node.name} signed two {type(message).__name__}s for height {message.height}, "
                f"view {message.view}",
            )
        if isinstance(message, ViewChange):
            self._counts["view changes asked for"] += 1
            if wrong := self.progress.on_view_change(node, message):
                raise Violation("views", wrong)

    def on_committed(self, node: SimNode, committed: io.Committed) -> None:
        """One block a height, the same results everywhere, no transaction twice."""
        if not node.honest:
            return
        store = node.running.store
        head = store.head
        if head.height != committed.height:
            raise Violation("order", f"{node.name} reports {committed.height} at {head.height}")
        self._reported[node.number] = head.height
        self._check_head(node)
        self._check_limits(node)

    def on_trouble(self, node: SimNode, output: io.Alarm | io.Halt | io.PunishPeer) -> None:
        """Honest nodes give each other no reason to halt, accuse or disconnect."""
        if not node.honest:
            return
        match output:
            case io.Halt(code, text):
                raise Violation("halt", f"{node.name}: {code} {text}")
            case io.PunishPeer(peer, fault) if peer in self._traitors:
                self._counts["byzantine members cut off"] += 1
                self._counts[f"cut off {fault.code}"] += 1
            case io.PunishPeer(_, fault):
                raise Violation("punished", f"{node.name} punishes an honest peer: {fault}")
            case io.Alarm(code, text):
                self._counts[f"alarms {code}"] += 1
                if code in GRAVE_ALARMS or (code in BYZANTINE_ALARMS and not self._traitors):
                    raise Violation("alarm", f"{node.name}: {code} {text}")

    def _check_head(self, node: SimNode) -> None:
        """A node's head is everybody's block of that height, with the same state."""
        store = node.running.store
        head = store.head
        known_id, known_root = self._blocks.setdefault(
            head.height, (head.block_id, head.state_root)
        )
        if known_id != head.block_id:
            raise Violation("fork", f"{node.name} has another block at height {head.height}")
        if known_root != head.state_root:
            raise Violation("roots", f"{node.name} has another state root at {head.height}")
        while self._booked_height < head.height:
            self._booked_height += 1
            self._book(store, self._booked_height)
            self._check_results(node, self._booked_height)

    def _book(self, store: Store, height: int) -> None:
        """Note a block that no node had before."""
        self._counts["blocks"] += 1
        block = store.block(height)
        if block is not None and block.certificate.view > 0:
            self._counts["blocks of later views"] += 1
        for receipt in store.receipts(height):
            self._counts["transactions booked"] += 1
            self._counts[f"receipts {receipt.code}"] += 1
            earlier = self.booked.setdefault(receipt.transaction_id, Booked(height, receipt))
            if earlier.receipt is not receipt:
                raise Violation(
                    "executed twice",
                    f"{receipt.transaction_id.hex()} at {earlier.height} and {height}",
                )

    def _check_results(self, node: SimNode, height: int) -> None:
        """What a quorum certified is what came out: the store sees to the state root itself."""
        core = node.running
        block, salts = core.store.block(height), core.executor.salts
        receipts = core.store.receipts(height)
        leaves = [receipt_hash(r, salts.of_receipt(r.transaction_id)) for r in receipts]
        if block is None or block.header.receipts_root != merkle_root(leaves):
            raise Violation("roots", f"{node.name}: block {height} certifies other receipts")
        decide = validators_at(core.store, height + 1)
        following = ValidatorSet(decide.members, decide.confirmations_more_than)
        if block.header.next_validators_hash != following.hash:
            raise Violation("roots", f"{node.name}: block {height} certifies other validators")

    def _check_limits(self, node: SimNode) -> None:
        if broken := exceeded(node):
            raise Violation("limits", broken)

    def _check_evidence(self, node: SimNode) -> None:
        """Evidence holds, and is about traitors alone."""
        for item in node.running.engine.evidence.items:
            self._counts["items of evidence"] += 1
            first, second = decode_message(item.first), decode_message(item.second)
            if check_evidence(self._chain, first, second) not in self._traitors:  # type: ignore[arg-type]
                raise Violation("slander", f"{node.name} holds evidence against an honest member")

    # ---- at the end

    def finish(
        self,
        nodes: Sequence[SimNode],
        acknowledged: Sequence[bytes],
        hopeless: set[bytes],
        made: Mapping[bytes, Made],
    ) -> None:
        """Everything that can be said once all honest `nodes` stand at the same head."""
        self._counts["contradictions heard"] += self._witness.contradictions
        for identity in acknowledged:
            if identity not in self.booked:
                raise Violation("lost", f"{identity.hex()} was acknowledged and is not booked")
        for identity in sorted(hopeless & self.booked.keys()):
            raise Violation("impossible", f"{identity.hex()} was booked with a bad signature")
        for node in nodes:
            self._check_places(node)
            self._check_evidence(node)
        first = nodes[0]
        self._check_chain(first)
        self._check_tree(first)
        self._check_books(first)
        self._check_cards(first, made)

    def _check_places(self, node: SimNode) -> None:
        """Each node can say where each booked transaction stands, and what came of it."""
        store = node.running.store
        for identity, booked in self.booked.items():
            place = store.find(identity)
            if place is None or place[0] != booked.height:
                raise Violation("lost", f"{node.name} does not find {identity.hex()}")
            if store.receipts(place[0])[place[1]] != booked.receipt:
                raise Violation("receipts", f"{node.name} has another receipt in {place}")

    def _check_chain(self, node: SimNode) -> None:
        """Links, signatures, and certificates counted by the textbook."""
        store = node.running.store
        parent = self._genesis.hash
        for height in range(1, store.head.height + 1):
            members, _ = next_validators(store, height)
            size = len(members)
            needed = (size + (size - 1) // 3) // 2 + 1
            block = store.block(height)
            if block is None or block.header.parent != parent:
                raise Violation("chain", f"{node.name} has no block {height} on its parent")
            parent = block.header.id(self._chain)
            seals = {seal.signer: seal.signature for seal in block.certificate.seals}
            digest = vote_digest(self._chain, "commit", height, block.certificate.view, parent)
            good = [
                signer
                for signer, signature in seals.items()
                if signer in members and is_valid(signer, digest, signature)
            ]
            if len(good) < needed:
                raise Violation("certificate", f"{len(good)} of {size} sealed block {height}")
            for raw in block.transactions:
                self._check_signature(raw)

    def _check_signature(self, raw: bytes) -> None:
        """What is final was signed by its sender, in the one canonical way."""
        transaction = parse_transaction(self._chain, raw)
        signature = transaction.signature
        if int.from_bytes(signature[32:], "big") > CURVE_ORDER // 2:
            raise Violation("high S", f"{transaction.id.hex()} is booked under a malleable twin")
        if not is_valid(transaction.body.sender, transaction.id, signature):
            raise Violation("signature", f"{transaction.id.hex()} was not signed by its sender")

    def _check_tree(self, node: SimNode) -> None:
        """The state root is that of the records, computed anew."""
        core = node.running
        records = self._records(node)
        tree = StateTree(self._genesis.tree_depth, MemoryKeyValue())
        root = tree.update(core.executor.leaf_changes(records)).root
        if root != core.store.head.state_root:
            raise Violation("tree", f"{node.name}: the state root is not that of the records")

    def _records(self, node: SimNode) -> dict[tuple[str, bytes], bytes | None]:
        store = node.running.store
        return {
            (table.name, key): value
            for contract in CONTRACTS.values()
            for table in contract.tables
            for key, value in store.scan(table.name, b"", None, SCAN_MAX)
        }

    def _check_books(self, node: SimNode) -> None:
        for name, result in audit(CONTRACTS, node.running.store).items():
            if result.violations:
                raise Violation("audit", f"{name}: {result.violations[0]}")

    def _check_cards(self, node: SimNode, made: Mapping[bytes, Made]) -> None:
        """What cards say was used is what clients were told was booked, to the cent."""
        consumed: Counter[bytes] = Counter()
        for identity, booked in self.booked.items():
            if not booked.receipt.ok:
                continue
            calls = made[identity].calls
            details = booked.receipt.details
            answers = details["calls"] if len(calls) > 1 else [details]
            for (_, action, args), answer in zip(calls, answers, strict=True):
                if action == "consume" and not answer.get("replayed"):
                    consumed[args["card"]] += args["amt"]
        for key, raw in node.running.store.scan(CARDS.name, b"", None, SCAN_MAX):
            card = CARDS.decode(raw)
            if card.consumed != consumed[key]:
                raise Violation(
                    "money", f"card {key.hex()}: {card.consumed} used, {consumed[key]} booked"
                )

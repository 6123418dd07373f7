"""Two administrators who change the validators while the network runs, as clients like others do.

What they want depends on the seed: grow and shrink again, swap one for another, or anything. They
take one step after the other, each by a proposal and an approval, and see to it that no set comes
about in which the byzantine are too many: that would break what PBFT promises, not how we keep it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from random import Random
from typing import Any

from contracts.kernel.membership import VALIDATORS_MIN
from contracts.kernel.registry import READY, newest_epoch, nodes_of, validators_at, wrap_of
from node.protocol.block import Receipt
from node.protocol.encoding import Value
from node.protocol.ticket import sign_ticket
from tests.sim.cast import Cast
from tests.sim.checkers import Checkers
from tests.sim.node import SimNode
from tests.sim.scheduler import Scheduler
from tests.sim.workload import Workload
from tests.sim.world import epoch_key_of

POLL_MS = 120
PATIENCE_MS = 10_000
PAUSE_MS = (100, 1_500)
STEPS = (2, 6)
ATTEMPTS_MAX = 4
LEADER_LEAVES = 0.4
DISMISSED = 0.3
FOR_EVER = 1 << 62
PLANS = {
    "grow, then shrink": ("add", "add", "add", "remove", "remove", "remove"),
    "swap": ("replace",) * 6,
    "churn": ("add", "replace", "remove", "add", "remove", "replace"),
    "shrink": ("remove", "add", "remove", "add"),
}

Steps = Generator[None, None, None]
Booking = Generator[None, None, Receipt]
Change = Generator[None, None, bool]


class Governors:
    """Drives one plan; `stop` and `go_on` suspend it between two transactions."""

    def __init__(
        self,
        cast: Cast,
        nodes: Sequence[SimNode],
        workload: Workload,
        checkers: Checkers,
        scheduler: Scheduler,
        chance: Random,
        counts: Counter[str],
        note: Callable[[str], None],
    ) -> None:
        self._cast = cast
        self._nodes = nodes
        self._workload = workload
        self._checkers = checkers
        self._scheduler = scheduler
        self._chance = chance
        self._counts = counts
        self._note = note
        self._numbers = {key.public_key: number for number, key in enumerate(cast.keys)}
        self._course = self._follow_plan() if cast.newcomers else None
        self._stopped = False
        self.busy = False
        """Whether a decision is under way that may still change the set."""

    @property
    def done(self) -> bool:
        """Whether nothing more is planned."""
        return self._course is None

    def start(self) -> None:
        """Begin."""
        self._poll()

    def stop(self) -> None:
        """Send nothing more for now."""
        self._stopped = True

    def go_on(self) -> None:
        """Continue where `stop` interrupted."""
        self._stopped = False
        self._poll()

    def _poll(self) -> None:
        if self._course is None or self._stopped:
            return
        somebody = any(node.up and node.honest for node in self._nodes)
        if somebody and next(self._course, self) is self:
            self._course = None
            return
        self._scheduler.after(POLL_MS, self._poll)

    # ---- the plan

    def _follow_plan(self) -> Steps:
        name = self._chance.choice(list(PLANS))
        self._note(f"the administrators will: {name}")
        for step in PLANS[name][: self._chance.randint(*STEPS)]:
            yield from self._rest()
            changes: dict[str, Callable[[], Change]] = {
                "add": self._add,
                "remove": self._remove,
                "replace": self._replace,
            }
            if (yield from changes[step]()):
                self._counts[f"sets changed: {step}"] += 1

    def _add(self) -> Change:
        members = self._newest()
        fit = [n for n in self._outside() if self._cast.bears([*members, self._key(n)])]
        if not fit:
            return False
        number = self._chance.choice(fit)
        yield from self._admit(number)
        args = {"node_key": self._key(number)}
        return (yield from self._decide("add_validator", args, joining=number))

    def _remove(self) -> Change:
        members = self._newest()
        fit = [m for m in members if self._cast.bears([other for other in members if other != m])]
        if len(members) <= VALIDATORS_MIN or not fit:
            return False
        leaving = self._choose_leaving(fit)
        args = {"node_key": leaving}
        changed = yield from self._decide("remove_validator", args, leaving=leaving)
        if changed and self._chance.random() < DISMISSED:
            yield from self._rest()
            yield from self._dismiss(self._numbers[leaving])
        return changed

    def _dismiss(self, number: int) -> Steps:
        for twin in self._cast.nodes_of(number):
            self._nodes[twin].machine.admitted = False
        if (yield from self._decide("dismiss_observer", {"node_key": self._key(number)})):
            self._counts["nodes dismissed"] += 1

    def _replace(self) -> Change:
        members = self._newest()
        fit = [
            (number, old)
            for number in self._outside()
            for old in members
            if self._cast.bears([self._key(number) if m == old else m for m in members])
        ]
        if not fit:
            return False
        number = self._chance.choice(sorted({number for number, _ in fit}))
        leaving = self._choose_leaving([old for joining, old in fit if joining == number])
        yield from self._admit(number)
        args = {"node_key": self._key(number), "replaced": leaving}
        return (yield from self._decide("replace_validator", args, joining=number, leaving=leaving))

    def _choose_leaving(self, fit: Sequence[bytes]) -> bytes:
        """Now and then the one that leads at this moment."""
        leader = self._best().running.engine.leader
        if leader in fit and self._chance.random() < LEADER_LEAVES:
            self._counts["leaders removed"] += 1
            return leader
        return self._chance.choice(fit)

    def _rest(self) -> Steps:
        until_ms = self._scheduler.now_ms + self._chance.randint(*PAUSE_MS)
        while self._scheduler.now_ms < until_ms:
            yield

    # ---- decisions

    def _admit(self, number: int) -> Steps:
        """List a node on chain and start its machines, with what is known of the others.

        One that was removed holds no newer epoch: it is dismissed and comes anew.
        """
        key, store = self._key(number), self._best().running.store
        listed = key in {node.public_key for node in nodes_of(store)}
        if listed and wrap_of(store, newest_epoch(store).number, key) is None:
            yield from self._dismiss(number)
            listed = False
        if not listed:
            name = f"node{number}"
            args = {
                "node_key": key,
                "name": name,
                "address": f"{name}:1",
                "tls_fingerprint": bytes([number]) * 32,
                "wrap": b"wrap",
            }
            yield from self._decide("admit_observer", args)
        for twin in self._cast.nodes_of(number):
            node = self._nodes[twin]
            if not node.machine.admitted:
                node.machine.admitted = True
                node.machine.given = self._best().known_peers
            node.start()
        while not any(self._nodes[twin].up for twin in self._cast.nodes_of(number)):
            yield

    def _decide(
        self,
        kind: str,
        args: dict[str, Any],
        joining: int | None = None,
        leaving: bytes | None = None,
    ) -> Change:
        """Propose and approve, again if the proof of being ready has become too old meanwhile."""
        for _ in range(ATTEMPTS_MAX):
            proposal = {"proposal": self._chance.randbytes(16)}
            proof = {} if joining is None else (yield from self._ready(joining))
            if proof is None:
                return False
            epoch = self._epoch(kind, leaving)
            wish = {**proposal, "reason": "as the seed wants it", **args, **proof, **epoch}
            self.busy = True
            receipt = yield from self._book("chair", kind, wish)
            if receipt.ok:
                receipt = yield from self._book("deputy", "approve", proposal)
            self.busy = False
            self._note(f"{kind} of {self._name(args['node_key'])}: {receipt.code}")
            self._counts[f"governance {receipt.code}"] += 1
            if receipt.ok or receipt.code not in ("NOT_READY", "BAD_STATE"):
                return receipt.ok
            yield from self._rest()
        return False

    def _book(self, sender: str, action: str, args: dict[str, Any]) -> Booking:
        """Send a call until some honest node has it in a final block."""
        while True:
            story = self._workload.story
            made = story.governance(self._scheduler.now_ms, sender, action, args)
            self._workload.send(made, careless=False)
            identity = made.transaction.id
            while (booked := self._checkers.booked.get(identity)) is None:
                if self._workload.is_given_up(identity):
                    break
                yield
            else:
                return booked.receipt

    def _ready(self, number: int) -> Generator[None, None, dict[str, Any] | None]:
        """What the node signs to show that it has the state of its head.

        Before, it acknowledges the newest epoch, as every node does by itself. A byzantine one is
        not waited for.
        """
        newest = newest_epoch(self._best().running.store)
        opened: dict[str, Any] = {"epoch": newest.number, "epoch_key": newest.public_key}
        yield from self._book(f"node{number}", "acknowledge_epoch", opened)
        until_ms = self._scheduler.now_ms + PATIENCE_MS
        while number not in self._cast.styles or self._scheduler.now_ms < until_ms:
            for twin in self._cast.nodes_of(number):
                node = self._nodes[twin]
                if node.up and node.running.store.head.header is not None:
                    head = node.running.store.head
                    terms: dict[str, Value] = {"height": head.height, "root": head.state_root}
                    key, chain = self._cast.keys[number], self._cast.genesis.chain
                    return {
                        "ready_height": head.height,
                        "ready_root": head.state_root,
                        "ready_signature": sign_ticket(chain, key, "kernel", READY, terms),
                    }
            yield
        return None

    def _epoch(self, kind: str, leaving: bytes | None) -> dict[str, Any]:
        """What a change must say of the committee's key; the wraps stay closed: all know it."""
        store = self._best().running.store
        newest = newest_epoch(store).number
        if kind == "admit_observer":
            return {"epoch": newest}
        if leaving is None:
            return {}
        nodes = [node.public_key for node in nodes_of(store)]
        holders = [node for node in nodes if wrap_of(store, newest, node) is not None]
        return {
            "epoch": newest + 1,
            "epoch_key": epoch_key_of(newest + 1).public_key,
            "wraps": {node.hex(): b"wrap" for node in holders if node != leaving},
        }

    # ---- what they see

    def _best(self) -> SimNode:
        """The honest node that is up and knows most; there is one, or nothing is done at all."""
        up = [node for node in self._nodes if node.up and node.honest]
        return max(up, key=lambda node: node.height)

    def _newest(self) -> list[bytes]:
        return list(validators_at(self._best().running.store, FOR_EVER).members)

    def _outside(self) -> list[int]:
        """Who could become a validator: newcomers, and those that were removed."""
        members = self._newest()
        return [n for key, n in self._numbers.items() if key not in members]

    def _key(self, number: int) -> bytes:
        return self._cast.keys[number].public_key

    def _name(self, key: bytes) -> str:
        return f"node{self._numbers[key]}"

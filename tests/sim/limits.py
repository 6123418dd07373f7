"""What a node may hold in memory: every store and queue of its core has a bound, asserted here.

This looks into the private parts of the core on purpose. A bound that only its owner knows is a
bound that nobody checks.
"""

from __future__ import annotations

from collections.abc import Iterator

from contracts.kernel.membership import NODES_MAX
from node.bodies import KEPT_MAX
from node.consensus.backlog import MESSAGES_PER_SENDER_MAX, SENDERS_MAX
from node.consensus.height import CANDIDATES_MAX
from node.consensus.outbox import ANSWERED_PER_TICK_MAX, ASKED_PER_TICK_MAX
from node.consensus.votes import VIEWS_PER_MEMBER_MAX
from node.engine import Engine
from node.evidence import DISSENT_HEIGHTS_MAX, EVIDENCE_PER_MEMBER_MAX
from node.importer import QUEUE_MAX
from node.intake import HELD_BYTES_MAX, HELD_TRANSACTIONS_MAX
from node.mempool import POOL_BYTES_MAX, POOL_TRANSACTIONS_MAX, QUARANTINE_MAX
from node.proposals import RESULTS_MAX
from tests.sim.node import INBOX_MAX, SimNode

VOTE_RECORDS_MAX = 400
OWN_VOTES_MAX = 400
REPORT_CODES_MAX = 8

Bound = tuple[str, int, int]
"""What is counted, how many there are, and how many there may be."""


def exceeded(node: SimNode) -> str:
    """The first bound that a node breaks, in words; empty if there is none."""
    return _first_broken(node, _bounds(node))


def exceeded_votes(node: SimNode) -> str:
    """The same for votes alone, which are the cheapest to send."""
    return _first_broken(node, _vote_bounds(node.running.engine))


def _first_broken(node: SimNode, bounds: Iterator[Bound]) -> str:
    for what, count, most in bounds:
        if count > most:
            return f"{node.name} keeps {count} {what}, {most} allowed"
    return ""


def _bounds(node: SimNode) -> Iterator[Bound]:
    engine = node.running.engine
    records = sum(1 for _ in node.machine.vote_disk.iterate(b"v", b"w"))
    yield "vote records", records, VOTE_RECORDS_MAX
    yield "inputs", len(node._inbox), INBOX_MAX
    yield "pooled transactions", len(engine.mempool), POOL_TRANSACTIONS_MAX
    yield "pooled bytes", engine.mempool.bytes, POOL_BYTES_MAX
    yield "quarantined transactions", len(engine.mempool._quarantine), QUARANTINE_MAX
    yield "bodies", len(engine._bodies._kept), KEPT_MAX
    yield "held transactions of strangers", len(engine._intake._held), HELD_TRANSACTIONS_MAX
    yield "held bytes of strangers", engine._intake._held_bytes, HELD_BYTES_MAX
    yield "executed proposals", len(engine._proposals._results), RESULTS_MAX
    yield "blocks to import", len(engine.sync.importer._queue), QUEUE_MAX
    yield from _replica_bounds(engine)
    yield from _book_bounds(engine)


def _replica_bounds(engine: Engine) -> Iterator[Bound]:
    replica = engine._replica
    opened, backlog = replica._open, replica._backlog
    size = len(opened.committee.members)
    yield from _vote_bounds(engine)
    yield "candidates", len(opened.candidates), CANDIDATES_MAX
    yield "VIEW-CHANGEs", len(opened.view_changes), size
    yield "dissents of the height", len(opened.dissents), size
    yield "reached views", len(opened.views), size
    yield "own votes", len(opened.own), OWN_VOTES_MAX
    yield "reports", len(opened.reported), size * REPORT_CODES_MAX
    yield "senders in the backlog", len(backlog._messages), SENDERS_MAX
    for messages in backlog._messages.values():
        yield "messages of one sender", len(messages), MESSAGES_PER_SENDER_MAX
    yield "claimed heights", len(backlog._claims), size
    yield "answered peers", len(replica._out._answered), ANSWERED_PER_TICK_MAX
    yield "asked peers", len(replica._out._asked), ASKED_PER_TICK_MAX
    yield "sources of blocks", len(engine.sync._blocks._sources), NODES_MAX
    yield "sources of snapshots", len(engine.sync._state._sources), NODES_MAX
    yield "peers", len(engine._peers), NODES_MAX


def _vote_bounds(engine: Engine) -> Iterator[Bound]:
    opened = engine._replica._open
    size = len(opened.committee.members)
    for kind, votes in (("PREPAREs", opened.prepares._votes), ("COMMITs", opened.commits._votes)):
        yield f"members with {kind}", len(votes), size
        for views in votes.values():
            yield f"{kind} of one member", len(views), VIEWS_PER_MEMBER_MAX


def _book_bounds(engine: Engine) -> Iterator[Bound]:
    size = len(engine._validators.members)
    yield "items of evidence", len(engine.evidence.items), size * EVIDENCE_PER_MEMBER_MAX
    dissents = engine.evidence._dissents
    yield "heights with dissents", len(dissents), DISSENT_HEIGHTS_MAX
    for members in dissents.values():
        yield "dissents of one height", len(members), size

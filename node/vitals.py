"""Vitals: what the running node says of itself, in the status, the readiness check and the metrics.

Nothing here is remembered from better times: a peer that fell silent counts as silent, a round trip
that is overdue counts as that long, and who cannot know whether it is caught up does not say so.
What others may see of an error is its code; the words stand in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from node.clock import now_ms
from node.driver import INBOX_MAX, Driver
from node.engine import Engine
from node.heads import BEHIND_NORMAL, Standing
from node.http.service import FailedCheck
from node.net.peers import PeerStats
from node.net.transport import Transport
from node.protocol.json_view import time_to_json
from node.query import Query

ALARMS_MAX = 100


class Vitals:
    """See the module."""

    def __init__(
        self,
        public_key: bytes,
        query: Query,
        engine: Engine,
        driver: Driver,
        transport: Transport,
    ) -> None:
        self._public_key = public_key
        self._query = query
        self._engine = engine
        self._driver = driver
        self._transport = transport
        self._alarms: dict[str, int] = {}
        self._last_error: tuple[str, int] | None = None

    def note_alarm(self, code: str) -> None:
        """Something happened that an operator should look at."""
        if code in self._alarms or len(self._alarms) < ALARMS_MAX:
            self._alarms[code] = self._alarms.get(code, 0) + 1
        self._last_error = code, now_ms()

    @property
    def standing(self) -> Standing:
        """Where the node stands among the validators at this moment."""
        height, validators = self._query.head.height, self._query.validators
        return self._engine.heads.standing(self._public_key, height, validators, now_ms())

    def status(self) -> dict[str, Any]:
        """Live facts for /v1/status."""
        standing, leader, stats = self.standing, self._engine.leader, self._transport.stats()
        names = {key: node.name for key, node in self._query.nodes().items()}
        rtt_ms = self._quorum_rtt_ms(stats)
        error = self._last_error
        return {
            "view": str(self._engine.view),
            "leader": leader.hex(),
            "leader_name": names.get(leader),
            "caught_up": standing.caught_up,
            "behind": str(standing.behind),
            "sync": self._sync(),
            "validators_reachable": standing.reachable,
            "quorum_rtt_us": None if rtt_ms is None else str(round(rtt_ms * 1000)),
            "peers_connected": len(self._transport.connected),
            "cut": sorted(
                names.get(one.public_key, one.public_key.hex()) for one in stats if one.cut
            ),
            "disk": {
                "free_bytes": str(self._driver.disk.free_bytes),
                "shortage": self._driver.disk.shortage or None,
            },
            "mempool": self.mempool(),
            "queues": self._queues(stats),
            "alarms": {code: str(count) for code, count in self._alarms.items()},
            "last_error": error and {"code": error[0], "time": time_to_json(error[1])},
            "failed_checks": [
                {"component": check.component, "reason": check.reason} for check in self.health()
            ],
        }

    def mempool(self) -> Mapping[str, str]:
        """Size and bytes of the mempool."""
        pool = self._engine.mempool
        return {"transactions": str(len(pool)), "bytes": str(pool.bytes)}

    def peers(self) -> Sequence[Mapping[str, Any]]:
        """One entry for each known peer."""
        names = {key: node.name for key, node in self._query.nodes().items()}
        return [self._peer(stats, names) for stats in self._transport.stats()]

    def health(self) -> list[FailedCheck]:
        """Why the node is not ready; empty when it is."""
        failed, standing, view = [], self.standing, self._engine.view
        reachable, quorum = standing.reachable, standing.quorum
        if standing.behind > BEHIND_NORMAL:
            failed.append(FailedCheck("sync", self._reason_behind(standing.behind)))
        if reachable < quorum:
            failed.append(FailedCheck("peers", f"{reachable} of {quorum} needed for a quorum"))
        if view > self._query.validators.faulty_max:
            reason = f"view {view}: more leaders in a row got no block agreed than may be faulty"
            failed.append(FailedCheck("consensus", reason))
        if shortage := self._driver.disk.shortage:
            failed.append(FailedCheck("disk", shortage))
        if self._engine.halted:
            failed.append(FailedCheck("engine", "halted; see the node's log"))
        return failed

    def measurements(self) -> dict[str, float]:
        """Current figures by metric name."""
        validators, standing, stats = self._query.validators, self.standing, self._transport.stats()
        members, leader, pool = validators.members, self._engine.leader, self._engine.mempool
        rtt_ms, lanes = self._quorum_rtt_ms(stats), self._driver.examination
        run = self._engine.sync.pace.run
        figures: dict[str, float] = {
            "consensus_rounds": self._engine.view,
            "consensus_view_number": self._engine.view,
            "consensus_leader_id": members.index(leader) if leader in members else -1,
            "consensus_missing_validators": len(members) - standing.reachable,
            "consensus_byzantine_validators": self._engine.evidence.suspects,
            "consensus_caught_up": standing.caught_up,
            "consensus_blocks_behind": standing.behind,
            "sync_blocks_per_second": 0 if run is None else run.blocks_per_second,
            "sync_transactions_per_second": 0 if run is None else run.transactions_per_second,
            "mempool_size": len(pool),
            "mempool_size_bytes": pool.bytes,
            "mempool_failed_txs": self._driver.refused_content,
            "mempool_rejected_txs": self._driver.refused_room,
            "inbox_size": self._driver.inbox_size,
            "examination_wanted": len(lanes.wanted),
            "examination_clients": len(lanes.clients),
            "examination_peers": len(lanes.peers),
            "disk_free_bytes": self._driver.disk.free_bytes,
            "p2p_peers": len(self._transport.connected),
            "p2p_queued_messages": sum(peer.consensus_queued for peer in stats),
            "p2p_queued_bytes": sum(peer.bulk_queued_bytes for peer in stats),
            "p2p_message_send_bytes": sum(peer.bytes_out for peer in stats),
            "p2p_message_receive_bytes": sum(peer.bytes_in for peer in stats),
            "p2p_refused_guests": sum(self._transport.refused_guests.values()),
            "alarms": sum(self._alarms.values()),
        }
        if rtt_ms is not None:
            figures["consensus_quorum_rtt_seconds"] = rtt_ms / 1000
        return figures

    def _sync(self) -> Mapping[str, Any]:
        """The snapshot on its way, if any, and how fast blocks came in when some last did."""
        fetched, run = self._engine.sync.fetched, self._engine.sync.pace.run
        snapshot = blocks = None
        if fetched is not None:
            part, done, total = fetched.progress
            height = str(fetched.manifest.height)
            snapshot = {"height": height, "part": part, "done": str(done), "total": str(total)}
        if run is not None:
            blocks = {
                "blocks": str(run.blocks),
                "transactions": str(run.transactions),
                "blocks_per_second": str(run.blocks_per_second),
                "transactions_per_second": str(run.transactions_per_second),
            }
        return {"snapshot": snapshot, "blocks": blocks}

    def _reason_behind(self, behind: int) -> str:
        fetched, pace = self._engine.sync.fetched, self._engine.sync.pace
        if fetched is None:
            speed = ""
            if pace.run is not None and not pace.is_over(self._engine.sync.elapsed_ms):
                run = pace.run
                speed = f", {run.blocks_per_second} blocks/s, {run.transactions_per_second} tx/s"
            return f"{behind} blocks behind its peers{speed}"
        part, done, total = fetched.progress
        of = f" of {total}" if total else ""
        return f"fetching the snapshot of block {fetched.manifest.height}: {part} {done}{of}"

    def _quorum_rtt_ms(self, stats: Sequence[PeerStats]) -> float | None:
        """The round trip within which a quorum answers, None while too few validators do."""
        validators = self._query.validators
        others = validators.quorum - (self._public_key in validators.members)
        trips = sorted(
            one.rtt_ms
            for one in stats
            if one.rtt_ms is not None and one.public_key in validators.members
        )
        if others <= 0:
            return 0.0
        return trips[others - 1] if len(trips) >= others else None

    def _queues(self, stats: Sequence[PeerStats]) -> Mapping[str, Any]:
        lanes = self._driver.examination
        return {
            "inbox": str(self._driver.inbox_size),
            "inbox_max": str(INBOX_MAX),
            "examination": {
                name: {"transactions": str(len(lane)), "bytes": str(lane.bytes)}
                for name, lane in (
                    ("wanted", lanes.wanted),
                    ("clients", lanes.clients),
                    ("peers", lanes.peers),
                )
            },
            "peers": {
                "messages": str(sum(one.consensus_queued for one in stats)),
                "bulk_bytes": str(sum(one.bulk_queued_bytes for one in stats)),
            },
        }

    def _peer(self, stats: PeerStats, names: Mapping[bytes, str]) -> Mapping[str, Any]:
        claim = self._engine.heads.of(stats.public_key)
        behind = None if claim is None else max(0, self._query.head.height - claim.height)
        return {
            "public_key": stats.public_key.hex(),
            "name": names.get(stats.public_key),
            "address": stats.address,
            "connected": stats.connected,
            "cut": stats.cut,
            "since": None if stats.since_ms is None else time_to_json(stats.since_ms),
            "height": None if claim is None else str(claim.height),
            "behind": None if behind is None else str(behind),
            "heard_ms": None if claim is None else str(max(0, now_ms() - claim.at_ms)),
            "rtt_us": None if stats.rtt_ms is None else str(round(stats.rtt_ms * 1000)),
            "bytes_in": str(stats.bytes_in),
            "bytes_out": str(stats.bytes_out),
            "messages_in": str(stats.messages_in),
            "messages_out": str(stats.messages_out),
            "queued_messages": str(stats.consensus_queued),
            "queued_bytes": str(stats.bulk_queued_bytes),
            "dropped": str(stats.bulk_dropped),
            "last_ending": stats.last_ending,
        }

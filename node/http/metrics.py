"""Metrics in the Prometheus text format, with a registry of this node alone.

What the node measures and what its chain says is asked for at each scrape, by the names listed
here; what HTTP itself does is counted as it happens. Names follow CometBFT's.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.http.service import NodeService

PREFIX = "groat"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GAUGES = {
    "consensus_height": "Height of the last final block",
    "consensus_rounds": "Views begun beyond the first at the open height",
    "consensus_view_number": "Current view",
    "consensus_leader_id": "Index of the current leader in the validator set",
    "consensus_validators": "Validators that decide the next height",
    "consensus_missing_validators": "Validators that this node has not heard of lately",
    "consensus_byzantine_validators": "Validators with evidence against them",
    "consensus_caught_up": "Whether the node is known to lack no final block",
    "consensus_blocks_behind": "Final blocks that the node lacks, as its peers say",
    "consensus_quorum_rtt_seconds": "Round trip within which a quorum of validators answers",
    "consensus_block_interval_seconds": "Time between the last two blocks",
    "consensus_num_txs": "Transactions in the last block",
    "sync_blocks_per_second": "Blocks a second when some were last fetched from peers",
    "sync_transactions_per_second": "The transactions a second of these",
    "mempool_size": "Transactions that wait",
    "mempool_size_bytes": "Bytes of the transactions that wait",
    "inbox_size": "Inputs that wait for the engine",
    "examination_wanted": "Unexamined transactions that the open proposal lacks",
    "examination_clients": "Unexamined transactions of clients",
    "examination_peers": "Unexamined transactions of peers",
    "disk_free_bytes": "Room left where the node writes",
    "p2p_queued_messages": "Consensus messages that wait to be sent",
    "p2p_queued_bytes": "Bytes of transactions and blocks that wait to be sent",
    "p2p_peers": "Connected peers",
    "alarms": "Alarms raised since the start",
}
COUNTERS = {
    "consensus_total_txs": "Transactions in final blocks",
    "mempool_failed_txs": "Submitted transactions refused for their content",
    "mempool_rejected_txs": "Submitted transactions refused for lack of room",
    "p2p_message_send_bytes": "Bytes sent to peers",
    "p2p_message_receive_bytes": "Bytes received from peers",
    "p2p_refused_guests": "Connections refused before they proved to be a peer",
}


class NodeMetrics:
    """One node's registry: its own figures, and those of its HTTP server."""

    def __init__(self, service: NodeService) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(_Measurements(service))
        self.requests = Counter(
            f"{PREFIX}_http_requests",
            "Requests answered",
            ("operation", "status"),
            registry=self.registry,
        )
        self.duration = Histogram(
            f"{PREFIX}_http_request_seconds",
            "Time to answer, waits included",
            ("operation",),
            registry=self.registry,
        )
        self.malformed = Counter(
            f"{PREFIX}_http_malformed", "Requests that were not HTTP", registry=self.registry
        )
        self.turned_away = Counter(
            f"{PREFIX}_http_turned_away",
            "Connections refused beyond the limit",
            registry=self.registry,
        )
        self.streams = Gauge(f"{PREFIX}_http_streams", "Open event streams", registry=self.registry)

    def text(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self.registry)


class _Measurements(Collector):
    """Asks the node at each scrape; figures that it does not give are left out."""

    def __init__(self, service: NodeService) -> None:
        self._service = service

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        figures = {**self._service.measurements(), **self._service.query.figures()}
        for name, doc in GAUGES.items():
            if name in figures:
                yield GaugeMetricFamily(f"{PREFIX}_{name}", doc, figures[name])
        for name, doc in COUNTERS.items():
            if name in figures:
                yield CounterMetricFamily(f"{PREFIX}_{name}", doc, figures[name])

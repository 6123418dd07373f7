"""Every limit and delay of the peer network, named, in one place.

The defaults are for production; tests shorten the delays. Sizes of single messages are the
protocol's (`node.protocol.messages`), not ours.
"""

from __future__ import annotations

from dataclasses import dataclass

STREAM_BUFFER_BYTES = 256 * 1024
WRITE_BYTES_MAX = 256 * 1024
UNSENT_BYTES_MAX = 128 * 1024
LISTEN_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class NetLimits:
    """Delays in seconds, sizes in bytes.

    `guests_*` count connections that have not yet proved who they are; everybody who has is one of
    the allowed peers and holds one connection. A guest from where a peer listens is bound by the
    limit for each address alone, so that strangers keep no peer out. `silence_max_s` bounds how
    long a read of one frame or a write may make no progress, so a dead TCP connection is noticed
    within `silence_max_s + ping_interval_s`.
    """

    handshake_s: float = 5.0
    guests_max: int = 64
    guests_per_address_max: int = 24
    guests_per_address_rate: float = 10.0
    guests_per_address_burst: int = 50
    ping_interval_s: float = 3.0
    silence_max_s: float = 10.0
    redial_min_s: float = 0.2
    redial_max_s: float = 10.0
    stable_after_s: float = 10.0
    fault_delay_s: float = 10.0
    fault_delay_max_s: float = 300.0
    consensus_frames_max: int = 8_192
    consensus_bytes_max: int = 16 << 20
    bulk_bytes_max: int = 16 << 20

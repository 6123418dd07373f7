"""Which interface explains a contract's records now, as the chain proves it."""

from __future__ import annotations

from client.interface import Schema, read_record
from client.verified import VerifiedReader


async def running_interface(reader: VerifiedReader, founding: Schema, name: str) -> str | None:
    """The proved hash, in hex, of the interface of an upgraded contract; None: the founders'."""
    proven = await reader.record("kernel", "code", name.encode())
    if proven.value is None:
        return None
    record = read_record(founding, "kernel", "code", proven.value)
    running = [one for one in record["versions"] if int(one["first_height"]) <= proven.height + 1]
    return running[-1]["interface_hash"] or None

"""A batch of signed transactions to one chosen node, and its verdict on each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from client.connection import Connection, Request
from client.errors import Unreachable
from client.node_api import BATCH_TYPE
from node.protocol.encoding import encode

BATCH_MAX = 500
ADMISSION_SECONDS_MAX = 15.0


class BatchItem(NamedTuple):
    """A verdict. `final` is the contract's code of a transaction that is in a block already."""

    code: str
    message: str
    final: str | None


async def send_batch(
    connection: Connection, url: str, raws: Sequence[bytes], wait: str = "check"
) -> list[BatchItem]:
    """Send up to `BATCH_MAX` transactions to the node at `url`; a verdict on each, in order.

    Raises `Unreachable` (it is unknown which were taken), `Overloaded` (none was) and `Rejected`.
    """
    request = Request(
        "POST",
        "/v1/transactions",
        {"wait": wait},
        encode(list(raws)),
        content_type=BATCH_TYPE,
        wait_seconds=ADMISSION_SECONDS_MAX,
    )
    answer = await connection.ask(request, url)
    items = answer.body.get("items")
    if not isinstance(items, list) or len(items) != len(raws):
        raise Unreachable("BAD_ANSWER", f"{url} did not answer for each transaction")
    return [_item(item) for item in items]


def _item(item: object) -> BatchItem:
    fields = item if isinstance(item, dict) else {}
    receipt = fields.get("receipt")
    final = receipt.get("code") if isinstance(receipt, dict) else None
    code, message = fields.get("code", "BAD_ANSWER"), fields.get("message", "")
    return BatchItem(str(code), str(message), None if final is None else str(final))

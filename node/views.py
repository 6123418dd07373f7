"""How final things look in JSON: headers, certificates, blocks, transactions, receipts.

Pure functions from records to dictionaries; what a viewer may see is passed in as a decision that
`query` has taken. Integers are decimal strings, bytes lowercase hex, times RFC 3339 UTC. Whatever
a light client verifies is also given as canonical bytes in hex, so that it need not rebuild them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.kernel.access import Viewer, may_read
from contracts.kernel.registry import current_epoch, missing_acknowledgements, newest_epoch
from contracts.kernel.state import Reader, State
from node.protocol.block import BlockHeader, CertifiedBlock, CommitCertificate, Event, Receipt
from node.protocol.encoding import encode
from node.protocol.json_view import time_to_json, to_json
from node.protocol.transaction import Call, SealedCall, Transaction
from node.protocol.validators import ValidatorSet

Json = dict[str, Any]


def header_view(header: BlockHeader, block_id: bytes) -> Json:
    """A header with its id, and its time in words."""
    fields: Json = to_json(header)
    return {"id": block_id.hex(), "time": time_to_json(header.time_ms), **fields}


def block_summary(block: CertifiedBlock) -> Json:
    """One line of a list of blocks."""
    view = header_view(block.header, block.certificate.block_id)
    return {**view, "view": str(block.certificate.view), "transactions": len(block.transactions)}


def block_view(block: CertifiedBlock) -> Json:
    """A block without its transactions: header, certificate, and both as canonical bytes."""
    view = header_only_view(block.header, block.certificate)
    return {**view, "transactions": len(block.transactions)}


def header_only_view(header: BlockHeader, certificate: CommitCertificate) -> Json:
    """The same of a block whose transactions have been pruned."""
    return {
        "header": header_view(header, certificate.block_id),
        "certificate": to_json(certificate),
        "transactions": None,
        "canonical": certified_bytes(header, certificate),
    }


def certified_bytes(header: BlockHeader, certificate: CommitCertificate) -> Json:
    """The canonical bytes that a light client checks a proof against."""
    return {"header": encode(header).hex(), "certificate": encode(certificate).hex()}


def transaction_view(
    transaction: Transaction, opened: Sequence[Call | None], visible: bool
) -> Json:
    """What was sent. `opened[i]` is call i in the clear for its sender, None where hidden."""
    view: Json = {
        "content_hash": transaction.content_hash.hex(),
        "valid_until": time_to_json(transaction.body.valid_until),
        "calls": [
            _call_view(call, clear)
            for call, clear in zip(transaction.body.calls, opened, strict=True)
        ],
    }
    if visible:
        view["sender"] = transaction.body.sender.hex()
        view["nonce"] = transaction.body.nonce.hex()
    return view


def receipt_view(receipt: Receipt, readable: bool, events: Sequence[Event]) -> Json:
    """A receipt: its code, those `events` that may be seen, and the details if `readable`."""
    view: Json = {"code": receipt.code}
    view |= {"details": to_json(receipt.details)} if readable else {"hidden": True}
    if readable or events:
        view["events"] = [event_view(event) for event in events]
    return view


def event_view(event: Event) -> Json:
    """One contract event."""
    return {"contract": event.contract, "name": event.name, "data": to_json(event.data)}


def status_of(receipt: Receipt) -> str:
    """The word for a final transaction."""
    return "committed" if receipt.ok else "failed"


def quorum_view(validators: ValidatorSet) -> Json:
    """How many validators there are, decide, may be faulty, may be dead."""
    return {
        "validators": validators.size,
        "quorum": validators.quorum,
        "faulty_max": validators.faulty_max,
        "dead_max": validators.dead_max,
        "confirmations_more_than": validators.confirmations_more_than,
    }


def receipt_for(receipt: Receipt, viewer: Viewer, own: bool) -> Json:
    """A receipt as its sender sees it (`own`), or whoever else `viewer` is."""
    events = [event for event in receipt.events if own or may_read(viewer, event.readers)]
    return receipt_view(receipt, own or may_read(viewer, receipt.readers), events)


def is_recipient(transaction: Transaction, viewer: Viewer) -> bool:
    """Whether a sealed call was wrapped for the viewer, who needs sender and nonce to open it."""
    keys = (viewer.public_key, viewer.proved_key)
    return viewer.public_key is not None and any(
        wrap.recipient in keys
        for call in transaction.body.calls
        if isinstance(call, SealedCall)
        for wrap in call.wraps
    )


def epoch_view(state: Reader) -> Json:
    """The epoch that calls are sealed to, and the one, if any, that waits to be acknowledged."""
    current, newest = current_epoch(state), newest_epoch(state)
    until_ms, waits = current.previous_until_ms, not newest.first_height
    return {
        "number": str(current.number),
        "public_key": current.public_key.hex(),
        "since": str(current.first_height),
        "previous_until": time_to_json(until_ms) if until_ms else None,
        "coming": str(newest.number) if waits else None,
        "missing": [
            member.hex()
            for member in (missing_acknowledgements(State(state), newest.number) if waits else ())
        ],
    }


def _call_view(call: Call | SealedCall, clear: Call | None) -> Json:
    if isinstance(call, SealedCall):
        view: Json = {"kind": "sealed", **to_json(call)}
    elif clear is None:
        return {"kind": "clear", "hidden": True}
    else:
        view = {"kind": "clear"}
    return view if clear is None else {**view, **to_json(clear)}

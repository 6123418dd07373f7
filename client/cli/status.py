"""`groat status`: each node's view of the chain, of its peers and of itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.cli.session import Session, command
from client.errors import ClientError, NoQuorum, Unreachable
from client.local import LocalNetwork, State
from client.outcomes import failed_checks

if TYPE_CHECKING:
    from client.node_api import NodeApi
    from node.protocol.validators import ValidatorSet

OBSERVER = "observer"
COLUMNS = ("node", "state", "height", "block", "state_root", "view", "leader")
PEER_COLUMNS = ("node", "peer", "line", "height", "behind", "heard", "round_trip", "queued")


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "status")(status)


async def status(
    session: Session,
    peers: Annotated[
        bool, typer.Option("--peers", help="Each node's view of each of its peers instead.")
    ] = False,
) -> None:
    """Each node's view of the chain, and how many failures the network survives."""
    async with session.api() as api:
        if peers:
            await _show_peers(session, api)
            return
        answers = await api.statuses()
        with suppress(ClientError):
            await api.verified.header("latest")
        validators = api.light.validators_at(api.light.head.height + 1)
    names = _names(session)
    rows = [_row(session, names.get(url, url), one) for url, one in answers.items()]
    _show(session, rows, validators)
    if not any(isinstance(answer, dict) for answer in answers.values()):
        raise Unreachable("UNREACHABLE", "no node answers")
    ready = sum(row["state"] == "ready" and row["role"] != OBSERVER for row in rows)
    if session.node is None and ready < validators.quorum:
        cut = any(row.get("cut_from") for row in rows)
        message = f"{ready} nodes are ready and {validators.quorum} must agree"
        hint = {"hint": "groat net heal"} if cut else {}
        raise NoQuorum("NO_QUORUM", message, **hint)


def _show(session: Session, rows: list[dict[str, Any]], validators: ValidatorSet) -> None:
    genesis = session.folder.genesis
    if not session.out.for_people:
        summary = {
            "chain_id": genesis.chain_id,
            "genesis_hash": genesis.hash.hex(),
            "validators": validators.size,
            "quorum": validators.quorum,
            "dead_max": validators.dead_max,
            "time_scale": genesis.time_scale,
            "nodes": rows,
        }
        session.out.json(summary)
        return
    columns = [*COLUMNS, "round_trip", "peers", "waiting"]
    if any(row["role"] == OBSERVER for row in rows):
        columns.insert(2, "role")
    if any(row.get("cut_from") for row in rows):
        columns.append("cut_from")
        session.out.note("lines are cut on purpose; `groat net heal` mends them")
    session.out.table(rows, columns)
    scale = f"; accelerated ×{genesis.time_scale}" if genesis.time_scale != 1 else ""
    session.out.note(
        f"{genesis.chain_id}: {validators.quorum} of {validators.size} validators decide; "
        f"{validators.dead_max} may be dead{scale}; genesis {genesis.hash.hex()}"
    )
    for waiting in dict.fromkeys(row["epoch_waits"] for row in rows if row.get("epoch_waits")):
        session.out.note(waiting)


def _row(session: Session, name: str, answer: dict[str, Any] | ClientError) -> dict[str, Any]:
    if not isinstance(answer, dict):
        local = {one.name: one.state for one in LocalNetwork(session.folder).nodes}
        process = local.get(name, State.RUNNING)
        state = "unreachable" if process is State.RUNNING else str(process)
        return {"node": name, "state": state, "role": None, "reason": answer.message}
    failed = [f"{name}: {reason}" for name, reason in failed_checks(answer)]
    mempool, leader = answer.get("mempool"), answer.get("leader")
    return {
        "node": name,
        "state": "; ".join(failed) or "ready",
        "role": answer.get("role"),
        "height": answer.get("height"),
        "block": _short(answer.get("block_id")),
        "state_root": _short(answer.get("state_root")),
        "view": answer.get("view"),
        "leader": answer.get("leader_name") or _short(leader),
        "round_trip": _milliseconds(answer.get("quorum_rtt_us")),
        "peers": answer.get("peers_connected"),
        "waiting": mempool.get("transactions") if isinstance(mempool, dict) else None,
        "cut_from": answer.get("cut"),
        **_epoch(session, answer.get("epoch")),
        "status": answer,
    }


def _epoch(session: Session, epoch: object) -> dict[str, Any]:
    """The epoch that calls are sealed to, and what another one waits for."""
    if not isinstance(epoch, dict):
        return {}
    names = {endpoint.public_key: endpoint.name for endpoint in session.folder.endpoints}
    missing = ", ".join(names.get(str(key), str(key)) for key in epoch.get("missing") or ())
    waits = f"epoch {epoch.get('coming')} waits for {missing}" if missing else None
    return {"epoch": epoch.get("number"), "epoch_waits": waits}


async def _show_peers(session: Session, api: NodeApi) -> None:
    """A row for each node's line to each other one, as the node sees it."""
    from client.connection import Request

    names, rows = _names(session), []
    for url in api.connection.urls:
        try:
            items = (await api.connection.ask(Request("GET", "/v1/peers"), url)).body.get("items")
        except ClientError as error:
            rows.append({"node": names.get(url, url), "line": error.message})
            continue
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                rows.append(_peer_row(names.get(url, url), item))
    session.out.table(rows, PEER_COLUMNS)


def _peer_row(name: str, peer: Mapping[str, Any]) -> dict[str, Any]:
    down = f"down ({peer.get('last_ending')})" if peer.get("last_ending") else "down"
    line = "cut" if peer.get("cut") else "up" if peer.get("connected") else down
    queued = [f"{peer.get('queued_messages')} messages", f"{peer.get('queued_bytes')} bytes"]
    heard = peer.get("heard_ms")
    return {
        "node": name,
        "peer": peer.get("name") or _short(peer.get("public_key")),
        "line": line,
        "height": peer.get("height"),
        "behind": peer.get("behind"),
        "heard": None if heard is None else f"{heard} ms ago",
        "round_trip": _milliseconds(peer.get("rtt_us")),
        "queued": ", ".join(queued) if peer.get("connected") else None,
        "peer_status": dict(peer),
    }


def _names(session: Session) -> dict[str, str]:
    return {endpoint.http_url: endpoint.name for endpoint in session.folder.endpoints}


def _milliseconds(microseconds: object) -> str | None:
    if not isinstance(microseconds, str) or not microseconds.isdecimal():
        return None
    return f"{int(microseconds) / 1000:.1f} ms"


def _short(digest: object) -> str | None:
    return f"{digest[:12]}…" if isinstance(digest, str) else None

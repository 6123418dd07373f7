"""`groat net add-node` and `remove-node`: a local network's validators come and go while it runs.

Both act as two administrators whose keys lie in this folder. What is done already is not done
again, so an interrupted command may simply be repeated.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from client import governance
from client.cli.session import Session, command
from client.folder import NetworkFolder
from client.governance import Administrators
from client.local import LocalNetwork, prepare
from client.node_api import NodeApi
from node.protocol.ceremony import JOINING_FILE, Endpoint, Joining, PeerEntry
from node.protocol.errors import Misconfigured
from node.protocol.settings import split_address

LOCAL_HOST = "127.0.0.1"

NewName = Annotated[str, typer.Argument(metavar="NAME", help="A name that no node has yet.")]
OldName = Annotated[str, typer.Argument(metavar="NAME", help="The node's name or number.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="What is recorded on chain as why.")]


def register(group: typer.Typer) -> None:
    """Add these commands to `groat net`."""
    command(group, "add-node")(add_node)
    command(group, "remove-node")(remove_node)


async def add_node(
    session: Session,
    name: NewName,
    address: Annotated[
        str, typer.Option(help="HOST:PORT for other nodes.  [default: the next port]")
    ] = "",
    http: Annotated[
        str, typer.Option(help="HOST:PORT for people.  [default: the port after it]")
    ] = "",
    reason: ReasonOption = "a further validator",
    observe: Annotated[
        bool, typer.Option("--observe", help="Only follow the chain, do not vote.")
    ] = False,
) -> None:
    """Add a validator to a running local network: it catches up first, then votes."""
    folder = session.folder
    keys = governance.administrator_keys(folder.genesis, folder.wallet)
    ports = _next_ports(folder)
    plan = prepare(
        folder.path,
        name,
        address or f"{LOCAL_HOST}:{ports[0]}",
        http or f"{LOCAL_HOST}:{ports[1]}",
    )
    note = session.out.note
    async with session.api() as api:
        boss = Administrators(api, *keys)
        await _admit(session, api, boss, plan, reason)
    folder = _list_endpoint(folder, plan)
    LocalNetwork(folder).start([name])
    url = plan["http_url"]
    async with NodeApi(
        folder.genesis, [one.http_url for one in folder.endpoints], trust=folder.trust_path
    ) as api:
        boss = Administrators(api, *keys)
        height = await governance.until_caught_up(api, url, lambda text: note(f"{name} is {text}"))
        note(f"{name} has caught up at height {height}")
        if not observe:
            height = await _promote(session, api, boss, plan, reason)
        _show(session, await api.get("/v1/validators"), name, height)


async def remove_node(
    session: Session, name: OldName, reason: ReasonOption = "no longer needed"
) -> None:
    """Remove a node from a running local network and stop it; its folder is kept."""
    folder = session.folder
    endpoint = folder.endpoint(name)
    keys = governance.administrator_keys(folder.genesis, folder.wallet)
    node = bytes.fromhex(endpoint.public_key)
    note = session.out.note
    async with session.api() as api:
        boss = Administrators(api, *keys)
        if endpoint.public_key in await governance.members(api):
            await governance.check_enough_alive(api, endpoint.public_key)
            done = await boss.decide("remove_validator", reason, {"node": node})
            note(f"{endpoint.name} votes no more from height {done.details.get('first_height')} on")
            await governance.until_removed(api, boss, endpoint.public_key)
        listed = await governance.listed_nodes(api)
        if endpoint.public_key in [one["public_key"] for one in listed]:
            await boss.decide("dismiss_observer", reason, {"node": node})
            note(f"{endpoint.name} may no longer connect")
        validators = await api.get("/v1/validators")
    if (folder.path / "nodes" / endpoint.name).is_dir():
        LocalNetwork(folder).stop([endpoint.name])
        note(f"stopped {endpoint.name}; {folder.path / 'nodes' / endpoint.name} is kept")
    folder.write_endpoints([one for one in folder.endpoints if one != endpoint])
    _show(session, validators, endpoint.name, None)


async def _admit(
    session: Session, api: NodeApi, boss: Administrators, plan: dict[str, Any], reason: str
) -> None:
    """Admit the node as an observer, and leave it what it needs to start with."""
    key = plan["public_key"]
    listed = await governance.listed_nodes(api)
    if key not in [one["public_key"] for one in listed]:
        admission = {
            "node": bytes.fromhex(key),
            "name": plan["name"],
            "address": plan["address"],
            "tls_fingerprint": bytes.fromhex(plan["tls_fingerprint"]),
            "wrap": bytes.fromhex(plan["wrap"]),
        }
        await boss.decide("admit_observer", reason, admission)
        session.out.note(f"{plan['name']} may connect as an observer")
        listed = await governance.listed_nodes(api)
    fields = ("public_key", "address", "tls_fingerprint")
    peers = [{field: one[field] for field in fields} for one in listed if one["public_key"] != key]
    joining = Joining(
        wrap=plan["wrap"], peers=tuple(PeerEntry.model_validate(peer) for peer in peers)
    )
    path = session.folder.path / "nodes" / plan["name"] / JOINING_FILE
    path.write_text(joining.model_dump_json(indent=1) + "\n")


async def _promote(
    session: Session, api: NodeApi, boss: Administrators, plan: dict[str, Any], reason: str
) -> int:
    """Make the observer a validator; the height of the first block that bears its seal."""
    url, key = plan["http_url"], plan["public_key"]
    if key not in await governance.members(api):
        ready = await governance.ready_proof(api, url)
        done = await boss.decide(
            "add_validator",
            reason,
            {"node": bytes.fromhex(key), **ready},
            lambda: governance.ready_proof(api, url),
        )
        first = done.details.get("first_height")
        session.out.note(f"{plan['name']} is a validator from height {first} on")
    height = await governance.until_voting(api, boss, url, key)
    session.out.note(f"{plan['name']} has sealed block {height}")
    return height


def _list_endpoint(folder: NetworkFolder, plan: dict[str, Any]) -> NetworkFolder:
    """The folder with the new node in network.json."""
    endpoint = Endpoint(
        name=plan["name"],
        http_url=plan["http_url"],
        peer_address=plan["address"],
        public_key=plan["public_key"],
    )
    if endpoint not in folder.endpoints:
        folder.write_endpoints([*folder.endpoints, endpoint])
    return NetworkFolder(folder.path)


def _next_ports(folder: NetworkFolder) -> tuple[int, int]:
    """Two ports above all that the network uses."""
    used = [split_address(one.peer_address)[1] for one in folder.endpoints]
    used += [split_address(one.http_url)[1] for one in folder.endpoints if _has_port(one.http_url)]
    first = max(used) + 1
    if first >= 1 << 16:
        raise Misconfigured(
            "NO_PORT", "no port is left above the others; give --address and --http"
        )
    return first, first + 1


def _has_port(url: str) -> bool:
    return url.rpartition(":")[2].isdecimal()


def _show(session: Session, validators: dict[str, Any], name: str, height: int | None) -> None:
    view: dict[str, Any] = {
        "node": name,
        "validators": [item["name"] or item["public_key"] for item in validators["items"]],
        "quorum": validators["quorum"],
        "dead_max": validators["dead_max"],
    }
    session.out.record(view if height is None else {**view, "height": height})

"""Adding a node to a running local network and removing one, step by step, as two administrators.

What is done already is not done again, so an interrupted change may simply be repeated. `note` is
told of each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from client import epochs, governance
from client.folder import NetworkFolder
from client.governance import Administrators
from client.local import LocalNetwork, prepare
from client.node_api import NodeApi
from client.outcomes import Json
from node.protocol.ceremony import JOINING_FILE, Endpoint, Joining, PeerEntry
from node.protocol.committee import WrapEntry
from node.protocol.errors import Misconfigured
from node.protocol.settings import PORT_MAX, split_address

LOCAL_HOST = "127.0.0.1"

Note = Callable[[str], None]
Plan = dict[str, Any]


async def add_node(
    folder: NetworkFolder,
    name: str,
    address: str,
    http: str,
    reason: str,
    note: Note,
    *,
    observe: bool = False,
) -> Json:
    """Make, admit and start a node, wait until it has caught up, and let it validate.

    Empty addresses are ports of this host. With `observe` it stays an observer. What came of it:
    the validators and, if it validates, the height of the first block that bears its seal. Raises
    `Misconfigured`, `Rejected`, `Pending` or `NodeFailure`.
    """
    keys = governance.administrator_keys(folder.genesis, folder.wallet)
    ports = _next_ports(folder)
    plan = prepare(
        folder.path,
        name,
        address or f"{LOCAL_HOST}:{ports[0]}",
        http or f"{LOCAL_HOST}:{ports[1]}",
    )
    async with _connect(folder) as api:
        await _admit(folder, api, Administrators(api, *keys), plan, reason, note)
    folder = _list_endpoint(folder, plan)
    LocalNetwork(folder).start([name])
    async with _connect(folder) as api:
        url = plan["http_url"]
        height = await governance.until_caught_up(api, url, lambda text: note(f"{name} is {text}"))
        note(f"{name} has caught up at height {height}{await _how(api, url)}")
        if not observe:
            height = await _promote(api, Administrators(api, *keys), plan, reason, note)
        return {**_validators(await api.get("/v1/validators"), name), "height": height}


async def remove_node(folder: NetworkFolder, name: str, reason: str, note: Note) -> Json:
    """Let a node vote no more, connect no more, and if it runs here, stop it; its folder is kept.

    The others get the committee's next epoch. Raises as `add_node`, and `QUORUM_LOW` where too few
    of those who remain are up.
    """
    endpoint = folder.endpoint(name)
    name, key = endpoint.name, endpoint.public_key
    keys = governance.administrator_keys(folder.genesis, folder.wallet)
    node = bytes.fromhex(key)
    async with _connect(folder) as api:
        boss = Administrators(api, *keys)
        if key in await governance.members(api):
            await governance.check_enough_alive(api, key)
            epoch = await epochs.prepare_epoch(api, without=key)
            done = await boss.decide(
                "remove_validator", reason, {"node_key": node, **epoch.arguments}
            )
            note(f"{name} votes no more from height {done.details.get('first_height')} on")
            await governance.until_removed(api, boss, key)
            await epochs.until_in_force(api, epoch.number, note)
        if key in [one["public_key"] for one in await governance.listed_nodes(api)]:
            await boss.decide("dismiss_observer", reason, {"node_key": node})
            note(f"{name} may no longer connect")
        validators = await api.get("/v1/validators")
    path = folder.path / "nodes" / name
    if path.is_dir():
        LocalNetwork(folder).stop([name])
        note(f"stopped {name}; {path} is kept")
    folder.write_endpoints([one for one in folder.endpoints if one != endpoint])
    return _validators(validators, name)


async def _admit(
    folder: NetworkFolder,
    api: NodeApi,
    boss: Administrators,
    plan: Plan,
    reason: str,
    note: Note,
) -> None:
    """Admit the node as an observer, and leave it what it needs to start with."""
    key = plan["public_key"]
    listed = await governance.listed_nodes(api)
    if key not in [one["public_key"] for one in listed]:
        admission = {
            "node_key": bytes.fromhex(key),
            "name": plan["name"],
            "address": plan["address"],
            "tls_fingerprint": bytes.fromhex(plan["tls_fingerprint"]),
            "epoch": plan["epoch"],
            "wrap": bytes.fromhex(plan["wraps"][-1]["wrap"]),
        }
        await boss.decide("admit_observer", reason, admission)
        note(f"{plan['name']} may connect as an observer")
    fields = ("public_key", "address", "tls_fingerprint")
    peers = [{field: one[field] for field in fields} for one in listed if one["public_key"] != key]
    joining = Joining(
        wraps=tuple(WrapEntry.model_validate(wrap) for wrap in plan["wraps"]),
        peers=tuple(PeerEntry.model_validate(peer) for peer in peers),
    )
    path = folder.path / "nodes" / plan["name"] / JOINING_FILE
    path.write_text(joining.model_dump_json(indent=1) + "\n")


async def _promote(api: NodeApi, boss: Administrators, plan: Plan, reason: str, note: Note) -> int:
    """Make the observer a validator; the height of the first block that bears its seal."""
    name, url, key = plan["name"], plan["http_url"], plan["public_key"]
    if key not in await governance.members(api):
        await epochs.until_acknowledged(api, key)
        ready = await governance.ready_proof(api, url)
        done = await boss.decide(
            "add_validator",
            reason,
            {"node_key": bytes.fromhex(key), **ready},
            lambda: governance.ready_proof(api, url),
        )
        note(f"{name} is a validator from height {done.details.get('first_height')} on")
    height = await governance.until_voting(api, boss, url, key)
    note(f"{name} has sealed block {height}")
    return height


async def _how(api: NodeApi, url: str) -> str:
    """By which means a node has caught up, in words."""
    status = await api.status(url)
    ways = []
    if (snapshot := status.get("balances_from", "0")) != "0":
        ways.append(f"by the snapshot of block {snapshot}")
    if speed := governance.fetched_at(status):
        ways.append(f"blocks at {speed}")
    return f": {', then '.join(ways)}" if ways else ""


def _connect(folder: NetworkFolder) -> NodeApi:
    urls = [one.http_url for one in folder.endpoints]
    return NodeApi(folder.genesis, urls, trust=folder.trust_path)


def _list_endpoint(folder: NetworkFolder, plan: Plan) -> NetworkFolder:
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
    for one in folder.endpoints:
        port = one.http_url.rpartition(":")[2]
        used += [int(port)] if port.isdecimal() else []
    first = max(used) + 1
    if first >= PORT_MAX:
        raise Misconfigured(
            "NO_PORT", "no port is left above the others; give --address and --http"
        )
    return first, first + 1


def _validators(answer: Json, name: str) -> Json:
    return {
        "node": name,
        "validators": [item["name"] or item["public_key"] for item in answer["items"]],
        "quorum": answer["quorum"],
        "dead_max": answer["dead_max"],
    }

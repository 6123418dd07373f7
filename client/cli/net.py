"""`groat up`, `down`, `reset` and `groat net …`: a local network's processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from client.cli import code, membership, partition
from client.cli.session import Session, command
from client.local import (
    LocalNetwork,
    create_network,
    found,
    network_file,
    remove_network,
)
from client.logs import follow, tail
from client.wallet import DEV_PASSWORD_FILE
from node.protocol.ceremony import MEMBER_SUFFIX, Member
from node.protocol.errors import Misconfigured

NODES_DEFAULT = 4
LOG_LINES_DEFAULT = 40

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NODE]…", help="Names or numbers; all by default.")
]
Victims = Annotated[list[str], typer.Argument(metavar="NODE…", help="Names or numbers.")]
NodesOption = Annotated[
    int | None, typer.Option("--nodes", min=1, max=64, help="That many validators on this machine.")
]
PortOption = Annotated[
    int | None, typer.Option("--ports-from", min=1, max=65_000, help="Their first port.")
]
ScaleOption = Annotated[
    int | None,
    typer.Option("--time-scale", min=1, help="Dev: policy time runs that many times as fast."),
]
NetworkOption = Annotated[
    Path | None, typer.Option("--network", help="The description.  [default: ./network.toml]")
]
MemberOption = Annotated[
    list[Path] | None,
    typer.Option("--member", help="A NAME.member.json; once for each host's node."),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app, "up")(up)
    command(app, "down")(down)
    command(app, "reset")(reset)
    group = typer.Typer(help="Networks and the nodes of this host.", no_args_is_help=True)
    app.add_typer(group, name="net")
    command(group, "create")(create)
    command(group, "init")(init)
    command(group, "join")(join)
    command(group, "start")(start)
    command(group, "stop")(stop)
    command(group, "status")(status)
    command(group, "logs")(logs)
    command(group, "kill")(kill)
    command(group, "pause")(pause)
    command(group, "resume")(resume)
    partition.register(group)
    membership.register(group)
    code.register(group)


def up(
    session: Session,
    nodes: NodesOption = None,
    network: NetworkOption = None,
    ports_from: PortOption = None,
    time_scale: ScaleOption = None,
) -> None:
    """Start a local network in the background, creating it first if there is none."""
    if not session.folder.exists:
        create(session, nodes, network, ports_from, time_scale)
    elif time_scale not in (None, session.folder.genesis.time_scale):
        have = session.folder.genesis.time_scale
        raise Misconfigured(
            "NETWORK_EXISTS",
            f"{session.folder.path} has time_scale {have}; give another --dir, or `groat reset`",
        )
    elif nodes not in (None, len(session.folder.endpoints)):
        have = len(session.folder.endpoints)
        raise Misconfigured(
            "NETWORK_EXISTS", f"{session.folder.path} holds {have} nodes; `groat reset --yes` first"
        )
    start(session)


def down(session: Session) -> None:
    """Stop all nodes; their state is kept for the next `groat up`."""
    stop(session)


def reset(
    session: Session,
    yes: Annotated[bool, typer.Option("--yes", help="Really delete everything.")] = False,
) -> None:
    """Stop a dev network and delete its folder: state, keys and all."""
    if not yes:
        raise Misconfigured(
            "NOT_CONFIRMED", f"this deletes {session.folder.path} with its keys; add --yes"
        )
    if (session.folder.path / "network.json").exists():
        LocalNetwork(session.folder).stop()
    remove_network(session.folder)
    session.out.note(f"deleted {session.folder.path}")


def create(
    session: Session,
    nodes: NodesOption = None,
    network: NetworkOption = None,
    ports_from: PortOption = None,
    time_scale: ScaleOption = None,
    member: MemberOption = None,
) -> None:
    """Turn network.toml into keys, certificates, genesis.json and one folder per node.

    With --member the nodes are on other hosts, and each gets a NAME.admission.json instead.
    """
    arguments = ["--network", str(network_file(network))]
    if nodes is not None:
        arguments += ["--nodes", str(nodes)]
    if ports_from is not None:
        arguments += ["--ports-from", str(ports_from)]
    if time_scale is not None:
        arguments += ["--time-scale", str(time_scale)]
    for path in member or ():
        arguments += ["--member", str(path)]
    create_network(session.folder.path, arguments)
    session.out.note(f"created {session.folder.path}")
    if member:
        _show_founded(session)


def init(
    session: Session,
    name: Annotated[str, typer.Argument(help="The node's name, unique in the network.")],
    address: Annotated[str, typer.Option(help="HOST:PORT where other nodes dial it.")],
    http: Annotated[str, typer.Option(help="HOST:PORT where it serves people and programs.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT to bind, if not --address.")] = "",
    url: Annotated[str, typer.Option(help="Where people find it, such as a proxy's URL.")] = "",
) -> None:
    """Make the keys of this host's node, and NAME.member.json for the founder of the network."""
    arguments = [name, "--address", address, "--http", http, "--listen", listen, "--url", url]
    found("init", session.folder.path, arguments)
    path = session.folder.path / (name + MEMBER_SUFFIX)
    member = Member.load(path)
    shown = member.model_dump(include={"name", "public_key", "address", "http_url"})
    session.out.record({**shown, "file": str(path)})
    session.out.note(f"give {path} to the founder: it holds public parts only")


def join(
    session: Session,
    admission: Annotated[Path, typer.Argument(help="The founder's NAME.admission.json.")],
) -> None:
    """Check the founder's answer and complete the node that `net init` began on this host."""
    found("join", session.folder.path, [str(admission)])
    _show_founded(session)
    names = ", ".join(one.name for one in LocalNetwork(session.folder).nodes)
    session.out.note(f"joined; when the hashes agree: groat net start {names}")


def start(session: Session, names: Names = None) -> None:
    """Start nodes in the background and wait until they answer."""
    network = LocalNetwork(session.folder)
    network.start(names or ())
    _show(session, network, names or ())
    if (session.folder.wallet.folder / DEV_PASSWORD_FILE).exists():
        session.out.note("a dev network: its keys' password lies beside them; never for real money")


def stop(session: Session, names: Names = None) -> None:
    """Stop nodes in an orderly way; their state is kept."""
    network = LocalNetwork(session.folder)
    network.stop(names or ())
    session.out.note("stopped " + ", ".join(one.name for one in network.select(names or ())))


def status(session: Session) -> None:
    """Which processes run; for the chain's own view see `groat status`."""
    _show(session, LocalNetwork(session.folder), ())


def logs(
    session: Session,
    names: Names = None,
    follow_: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=100_000, help="From the end.")
    ] = LOG_LINES_DEFAULT,
) -> None:
    """The nodes' logs, merged, each line after its node's name."""
    chosen = LocalNetwork(session.folder).select(names or ())
    paths = {one.name: one.log for one in chosen}
    width = max((len(name) for name in paths), default=0)

    def show(name: str, line: str) -> None:
        session.out.line({"node": name, "line": line}, f"{name:<{width}}  {line}")

    for name, path in paths.items():
        for line in tail(path, lines) if lines else ():
            show(name, line)
    if follow_:
        for name, line in follow(paths):
            show(name, line)


def kill(session: Session, names: Victims) -> None:
    """Kill nodes as a power cut would (SIGKILL); `groat net start` brings them back."""
    network = LocalNetwork(session.folder)
    network.kill(names)
    _show(session, network, names)


def pause(session: Session, names: Victims) -> None:
    """Freeze nodes (SIGSTOP): their sockets stay open and nothing answers."""
    network = LocalNetwork(session.folder)
    network.pause(names)
    _show(session, network, names)


def resume(session: Session, names: Victims) -> None:
    """Let paused nodes go on (SIGCONT)."""
    network = LocalNetwork(session.folder)
    network.resume(names)
    _show(session, network, names)


def _show_founded(session: Session) -> None:
    genesis = session.folder.genesis
    genesis_hash = genesis.hash.hex()
    session.out.record(
        {
            "network": genesis.chain_id,
            "validators": [entry.name for entry in genesis.validators],
            "dead_max": genesis.validator_set.dead_max,
            "genesis_hash": genesis_hash,
        }
    )
    spoken = " ".join(genesis_hash[i : i + 8] for i in range(0, len(genesis_hash), 8))
    session.out.note(f"read the hash to the other members by telephone: {spoken}")


def _show(session: Session, network: LocalNetwork, names: Sequence[str]) -> None:
    rows: list[dict[str, Any]] = []
    for one in network.select(names):
        process = one.process
        rows.append(
            {
                "node": one.name,
                "state": str(one.state),
                "pid": process.pid if process else None,
                "http": one.http_url,
                "peers": session.folder.endpoint(one.name).peer_address,
                "folder": str(one.folder),
            }
        )
    session.out.table(rows, ("node", "state", "pid", "http", "peers"))

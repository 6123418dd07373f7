"""`python -m node`: found or join a network, run a node, tend a node's database.

Every refusal is one line on stderr with its code and what to do; the exit codes are those of the
`groat` command (0 ok, 1 failed, 2 wrong files or flags).
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

import structlog

from node.protocol.errors import GroatError, Misconfigured

EXIT_FAILED = 1
EXIT_USAGE = 2


def main(arguments: list[str] | None = None) -> int:
    """Parse and run one subcommand; the process's exit code."""
    options = _parser().parse_args(arguments)
    _keep_private()
    try:
        return int(options.run(options))
    except Misconfigured as error:
        print(f"groat node: {error}", file=sys.stderr)
        return EXIT_USAGE
    except GroatError as error:
        print(f"groat node: {error}", file=sys.stderr)
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m node", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the node of a folder until SIGTERM")
    run.add_argument("--folder", type=Path, required=True, help="DIR/nodes/NAME")
    run.set_defaults(run=_run)

    create = commands.add_parser("create", help="turn network.toml into keys, genesis and folders")
    create.add_argument("--network", type=Path, required=True, help="network.toml")
    create.add_argument("--dir", type=Path, required=True, help="a folder that does not exist yet")
    create.add_argument(
        "--member",
        type=Path,
        action="append",
        default=[],
        help="a member's file: it validates, on its own host, instead of [[validators]]",
    )
    create.add_argument("--nodes", type=int, help="that many validators on this machine instead")
    create.add_argument("--ports-from", type=int, help="their first port; two for each validator")
    create.add_argument("--time-scale", type=int, help="run policy time that many times as fast")
    create.set_defaults(run=_create)

    init = commands.add_parser("init", help="make this host's node keys, to found a network with")
    init.add_argument("name", help="the node's name, unique in the network")
    init.add_argument("--dir", type=Path, required=True)
    init.add_argument("--address", required=True, help="HOST:PORT where other nodes dial it")
    init.add_argument("--http", required=True, help="HOST:PORT where it serves people")
    init.add_argument("--listen", default="", help="HOST:PORT to bind, where --address is not")
    init.add_argument("--url", default="", help="where people find it, such as a proxy's https://…")
    init.set_defaults(run=_init)

    join = commands.add_parser("join", help="complete this host's node with the founder's answer")
    join.add_argument("admission", type=Path, help="NAME.admission.json")
    join.add_argument("--dir", type=Path, required=True, help="the same as at init")
    join.set_defaults(run=_join)

    prepare = commands.add_parser("prepare", help="make the folder of a node that joins later")
    prepare.add_argument("name", help="the node's name, unique in the network")
    prepare.add_argument("--dir", type=Path, required=True)
    prepare.add_argument("--address", required=True, help="HOST:PORT where other nodes dial it")
    prepare.add_argument("--http", required=True, help="HOST:PORT where it serves people")
    prepare.set_defaults(run=_prepare)

    audit = commands.add_parser("audit", help="check the whole state of a stopped node")
    audit.add_argument("--folder", type=Path, required=True, help="DIR/nodes/NAME")
    audit.add_argument(
        "--books", type=Path, action="append", default=[], help="write FILE.csv or FILE.jsonl too"
    )
    audit.set_defaults(run=_audit)

    code = commands.add_parser("code", help="the versions of the contracts in this program")
    code.set_defaults(run=_code)

    _add_upkeep(commands)
    return parser


def _add_upkeep(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser("check", help="verify the whole database of a stopped node")
    check.add_argument("--folder", type=Path, required=True, help="DIR/nodes/NAME")
    check.set_defaults(run=_check)

    repair = commands.add_parser("repair", help="let a stopped node fetch its state again")
    repair.add_argument("--folder", type=Path, required=True, help="DIR/nodes/NAME")
    _add_vote_from(repair)
    repair.set_defaults(run=_repair)

    reads = commands.add_parser("reads", help="show the log of what regulators read at a node")
    reads.add_argument("--folder", type=Path, required=True, help="DIR/nodes/NAME")
    reads.add_argument("--last", type=int, default=100, help="that many of the newest entries")
    reads.add_argument("--at", type=int, action="append", default=[], help="the hash after so many")
    reads.set_defaults(run=_reads)

    backup = commands.add_parser("backup", help="copy a node's newest snapshot and verify it")
    backup.add_argument("--folder", type=Path, required=True, help="DIR/nodes/NAME")
    backup.add_argument("--to", type=Path, required=True, help="a folder that does not exist yet")
    backup.set_defaults(run=_backup)

    restore = commands.add_parser("restore", help="give a stopped node the state of a backup")
    restore.add_argument("--folder", type=Path, required=True, help="DIR/nodes/NAME")
    restore.add_argument("--backup", type=Path, required=True, help="what `backup` made")
    restore.add_argument("--password-file", type=Path, help="the backup's, if it has another")
    _add_vote_from(restore)
    restore.set_defaults(run=_restore)


def _add_vote_from(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vote-from", type=int, help="the votes are lost: sign nothing below this height"
    )


def _run(options: argparse.Namespace) -> int:
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # until they are heeded: they would end the process
    from node.app import run_node
    from node.folder import load_node

    settings = load_node(options.folder)
    _log_to_stderr(settings.log_level)
    return run_node(settings)


def _keep_private() -> None:
    """What is written is the operator's alone, and no dump of memory takes the keys to disk."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _create(options: argparse.Namespace) -> int:
    from node.clock import now_ms
    from node.config import NetworkConfig
    from node.genesis import create_network
    from node.protocol.ceremony import Member
    from node.protocol.password import PASSWORD_VARIABLE, find_password

    config = NetworkConfig.load(options.network)
    members = [Member.load(path) for path in options.member]
    if members and (options.nodes, options.ports_from) != (None, None):
        raise Misconfigured("BAD_CONFIG", "--nodes and --ports-from are for one host, not --member")
    if options.nodes is not None or options.ports_from is not None:
        count = options.nodes or len(config.validators)
        first = options.ports_from
        ports = (
            None if first is None else [(first + 2 * i, first + 2 * i + 1) for i in range(count)]
        )
        config = config.with_local_nodes(count, ports)
    if options.time_scale is not None:
        config = config.with_time_scale(options.time_scale)
    generated = config.dev and not members and PASSWORD_VARIABLE not in os.environ
    password = None if generated else find_password(new=True)
    genesis = create_network(config, options.dir, password, now_ms(), members)
    print(f"created {options.dir}, genesis {genesis.hash.hex()}", file=sys.stderr)
    return 0


def _init(options: argparse.Namespace) -> int:
    from node.members import NewNode, init_member
    from node.protocol.password import find_password

    node = NewNode.make(
        options.name,
        options.address,
        options.http,
        listen=options.listen,
        http_url=options.url,
    )
    path = init_member(options.dir, node, find_password(new=True))
    print(f"made {path}; give it to the founder", file=sys.stderr)
    return 0


def _join(options: argparse.Namespace) -> int:
    from node.members import join_network

    genesis = join_network(options.dir, options.admission)
    print(f"joined {genesis.chain_id}, genesis {genesis.hash.hex()}", file=sys.stderr)
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from node.clock import now_ms
    from node.joining import prepare_node

    plan = prepare_node(options.dir, options.name, options.address, options.http, now_ms())
    print(json.dumps(plan))
    return 0


def _audit(options: argparse.Namespace) -> int:
    from node.audit import audit_folder

    return audit_folder(options.folder, options.books)


def _code(_options: argparse.Namespace) -> int:
    from node.code_hashes import bundled, describe

    bundled()
    print(json.dumps(describe()))
    return 0


def _check(options: argparse.Namespace) -> int:
    from node.check import check_folder

    return check_folder(options.folder)


def _repair(options: argparse.Namespace) -> int:
    from node.repair import repair_folder

    return repair_folder(options.folder, options.vote_from)


def _reads(options: argparse.Namespace) -> int:
    from node.reads import show_reads

    return show_reads(options.folder, options.at, options.last)


def _backup(options: argparse.Namespace) -> int:
    from node.backup import backup_folder

    return backup_folder(options.folder, options.to)


def _restore(options: argparse.Namespace) -> int:
    from node.backup import restore_folder

    return restore_folder(options.folder, options.backup, options.vote_from, options.password_file)


def _log_to_stderr(level: str) -> None:
    """One JSON line an event: the client's process manager keeps them in node.log."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Words())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=level.upper(), stream=sys.stderr, format="%(message)s")


class _Words(io.TextIOBase):
    """Stderr, but what cannot be said is not said: a full disk must not end the node by its log."""

    def write(self, text: str) -> int:
        """Write, or do not."""
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or do not."""
        with suppress(OSError):
            sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

"""The composition root of a running node: from a node's folder to tasks on a loop.

Each builder makes one part from the parts before it; nothing else in the node opens sockets, files
or processes. A refusal to start is `Misconfigured` or `StoreFailure` with one line for people.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import resource
import signal
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog

from node.adoption import adopt, open_staging
from node.code_hashes import bundled
from node.core import Core, open_core
from node.driver import Driver
from node.errands import Epochs, ReadAnchors
from node.folder import NodeSettings, keep_wrap
from node.housekeeping import Housekeeping
from node.http.limits import HttpLimits
from node.http.server import HttpServer
from node.known_peers import given_peers, save_known_peers
from node.net.gossip import TransactionGossip
from node.net.transport import Transport
from node.protocol.cut import CUT_FILE, read_cut
from node.protocol.errors import Misconfigured, StoreFailure
from node.pruning import Pruner
from node.query import Query
from node.read_log import READ_LOG_FILE, ReadLog
from node.roster import Peers, Roster
from node.service import LiveService
from node.snapshots import SNAPSHOT_FOLDER, SnapshotMaker
from node.state.level import open_level
from node.state.sealed import SealedKeyValue
from node.state.shelf import FolderShelf
from node.state.vault import Vault
from node.state.vote_log import open_vote_database
from node.vaults import open_vault
from node.verifier import Verifier

HALTED_EXIT = 1
# Blocks and candidates come and go by the thousand and hold no cycles; looking for some at the
# default rate, through everything that waits in the mempool, costs a ninth of a node's CPU.
GC_THRESHOLDS = (50_000, 20, 20)
FILES_MAX = 16_384
# For the databases, the peers and their guests, logs and snapshots: HTTP may not have these.
FILES_RESERVED = 600

log = structlog.get_logger("node")


def run_node(settings: NodeSettings) -> int:
    """Run until SIGTERM or SIGINT; the process's exit code."""
    verifier = Verifier(settings.genesis.chain)
    verifier.warm_up()
    try:
        while True:
            adopt(settings.data, open_level)
            code = _run_core(settings, verifier)
            if code is not None:
                return code
    finally:
        verifier.close()


def _run_core(settings: NodeSettings, verifier: Verifier) -> int | None:
    """Run one core until it ends; None if another one is to follow, on an adopted snapshot."""
    vault = open_vault(settings.storage_key)
    staging = open_staging(settings.data, open_level, vault) if settings.snapshots else None
    try:
        database = open_level(settings.data)
        core = open_core(
            settings.genesis,
            bundled(),
            settings.key,
            settings.secret,
            vault,
            database,
            open_vote_database(settings.votes),
            shelf=FolderShelf(settings.folder / SNAPSHOT_FOLDER, vault),
            staging=staging,
        )
        reads = _open_reads(settings, vault)
        records = SealedKeyValue(database, vault)
        try:
            return _run_loop(_serve(settings, core, records, verifier, reads))
        finally:
            reads.close()
            core.store.close()
            core.votes.close()
    finally:
        if staging is not None:
            staging.close()


async def _serve(
    settings: NodeSettings,
    core: Core,
    database: SealedKeyValue,
    verifier: Verifier,
    reads: ReadLog,
) -> int | None:
    every = settings.genesis.snapshot_every
    snapshots = SnapshotMaker(core.store.snapshot_source, settings.folder / SNAPSHOT_FOLDER, every)
    driver = Driver(core, verifier, settings.free_bytes, snapshots.on_block)
    pruner = Pruner(core.store, database, driver.disk, core.shelf, settings.keep_blocks, every)
    driver.observe(pruner)
    roster = _roster(settings, core)
    transport = Transport(
        settings.genesis.chain,
        settings.key,
        settings.tls,
        settings.listen,
        roster.peers,
        driver,
    )
    roster.attach(lambda peers: _on_peers(settings, core, transport, peers))
    driver.observe(roster)
    gossip = TransactionGossip(transport)
    driver.attach(transport, gossip)
    query = Query(core.store, core.code, settings.genesis, core.executor.salts, core.opener)
    service = LiveService(settings, query, core, driver, verifier, transport, reads)
    server = HttpServer(service, *settings.http, _bearable(settings.http_limits))
    housekeeping = _housekeeping(settings, core, driver, verifier, service, reads)
    driver.observe(housekeeping)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, driver.stop)
    loop.add_signal_handler(signal.SIGUSR1, snapshots.on_demand)
    loop.add_signal_handler(signal.SIGUSR2, _follow_cut, settings, transport)
    transport.cut(_lines_cut(settings))
    await transport.start()
    await server.start()
    _warn_of_plain_http(settings.http[0], server.url)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    log.info("node_runs", name=settings.name, http=server.url, height=core.store.head.height)
    try:
        await driver.run(housekeeping.run())
    finally:
        await pruner.stop()
        await snapshots.stop()
        await server.stop()
        await transport.stop()
    if driver.halt is not None:
        return HALTED_EXIT
    if driver.adopts:
        return None
    log.info("node_stopped", height=core.store.head.height)
    return 0


def _bearable(limits: HttpLimits) -> HttpLimits:
    """The limits, with no more connections than there can be open files for.

    A database that may open no more files cannot write: strangers must not be able to bring that
    about.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    left = max(1, max(soft, files) - FILES_RESERVED)
    if left >= limits.connections:
        return limits
    log.warning("few_open_files", allowed=max(soft, files), http_connections=left)
    return limits.model_copy(update={"connections": left})


def _housekeeping(
    settings: NodeSettings,
    core: Core,
    driver: Driver,
    verifier: Verifier,
    service: LiveService,
    reads: ReadLog,
) -> Housekeeping:
    node, state, genesis = settings.key.public_key, core.store, settings.genesis
    keep = partial(keep_wrap, settings.folder)
    epochs = Epochs(node, state, core.keyring, verifier.learn, keep, driver.alarm)
    epochs.on_committed()  # what came before this start
    anchors = ReadAnchors(node, state, reads, genesis.time_scale, driver.alarm)
    return Housekeeping(
        genesis.chain,
        settings.key,
        state,
        driver,
        (epochs, anchors),
        lambda: service.caught_up,
    )


def _open_reads(settings: NodeSettings, vault: Vault) -> ReadLog:
    path = settings.folder / READ_LOG_FILE
    try:
        return ReadLog(path, settings.genesis.chain, settings.key.public_key, vault)
    except OSError as error:
        raise StoreFailure("DISK_FAILED", f"{path}: {error.strerror}") from None


def _roster(settings: NodeSettings, core: Core) -> Roster:
    height = core.store.head.height
    given, known_at = given_peers(settings.folder, settings.joining)
    roster = Roster(core.store, settings.key.public_key, given, height, known_at)
    if height > known_at:
        save_known_peers(settings.folder, roster.peers, height)
    return roster


def _on_peers(settings: NodeSettings, core: Core, transport: Transport, peers: Peers) -> None:
    """The chain lists other peers than before."""
    transport.set_peers(peers)
    save_known_peers(settings.folder, peers, core.store.head.height)


def _lines_cut(settings: NodeSettings) -> frozenset[bytes]:
    """The peers cut off from this node; raises `Misconfigured`, also on a network that is real."""
    cut = read_cut(settings.folder)
    if cut and not settings.genesis.dev:
        path = settings.folder / CUT_FILE
        raise Misconfigured("NOT_DEV", f"{path}: only on a dev network are lines cut; remove it")
    return cut


def _follow_cut(settings: NodeSettings, transport: Transport) -> None:
    """Somebody changed which lines are cut, and says so."""
    try:
        transport.cut(_lines_cut(settings))
    except Misconfigured as error:
        log.warning("cut_ignored", code=error.code, message=error.message)


def _warn_of_plain_http(host: str, url: str) -> None:
    if not _is_loopback(host):
        log.warning(
            "http_without_tls",
            http=url,
            advice="session tokens cross this interface in the clear; listen on 127.0.0.1 behind "
            "a proxy that terminates TLS",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _run_loop(main: Coroutine[Any, Any, int | None]) -> int | None:
    """On uvloop where it is installed: a fifth more traffic on the same core."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)

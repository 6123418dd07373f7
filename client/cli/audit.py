"""`groat audit`: do all nodes hold the same chain and state, and does every sum add up?

Over the network it compares the nodes at one height and verifies each block from genesis to the
head. `--full` also walks one node's whole state against every contract's promises, for which that
node is stopped meanwhile: the others go on; with `--books` it writes every account's postings.
`--verify` checks such a file, by itself and against the certified root of its height. `--reads`
checks what the nodes of this host have noted of regulators' reads.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.cli.session import Session, command
from client.errors import ClientError, NotFound, Unproven, Unreachable
from client.local import LocalNetwork, State
from node.protocol.audit_file import Books, read_rows
from node.protocol.errors import Misconfigured, Refused
from node.protocol.json_view import time_to_json

if TYPE_CHECKING:
    from client.node_api import NodeApi
    from node.protocol.block import BlockHeader

BLOCKS_AT_ONCE = 32
OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"

Finding = dict[str, Any]


class AuditFailed(ClientError):
    """Something does not add up; the table says what."""


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "audit")(audit)


def audit(
    session: Session,
    full: Annotated[
        bool, typer.Option("--full", help="Also check the whole state of one stopped node.")
    ] = False,
    books: Annotated[
        list[Path] | None,
        typer.Option("--books", help="With --full, write FILE.csv or FILE.jsonl; repeatable."),
    ] = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Check the books in FILE instead.")
    ] = None,
    reads: Annotated[
        bool, typer.Option("--reads", help="Check this host's logs of regulators' reads instead.")
    ] = False,
) -> None:
    """Compare all nodes, verify the chain from genesis, and with --full every balance."""
    if reads:
        _conclude(session, asyncio.run(_reads(session)))
        return
    if verify is not None:
        _verify(session, verify)
        return
    full = full or bool(books)
    try:
        findings = asyncio.run(_network(session))
    except Unreachable as error:
        if not full:
            raise
        findings = [_finding("head", "all nodes", SKIPPED, error.message)]
    if full:
        findings += _whole_state(session, books or [])
    _conclude(session, findings)


def _conclude(session: Session, findings: list[Finding]) -> None:
    session.out.table(findings, ("check", "subject", "result", "detail"))
    failed = sum(finding["result"] == FAILED for finding in findings)
    if failed:
        raise AuditFailed("AUDIT_FAILED", f"{failed} of {len(findings)} checks failed")


async def _network(session: Session) -> list[Finding]:
    names = {endpoint.http_url: endpoint.name for endpoint in session.folder.endpoints}
    findings: list[Finding] = []
    heads: dict[str, BlockHeader] = {}
    async with session.api() as api:
        for url in session.urls:
            name = names.get(url, url)
            try:
                heads[url] = head = await api.verified.header("latest", url)
            except Unreachable as error:
                findings.append(_finding("head", name, SKIPPED, error.message))
            except NotFound:
                findings.append(_finding("head", name, OK, "no block yet"))
            except ClientError as error:
                findings.append(_finding("head", name, FAILED, f"{error.code}: {error.message}"))
            else:
                detail = f"height {head.height} of {time_to_json(head.time_ms)}, certified"
                findings.append(_finding("head", name, OK, detail))
        if all(finding["result"] == SKIPPED for finding in findings):
            raise Unreachable("UNREACHABLE", "no node answers")
        if not heads:
            return findings
        findings += await _compare(api, names, heads)
        findings.append(await _walk(session, api, heads))
        findings += await _evidence(api, names, list(heads))
    return findings


async def _compare(
    api: NodeApi, names: dict[str, str], heads: dict[str, BlockHeader]
) -> list[Finding]:
    """Block and state root of all nodes at the highest height that all of them have."""
    height = min(head.height for head in heads.values())
    findings, first = [], None
    for url in heads:
        header = await api.verified.header(str(height), url)
        first = first or header
        same = header.id(api.chain) == first.id(api.chain)
        root = header.state_root.hex()
        findings.append(
            _finding("state root", names.get(url, url), OK if same else FAILED, f"{height}: {root}")
        )
    return findings


async def _walk(session: Session, api: NodeApi, heads: dict[str, BlockHeader]) -> Finding:
    """Every header from genesis to the highest head: seals, parents, times."""
    url = max(heads, key=lambda one: heads[one].height)
    top = heads[url].height
    advance, end = session.out.progress("blocks", top)
    parent, time_ms = api.genesis.hash, 0
    try:
        for start in range(1, top + 1, BLOCKS_AT_ONCE):
            heights = range(start, min(start + BLOCKS_AT_ONCE, top + 1))
            headers = await asyncio.gather(
                *(api.verified.header(str(height), url) for height in heights)
            )
            for header in headers:
                if header.parent != parent or header.time_ms <= time_ms:
                    raise Unproven("BAD_LINK", f"block {header.height} does not follow its parent")
                parent, time_ms = header.id(api.chain), header.time_ms
            advance(len(headers))
    except ClientError as error:
        return _finding("chain", f"1 … {top}", FAILED, f"{error.code}: {error.message}")
    finally:
        end()
    return _finding("chain", f"1 … {top}", OK, "each block certified and linked to genesis")


async def _evidence(api: NodeApi, names: dict[str, str], urls: list[str]) -> list[Finding]:
    """Proofs that a validator contradicted itself; each is a matter for the members."""
    from client.connection import Request

    findings = []
    for url in urls:
        answer = await api.ask(Request("GET", "/v1/evidence"), url=url)
        items = answer.body.get("items", [])
        result, detail = (FAILED, f"{len(items)} contradictions") if items else (OK, "none")
        findings.append(_finding("evidence", names.get(url, url), result, detail))
    return findings


async def _reads(session: Session) -> list[Finding]:
    """Each local node's log of reads against the anchors that the chain proves."""
    from client.reads import compare, proven_anchors

    findings = []
    async with session.api() as api:
        for one in LocalNetwork(session.folder).nodes:
            node = bytes.fromhex(session.folder.endpoint(one.name).public_key)
            anchors = await proven_anchors(api, node)
            report, fault = await asyncio.to_thread(compare, one, anchors, 1)
            anchored = anchors[0].count if anchors else 0
            detail = fault or f"{report['count']} noted, {anchored} of them anchored"
            findings.append(_finding("reads", one.name, FAILED if fault else OK, detail))
    return findings


def _verify(session: Session, path: Path) -> None:
    """Check a file of books, and that its root is the certified one, if a node can be asked."""
    books = _read_books(path)
    chained = f"{books.entries:,} entries of {books.accounts:,} accounts, rows chained"
    findings = [_finding("books", path.name, OK, chained)]
    for asset, (debits, _) in sorted(books.assets.items()):
        findings.append(_finding("double entry", asset, OK, f"{debits:,} debited and credited"))
    findings.append(asyncio.run(_root_finding(session, books)))
    promises = FAILED if books.violations else OK
    detail = f"{books.violations} broken at height {books.height}"
    findings.append(_finding("promises", path.name, promises, detail))
    _conclude(session, findings)


def _read_books(path: Path) -> Books:
    books = Books()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for one in read_rows(file, path.suffix):
                books.add(one)
        books.finish()
    except OSError as error:
        raise Misconfigured("NO_FILE", f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misconfigured("BAD_AUDIT_FILE", f"{path} is not text") from None
    except Refused as refusal:
        raise AuditFailed("AUDIT_FAILED", f"{path}: {refusal.message}") from None
    return books


async def _root_finding(session: Session, books: Books) -> Finding:
    if books.genesis_hash != session.folder.genesis.hash.hex():
        return _finding("state root", "genesis", FAILED, "the books are of another network")
    try:
        async with session.api() as api:
            header = await api.verified.header(str(books.height))
    except (Unreachable, NotFound) as error:
        return _finding("state root", str(books.height), SKIPPED, error.message)
    same = header.state_root.hex() == books.state_root
    detail = f"certified: {header.state_root.hex()}"
    return _finding("state root", str(books.height), OK if same else FAILED, detail)


def _whole_state(session: Session, books: list[Path]) -> list[Finding]:
    """All promises of all contracts over the state of one local node, which is put back after."""
    network = LocalNetwork(session.folder)
    if not network.nodes:
        return [_finding("whole state", "–", SKIPPED, "no node of this network runs here")]
    stopped = [one for one in network.nodes if one.state is State.STOPPED]
    one = network.select([session.node])[0] if session.node else (stopped or network.nodes)[-1]
    ran = one.state is not State.STOPPED
    if ran:
        network.stop([one.name])
    try:
        report = one.audit(books)
    finally:
        if ran:
            network.start([one.name])
    height = report.get("height")
    findings = []
    for contract, figures in report.get("figures", {}).items():
        broken = report.get("violations", {}).get(contract, [])
        detail = "; ".join(str(one) for one in broken) or f"at {height}: {_figures(figures)}"
        findings.append(_finding(f"{contract} sums", one.name, FAILED if broken else OK, detail))
    return findings


def _figures(figures: dict[str, Any]) -> str:
    parts = []
    for name, value in figures.items():
        if isinstance(value, dict):
            value = " ".join(f"{key} {inner}" for key, inner in value.items()) or "none"
        parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts) or "nothing to add up"


def _finding(check: str, subject: str, result: str, detail: str) -> Finding:
    return {"check": check, "subject": subject, "result": result, "detail": detail}

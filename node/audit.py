"""The audit of a stopped node: every contract's promises over the whole state, and its books.

It opens the node's database (so the node must be stopped), walks all records, and prints figures
and broken promises as JSON; on demand it writes the books, see `protocol.audit_file`. It changes
nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from contracts.kernel.ledger import ACCOUNTS, Account
from contracts.kernel.registry import audit
from node.code import Code
from node.code_hashes import bundled
from node.folder import load_node
from node.protocol.audit_file import FORMATS, Row, chained, row, write_head, write_line
from node.protocol.errors import Misconfigured, StoreFailure
from node.protocol.genesis import Genesis
from node.protocol.json_view import time_to_json, to_json
from node.state.level import open_level
from node.state.store import Store
from node.vaults import open_vault

EXIT_BROKEN = 1


def audit_folder(folder: Path, books: Sequence[Path] = ()) -> int:
    """Print the audit of the node in `folder`; 0 if every promise holds, 1 if not.

    `books` are files to write, new ones, by their suffix as `.csv` or `.jsonl`.
    """
    for path in books:
        if path.suffix not in FORMATS:
            raise Misconfigured("BAD_CONFIG", f"{path}: books are written as .csv or .jsonl")
    settings = load_node(folder)
    genesis, data = settings.genesis, settings.data
    if not data.exists():
        raise StoreFailure("NO_DATABASE", f"{data} does not exist; has this node ever run?")
    database = open_level(data)
    try:
        store = Store(database, open_vault(settings.storage_key), genesis.tree_depth, genesis.hash)
        reports = audit(Code(store, bundled()), store)
        violations = {name: list(report.violations) for name, report in reports.items()}
        broken = sum(len(texts) for texts in violations.values())
        if books:
            write_books(genesis, store, books, broken)
        report = {
            "height": str(store.head.height),
            "state_root": store.head.state_root.hex(),
            "ok": not broken,
            "figures": {name: to_json(item.figures) for name, item in reports.items()},
            "violations": violations,
            "books": [str(path) for path in books],
        }
        print(json.dumps(report, indent=2, ensure_ascii=False))
    finally:
        database.close()
    return EXIT_BROKEN if broken else 0


def write_books(genesis: Genesis, store: Store, paths: Sequence[Path], broken: int) -> None:
    """Write the books to new files; `broken` promises are noted. Raises `Misconfigured`."""
    with ExitStack() as stack:
        files = []
        for path in paths:
            try:
                # Who owns what is the operator's alone.
                number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                raise Misconfigured("NOT_WRITABLE", f"{path}: {error.strerror}") from None
            file = stack.enter_context(os.fdopen(number, "w", encoding="utf-8", newline=""))
            write_head(file, path.suffix)
            files.append((file, path.suffix))
        for one in chained(book_rows(genesis, store, broken)):
            for file, suffix in files:
                write_line(file, suffix, one)


def book_rows(genesis: Genesis, store: Store, broken: int) -> Iterator[Row]:
    """The rows of the books of all accounts as of the head."""
    head, since = store.head, store.oldest.history
    time_ms = genesis.created_ms if head.header is None else head.header.time_ms
    note = (
        f"chain={genesis.chain_id} genesis={genesis.hash.hex()} block={head.block_id.hex()} "
        f"state_root={head.state_root.hex()} time={time_to_json(time_ms)} since={since}"
    )
    yield row("audit", height=head.height, note=note)
    count = 1
    totals: dict[str, tuple[int, int]] = {}
    for key, versions in groupby(store.history(), lambda item: item[0]):
        last: Account | None = None
        for _, height, raw in versions:
            account = ACCOUNTS.decode(raw)
            one = _entry(key, height, since, last, account)
            last = account
            if one is not None:
                count += 1
                yield one
        if last is not None:
            count += 1
            posted = (last.debits_posted, last.credits_posted)
            yield _of_account("closing", key, head.height, last, *posted)
            debits, credits = totals.get(last.asset, (0, 0))
            totals[last.asset] = (debits + posted[0], credits + posted[1])
    for asset, (debits, credits) in sorted(totals.items()):
        count += 1
        yield row("total", asset=asset, debit=debits, credit=credits, balance=credits - debits)
    yield row("end", note=f"rows={count + 1} violations={broken}")


def _entry(
    key: bytes, height: int, since: int, before: Account | None, after: Account
) -> Row | None:
    """What one block posted; what was posted before the oldest kept height is an opening."""
    debit = after.debits_posted - (0 if before is None else before.debits_posted)
    credit = after.credits_posted - (0 if before is None else before.credits_posted)
    if not debit and not credit:
        return None
    kind = "opening" if before is None and height <= since else "entry"
    return _of_account(kind, key, height, after, debit, credit)


def _of_account(
    kind: str, key: bytes, height: int, account: Account, debit: int, credit: int
) -> Row:
    return row(
        kind,
        height=height,
        account=key.hex(),
        owner=account.owner.hex(),
        asset=account.asset,
        purpose=account.purpose,
        debit=debit,
        credit=credit,
        balance=account.balance,
        note=f"reserved={account.debits_pending}" if kind == "closing" else "",
    )

"""The audit of a stopped node: every contract's promises over the whole state.

It opens the node's database (so the node must be stopped), walks all records, and prints figures
and broken promises as JSON. It changes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from contracts.kernel.registry import audit
from node.code import Code
from node.code_hashes import bundled
from node.config import NodeConfig
from node.protocol.errors import StoreFailure
from node.protocol.genesis import Genesis
from node.protocol.json_view import to_json
from node.state.level import open_level
from node.state.store import Store

EXIT_BROKEN = 1


def audit_folder(folder: Path) -> int:
    """Print the audit of the node in `folder`; 0 if every promise holds, 1 if not."""
    config = NodeConfig.load(folder / "node.toml")
    genesis = Genesis.load(folder / config.genesis)
    data = folder / config.data
    if not data.exists():
        raise StoreFailure("NO_DATABASE", f"{data} does not exist; has this node ever run?")
    database = open_level(data)
    try:
        store = Store(database, genesis.tree_depth, genesis.hash)
        reports = audit(Code(store, bundled()), store)
        violations = {name: list(report.violations) for name, report in reports.items()}
        broken = any(violations.values())
        report = {
            "height": str(store.head.height),
            "state_root": store.head.state_root.hex(),
            "ok": not broken,
            "figures": {name: to_json(item.figures) for name, item in reports.items()},
            "violations": violations,
        }
        print(json.dumps(report, indent=2, ensure_ascii=False))
    finally:
        database.close()
    return EXIT_BROKEN if broken else 0

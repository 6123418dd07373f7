"""How fast is it here? `python3 scripts/bench.py`.

Makes temporary networks of four real node processes (mutual TLS, synced disk, every signature
checked by every node), puts load on them, and prints one table with clear beside sealed calls and
the setting under it. `--json FILE` writes the same. Exit codes: 0, or as for `groat`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import _environment

INTERRUPTED = 130
TRANSACTIONS_MIN = 2_000


def main() -> int:
    """Parse, run, tell; the process's exit code."""
    options = _parser().parse_args()
    _environment.enter("")
    from rich.console import Console

    from _bench.command import FULL, QUICK, bench
    from _load.failures import first_failure
    from client.errors import exit_code_of
    from node.protocol.errors import GroatError

    size = QUICK if options.quick else FULL
    if options.transactions is not None:
        size = size._replace(transactions=options.transactions)
    try:
        report = bench(options.modes, size, options.work, Console(stderr=True, highlight=False))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (GroatError, BaseExceptionGroup) as raised:
        error = first_failure(raised)
        print(f"bench: {error}", file=sys.stderr)
        return exit_code_of(error)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure a network of four nodes on this machine.")
    modes = parser.add_mutually_exclusive_group()
    for name, chosen in (
        ("clear", ["clear"]),
        ("sealed", ["sealed"]),
        ("both", ["clear", "sealed"]),
    ):
        modes.add_argument(f"--{name}", dest="modes", action="store_const", const=chosen)
    parser.set_defaults(modes=["clear", "sealed"])
    add = parser.add_argument
    add("--quick", action="store_true", help="a fifth of the load: rough figures in a minute")
    add("--transactions", type=_count, metavar="N", help="in each saturation run, from 2,000 on")
    add("--json", type=_new_file, metavar="FILE", help="write the figures there as well")
    add(
        "--work", type=_folder, metavar="DIR", help="the networks' disk  [default: $TMPDIR or /tmp]"
    )
    return parser


def _count(text: str) -> int:
    # Fewer make too few blocks for a rate.
    if not text.isdecimal() or int(text) < TRANSACTIONS_MIN:
        raise argparse.ArgumentTypeError(f"must be a number from {TRANSACTIONS_MIN:,} on")
    return int(text)


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError("is no folder")
    return Path(text)


def _new_file(text: str) -> Path:
    if not Path(text).absolute().parent.is_dir() or Path(text).is_dir():
        raise argparse.ArgumentTypeError("no file can be written there")
    return Path(text)


if __name__ == "__main__":
    sys.exit(main())

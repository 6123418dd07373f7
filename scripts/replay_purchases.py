"""Settle 69,659 real purchases: `python3 scripts/replay_purchases.py`.

Each customer of the CDNOW log of 1997 and 1998 gets a prepaid card with the sum of the purchases to
come; then every row is a signed purchase of the customer's own key, agreed upon by the nodes. At
the end the chain is compared with the log, to the cent. Interrupted in any way and started again,
it goes on where it stopped. Exit codes: 0 reconciled, 1 not, 130 interrupted, else as for `groat`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import _environment

INTERRUPTED = 130


def main() -> int:
    """Parse, run, tell; the process's exit code."""
    options = _parser().parse_args()
    _environment.enter("")
    from rich.console import Console

    from _load.failures import first_failure
    from _replay.command import Options, replay
    from client.errors import exit_code_of
    from client.folder import directory
    from node.protocol.errors import GroatError

    asked = Options(
        directory=directory(options.dir),
        cache=_cache(),
        file=options.file,
        rows=options.rows,
        sealed=not options.clear,
        keep=options.keep,
        kill=options.kill_node,
        down_at=options.at,
        up_at=max(options.at, options.back_at),
    )
    try:
        report = replay(asked, Console(stderr=True, highlight=False))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return INTERRUPTED
    except (GroatError, BaseExceptionGroup) as raised:
        error = first_failure(raised)
        print(f"replay: {error}", file=sys.stderr)
        return exit_code_of(error)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return 0 if report["reconciled"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Replay a purchase log on a network.")
    add = parser.add_argument
    add("--dir", type=Path, help="the network's folder  [default: $GROAT_DIR or ./.groat]")
    add("--file", type=Path, help="this log instead of the CDNOW log from the package index")
    add("--rows", type=_positive, help="only the first so many rows")
    add("--clear", action="store_true", help="clear calls instead of sealed ones")
    add("--json", type=_new_file, metavar="FILE", help="write the report there as well")
    add("--keep", action="store_true", help="leave the network running that was started for this")
    add("--kill-node", metavar="NAME", help="kill this node (SIGKILL) on the way")
    add("--at", type=_fraction, default=0.5, help="… after this fraction of the rows  [0.5]")
    add("--back-at", type=_fraction, default=0.75, help="… and start it again here  [0.75]")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)


def _fraction(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError("must be a fraction from 0 to 1")
    return number


def _new_file(text: str) -> Path:
    if not Path(text).absolute().parent.is_dir() or Path(text).is_dir():
        raise argparse.ArgumentTypeError("no file can be written there")
    return Path(text)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "groat"


if __name__ == "__main__":
    sys.exit(main())

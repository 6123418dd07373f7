"""Everything that must hold before a change goes in: `python3 scripts/check.py`.

Makes `.venv` where needed and runs the stages one after the other, stopping at the first failure
unless told otherwise. This is what the continuous integration runs, and nothing more.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time

import _environment

SIMULATOR_SEEDS = "0:300"
NETWORK_TESTS = "tests/network"
# Debian's; the order page is tested in it, headless.
BROWSER = "chromium"
STAGES: dict[str, tuple[str, list[str]]] = {
    "format": ("ruff format", ["-m", "ruff", "format", "--check", "."]),
    "lint": ("ruff check", ["-m", "ruff", "check", "."]),
    "types": ("mypy --strict", ["-m", "mypy"]),
    "layers": ("who imports whom, sizes", ["-m", "pytest", "tests/test_layers.py"]),
    "tests": (
        "unit, scenario and property tests",
        ["-m", "pytest", "-n", "2", "--ignore", NETWORK_TESTS, "--ignore", "tests/test_layers.py"],
    ),
    "simulator": (
        "300 seeds of the cluster simulator",
        ["scripts/simulate.py", "--seeds", SIMULATOR_SEEDS],
    ),
    "network": ("tests with real node processes", ["-m", "pytest", NETWORK_TESTS]),
}


def main() -> int:
    """Run the stages asked for; 0 if all passed."""
    options = _parser().parse_args()
    _environment.enter("dev")
    names = options.only or list(STAGES)
    if "tests" in names and shutil.which(BROWSER) is None:
        print(f"the page's tests need {BROWSER}: apt-get install -y {BROWSER}", file=sys.stderr)
        return 2
    results: dict[str, tuple[str, float]] = {}
    for name in names:
        title, arguments = STAGES[name]
        print(f"\n=== {name}: {title}", flush=True)
        started = time.monotonic()
        code = subprocess.run(
            [sys.executable, *arguments], cwd=_environment.ROOT, check=False
        ).returncode
        results[name] = ("passed" if code == 0 else "FAILED", time.monotonic() - started)
        if code != 0 and not options.keep_going:
            break
    return _report(names, results)


def _report(names: list[str], results: dict[str, tuple[str, float]]) -> int:
    print()
    for name in names:
        outcome, seconds = results.get(name, ("not run", 0.0))
        print(f"{name:<10} {STAGES[name][0]:<36} {outcome:<8} {seconds:7.1f} s")
    passed = all(results.get(name, ("", 0.0))[0] == "passed" for name in names)
    total = sum(seconds for _, seconds in results.values())
    print(f"{'all' if passed else 'NOT ALL'} of {len(names)} stages passed in {total:.0f} s")
    return 0 if passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run every check of the project.")
    parser.add_argument(
        "--only", action="append", choices=list(STAGES), metavar="STAGE", help=", ".join(STAGES)
    )
    parser.add_argument("--keep-going", action="store_true", help="run the rest after a failure")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

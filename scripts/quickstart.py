"""A first look: `python3 scripts/quickstart.py`.

Makes `.venv`, starts four nodes from `network.toml`, and plays the story of a gym card with the
`groat` command: a card is paid and used, the leading validator is killed and payments go on, it
comes back with the same state, the regulator steps in, the gym closes and the customer gets the
rest of the money back. Every figure is compared with what the rules say. The network then runs
until Ctrl-C, or stops at once with `--exit`. Standard library only; each step prints the command
that it ran, with long hex cut short.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import _environment

ROOT = _environment.ROOT
COMMAND_SECONDS_MAX = 120
EQUAL_SECONDS_MAX = 60
LONG_HEX = re.compile(r"[0-9a-f]{32,}")


class Failed(Exception):
    """A command failed or a figure is wrong; the text says which."""


class Groat:
    """The `groat` command on one network folder."""

    def __init__(self, directory: Path) -> None:
        self._command = [str(Path(sys.executable).with_name("groat")), "--dir", str(directory)]
        self.shown = "groat"
        if directory.resolve() != (ROOT / ".groat").resolve():
            self.shown = f"groat --dir {directory}"

    def run(self, *arguments: str, show: bool = True) -> Any:
        """Run a command and return its data; raises `Failed` with its own last line."""
        code, data, message = self.try_run(*arguments, show=show)
        if code != 0:
            raise Failed(f"groat {arguments[0]} ended with {code}: {message}")
        return data

    def try_run(self, *arguments: str, show: bool = True) -> tuple[int, Any, str]:
        """Exit code, data and the last line of the messages."""
        if show:
            short = LONG_HEX.sub(lambda found: found[0][:8] + "…", shlex.join(arguments))
            print(f"    $ {self.shown} {short}", flush=True)
        try:
            done = subprocess.run(
                [*self._command, "-o", "json", *arguments],
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS_MAX,
                cwd=ROOT,
                check=False,
            )
            data = json.loads(done.stdout) if done.stdout.strip() else None
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise Failed(f"groat {arguments[0]}: {error}") from None
        return done.returncode, data, _message(done.stderr)

    def call(
        self, action: str, key: str, fields: dict[str, str], *more: str, show: bool = True
    ) -> dict[str, Any]:
        """A call of the prepaid contract, sealed and final; the receipt's details."""
        words = [word for name, value in fields.items() for word in (f"--{name}", value)]
        done = self.run("call", "prepaid", action, *words, "--key", key, *more, show=show)
        details: dict[str, Any] = done["receipt"]["details"]
        return details

    def query(self, query: str, key: str, *words: str) -> dict[str, Any]:
        """An answer of the prepaid contract to somebody who may read it."""
        answer: dict[str, Any] = self.run("query", "prepaid", query, *words, "--key", key)
        result: dict[str, Any] = answer["result"]
        return result

    def public_key(self, name: str) -> str:
        """The public half of a key, in hex."""
        return str(self.run("key", "show", name, show=False)["public_key"])


def _message(stderr: str) -> str:
    """What the command says last, an error as `CODE: message`."""
    line = (stderr.strip().splitlines() or [""])[-1]
    try:
        error = json.loads(line)["error"]
        return f"{error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return line


class Story:
    """The gym card, step by step. Amounts are in fen, a hundredth of a yuan."""

    def __init__(self, groat: Groat) -> None:
        self._groat = groat
        self._gym = secrets.token_hex(16)
        self._card = secrets.token_hex(16)
        self._visits = 0

    def play(self) -> None:
        """All of it; raises `Failed` at the first wrong figure."""
        self._license_the_gym()
        self._sell_the_card()
        self._visit(6)
        self._lose_a_validator()
        self._visit(3)
        say("What must hold after twelve visits:")
        card = self._groat.query("card", "alice", "--card", self._card, "--verify")
        expect("left on the card, proved from genesis", card["remaining"], 280_000)
        gym = self._groat.query("merchant", "gym", "--merchant", self._gym)
        expect("the gym has received", gym["earnings"], 90_000)
        expect("still in escrow for the customer", gym["escrow"], 210_000)
        self._what_others_see()
        self._second_thoughts()
        self._the_regulator_steps_in()

    def _license_the_gym(self) -> None:
        say("The gym files with its bank, and the regulator approves one class of cards.")
        bank = self._groat.public_key("bank")
        filing = {"merchant": self._gym, "name": "gym", "custodian": bank}
        self._groat.call("file_merchant", "gym", filing)
        approval = {"merchant": self._gym, "class": "cny-named"}
        self._groat.call("approve", "regulator", approval)

    def _sell_the_card(self) -> None:
        say("Alice pays ¥3,000 and gets ¥1,000 on top. The bank opens the card with her consent,")
        print("  a signed ticket; what she paid stays in escrow and is not yet the gym's.")
        details = self._open(self._card, "alice", 300_000, 100_000)
        expect("on the card", details["remaining"], 400_000)

    def _open(self, card: str, holder: str, paid: int, bonus: int) -> dict[str, Any]:
        fields = {
            "card": card,
            "merchant": self._gym,
            "holder-pub": self._groat.public_key(holder),
            "class": "cny-named",
            "paid": str(paid),
            "bonus": str(bonus),
        }
        return self._groat.call("open_card", "bank", fields, "--ticket-from", holder)

    def _visit(self, count: int) -> None:
        first = self._visits + 1
        say(f"Visits {first} to {self._visits + count}, ¥100 each, signed by Alice alone.")
        details = self._consume()
        for _ in range(count - 1):
            details = self._consume(show=False)
        expect("left on the card", details["remaining"], 400_000 - 10_000 * self._visits)

    def _consume(self, show: bool = True) -> dict[str, Any]:
        self._visits += 1
        fields = {"card": self._card, "amt": "10000", "seq": str(self._visits)}
        return self._groat.call("consume", "alice", fields, show=show)

    def _lose_a_validator(self) -> None:
        status = self._groat.run("status", show=False)["nodes"]
        leader = status[0]["status"]["leader"]
        names = {one["status"]["node_key"]: one["node"] for one in status}
        victim = names[leader]
        say(f"{victim} leads the next block. Kill it as a power cut would, and go on paying.")
        self._groat.run("net", "kill", victim)
        started = time.monotonic()
        self._consume()
        waited = time.monotonic() - started
        print(f"    the next visit was final after {waited:.1f} s, with three of four validators")
        self._visit(2)
        say(f"Bring {victim} back. It catches up by executing what it missed.")
        self._groat.run("net", "start", victim)
        equal_roots(self._groat)

    def _what_others_see(self) -> None:
        say("A stranger asks for the card, and learns not even that it exists:")
        code, _, message = self._groat.try_run("query", "prepaid", "card", "--card", self._card)
        if code != 3:
            raise Failed(f"a stranger should be refused, but the exit code is {code}")
        print(f"    {message}")
        say("Alice tries to spend more than she has; nothing happens but a receipt that says no:")
        fields = ["--card", self._card, "--amt", "99999900", "--seq", str(self._visits + 1)]
        code, _, message = self._groat.try_run(
            "call", "prepaid", "consume", *fields, "--key", "alice"
        )
        if code != 3:
            raise Failed(f"overspending should be rejected, but the exit code is {code}")
        print(f"    {message}")

    def _second_thoughts(self) -> None:
        say("Bob buys a card for ¥500 and thinks better of it: seven days, no reason needed.")
        card = secrets.token_hex(16)
        self._open(card, "bob", 50_000, 0)
        details = self._groat.call("refund", "bob", {"card": card, "reason": "COOLING_OFF"})
        expect("back to Bob", details["refunded"], 50_000)

    def _the_regulator_steps_in(self) -> None:
        say("The gym misses its filings. The regulator freezes payouts; visits go on.")
        stop = {"merchant": self._gym, "scope": "PAYOUT", "reason": "filings missed"}
        self._groat.call("freeze", "regulator", stop)
        self._consume()
        card = self._groat.query("card", "alice", "--card", self._card)
        expect("earned by the gym in 13 visits", card["earned"], 97_500)
        expect("of that paid out", card["paid_out"], 90_000)
        expect("and held back", card["held"], 7_500)
        say("The gym closes. Each customer gets back what was paid and not yet earned.")
        end = {"merchant": self._gym, "reason": "closed"}
        self._groat.call("wind_up", "regulator", end)
        details = self._groat.call("settle_wind_up", "regulator", {"merchant": self._gym})
        expect("back to Alice", details["refunded"], 202_500)
        expect("held earnings released to the gym", details["released"], 7_500)
        gym = self._groat.query("merchant", "regulator", "--merchant", self._gym)
        expect("left in escrow", gym["escrow"], 0)


def equal_roots(groat: Groat) -> None:
    """Wait until all nodes stand at one height with one state root, and show them."""
    print("    $ groat status", flush=True)
    deadline = time.monotonic() + EQUAL_SECONDS_MAX
    while True:
        nodes = groat.run("status", show=False)["nodes"]
        states = {(one.get("height"), one.get("state_root")) for one in nodes}
        if len(states) == 1 and all(one["state"] == "ready" for one in nodes):
            break
        if time.monotonic() > deadline:
            raise Failed("the four nodes did not reach one state root")
        time.sleep(0.5)
    for one in nodes:
        status = one["status"]
        print(f"    {one['node']}: height {one['height']}, state root {status['state_root']}")


def say(line: str) -> None:
    """One step of the story."""
    print(f"\n• {line}", flush=True)


def expect(what: str, got: object, fen: int) -> None:
    """Print a figure that must be `fen`; raises `Failed` where it is not."""
    yuan = f"¥{fen // 100:,}.{fen % 100:02d}"
    if str(got) != str(fen):
        raise Failed(f"{what}: {got} fen, but the rules say {fen}")
    print(f"    {what}: {yuan}", flush=True)


def addresses(groat: Groat) -> None:
    """Where to look now."""
    nodes = groat.run("net", "status", show=False)
    say("The network runs. Look at it:")
    for one in nodes:
        print(f"    {one['node']}  {one['http']}/v1/status")
    first = nodes[0]["http"]
    print(f"    blocks   {first}/v1/blocks        events  {first}/v1/events")
    print(f"    metrics  {first}/metrics          OpenAPI {first}/v1/openapi.json")
    print(f"    or with  . .venv/bin/activate  and then  {groat.shown} status | watch | --help")


def main() -> int:
    """The exit code: 0 if every figure was right."""
    options = _parser().parse_args()
    _environment.enter("")
    signal.signal(signal.SIGTERM, _interrupt)
    groat = Groat(options.dir)
    started = time.monotonic()
    try:
        say("Start four nodes, each a process of its own, from network.toml.")
        ports = [] if options.ports_from is None else ["--ports-from", str(options.ports_from)]
        groat.run("up", "--network", str(ROOT / "network.toml"), *ports)
        Story(groat).play()
        say("At the end all four nodes hold the same state, and the chain verifies from genesis.")
        equal_roots(groat)
        groat.run("audit")
        print(f"\nThe story took {time.monotonic() - started:.0f} s.")
        if not options.exit:
            addresses(groat)
            print(f"\nCtrl-C stops it; `{groat.shown} up` starts it again as it was.", flush=True)
            signal.pause()
    except Failed as failure:
        print(f"\nquickstart: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave nodes behind
        groat.try_run("down", show=False)
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Four nodes, a gym card, and a dead validator.")
    default = Path(os.environ.get("GROAT_DIR") or ROOT / ".groat")
    parser.add_argument("--dir", type=Path, default=default, help="the network's folder")
    parser.add_argument("--ports-from", type=int, help="the first of eight ports, if taken")
    parser.add_argument("--exit", action="store_true", help="stop the network at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())

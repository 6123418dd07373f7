"""The `groat` command: what it prints where, and the exit code that a script sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli.main import app, main
from client.cli.output import Output
from node.protocol.keys import PrivateKey
from tests.client.command import Groat, Result, free_port, genesis_with_interface, write_network
from tests.http.support import HOLDER
from tests.protocol.support import key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """The folder of a network whose nodes run nowhere, with keys."""
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(4)]
    write_network(tmp_path / "net", genesis_with_interface(), urls)
    return tmp_path / "net"


# ---- help and usage


def test_help_needs_no_network_and_no_http_library() -> None:
    script = (
        "import sys; from client.cli.main import main; code = main(['--help']);"
        "sys.exit(code or ('aiohttp' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in ("up", "down", "reset", "net", "key", "call", "query", "tx", "block", "status"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["status", "-o", "xml"],
        ["net", "nonsense"],
        ["net", "kill"],
        ["up", "--nodes", "0"],
        ["up", "--nodes", "many"],
        ["block", "--dir"],
        ["watch", "--count", "0"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("USAGE: ")
    assert printed.err.count("\n") == 1
    assert "--help" in printed.err


def test_the_typer_application_gives_the_same_codes(net: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["status", "--nonsense"]).exit_code == 2
    assert runner.invoke(app, ["status", "--dir", str(net)]).exit_code == 5
    assert runner.invoke(app, ["key", "list", "--dir", str(net)]).exit_code == 0


def test_options_stand_before_or_after_the_command(net: Path, groat: Groat) -> None:
    assert groat("-o", "json", "key", "list").json == groat("key", "list", "-o", "json").json


def test_the_variable_names_the_folder(
    net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GROAT_DIR", str(net))
    assert main(["key", "show", "holder", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["roles"] == ["holder"]


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["block", "latest"],
        ["call", "prepaid", "consume", "--key", "holder"],
        ["query", "prepaid", "card"],
        ["audit"],
        ["watch"],
        ["net", "status"],
        ["net", "logs"],
        ["down"],
        ["tx", "get", "00" * 32],
    ],
)
def test_without_a_network_it_says_how_to_make_one(groat: Groat, words: list[str]) -> None:
    result = groat(*words)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith(("NO_NETWORK: ", "NO_GENESIS: "))
    assert "groat up" in result.err or "groat net create" in result.err


# ---- keys


def test_the_life_of_a_key(net: Path, groat: Groat, tmp_path: Path) -> None:
    made = groat("key", "new", "carol", "-o", "json")
    assert made.code == 0
    shown = groat("key", "show", "carol", "-o", "json").json
    assert shown["public_key"] == made.json["public_key"]
    listed = groat("key", "list", "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["name"] for line in listed] == [
        "admin",
        "bank",
        "bookkeeper",
        "carol",
        "deputy",
        "holder",
        "nobody",
        "other",
    ]

    pem = tmp_path / "carol.pem"
    assert groat("key", "export", "carol", "--pem", str(pem)).code == 0
    assert pem.stat().st_mode & 0o777 == 0o600
    assert groat("key", "export", "carol", "--pem", str(pem)).code == 2  # nothing is overwritten
    assert groat("key", "import", "dave", "--pem", str(pem)).code == 0
    assert groat("key", "show", "dave", "-o", "json").json["public_key"] == shown["public_key"]
    assert PrivateKey.from_pem(pem.read_text()).public_key.hex() == shown["public_key"]


@pytest.mark.parametrize(
    "content", ["", "garbage", "\x00\x01", "ü", "-----BEGIN EC PRIVATE KEY-----"]
)
def test_a_bad_pem_is_refused(net: Path, groat: Groat, tmp_path: Path, content: str) -> None:
    pem = tmp_path / "bad.pem"
    pem.write_text(content)
    pem.chmod(0o600)
    result = groat("key", "import", "eve", "--pem", str(pem))
    assert (result.code, result.err.split(":")[0]) == (2, "BAD_KEY")


def test_a_pem_open_to_others_is_refused(net: Path, groat: Groat, tmp_path: Path) -> None:
    pem = tmp_path / "open.pem"
    pem.write_text(key(1).to_pem())
    pem.chmod(0o644)
    assert groat("key", "import", "eve", "--pem", str(pem)).err.startswith("OPEN_MODE: ")


def test_key_errors_have_codes(net: Path, groat: Groat) -> None:
    assert groat("key", "new", "holder").err.startswith("EXISTS: ")
    assert groat("key", "new", "../up").err.startswith("BAD_NAME: ")
    assert groat("key", "show", "eve").err.startswith("NO_KEY: ")
    (net / "keys" / "holder.json").write_text("{}")
    assert groat("key", "list").err.startswith("BAD_KEYSTORE: ")


# ---- calls and queries, as far as they go without nodes

CONSUME = ("call", "prepaid", "consume", "--key", "holder")
CARD = ("--card", "ab" * 16)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("call", "bank", "rob", "--key", "holder"), "NOT_FOUND"),
        (("call", "prepaid", "rob", "--key", "holder"), "NOT_FOUND"),
        (("call", "prepaid"), "USAGE"),
        (("call", "prepaid", "consume", *CARD), "USAGE"),
        ((*CONSUME, *CARD), "BAD_ARG"),
        ((*CONSUME, *CARD, "--amt", "1.5", "--seq", "1"), "BAD_ARG"),
        ((*CONSUME, *CARD, "--amt", "1", "--seq", "1", "--tip", "5"), "BAD_ARG"),
        ((*CONSUME, "--args", "{"), "BAD_ARG"),
        ((*CONSUME, "--args", "{}", *CARD), "USAGE"),
        ((*CONSUME, *CARD, "--amt", "1", "--seq"), "BAD_ARG"),
        (("call", "prepaid", "consume", "--key", "eve", *CARD), "NO_KEY"),
        (("query", "prepaid", "balance", *CARD), "NOT_FOUND"),
        (("query", "prepaid", "card", "--card", "xyz"), "BAD_ARG"),
        (("query", "prepaid", "statement", *CARD, "--verify"), "NOT_PROVABLE"),
        (("ticket", "prepaid", "approve", "--key", "holder", "--merchant", "ab" * 16), "BAD_ARG"),
        (("tx", "get", "zz"), "BAD_ID"),
        (("tx", "decode", "zz"), "BAD_ID"),
        (("block", "-5"), "USAGE"),
        (("block", "tip"), "BAD_ID"),
        (("watch", "--type", "everything"), "USAGE"),
        (("status", "--node", "node9"), "NO_NODE"),
        (("reset",), "NOT_CONFIRMED"),
        (("net", "kill", "node1"), "NO_NODE"),
    ],
)
def test_what_is_wrong_before_anything_is_sent(
    net: Path, groat: Groat, words: tuple[str, ...], code: str
) -> None:
    result = groat(*words)
    assert (result.code, result.err.split(":")[0]) == (2, code), result
    assert result.out == ""
    assert result.err.count("\n") == 1


def test_silent_nodes_are_code_5(net: Path, groat: Groat) -> None:
    call = groat(*CONSUME, *CARD, "--amt", "1", "--seq", "1")
    assert call.code == 5
    assert call.err.splitlines()[-1].startswith("UNREACHABLE: ")
    assert groat("query", "kernel", "assets").code == 5
    assert groat("block", "latest").code == 5
    assert groat("audit").code == 5
    status = groat("status", "-o", "json")
    assert status.code == 5
    assert [node["state"] for node in status.json["nodes"]] == ["unreachable"] * 4


def test_errors_are_json_for_programs(net: Path, groat: Groat) -> None:
    result = groat("block", "latest", "-o", "json")
    error = json.loads(result.err)["error"]
    assert error["code"] == "UNREACHABLE"
    assert error["hint"] == "groat net status"


def test_help_of_an_action_lists_its_fields(net: Path, groat: Groat) -> None:
    result = groat("call", "prepaid", "consume", "--help")
    assert result.code == 0
    for word in ("--card", "--amt", "--seq", "--ticket", "16 bytes in hex"):
        assert word in result.out
    assert "statement" in groat("query", "--help").out


def test_help_of_what_takes_two_persons_says_so(net: Path, groat: Groat) -> None:
    result = groat("call", "kernel", "dismiss_observer", "--help")
    assert result.code == 0
    assert "Propose: " in result.out
    assert "another administrator decides: `groat call kernel approve" in result.out
    for word in ("--proposal", "--reason", "--node"):
        assert word in result.out


def test_a_ticket_is_arguments_for_a_call(net: Path, groat: Groat) -> None:
    words = ("--merchant", "cd" * 16, "--class", "gym", "--paid", "5", "--holder_pub", "@holder")
    result = groat("ticket", "prepaid", "open_card", *CARD, *words, "--key", "holder", "-o", "json")
    assert result.code == 0
    assert set(result.json) >= {"ticket", "ticket_until", "card", "paid", "bonus"}
    assert result.json["holder_pub"] == HOLDER.public_key.hex()
    assert len(result.json["ticket"]) == 128


def test_a_foreign_interface_is_refused(net: Path, groat: Groat) -> None:
    (net / "interface.json").write_text('{"prepaid": {}}')
    result = groat(*CONSUME, *CARD)
    assert (result.code, result.err.split(":")[0]) == (2, "WRONG_INTERFACE")


@pytest.mark.parametrize("name", ["genesis.json", "network.json", "interface.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": 1.5}', "\x00"])
def test_a_damaged_file_is_named(net: Path, groat: Groat, name: str, content: str) -> None:
    (net / name).write_text(content)
    result = groat(*CONSUME, *CARD, "--amt", "1", "--seq", "1")
    assert result.code == 2
    assert name in result.err
    assert result.err.count("\n") == 1


# ---- doctor


def _findings(result: Result) -> dict[str, str]:
    return {row["check"]: row["result"] for row in result.json}


def test_the_doctor_finds_a_well_folder_well(net: Path, groat: Groat) -> None:
    findings = _findings(groat("doctor", "-o", "json"))
    for check in ("python", "packages", "disk", "genesis", "interface", "keys", "secrets"):
        assert findings[check] == "ok", findings


def test_the_doctor_without_a_network_suggests_one(groat: Groat) -> None:
    result = groat("doctor", "-o", "json")
    assert result.code == 0
    assert _findings(result)["network"] == "warning"


def test_the_doctor_finds_exposed_secrets_and_gives_a_remedy(net: Path, groat: Groat) -> None:
    exposed = net / "keys" / "holder.json"
    exposed.chmod(0o644)
    result = groat("doctor", "-o", "json")
    assert result.code == 1
    rows = {row["check"]: row for row in result.json}
    assert rows["secrets"]["remedy"] == f"chmod 600 {exposed}"


def test_the_doctor_finds_damage(net: Path, groat: Groat) -> None:
    (net / "genesis.json").write_text("{}")
    assert _findings(groat("doctor", "-o", "json"))["genesis"] == "FAILED"


# ---- the unexpected


def test_an_unexpected_error_is_one_line_and_code_1(
    net: Path, groat: Groat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError("a bug\nof two lines")

    monkeypatch.setattr("client.wallet.Wallet.entry", stumble)
    result = groat("key", "show", "holder")
    assert result.code == 1
    assert result.err == (
        "INTERNAL: ZeroDivisionError: a bug → run it again with --debug and report it\n"
    )
    with pytest.raises(ZeroDivisionError):
        main(["key", "show", "holder", "--dir", str(net), "--debug"])


def test_a_reader_that_leaves_is_no_error(net: Path) -> None:
    """`groat … | head -0`: the pipe is closed before anything is read."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "client.cli.main", "key", "list", "--dir", str(net)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=False,
    )
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert done.stderr == ""


def test_what_others_wrote_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out, hostile = Output(), "\x1b[2Jgone\r\nCODE: \x9b[bold]ok[/bold]"
    out.error("CODE", hostile)
    out.note(hostile)
    out.line({}, hostile)
    out.record({"name": hostile, "list": [hostile], "nested": {"deep": hostile}})
    out.table([{"name": hostile}], ["name"])
    printed = "".join(capsys.readouterr())
    assert not set(printed) & {"\x1b", "\r", "\x9b"}
    assert printed.count("[bold]ok[/bold]") == 7

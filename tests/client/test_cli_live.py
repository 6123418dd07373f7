"""The `groat` command against a live API: what it prints of calls, queries, blocks and audits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from client.outcomes import parse_outcome
from contracts.kernel.ledger import account_key
from node.audit import write_books
from node.protocol.transaction import Call
from tests.client.command import Groat
from tests.client.live import LiveNode
from tests.http.support import ADMIN, CARD, HOLDER, SHOP, World

CARD_WORDS = ("--card", CARD.hex())
CONSUME = ("call", "prepaid", "consume", *CARD_WORDS, "--key", "holder", "-o", "json")


def _code(err: str) -> str:
    return str(json.loads(err.splitlines()[-1])["error"]["code"])


def test_a_call_is_settled_and_shown_to_its_sender(live: LiveNode, groat: Groat) -> None:
    result = groat(*CONSUME, "--amt", "250", "--seq", "1")
    assert result.code == 0, result
    assert result.json["status"] == "committed"
    assert result.json["receipt"]["details"] == {"remaining": "9750"}
    text = groat(*CONSUME[:-2], "--amt", "250", "--seq", "2")
    assert "9500" in text.out
    assert "prepaid.Consumed.earned" in text.out


def test_a_rejection_is_code_3_with_the_data_on_stdout(live: LiveNode, groat: Groat) -> None:
    result = groat(*CONSUME, "--amt", "99999", "--seq", "1")
    assert (result.code, _code(result.err)) == (3, "INSUFFICIENT")
    assert result.json["status"] == "failed"
    assert result.json["receipt"]["details"] == {"remaining": "10000"}


def test_an_unregistered_key_is_code_3(live: LiveNode, groat: Groat) -> None:
    words = ("call", "prepaid", "consume", *CARD_WORDS, "--amt", "1", "--seq", "1")
    result = groat(*words, "--key", "nobody", "-o", "json")
    assert (result.code, _code(result.err)) == (3, "UNAUTHORIZED")


def test_a_time_out_without_quorum_is_code_6(live: LiveNode, groat: Groat) -> None:
    live.service.stalls = True
    result = groat(*CONSUME, "--amt", "1", "--seq", "1", "--timeout", "0.5")
    assert (result.code, _code(result.err)) == (6, "NO_QUORUM")
    assert result.json["status"] == "pending"


def test_a_time_out_at_one_node_is_code_4(live: LiveNode, groat: Groat) -> None:
    live.service.stalls = True
    words = (*CONSUME, "--amt", "1", "--seq", "1", "--timeout", "0.5", "--node", "node1")
    result = groat(*words)
    assert (result.code, _code(result.err)) == (4, "PENDING")
    identity = result.json["id"]
    assert json.loads(result.err.splitlines()[-1])["error"]["hint"] == f"groat tx wait {identity}"
    assert groat("tx", "wait", identity, "--timeout", "0.3", "--node", "1").code == 4
    assert groat("tx", "get", identity, "-o", "json").json["status"] == "pending"


@pytest.mark.parametrize("wait", ["none", "check"])
def test_not_to_wait_is_code_0(live: LiveNode, groat: Groat, wait: str) -> None:
    live.service.stalls = True
    result = groat(*CONSUME, "--amt", "1", "--seq", "1", "--wait", wait)
    assert result.code == 0
    assert result.json["status"] in ("pending", "unknown")


def test_clear_and_sealed_calls(live: LiveNode, groat: Groat) -> None:
    kinds = []
    for seq, seal in ((1, "--seal"), (2, "--clear")):
        result = groat(*CONSUME, "--amt", "1", "--seq", str(seq), seal)
        kinds.append(result.json["calls"][0]["kind"])
    assert kinds == ["sealed", "clear"]


def test_the_merchant_sends_what_the_holder_consented_to(live: LiveNode, groat: Groat) -> None:
    words = ("prepaid", "consume", *CARD_WORDS, "--amt", "5", "--seq", "1")
    ticket = groat("ticket", *words, "--key", "holder", "-o", "json")
    terms = json.dumps({**ticket.json, "amt": "6"})
    call = ("call", "prepaid", "consume", "--key", "bank", "-o", "json", "--args")
    assert _code(groat(*call, terms).err) == "UNAUTHORIZED"  # the bank is not the merchant
    live.service.stalls = True
    joined = groat("call", *words, "--key", "bank", "--ticket-from", "holder", "--wait", "check")
    assert joined.code == 0


def test_two_persons_change_the_network(live: LiveNode, groat: Groat) -> None:
    node = ("--node_key", "02" + "ab" * 32, "--name", "watcher", "--address", "watcher:7000")
    sealed = ("--tls_fingerprint", "cd" * 32, "--epoch", "1", "--wrap", "00")
    words = (*node, *sealed, "--reason", "a watcher")
    proposed = groat("call", "kernel", "admit_observer", *words, "--key", "admin", "-o", "json")
    assert proposed.code == 0, proposed
    (note,) = [line for line in proposed.err.splitlines() if line.startswith("proposal ")]
    assert note.endswith("for administrator to approve")
    decide = ("call", "kernel", "approve", "--proposal", note.split()[1].rstrip(":"), "-o", "json")
    shown = groat("query", "kernel", "proposals", "-o", "json").json["result"]["items"]
    assert [(one["kind"], one["state"]) for one in shown] == [("admit_observer", "OPEN")]
    alone = groat(*decide, "--key", "admin")
    assert (alone.code, _code(alone.err)) == (3, "UNAUTHORIZED")
    assert groat(*decide, "--key", "deputy").code == 0
    shown = groat("query", "kernel", "proposals", "-o", "json").json["result"]["items"]
    assert shown[0]["state"] == "EXECUTED"
    assert shown[0]["args"]["name"] == "watcher"


def test_queries_need_the_right_key_and_can_be_verified(live: LiveNode, groat: Groat) -> None:
    card = ("query", "prepaid", "card", *CARD_WORDS, "-o", "json")
    assert groat(*card).code == 3
    assert groat(*card, "--key", "holder").json["result"]["remaining"] == "10000"
    verified = groat(*card, "--key", "holder", "--verify")
    assert verified.code == 0
    assert verified.json["result"]["paid"] == verified.json["result"]["remaining"] == "10000"
    assert verified.json["proof"]["height"] == verified.json["height"] == "3"
    absent = groat("query", "prepaid", "card", "--card", "00" * 16, "--key", "holder", "--verify")
    assert (absent.code, absent.err.split(":")[0]) == (3, "NOT_FOUND")
    assert "proved absent" in absent.err
    statement = groat("query", "prepaid", "statement", *CARD_WORDS, "--key", "holder")
    assert "OPEN" in statement.out


def test_what_a_node_merely_says_is_not_shown_as_verified(
    live: LiveNode, groat: Groat, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = groat(*CONSUME, "--amt", "99999", "--seq", "1").json["id"]

    async def lie(*_: Any, **__: Any) -> Any:
        result = {"remaining": "1000000", "code": "OK"}
        return parse_outcome(failed, {"status": "committed", "receipt": {"code": "OK"}, **result})

    monkeypatch.setattr("client.node_api.NodeApi.outcome", lie)
    monkeypatch.setattr("client.node_api.NodeApi.query", lie)
    proven = groat("tx", "get", failed, "--verify", "--key", "holder", "-o", "json").json
    assert (proven["status"], proven["receipt"]["code"]) == ("failed", "INSUFFICIENT")
    assert proven["receipt"]["details"] == {"remaining": "10000"}
    words = ("query", "prepaid", "card", *CARD_WORDS, "-o", "json", "--key", "holder", "--verify")
    assert groat(*words).json["result"]["remaining"] == "10000"


def test_what_was_verified_is_kept(live: LiveNode, groat: Groat, tmp_path: Path) -> None:
    assert groat("block", "latest", "-o", "json").json["verified"] is True
    assert json.loads((tmp_path / "net" / "client.json").read_text())["height"] == 3


def test_blocks_and_transactions_are_shown(live: LiveNode, groat: Groat) -> None:
    block = groat("block", "3", "--transactions", "-o", "json").json
    assert len(block["sealed_by"]) >= 3
    (transaction,) = block["transactions"]
    identity = transaction["id"]
    assert groat("block", block["id"], "-o", "json").json["height"] == "3"
    assert groat("tx", "get", identity, "--verify", "-o", "json").json["height"] == "3"
    assert groat("tx", "wait", identity, "--key", "bank", "-o", "json").code == 0
    decoded = groat("tx", "decode", identity, "--key", "bank", "-o", "json").json
    assert decoded["calls"][0]["action"] == "open_card"
    assert "open_card" in groat("tx", "decode", identity, "--key", "bank").out
    assert groat("tx", "get", "00" * 32).err.startswith("NOT_FOUND: ")
    assert groat("block", "99").code == 3


def test_raw_bytes_are_decoded_without_a_node(live: LiveNode, groat: Groat, tmp_path: Path) -> None:
    clear = live.service.world.consume(1)
    sealed = live.service.world.consume(2, sealed=True)
    file = tmp_path / "transaction"
    file.write_bytes(clear.raw)
    for source in (clear.raw.hex(), str(file)):
        decoded = groat("tx", "decode", source, "-o", "json").json
        assert decoded["id"] == clear.id.hex()
        assert decoded["sender"] == HOLDER.public_key.hex()
        assert decoded["calls"][0]["args"]["seq"] == "1"
    assert "args" not in groat("tx", "decode", sealed.raw.hex(), "-o", "json").json["calls"][0]
    forged = clear.raw[:-1] + bytes([clear.raw[-1] ^ 1])
    assert groat("tx", "decode", forged.hex()).err.startswith("BAD_SIGNATURE: ")


def test_watching_resumes_behind_a_cursor(live: LiveNode, groat: Groat) -> None:
    seen = groat("watch", "--after", "1.1", "--count", "4", "-o", "jsonl").out.splitlines()
    rows: list[Any] = [json.loads(line) for line in seen]
    assert [row["cursor"] for row in rows] == ["2.0", "2.1", "3.0", "3.1"]
    assert "block" in groat("watch", "--after", "2.1", "--count", "1").out


def test_status_of_a_network_below_its_quorum_is_code_6(live: LiveNode, groat: Groat) -> None:
    result = groat("status", "-o", "json")
    assert (result.code, _code(result.err)) == (6, "NO_QUORUM")
    assert [one["height"] for one in result.json["nodes"][:1]] == ["3"]
    assert groat("status", "--node", "node1").code == 0


def test_a_balance_now_and_after_a_past_block(live: LiveNode, groat: Groat) -> None:
    escrow = account_key(SHOP, "CNY", "prepaid.escrow").hex()
    now = groat("balance", escrow, "--key", "bank", "-o", "json").json
    assert (now["height"], now["asset"]) == ("3", "CNY")
    assert int(now["balance"]) > 0
    before = groat("balance", escrow, "--height", "2", "--key", "bank", "-o", "json").json
    assert (before["height"], before["balance"]) == ("2", "0")
    for words in ((escrow,), (escrow, "--key", "other"), (bytes(16).hex(), "--key", "bank")):
        result = groat("balance", *words, "-o", "json")
        assert (result.code, _code(result.err)) in ((3, "SESSION_REQUIRED"), (3, "NOT_FOUND"))
    assert groat("balance", "12", "--key", "bank").code == 2
    future = groat("balance", escrow, "--height", "9", "--key", "bank", "-o", "json")
    assert _code(future.err) == "BAD_HEIGHT"


def test_the_audit_checks_every_block(live: LiveNode, groat: Groat) -> None:
    result = groat("audit", "-o", "json")
    assert result.code == 0
    findings = {(row["check"], row["subject"]): row["result"] for row in result.json}
    assert findings["chain", "1 … 3"] == "ok"
    assert findings["head", "node2"] == "skipped"


def test_books_are_verified_against_the_certified_root(
    live: LiveNode, groat: Groat, tmp_path: Path
) -> None:
    world, path = live.service.world, tmp_path / "books.jsonl"
    write_books(world.genesis, world.store, [path], 0)
    good = groat("audit", "--verify", str(path), "-o", "jsonl")
    assert good.code == 0, good
    found = {one["check"]: one for one in map(json.loads, good.out.splitlines())}
    assert found["state root"]["detail"].startswith("certified: ")
    assert found["double entry"]["subject"] == "CNY"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], *lines[5:]]) + "\n")
    bad = groat("audit", "--verify", str(path), "-o", "json")
    assert (bad.code, _code(bad.err)) == (1, "AUDIT_FAILED")
    path.write_text("\n".join(lines) + "\n")
    other, invented = tmp_path / "other.csv", World()
    for _ in range(2):
        invented.commit(invented.transaction(ADMIN, Call("kernel", "expire_pending", {})))
    write_books(world.genesis, invented.store, [other], 1)
    wrong = groat("audit", "--verify", str(other), "-o", "jsonl")
    failed = {one["check"]: one["result"] for one in map(json.loads, wrong.out.splitlines())}
    assert (wrong.code, failed["state root"], failed["promises"]) == (1, "FAILED", "FAILED")
    assert groat("audit", "--verify", str(tmp_path / "none.csv")).code == 2


def test_the_audit_fails_on_evidence(live: LiveNode, groat: Groat) -> None:
    live.service.evidence = lambda: [{"first": "00", "second": "01"}]  # type: ignore[method-assign]
    result = groat("audit", "-o", "json")
    assert (result.code, _code(result.err)) == (1, "AUDIT_FAILED")


def test_the_doctor_sees_the_node(live: LiveNode, groat: Groat) -> None:
    rows = {row["check"]: row for row in groat("doctor", "-o", "json").json}
    assert rows["node1"]["result"] == "ok"
    assert rows["node2"]["result"] == "FAILED"
    assert rows["node1 clock"]["result"] == "ok"

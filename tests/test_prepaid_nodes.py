"""Prepaid supervision among four nodes: sealed on its way, kept alike, checked by each of them.

The engine's own cluster in memory; what happens between real processes is in `tests/network`.
"""

from __future__ import annotations

from typing import Any

from contracts.catalog import CONTRACTS
from contracts.kernel.access import Viewer
from contracts.kernel.context import BlockInfo, Context
from contracts.kernel.contract import Action, Contract
from contracts.kernel.registry import query
from contracts.prepaid.arguments import Consume, OpenCard
from contracts.prepaid.contract import PREPAID
from contracts.prepaid.tables import CARDS
from node.protocol.encoding import Value
from node.protocol.sealing import seal_call
from node.protocol.ticket import sign_ticket
from node.protocol.transaction import Call, SealedCall, Transaction, sign_transaction
from tests.sim.world import CARD_CLASS, ephemeral_of, key_of
from tests.test_engine import GENESIS, START_MS, Cluster

GYM, CARD = b"gym".ljust(16, b"."), b"a card's secret."
PAID, BONUS, VISIT = 300_000, 100_000, 10_000
UNTIL = START_MS + 300_000
HOLDER = key_of("holder0")


def sealed(sender: str, action: str, args: dict[str, Any], number: int) -> Transaction:
    """A transaction whose only call is sealed to the committee."""
    nonce, person = number.to_bytes(16, "big"), key_of(sender)
    place = (GENESIS.chain, GENESIS.epoch_key, person.public_key, nonce, UNTIL)
    call = seal_call(*place, 0, Call("prepaid", action, args), ephemeral_of(sender))
    return sign_transaction(GENESIS.chain, person, nonce, UNTIL, (call,))


def visit(seq: int) -> Transaction:
    return sealed("holder0", "consume", {"card": CARD, "amt": VISIT, "seq": seq}, 100 + seq)


def opening() -> Transaction:
    terms: dict[str, Value] = {
        "card": CARD,
        "merchant": GYM,
        "holder_pub": HOLDER.public_key,
        "class": CARD_CLASS,
        "paid": PAID,
        "bonus": BONUS,
        "ticket_until": UNTIL,
    }
    whole = OpenCard.model_validate({**terms, "ticket": bytes(64)}).terms()
    ticket = sign_ticket(GENESIS.chain, HOLDER, "prepaid", "open_card", whole)
    return sealed("bank", "open_card", {**whole, "ticket": ticket}, 3)


def with_card(cluster: Cluster, visits: int = 0) -> Cluster:
    """The gym is admitted, and the card was used so many times."""
    bank = key_of("bank").public_key
    filing = {"merchant": GYM, "name": "Gym", "custodian": bank}
    cluster.submit("node0", sealed("gym", "file_merchant", filing, 1))
    approval = {"merchant": GYM, "class": CARD_CLASS}
    cluster.submit("node1", sealed("regulator", "approve", approval, 2))
    cluster.submit("node2", opening())
    for seq in range(1, visits + 1):
        cluster.submit(f"node{seq % 4}", visit(seq))
    assert cluster.heights == [3 + visits] * 4
    return cluster


def remaining(cluster: Cluster, name: str) -> int:
    """What a node answers the regulator."""
    store = cluster.nodes[name].core.store
    regulator = Viewer(key_of("regulator").public_key, frozenset({"regulator"}))
    block = BlockInfo(store.head.height, cluster.now_ms, 1)
    found = query(CONTRACTS, store, block, regulator, "prepaid", "card", {"card": CARD})
    return int(found["remaining"])


def roots(cluster: Cluster) -> set[bytes]:
    return {node.core.store.head.state_root for node in cluster.nodes.values()}


def lying(report: int, at: int) -> dict[str, Contract]:
    """The real contracts, but that a visit which leaves `at` is reported to leave `report`."""

    def consume(ctx: Context, args: Consume) -> dict[str, Any]:
        details: dict[str, Any] = PREPAID.actions["consume"].run(ctx, args)
        return {"remaining": report} if details == {"remaining": at} else details

    fields = {name: getattr(PREPAID, name) for name in PREPAID.__dataclass_fields__}
    actions = {**PREPAID.actions, "consume": Action(Consume, consume)}
    return {**CONTRACTS, "prepaid": Contract(**{**fields, "actions": actions})}


def test_r3_2_and_r3_3_the_ciphertext_is_kept_alike_on_every_node() -> None:
    cluster = with_card(Cluster())
    sent = visit(1)
    cluster.submit("node1", sent)
    places = {node.core.store.find(sent.id) for node in cluster.nodes.values()}
    assert places == {(4, 0)}
    kept = set()
    for node in cluster.nodes.values():
        block = node.core.store.block(4)
        assert block is not None
        kept.add(block.transactions)
    assert kept == {(sent.raw,)}
    (call,) = sent.body.calls
    assert isinstance(call, SealedCall)
    for secret in (CARD, CARD.hex().encode(), HOLDER.public_key[1:]):
        assert secret not in opening().raw
    assert CARD not in sent.raw


def test_r3_7_and_r3_10_booked_updated_saved_and_synchronised() -> None:
    cluster = with_card(Cluster(), visits=2)
    assert [remaining(cluster, name) for name in cluster.nodes] == [380_000] * 4
    assert len(roots(cluster)) == 1
    cluster.down = {"node3"}
    for seq in range(3, 8):
        cluster.submit("node0", visit(seq))
    assert cluster.heights == [10, 10, 10, 5]
    cluster.down = set()
    cluster.pass_time(5_000)
    assert remaining(cluster, "node3") == 330_000
    assert len(roots(cluster)) == 1


def test_r3_8_a_validator_that_reports_a_wrong_remaining_is_outvoted_and_listed() -> None:
    """Twelve visits leave ¥2,800; node3 would have it that they leave ¥2,900."""
    cluster = with_card(Cluster({"node3": lying(290_000, 280_000)}), visits=11)
    last = visit(12)
    cluster.submit("node0", last)
    assert cluster.heights[:3] == [15, 15, 15]
    for name in ("node0", "node1", "node2"):
        node = cluster.nodes[name]
        dissents = node.core.engine.evidence.dissents(15)
        assert [one.signer for one in dissents] == [key_of("node3").public_key]
        block = node.core.store.block(15)
        assert block is not None
        assert len(block.certificate.seals) == 3
        assert remaining(cluster, name) == 280_000
    assert cluster.code_of(last) == "OK"
    assert cluster.nodes["node3"].core.store.head.height == 14


def test_r3_8_a_proposer_that_reports_a_wrong_remaining_is_replaced() -> None:
    for liar in ("node0", "node1", "node2", "node3"):
        cluster = with_card(Cluster({liar: lying(390_000 - 1, 390_000)}))
        honest = [name for name in cluster.nodes if name != liar]
        cluster.submit(honest[0], visit(1))
        cluster.pass_time(6_000)
        blocks = [cluster.nodes[name].core.store.block(4) for name in honest]
        proposers = {block.header.proposer for block in blocks if block is not None}
        assert len(proposers) == 1
        assert key_of(liar).public_key not in proposers
        assert [remaining(cluster, name) for name in honest] == [390_000] * 3


def test_r3_9_more_than_the_preset_number_must_confirm() -> None:
    """The preset is 2 of 4: two confirmations do nothing, three commit."""
    cluster = with_card(Cluster())
    cluster.down = {"node2", "node3"}
    cluster.submit("node0", visit(1))
    cluster.pass_time(10_000)
    assert cluster.heights[:2] == [3, 3]
    cluster.down = {"node3"}
    cluster.restart("node2")
    cluster.pass_time(20_000)
    assert cluster.heights[:3] == [4, 4, 4]
    block = cluster.nodes["node0"].core.store.block(4)
    assert block is not None
    assert len(block.certificate.seals) == 3


def test_attacks_a_ciphertext_is_worthless_under_another_sender_or_on_another_card() -> None:
    cluster = with_card(Cluster())
    sent = visit(1)
    stolen = sign_transaction(
        GENESIS.chain, key_of("holder1"), (101).to_bytes(16, "big"), UNTIL, sent.body.calls
    )
    cluster.submit("node0", stolen)
    cluster.pass_time(3_000)
    assert cluster.heights == [3] * 4
    cluster.submit("node0", sent)
    assert remaining(cluster, "node0") == 390_000


def test_one_cards_record_is_the_same_on_all_nodes() -> None:
    cluster = with_card(Cluster(), visits=1)
    records = {node.core.store.get(CARDS.name, CARD) for node in cluster.nodes.values()}
    assert len(records) == 1
    assert None not in records

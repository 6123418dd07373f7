"""One member says anything at all, in well-formed messages of every kind: the others go on.

What real nodes said to each other is recorded once, over blocks and a change of view; then it comes
again from one member, with numbers, blocks, signers and parts changed. Only its own signatures are
good: it has nobody else's key.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from node import outputs as io
from node.protocol.errors import PeerFault
from node.protocol.keys import PrivateKey
from node.protocol.messages import (
    Commit,
    Dissent,
    Message,
    Prepare,
    PrePrepare,
    Transactions,
    ViewChange,
    decode_message,
    encode_message,
    sign_message,
)
from tests.sim.world import key_of
from tests.test_engine import GENESIS, Cluster, Node, filing

TRAITOR = "node3"
KEY: PrivateKey = key_of(TRAITOR)
HONEST = ("node0", "node1", "node2")
SIGNED = (Prepare, Commit, Dissent, PrePrepare, ViewChange)
NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 5, 64, 255, 2**32 - 1, 2**32, 2**62, 2**63 - 1, -1])
WAIT_MS = 30_000


@cache
def recorded() -> tuple[Message, ...]:
    """What four nodes say while they order transactions and one of them is dead for a while."""
    said: dict[bytes, Message] = {}

    def listen(source: Node, target: Node, message: Message) -> bool:
        said.setdefault(encode_message(message), message)
        return False

    cluster = Cluster()
    cluster.drop = listen
    for number in range(3):
        cluster.submit("node0", filing(number.to_bytes(16, "big")))
    cluster.down = {"node1"}
    for number in range(3, 6):
        cluster.submit("node0", filing(number.to_bytes(16, "big")))
        cluster.pass_time(WAIT_MS)
    cluster.down = set()
    cluster.pass_time(WAIT_MS)
    return tuple(disowned(message) for message in said.values())


def disowned(value: Any) -> Any:
    """The same without any good signature of the others."""
    if isinstance(value, tuple):
        return tuple(disowned(item) for item in value)
    if not isinstance(value, msgspec.Struct):
        return value
    fields = {name: disowned(getattr(value, name)) for name in value.__struct_fields__}
    if fields.get("signer", KEY.public_key) != KEY.public_key:
        fields["signature"] = fields["signature"][::-1]
    return msgspec.structs.replace(value, **fields)


def altered(draw: st.DrawFn, value: Any, depth: int = 0) -> Any:
    """Something of the same shape, with one part changed."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return draw(st.one_of(NUMBERS, st.just(value + 1), st.just(value - 1)))
    if isinstance(value, bytes):
        size = draw(st.sampled_from([len(value), len(value), 0, len(value) + 1]))
        return draw(st.binary(min_size=size, max_size=size))
    if isinstance(value, tuple):
        if not value or draw(st.booleans()):
            return draw(st.sampled_from([(), value * 2, value[:1], value[::-1]]))
        at = draw(st.integers(0, len(value) - 1))
        return (*value[:at], altered(draw, value[at], depth + 1), *value[at + 1 :])
    if isinstance(value, msgspec.Struct):
        name = draw(st.sampled_from(value.__struct_fields__))
        return msgspec.structs.replace(
            value, **{name: altered(draw, getattr(value, name), depth + 1)}
        )
    return value


@st.composite
def lies(draw: st.DrawFn) -> Message | None:
    """One recorded message, changed in up to three places; None if nobody could even read it."""
    message: Any = draw(st.sampled_from(recorded()))
    for _ in range(draw(st.integers(0, 3))):
        message = altered(draw, message)
    try:
        if isinstance(message, SIGNED) and draw(st.booleans()):
            mine: Any = msgspec.structs.replace(message, signer=KEY.public_key)
            message = sign_message(GENESIS.chain, KEY, mine)
        return decode_message(encode_message(message))
    except (PeerFault, OverflowError, ValueError, TypeError):
        return None


@settings(max_examples=60)
@given(st.lists(lies(), min_size=1, max_size=25))
def test_whatever_one_member_says_the_others_go_on(said: list[Message | None]) -> None:
    cluster = Cluster()
    cluster.down = {TRAITOR}
    cluster.submit("node0", filing(bytes(16)))
    for number, message in enumerate(said):
        for name in HONEST:
            if isinstance(message, Transactions):
                node = cluster.nodes[name]
                cluster.feed(name, cluster.examined(node, message.raws, KEY.public_key))
            elif message is not None:
                cluster.feed(name, io.PeerMessage(KEY.public_key, message))
        if number % 5 == 4:
            cluster.pass_time(1_000)
    cluster.submit("node1", filing(b"last" * 4))
    cluster.pass_time(2 * WAIT_MS)
    honest = [cluster.nodes[name] for name in HONEST]
    assert [node.halted for node in honest] == ["", "", ""]
    heights = {node.height for node in honest}
    assert len(heights) == 1
    assert heights.pop() >= 2
    heads = {(node.core.store.head.block_id, node.core.store.head.state_root) for node in honest}
    assert len(heads) == 1

"""Catch-up: whom it asks, when it turns to another, and that no claim can hold it up."""

from __future__ import annotations

import random

import pytest

from node.net.catch_up import (
    APPLY_TIMEOUT_MS,
    GRACE_MS,
    RANGE_BYTES_TARGET,
    REQUEST_TIMEOUT_MS,
    Action,
    Apply,
    Ask,
    CatchUp,
    answer_request,
)
from node.net.sources import COOL_DOWN_MAX_MS, COOL_DOWN_MS, SLOW_MS, Punish
from node.protocol.block import (
    EMPTY_ROOT,
    BlockHeader,
    CertifiedBlock,
    CommitCertificate,
)
from node.protocol.encoding import encode
from node.protocol.messages import BLOCK_RANGE_MAX, BlockRange, BlockRequest

A, B, C = (bytes([letter]) * 33 for letter in b"ABC")


def block(height: int, size: int = 0) -> CertifiedBlock:
    root = EMPTY_ROOT
    header = BlockHeader(1, height, height, root, root, root, root, root, A)
    return CertifiedBlock(header, (bytes(size),), CommitCertificate(height, 0, root, ()))


def blocks(first: int, last: int) -> tuple[CertifiedBlock, ...]:
    return tuple(block(height) for height in range(first, last + 1))


def asked(actions: list[Action]) -> tuple[bytes, int, int]:
    """Peer, first height and count of the one request in `actions`."""
    (ask,) = [action for action in actions if isinstance(action, Ask)]
    return ask.peer, ask.request.height, ask.request.count


def test_asks_applies_and_asks_on_until_level() -> None:
    catch_up = CatchUp(1)
    assert asked(catch_up.on_head_hint(A, 100, 0)) == (A, 1, BLOCK_RANGE_MAX)
    actions = catch_up.on_range(A, BlockRange(blocks(1, 60), 100), 10)
    assert actions == [Apply(A, blocks(1, 60))]
    for height in range(2, 61):
        assert catch_up.need(height, 20) == []
    assert asked(catch_up.need(61, 30)) == (A, 61, 40)
    catch_up.on_range(A, BlockRange(blocks(61, 100), 100), 40)
    assert catch_up.need(101, 50) == []
    assert not catch_up.busy


def test_one_request_at_a_time() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 100, 0)
    assert catch_up.on_head_hint(B, 100, 1) == []
    assert catch_up.on_head_hint(A, 200, 2) == []
    assert catch_up.tick(3) == []


def test_level_peers_are_not_asked() -> None:
    catch_up = CatchUp(101)
    assert catch_up.on_head_hint(A, 100, 0) == []
    assert catch_up.on_head_hint(B, 0, 0) == []


def test_one_block_behind_waits_for_consensus_a_moment() -> None:
    catch_up = CatchUp(1)
    catch_up.need(2, 1_000)
    assert catch_up.on_head_hint(A, 2, 1_001) == []
    assert catch_up.tick(1_000 + GRACE_MS - 1) == []
    assert asked(catch_up.tick(1_000 + GRACE_MS)) == (A, 2, 1)


def test_two_blocks_behind_or_an_urgent_hint_do_not_wait() -> None:
    catch_up = CatchUp(1)
    catch_up.need(2, 1_000)
    assert asked(catch_up.on_head_hint(A, 3, 1_001)) == (A, 2, 2)
    catch_up = CatchUp(1)
    catch_up.need(2, 1_000)
    assert asked(catch_up.on_head_hint(A, 2, 1_001, urgent=True)) == (A, 2, 1)


def test_an_urgent_hint_does_not_lower_a_claim() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(B, 50, 0)
    catch_up.on_head_hint(A, 50, 0)
    catch_up.on_head_hint(A, 2, 0, urgent=True)
    assert catch_up.claimed_height(2) == 50


def test_silence_makes_it_turn_to_another_and_come_back_later() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    catch_up.on_head_hint(B, 9, 0)
    assert catch_up.tick(SLOW_MS - 1) == []
    assert asked(catch_up.tick(SLOW_MS)) == (B, 1, 9)
    assert catch_up.tick(REQUEST_TIMEOUT_MS - 1) == []
    now = REQUEST_TIMEOUT_MS
    assert catch_up.tick(now) == []  # neither has answered: both rest
    now += COOL_DOWN_MS
    assert asked(catch_up.tick(now)) == (A, 1, 9)
    assert catch_up.on_range(B, BlockRange(blocks(1, 9), 9), now) == []  # too late


def test_the_first_answer_counts_of_the_one_who_is_slow_and_the_one_asked_besides() -> None:
    for first, other in ((A, B), (B, A)):
        catch_up = CatchUp(1)
        catch_up.on_head_hint(A, 9, 0)
        catch_up.on_head_hint(B, 9, 0)
        catch_up.tick(SLOW_MS)
        now = SLOW_MS + 1
        assert catch_up.on_range(first, BlockRange(blocks(1, 9), 9), now) == [
            Apply(first, blocks(1, 9))
        ]
        assert catch_up.on_range(other, BlockRange(blocks(1, 9), 9), now) == []
        catch_up.on_head_hint(A, 20, now)
        catch_up.on_head_hint(B, 20, now)
        assert asked(catch_up.need(10, now))[0] == B  # never the slow one


def test_who_was_asked_besides_remains_when_the_first_one_leaves_or_has_nothing() -> None:
    for leave in (True, False):
        catch_up = CatchUp(1)
        catch_up.on_head_hint(A, 9, 0)
        catch_up.on_head_hint(B, 9, 0)
        catch_up.tick(SLOW_MS)
        if leave:
            assert catch_up.on_disconnected(A, SLOW_MS) == []
        else:
            assert catch_up.on_range(A, BlockRange((), 9), SLOW_MS) == []
        assert catch_up.busy
        answer = BlockRange(blocks(1, 9), 9)
        assert catch_up.on_range(B, answer, SLOW_MS) == [Apply(B, blocks(1, 9))]


def test_rest_doubles_up_to_a_cap_and_a_good_answer_ends_it() -> None:
    catch_up = CatchUp(1)
    now = 0
    rests = []
    catch_up.on_head_hint(A, 9, now)
    for _ in range(12):
        now += REQUEST_TIMEOUT_MS
        assert catch_up.tick(now) == []
        began = now
        while not catch_up.tick(now):
            now += COOL_DOWN_MS
        rests.append(now - began)
    assert rests == [min(COOL_DOWN_MAX_MS, COOL_DOWN_MS << n) for n in range(12)]
    catch_up.on_range(A, BlockRange(blocks(1, 9), 20), now)
    catch_up.need(10, now)
    now += REQUEST_TIMEOUT_MS
    assert catch_up.tick(now) == []
    assert asked(catch_up.tick(now + COOL_DOWN_MS)) == (A, 10, 11)


@pytest.mark.parametrize(
    "answer",
    [
        (block(1), block(3)),
        (block(1), block(1)),
        blocks(1, 3) + blocks(5, 6),
    ],
)
def test_blocks_that_do_not_follow_on_are_a_fault(answer: tuple[CertifiedBlock, ...]) -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    catch_up.on_head_hint(B, 9, 0)
    punish, ask = catch_up.on_range(A, BlockRange(answer, 9), 1)
    assert isinstance(punish, Punish)
    assert (punish.peer, punish.fault.code) == (A, "BAD_RANGE")
    assert asked([ask]) == (B, 1, 9)


def test_a_late_answer_to_an_earlier_request_is_no_fault() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    catch_up.tick(REQUEST_TIMEOUT_MS)
    catch_up.need(5, REQUEST_TIMEOUT_MS + 1)
    now = REQUEST_TIMEOUT_MS + COOL_DOWN_MS
    assert asked(catch_up.tick(now)) == (A, 5, 5)
    assert catch_up.on_range(A, BlockRange(blocks(1, 9), 9), now) == []
    assert catch_up.on_range(A, BlockRange(blocks(5, 9), 9), now) == [Apply(A, blocks(5, 9))]


def test_an_empty_answer_is_forgiven_and_not_trusted() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 1 << 62, 0)
    catch_up.on_head_hint(B, 9, 0)
    assert asked(catch_up.on_range(A, BlockRange((), 1 << 62), 1)) == (B, 1, 9)
    catch_up.on_range(B, BlockRange(blocks(1, 9), 9), 2)
    catch_up.need(10, 3)


def test_an_answer_from_another_peer_counts_for_nothing() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    assert catch_up.on_range(B, BlockRange(blocks(1, 9), 9), 1) == []
    assert catch_up.on_range(A, BlockRange(blocks(1, 9), 9), 1) == [Apply(A, blocks(1, 9))]
    assert catch_up.on_range(A, BlockRange(blocks(1, 9), 9), 2) == []  # once is enough


def test_bad_blocks_make_it_turn_to_another() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    catch_up.on_head_hint(B, 9, 0)
    catch_up.on_range(A, BlockRange(blocks(1, 9), 9), 1)
    catch_up.need(4, 2)  # three were good
    assert asked(catch_up.on_fault(A, 3)) == (B, 4, 6)
    catch_up.on_disconnected(B, 4)
    assert catch_up.tick(COOL_DOWN_MAX_MS) == []
    assert asked(catch_up.tick(3 + COOL_DOWN_MAX_MS)) == (A, 4, 6)


def test_a_peer_that_leaves_is_replaced() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    catch_up.on_head_hint(B, 9, 0)
    assert asked(catch_up.on_disconnected(A, 1)) == (B, 1, 9)
    assert catch_up.on_disconnected(B, 2) == []
    assert not catch_up.busy
    assert catch_up.claimed_height(1) == 0


def test_blocks_that_came_are_applied_though_the_peer_left() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    catch_up.on_head_hint(B, 12, 0)
    catch_up.on_range(A, BlockRange(blocks(1, 9), 9), 1)
    assert catch_up.on_disconnected(A, 2) == []
    assert asked(catch_up.need(10, 3)) == (B, 10, 3)


def test_what_consensus_stored_meanwhile_is_left_out() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    assert catch_up.need(5, 1) == []
    assert catch_up.on_range(A, BlockRange(blocks(1, 9), 9), 2) == [Apply(A, blocks(5, 9))]
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    catch_up.need(10, 1)
    assert catch_up.on_range(A, BlockRange(blocks(1, 9), 9), 2) == []
    assert not catch_up.busy


def test_an_application_that_gets_stuck_is_given_up_but_progress_extends_it() -> None:
    catch_up = CatchUp(1)
    catch_up.on_head_hint(A, 9, 0)
    catch_up.on_range(A, BlockRange(blocks(1, 9), 9), 0)
    catch_up.need(2, APPLY_TIMEOUT_MS - 1)
    assert catch_up.tick(APPLY_TIMEOUT_MS + 1) == []
    assert asked(catch_up.tick(2 * APPLY_TIMEOUT_MS)) == (A, 2, 8)


def test_claimed_height_is_what_enough_peers_support() -> None:
    catch_up = CatchUp(1_000)
    for peer, height in ((A, 7), (B, 1 << 62), (C, 9)):
        catch_up.on_head_hint(peer, height, 0)
    assert [catch_up.claimed_height(n) for n in (1, 2, 3, 4)] == [1 << 62, 9, 7, 0]


@pytest.mark.parametrize("seed", range(30))
def test_one_honest_peer_among_liars_is_enough(seed: int) -> None:
    """Peers claim, delay, omit, garble and vanish; the blocks come in all the same."""
    chance = random.Random(seed)
    head = 200
    catch_up = CatchUp(1)
    stored = 1
    now = 0
    peers = (A, B, C)
    due: list[tuple[int, bytes, BlockRange]] = []

    def answer(peer: bytes, request: BlockRequest) -> None:
        last = min(head, request.height + request.count - 1, request.height + 20)
        good = blocks(request.height, last)
        if peer == A:
            due.append((now + chance.randrange(200), A, BlockRange(good, head)))
            return
        lie = chance.choice(["silence", "late", "empty", "garbled", "bad", "good"])
        if lie == "late":
            due.append((now + 2 * REQUEST_TIMEOUT_MS, peer, BlockRange(good, head)))
        elif lie == "empty":
            due.append((now + 5, peer, BlockRange((), 1 << 60)))
        elif lie == "garbled":
            due.append((now + 5, peer, BlockRange(good[1:] or (block(7_000),), head)))
        elif lie in ("bad", "good"):
            due.append((now + 5, peer, BlockRange(good, 1 << 60 if lie == "bad" else head)))

    def follow(actions: list[Action]) -> None:
        nonlocal stored
        for action in actions:
            if isinstance(action, Ask):
                answer(action.peer, action.request)
            elif isinstance(action, Apply):
                assert action.blocks[0].header.height == stored
                if action.peer != A and chance.random() < 0.3:
                    follow(catch_up.on_fault(action.peer, now))
                else:
                    stored = action.blocks[-1].header.height + 1
                    follow(catch_up.need(stored, now))

    while stored <= head:
        now += 100
        assert now < 600_000, f"stuck at {stored}"
        follow(catch_up.on_head_hint(A, head, now))
        follow(catch_up.on_head_hint(chance.choice(peers[1:]), 1 << 62, now))
        if chance.random() < 0.02:
            follow(catch_up.on_disconnected(chance.choice(peers[1:]), now))
        arrived = [item for item in due if item[0] <= now]
        due = [item for item in due if item[0] > now]
        for _, peer, blocks_sent in arrived:
            follow(catch_up.on_range(peer, blocks_sent, now))
        follow(catch_up.tick(now))


def test_an_answer_holds_consecutive_blocks_and_stops_at_a_gap() -> None:
    chain = {height: block(height) for height in (1, 2, 3, 5)}
    answer = answer_request(BlockRequest(2, 64), chain.get, 5)
    assert answer == BlockRange((chain[2], chain[3]), 5)
    assert answer_request(BlockRequest(2, 1), chain.get, 5).blocks == (chain[2],)
    assert answer_request(BlockRequest(9, 64), chain.get, 5) == BlockRange((), 5)


def test_an_answer_is_bounded_in_bytes_but_never_empty_for_a_large_block() -> None:
    chain = {height: block(height, 300_000) for height in range(1, 9)}
    answer = answer_request(BlockRequest(1, 64), chain.get, 8)
    assert [b.header.height for b in answer.blocks] == [1, 2, 3]
    assert sum(len(encode(b)) for b in answer.blocks) <= RANGE_BYTES_TARGET
    large = {1: block(1, 2 * RANGE_BYTES_TARGET)}
    assert answer_request(BlockRequest(1, 64), large.get, 1).blocks == (large[1],)


def test_a_peer_that_answers_late_and_little_is_asked_only_when_no_other_is_left() -> None:
    """It keeps to every rule, so nothing else would ever end its half of the turns."""
    catch_up, now, turns = CatchUp(1), 0, []
    actions = catch_up.on_head_hint(A, 10_000, now) + catch_up.on_head_hint(B, 10_000, now)
    for _ in range(10):
        peer, height, count = asked(actions)
        turns.append(peer)
        now += REQUEST_TIMEOUT_MS - 1 if peer == A else 50
        last = height if peer == A else height + count - 1
        catch_up.on_range(peer, BlockRange(blocks(height, last), 10_000), now)
        actions = catch_up.need(last + 1, now)
    assert turns == [A] + [B] * 9
    assert asked(catch_up.on_disconnected(B, now))[0] == A

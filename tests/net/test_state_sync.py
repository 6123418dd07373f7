"""State sync: whom it asks for which file, and that no offer and no answer can hold it up."""

from __future__ import annotations

import random

import pytest

from node.net import state_sync
from node.net.sources import COOL_DOWN_MAX_MS, COOL_DOWN_MS, SLOW_MS, Punish
from node.net.state_sync import (
    GRACE_MS,
    PACE_BYTES,
    PART_TIMEOUT_MS,
    PATIENCE_MS,
    START_MS,
    Action,
    AskPart,
    Judge,
    StateSync,
)
from node.protocol.messages import (
    BLOCKS_SECTION,
    MANIFEST_FILE,
    SNAPSHOT_FILE_BYTES_MAX,
    SNAPSHOT_PART_BYTES,
    STATE_SECTION,
    SnapshotFile,
    SnapshotPart,
    SnapshotRequest,
)

A, B, C = (bytes([letter]) * 33 for letter in b"ABC")
FIRST, SECOND = SnapshotFile(STATE_SECTION, 3), SnapshotFile(STATE_SECTION, 7)
LAST = SnapshotFile(BLOCKS_SECTION, 100)
ANY = 1 << 62


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No peer is waited for, unless a test is about that."""
    monkeypatch.setattr(state_sync, "START_MS", 0)


def asked(actions: list[Action]) -> tuple[bytes, SnapshotRequest]:
    """The one request in `actions`."""
    (ask,) = [action for action in actions if isinstance(action, AskPart)]
    return ask.peer, ask.request


def part(request: SnapshotRequest, content: bytes) -> SnapshotPart:
    """The honest answer."""
    data = content[request.offset : request.offset + SNAPSHOT_PART_BYTES]
    return SnapshotPart(request.height, request.file, request.offset, len(content), data)


def gone(request: SnapshotRequest) -> SnapshotPart:
    return SnapshotPart(request.height, request.file, request.offset, None, b"")


def begun(*peers: bytes, now: int = 0) -> StateSync:
    """The manifest of 100 was accepted, and the first state file is asked of the first peer."""
    sync = StateSync()
    sync.aim(1, ANY, now)
    for peer in peers:
        sync.on_offer(peer, (100,), now)
    sync.on_part(peers[0], part(SnapshotRequest(100, MANIFEST_FILE, 0), b"manifest"), now)
    assert asked(sync.accepted(FIRST, now)) == (peers[0], SnapshotRequest(100, FIRST, 0))
    return sync


def test_manifest_state_and_blocks_come_file_by_file_from_one_peer() -> None:
    sync = StateSync()
    assert sync.on_offer(A, (90, 100), 0) == []  # nobody wants one
    assert not sync.holds(0)
    peer, request = asked(sync.aim(95, 200, 0))
    assert (peer, request) == (A, SnapshotRequest(100, MANIFEST_FILE, 0))
    assert sync.on_offer(B, (100,), 0) == []  # one request at a time
    assert sync.target == 0
    for file, following in ((MANIFEST_FILE, FIRST), (FIRST, SECOND), (SECOND, LAST)):
        assert request.file == file
        actions = sync.on_part(A, part(request, b"content"), 10)
        assert actions == [Judge(A, 100, file, b"content")]
        assert sync.holds(10)
        peer, request = asked(sync.accepted(following, 20))
        assert peer == A
    assert sync.target == 100
    sync.on_part(A, part(request, b"blocks"), 30)
    assert sync.accepted(None, 30) == []
    assert sync.complete
    assert sync.holds(30)
    assert sync.tick(ANY) == []


def test_offers_out_of_bounds_are_not_asked_for() -> None:
    sync = StateSync()
    sync.on_offer(A, (50, 1 << 61), 0)
    assert sync.aim(51, 1_000, 0) == []
    assert not sync.holds(0)
    assert asked(sync.on_offer(B, (60,), 0)) == (B, SnapshotRequest(60, MANIFEST_FILE, 0))


def test_the_newest_that_is_offered_soon_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_sync, "START_MS", START_MS)
    sync = StateSync()
    sync.on_offer(A, (80, 90), 0)
    sync.aim(1, ANY, 0)
    assert sync.on_offer(B, (90, 100), START_MS - 1) == []
    assert sync.holds(START_MS - 1)
    assert asked(sync.tick(START_MS)) == (B, SnapshotRequest(100, MANIFEST_FILE, 0))


def test_a_file_comes_in_parts() -> None:
    sync = begun(A)
    content = random.Random(1).randbytes(2 * SNAPSHOT_PART_BYTES + 5)
    request = SnapshotRequest(100, FIRST, 0)
    for offset in (SNAPSHOT_PART_BYTES, 2 * SNAPSHOT_PART_BYTES):
        peer, request = asked(sync.on_part(A, part(request, content), 0))
        assert (peer, request) == (A, SnapshotRequest(100, FIRST, offset))
    assert sync.on_part(A, part(request, content), 0) == [Judge(A, 100, FIRST, content)]


def test_an_empty_file_is_whole_at_once() -> None:
    sync = begun(A)
    assert sync.on_part(A, part(SnapshotRequest(100, FIRST, 0), b""), 0) == [
        Judge(A, 100, FIRST, b"")
    ]


@pytest.mark.parametrize(
    ("size", "data"),
    [
        (SNAPSHOT_FILE_BYTES_MAX, b"short"),
        (10, b"short"),
        (3, b"longer"),
        (0, b"something"),
        (5, b""),
        (SNAPSHOT_PART_BYTES + 1, b"x" * (SNAPSHOT_PART_BYTES - 1)),
    ],
)
def test_a_part_of_another_size_is_a_fault_of_its_giver(size: int, data: bytes) -> None:
    sync = begun(A, B)
    punish, ask = sync.on_part(A, SnapshotPart(100, FIRST, 0, size, data), 0)
    assert isinstance(punish, Punish)
    assert (punish.peer, punish.fault.code) == (A, "BAD_PART")
    assert asked([ask]) == (B, SnapshotRequest(100, FIRST, 0))


def test_a_size_that_changes_on_the_way_is_a_fault() -> None:
    sync = begun(A, B)
    content = bytes(SNAPSHOT_PART_BYTES + 9)
    _, request = asked(sync.on_part(A, part(SnapshotRequest(100, FIRST, 0), content), 0))
    changed = SnapshotPart(100, FIRST, request.offset, len(content) + 1, bytes(10))
    punish, ask = sync.on_part(A, changed, 0)
    assert isinstance(punish, Punish)
    assert asked([ask]) == (B, SnapshotRequest(100, FIRST, 0))  # from the beginning


def test_what_was_not_asked_for_counts_for_nothing() -> None:
    sync = begun(A, B)
    request = SnapshotRequest(100, FIRST, 0)
    for stray in (
        part(SnapshotRequest(100, SECOND, 0), b"x"),
        part(SnapshotRequest(90, FIRST, 0), b"x"),
        part(SnapshotRequest(100, MANIFEST_FILE, 0), b"x"),
        SnapshotPart(100, FIRST, 7, 8, b"x"),
    ):
        assert sync.on_part(A, stray, 0) == []
    assert sync.on_part(B, part(request, b"x"), 0) == []
    assert sync.on_part(A, part(request, b"x"), 0) == [Judge(A, 100, FIRST, b"x")]
    assert sync.on_part(A, part(request, b"x"), 0) == []  # once is enough


def test_a_bad_file_costs_its_giver_and_nothing_else() -> None:
    sync = begun(A, B)
    sync.on_part(A, part(SnapshotRequest(100, FIRST, 0), b"forged"), 0)
    assert asked(sync.on_fault(A, 0)) == (B, SnapshotRequest(100, FIRST, 0))
    assert sync.target == 100
    sync.on_part(B, part(SnapshotRequest(100, FIRST, 0), b"genuine"), 1)
    sync.accepted(SECOND, 1)
    assert sync.on_disconnected(B, 2) == []
    assert sync.tick(COOL_DOWN_MAX_MS - 1) == []  # A rests for long
    assert asked(sync.tick(COOL_DOWN_MAX_MS)) == (A, SnapshotRequest(100, SECOND, 0))


def test_silence_makes_it_turn_to_another_which_goes_on_where_the_first_was() -> None:
    sync = begun(A, B)
    assert sync.tick(PART_TIMEOUT_MS - 1) == []
    assert asked(sync.tick(PART_TIMEOUT_MS)) == (B, SnapshotRequest(100, FIRST, 0))
    late = part(SnapshotRequest(100, FIRST, 0), b"too late")
    assert sync.on_part(A, late, PART_TIMEOUT_MS) == []


def test_a_peer_that_vanishes_is_replaced() -> None:
    sync = begun(A, B)
    assert asked(sync.on_disconnected(A, 1)) == (B, SnapshotRequest(100, FIRST, 0))
    assert sync.on_disconnected(B, 2) == []
    assert not sync.holds(2)
    assert asked(sync.on_offer(C, (100,), 3)) == (C, SnapshotRequest(100, FIRST, 0))


def test_a_peer_stays_while_it_delivers_and_not_when_it_drips() -> None:
    sync = begun(A, B)
    now, file = 0, FIRST
    for number in range(10, 15):
        now += SLOW_MS
        sync.on_part(A, part(SnapshotRequest(100, file, 0), b"x"), now)
        file = SnapshotFile(STATE_SECTION, number)
        assert asked(sync.accepted(file, now))[0] == A
    now += SLOW_MS + 1
    sync.on_part(A, part(SnapshotRequest(100, file, 0), b"x"), now)
    assert asked(sync.accepted(SECOND, now))[0] == B


def test_a_snapshot_that_is_gone_is_no_fault() -> None:
    sync = begun(A, B)
    peer, request = asked(sync.on_part(A, gone(SnapshotRequest(100, FIRST, 0)), 0))
    assert (peer, request) == (B, SnapshotRequest(100, FIRST, 0))
    assert sync.on_part(B, gone(request), 1) == []
    # Both have made a newer one meanwhile: begin with that.
    assert sync.on_offer(A, (110,), 2) == []
    assert sync.tick(COOL_DOWN_MS) == []
    assert asked(sync.tick(GRACE_MS + 1)) == (A, SnapshotRequest(110, MANIFEST_FILE, 0))
    assert sync.target == 100  # until the new manifest is accepted


def test_a_new_target_takes_over_only_with_an_accepted_manifest() -> None:
    sync = begun(A)
    sync.on_offer(B, (200,), 0)
    assert sync.on_disconnected(A, 0) == []
    _, request = asked(sync.tick(GRACE_MS))
    assert request == SnapshotRequest(200, MANIFEST_FILE, 0)
    sync.on_part(B, part(request, b"lies"), GRACE_MS)
    assert sync.on_fault(B, GRACE_MS) == []
    assert sync.target == 100
    assert asked(sync.on_offer(C, (100,), GRACE_MS)) == (C, SnapshotRequest(100, FIRST, 0))


def test_after_a_restart_it_goes_on_with_the_file_that_was_next() -> None:
    sync = StateSync(100, SECOND)
    sync.aim(1, ANY, 0)
    assert sync.on_offer(A, (110,), 0) == []  # others may still come back
    assert asked(sync.on_offer(B, (100, 110), 1)) == (B, SnapshotRequest(100, SECOND, 0))


def test_after_a_restart_without_anybody_who_has_it_another_one_is_begun() -> None:
    sync = StateSync(100, SECOND)
    sync.aim(1, ANY, 1)
    sync.on_offer(A, (110,), 1)
    assert sync.tick(GRACE_MS) == []
    assert asked(sync.tick(GRACE_MS + 1)) == (A, SnapshotRequest(110, MANIFEST_FILE, 0))


def test_what_is_begun_is_completed_though_nothing_new_is_aimed_at() -> None:
    sync = begun(A)
    assert sync.aim(1, 0, 0) == []
    sync.on_part(A, part(SnapshotRequest(100, FIRST, 0), b"x"), 0)
    assert asked(sync.accepted(SECOND, 0)) == (A, SnapshotRequest(100, SECOND, 0))
    sync.drop()
    assert not sync.holds(0)
    assert sync.target == 0


def test_it_asks_for_no_more_in_a_second_than_is_served() -> None:
    sync = begun(A)
    large = bytes(SNAPSHOT_FILE_BYTES_MAX)
    parts, actions = 1, sync.on_part(A, part(SnapshotRequest(100, FIRST, 0), large), 0)
    while actions:
        actions = sync.on_part(A, part(asked(actions)[1], large), 0)
        parts += 1
    assert parts == PACE_BYTES // SNAPSHOT_PART_BYTES
    assert sync.tick(PART_TIMEOUT_MS - 1) != []


def test_nobody_holds_it_up_for_ever_with_an_offer() -> None:
    """The only peer that offers the target never delivers: blocks may be asked for in the end."""
    sync = begun(A)
    now, held_until = 0, 0
    while now < 10 * PATIENCE_MS:
        now += 1_000
        sync.on_offer(A, (100,), now)
        sync.tick(now)
        if sync.holds(now):
            held_until = now
        else:
            break
    assert held_until < 2 * PATIENCE_MS


@pytest.mark.parametrize("seed", range(40))
def test_one_honest_peer_among_liars_is_enough(seed: int) -> None:
    """Peers claim, delay, garble, withdraw and vanish; the snapshot comes in all the same."""
    chance = random.Random(seed)
    files = [SnapshotFile(STATE_SECTION, number) for number in range(20)] + [LAST]
    honest = {file: chance.randbytes(chance.randrange(1, 3_000)) for file in files}
    honest[MANIFEST_FILE] = b"manifest"
    order = [MANIFEST_FILE, *files]
    sync, now = StateSync(), 0
    accepted: list[SnapshotFile] = []
    due: list[tuple[int, bytes, SnapshotPart]] = []

    def answer(peer: bytes, request: SnapshotRequest) -> None:
        good = part(request, honest[request.file])
        lie = "none" if peer == A else chance.choice(("none", "silent", "late", "gone", "forged"))
        lie = "gone" if request.height != 100 else lie
        if lie == "none":
            due.append((now + chance.randrange(300), peer, good))
        elif lie == "late":
            due.append((now + PART_TIMEOUT_MS + 50, peer, good))
        elif lie == "gone":
            due.append((now + 5, peer, gone(request)))
        elif lie == "forged":
            forged = chance.choice((b"forged", b"", bytes(SNAPSHOT_PART_BYTES)))
            due.append((now + 5, peer, part(request, forged)))

    def follow(actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, AskPart):
                answer(action.peer, action.request)
            elif isinstance(action, Judge):
                if action.content != honest[action.file]:
                    follow(sync.on_fault(action.peer, now))
                    continue
                if action.file not in accepted:
                    accepted.append(action.file)
                place = order.index(action.file) + 1
                follow(sync.accepted(order[place] if place < len(order) else None, now))

    while not sync.complete:
        now += 250
        assert now < 3_600_000, accepted
        follow(sync.aim(1, 1_000, now))
        follow(sync.on_offer(A, (100,), now))
        follow(sync.on_offer(chance.choice((B, C)), (100, chance.randrange(101, 1 << 40)), now))
        if chance.random() < 0.02:
            follow(sync.on_disconnected(chance.choice((B, C)), now))
        arrived = [item for item in due if item[0] <= now]
        due = [item for item in due if item[0] > now]
        for _, peer, message in arrived:
            follow(sync.on_part(peer, message, now))
        if now % 1_000 == 0:
            follow(sync.tick(now))
    assert accepted == order

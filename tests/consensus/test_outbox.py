"""The outbox: what is said only once between two ticks, to each peer or about each."""

from __future__ import annotations

from node.consensus.events import RequestCatchUp
from node.consensus.outbox import ASKED_PER_TICK_MAX, Outbox

LIAR, HONEST = b"\x02" * 33, b"\x03" * 33


def test_who_boasts_does_not_silence_who_shows_a_certificate() -> None:
    out = Outbox()
    out.request_catch_up(LIAR, (1 << 62) - 1)
    out.request_catch_up(HONEST, 7)
    assert out.take() == [RequestCatchUp(LIAR, (1 << 62) - 1), RequestCatchUp(HONEST, 7)]


def test_the_same_peer_is_asked_once_between_two_ticks_unless_it_has_more() -> None:
    out = Outbox()
    for height in (7, 7, 6, 8):
        out.request_catch_up(HONEST, height)
    assert out.take() == [RequestCatchUp(HONEST, 7), RequestCatchUp(HONEST, 8)]
    out.tick()
    out.request_catch_up(HONEST, 7)
    assert out.take() == [RequestCatchUp(HONEST, 7)]


def test_what_is_remembered_of_strangers_is_bounded() -> None:
    out = Outbox()
    for number in range(ASKED_PER_TICK_MAX + 9):
        out.request_catch_up(number.to_bytes(33, "big"), 1)
    assert len(out.take()) == ASKED_PER_TICK_MAX

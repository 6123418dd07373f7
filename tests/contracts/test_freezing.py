"""Freezes: at once by one regulator, for good by two, and lifted by two."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.kernel.freezing import LAPSE_MS, RENEWAL_MS
from tests.contracts.taps import TAPS, WITH_TAPS
from tests.contracts.world import World, id_of, key_of

FIRST, SECOND = "regulator", "second regulator"


class Waterworks(World):
    """Regulators and one tap."""

    def __init__(self, time_scale: int = 1) -> None:
        super().__init__(contracts=WITH_TAPS, time_scale=time_scale)
        self.number = 0

    def act(self, sender: str, action: str, scope: str = "FLOW", **more: Any) -> str:
        return self.do(sender, action, contract="taps", tap="a", scope=scope, **more)

    def freeze(self, sender: str = FIRST, scope: str = "FLOW", reason: str = "dirty") -> str:
        return self.act(sender, "freeze", scope, reason=reason)

    def unfreeze(self, scope: str = "FLOW") -> str:
        self.number += 1
        proposal = id_of(f"unfreeze {self.number}")
        code = self.act(FIRST, "unfreeze", scope, proposal=proposal, reason="clean")
        if code != "OK":
            return code
        return self.do(SECOND, "approve", contract="kernel", proposal=proposal)

    def frozen(self, scope: str = "FLOW") -> Any:
        return self.ask(None, "frozen", contract="taps", tap="a", scope=scope)["frozen"]

    def set(self) -> str:
        args = {"tap": "a", "level": 5, "proposal": id_of("set"), "reason": "hot"}
        return self.do("merchant", "set", contract="taps", **args)


@pytest.fixture
def works() -> Waterworks:
    return Waterworks()


def test_one_regulator_freezes_at_once(works: Waterworks) -> None:
    assert works.freeze() == "OK"
    at_ms = works.time_ms
    assert works.frozen()
    assert not works.frozen("COLOUR")
    assert works.set() == "FROZEN"
    raw = works.memory.get("taps/taps", b"a")
    assert raw is not None
    (one,) = TAPS.decode(raw).freezes
    assert (one.scope, one.reason, one.by, one.at_ms, one.ratified_by) == (
        "FLOW",
        "dirty",
        key_of(FIRST),
        at_ms,
        b"",
    )


def test_all_stops_every_scope(works: Waterworks) -> None:
    works.freeze(scope="ALL")
    assert works.frozen("FLOW")
    assert works.frozen("COLOUR")


@pytest.mark.parametrize("scale", [1, 1_000])
def test_alone_it_lapses_in_a_day(scale: int) -> None:
    works = Waterworks(time_scale=scale)
    works.freeze()
    works.advance(LAPSE_MS // scale - 1)
    assert works.frozen()
    works.advance(1)
    assert not works.frozen()
    assert works.set() == "OK"
    assert works.act(SECOND, "ratify") == "EXPIRED"
    assert works.unfreeze() == "BAD_STATE"


def test_a_second_regulator_makes_it_last(works: Waterworks) -> None:
    assert works.act(SECOND, "ratify") == "NOT_FOUND"
    works.freeze()
    assert works.act(FIRST, "ratify") == "UNAUTHORIZED"
    assert works.act(SECOND, "ratify") == "OK"
    assert works.act(SECOND, "ratify") == "OK"
    assert works.last.details == {"replayed": True}
    works.advance(100 * LAPSE_MS)
    assert works.frozen()
    assert works.unfreeze() == "OK"
    assert not works.frozen()


def test_lifting_takes_two_from_the_first_moment(works: Waterworks) -> None:
    works.freeze()
    mine = id_of("mine")
    assert works.act(FIRST, "unfreeze", proposal=mine, reason="clean") == "OK"
    assert works.do(FIRST, "approve", contract="kernel", proposal=mine) == "UNAUTHORIZED"
    assert works.frozen()
    assert works.do(SECOND, "approve", contract="kernel", proposal=mine) == "OK"
    assert not works.frozen()
    assert works.unfreeze() == "BAD_STATE"


def test_freezing_again(works: Waterworks) -> None:
    works.freeze()
    assert works.freeze() == "OK"
    assert works.last.details == {"replayed": True}
    assert works.freeze(reason="other") == "IDEM_CONFLICT"
    assert works.freeze(SECOND, reason="other") == "IDEM_CONFLICT"
    assert works.freeze(scope="COLOUR", reason="other") == "OK"
    assert works.unfreeze("COLOUR") == "OK"
    assert works.frozen()
    assert not works.frozen("COLOUR")


def test_one_regulator_alone_cannot_make_it_last(works: Waterworks) -> None:
    works.freeze()
    works.advance(LAPSE_MS)
    assert works.freeze() == "UNAUTHORIZED"
    assert works.freeze(SECOND) == "OK"
    assert works.act(FIRST, "ratify") == "OK"
    assert works.unfreeze() == "OK"
    works.freeze()
    works.advance(LAPSE_MS + RENEWAL_MS)
    assert works.freeze() == "OK"


@pytest.mark.parametrize("sender", ["operator", "administrator", "bank", "merchant"])
def test_nobody_else_freezes(works: Waterworks, sender: str) -> None:
    assert works.freeze(sender) == "UNAUTHORIZED"
    works.freeze()
    assert works.act(sender, "ratify") == "UNAUTHORIZED"

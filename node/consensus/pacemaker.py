"""The pacemaker: when the view timer runs.

In view 0 it runs while a transaction waits or a proposal is open. In a later view it starts once a
quorum has reached that view: a lonely member that ran ahead of the rest would, with capped
time-outs, stay ahead for ever and never meet them. The delay doubles with each view up to the cap,
and a commit starts over at view 0. It holds a token and no clock.
"""

from __future__ import annotations

from node.consensus.events import CancelTimer, Effect, ForwardPending, SetTimer, Timeouts
from node.consensus.height import OpenHeight


class Pacemaker:
    """Keeps at most one timer running, for the current view."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._token = 0
        self._running: int | None = None

    def expired(self, token: int) -> bool:
        """Whether this is the running timer; it then runs no more. Others were cancelled."""
        if self._running is None or token != self._token:
            return False
        self._running = None
        return True

    def stop(self) -> list[Effect]:
        """Cancel the timer if it runs."""
        if self._running is None:
            return []
        self._running = None
        return [CancelTimer(self._token)]

    def update(self, opened: OpenHeight, pending: bool, now_ms: int) -> list[Effect]:
        """Start, restart or cancel the timer, as the open height demands."""
        if opened.committing or not opened.is_member:
            wanted = False
        elif opened.view > 0:
            wanted = opened.reached(opened.view) >= opened.committee.quorum
        else:
            wanted = pending or opened.proposal is not None
        if wanted and self._running == opened.view:
            return []
        effects = self.stop()
        if wanted:
            if pending and (opened.view > 0 or self._is_idle(opened, now_ms)):
                effects.append(ForwardPending())
            self._token += 1
            self._running = opened.view
            effects.append(SetTimer(self._token, self._timeouts.delay_ms(opened.view)))
        return effects

    def waits_for_others(self, opened: OpenHeight) -> bool:
        """Whether we asked for a view that no quorum has reached yet."""
        return opened.view > 0 and self._running is None

    def _is_idle(self, opened: OpenHeight, now_ms: int) -> bool:
        """While blocks flow, transactions have reached a live leader by gossip."""
        return opened.opened_ms is None or now_ms - opened.opened_ms >= self._timeouts.base_ms

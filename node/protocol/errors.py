"""Errors by blame: who must act, and the stable code that they branch on.

`Refused` blames the caller (an HTTP 4xx), `PeerFault` a peer (disconnect), `StoreFailure` the
disk (stop), `Misconfigured` the operator (one line, exit 2). A broken invariant of our own is an
`AssertionError` and stops the process. Contracts have their own rejection, which becomes a
receipt; it is not an error of the node and is not here.
"""


class GroatError(Exception):
    """Root of the expected failures. `code` is stable, `message` is for people and may change."""

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details


class Refused(GroatError):
    """What the caller sent is not acceptable; sending it again unchanged will not help."""


class PeerFault(GroatError):
    """A peer broke the protocol; the connection is closed and backed off."""


class StoreFailure(GroatError):
    """The disk failed or holds something impossible; the node stops before it can vote on it."""


class Misconfigured(GroatError):
    """The operator's files or flags are wrong; `message` says what to do about it."""

"""What can go wrong for a client, by what it should do next; each has an exit code of the CLI.

The codes are the network's own wherever it gave one (`CARD_LIMIT`, `TX_EXPIRED`, …). Faults of the
caller's own files and arguments are the protocol's `Misconfigured` and `Refused`.
"""

from __future__ import annotations

from node.protocol.errors import GroatError, Misconfigured, Refused

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_REJECTED = 3
EXIT_PENDING = 4
EXIT_UNREACHABLE = 5
EXIT_NO_QUORUM = 6


class ClientError(GroatError):
    """Root of what the SDK raises about the network; `retryable`: it may pass by itself."""

    exit_code = EXIT_INTERNAL
    retryable = False


class Rejected(ClientError):
    """The network refused the request for good, or the contract rejected the transaction."""

    exit_code = EXIT_REJECTED


class NotFound(Rejected):
    """The node asked does not know this; another node or a later moment may."""


class NotAllowed(Rejected):
    """The viewer's roles do not allow this, or there is no session."""


class Expired(Rejected):
    """Certified heads are past `valid_until` and the id is absent: it will never be final."""


class EpochEnded(Expired):
    """Certified heads show that its epoch has ended and the id is absent: seal it anew."""


class Pending(ClientError):
    """Not final at the time-out, which is no failure: ask again for the same id."""

    exit_code = EXIT_PENDING
    retryable = True


class Unreachable(ClientError):
    """No node answered."""

    exit_code = EXIT_UNREACHABLE
    retryable = True


class Overloaded(Unreachable):
    """Every node that answered asks to come back later."""


class NoQuorum(ClientError):
    """Nodes answer, but too few of them to decide anything."""

    exit_code = EXIT_NO_QUORUM
    retryable = True


class Unproven(ClientError):
    """A node's answer does not verify against the genesis file: do not believe that node."""


def exit_code_of(error: GroatError) -> int:
    """The exit code that tells a script what happened."""
    if isinstance(error, ClientError):
        return error.exit_code
    if isinstance(error, Misconfigured | Refused):
        return EXIT_USAGE
    return EXIT_INTERNAL

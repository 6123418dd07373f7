"""The one failure that matters to people, out of the group in which concurrent tasks raise it."""

from __future__ import annotations

from node.protocol.errors import GroatError


def first_failure(raised: BaseException) -> GroatError:
    """The first expected failure in `raised`; a group that also holds a bug is raised again."""
    found: list[GroatError] = []

    def collect(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                collect(inner)
        elif isinstance(error, GroatError):
            found.append(error)
        else:
            raise raised

    collect(raised)
    return found[0]

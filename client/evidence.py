"""Evidence to take away: what nodes answered while something was verified, to verify it again.

A `Recorder` asks nodes and keeps their answers. `Recorded` answers from such a recording and from
nothing else, so that the very code that verified the first time verifies once more, from genesis
on, without any network. A recording is no proof by itself: whoever holds it checks it.
"""

from __future__ import annotations

from typing import Any

from client.connection import Answer, Request
from client.errors import Unproven
from client.verified import Asker
from node.protocol.keys import PrivateKey

ANSWERS_MAX = 10_000


class Recorder:
    """Asks as `asker` does, and keeps each answer in `answers`, as JSON."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self.answers: list[dict[str, Any]] = []

    async def ask(
        self, request: Request, viewer: PrivateKey | None = None, url: str | None = None
    ) -> Answer:
        """As `Asker.ask`."""
        answer = await self._asker.ask(request, viewer, url)
        asked = {"path": request.path, "query": dict(request.query or {})}
        self.answers.append({**asked, "body": answer.body})
        return answer


class Recorded:
    """Answers what was recorded in `answers`; raises `Unproven` for anything else."""

    def __init__(self, answers: object, source: str) -> None:
        self._source = source
        self._answers: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        if not isinstance(answers, list) or len(answers) > ANSWERS_MAX:
            raise Unproven("BAD_EVIDENCE", f"{source} has no list of answers")
        for one in answers:
            match one:
                case {"path": str(path), "query": dict(query), "body": dict(body)}:
                    self._answers.append((path, query, body))
                case _:
                    raise Unproven("BAD_EVIDENCE", f"{source} has an answer of another form")

    async def ask(
        self, request: Request, viewer: PrivateKey | None = None, url: str | None = None
    ) -> Answer:
        """The first recorded answer to this request."""
        for path, query, body in self._answers:
            if (path, query) == (request.path, dict(request.query or {})):
                return Answer(self._source, 200, body)
        raise Unproven("BAD_EVIDENCE", f"{self._source} has no answer to {request.path}")

"""What became of a transaction, as one node tells it; certainty is for `verified`."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from client.errors import Pending, Rejected

Json = dict[str, Any]

FINAL = frozenset({"committed", "failed"})
DROPPED = "dropped"
_HEIGHT = re.compile("[0-9]{1,19}")
ACCEPTED = frozenset({"PENDING", "KNOWN", "COMMITTED"})


class Outcome(NamedTuple):
    """What is known of a transaction. `status`: committed, failed, pending, dropped or unknown."""

    id: str
    status: str
    height: int | None = None
    code: str | None = None
    details: Json = {}  # noqa: RUF012
    view: Json = {}  # noqa: RUF012

    @property
    def final(self) -> bool:
        """Whether it stands in a final block, whatever its result."""
        return self.status in FINAL

    def require(self) -> Outcome:
        """Itself if committed; raises `Rejected` with the contract's code, or `Pending`."""
        if self.status == "failed":
            code = self.code or "FAILED"
            why = self.details.get("why")
            text = f"the contract rejected {self.id}" + (f": {why}" if why else "")
            raise Rejected(code, text, id=self.id, **self.details)
        if not self.final:
            raise Pending("PENDING", f"{self.id} is not final yet; ask again", id=self.id)
        return self


class Verdict(NamedTuple):
    """What one node said of one transaction of a batch; `accepted`: it waits or is final there.

    `status` is committed or failed if it is final already, and `code` its receipt's then.
    """

    id: str | None
    accepted: bool
    code: str
    message: str
    status: str


def parse_outcome(identity: str, body: Json) -> Outcome:
    """What a node's JSON says of a transaction; whatever is missing is unknown."""
    given = body.get("receipt")
    receipt = given if isinstance(given, dict) else {}
    details = receipt.get("details")
    height = body.get("height")
    return Outcome(
        identity,
        str(body.get("status", "unknown")),
        int(height) if isinstance(height, str) and _HEIGHT.fullmatch(height) else None,
        _text(receipt.get("code")),
        details if isinstance(details, dict) else {},
        body,
    )


def parse_verdict(item: Any) -> Verdict:
    """What a node's JSON says of one transaction of a batch."""
    fields = item if isinstance(item, dict) else {}
    code, identity = str(fields.get("code", "BAD_ANSWER")), fields.get("id")
    receipt = fields.get("receipt")
    accepted = code in ACCEPTED
    status = str(fields.get("status", "pending" if accepted else "refused"))
    return Verdict(
        identity if isinstance(identity, str) else None,
        accepted or status in FINAL,
        str(receipt.get("code")) if isinstance(receipt, dict) else code,
        str(fields.get("message", "")),
        status,
    )


def failed_checks(status: Json) -> list[tuple[str, str]]:
    """Component and reason of each check that a node's status says has failed."""
    checks = status.get("failed_checks")
    if not isinstance(checks, list):
        return []
    return [
        (str(check.get("component")), str(check.get("reason")))
        for check in checks
        if isinstance(check, dict)
    ]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

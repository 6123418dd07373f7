"""The vocabulary of all contracts: argument types, records, and the ways in which a call can fail.

Arguments are strict pydantic models: no coercion, no unknown fields, no floats; the same models
give the JSON Schema of `interface.json`. Records are `msgspec.Struct`s, positional and immutable.
Whether a signature is valid or a record exists is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

AMOUNT_MAX = (1 << 63) - 1
TIME_MS_MAX = 1 << 53
CODE_CHARS_MAX = 64
PUBLIC_KEY_BYTES = 33
REASON_CHARS_MAX = 200
PAGE_MAX = 100
PAGE_DEFAULT = 50
ROLES_MAX = 16
DAY_MS = 86_400_000
UTC8_MS = 28_800_000

# What a rejection may say, in the order in which rules are checked; an area's own codes come
# between BAD_STATE and INSUFFICIENT, in the order in which its contract lists them.
GENERAL_ERRORS = (
    "BAD_ARG",
    "UNAUTHORIZED",
    "IDEM_CONFLICT",
    "NOT_FOUND",
    "FROZEN",
    "EXPIRED",
    "BAD_STATE",
)
FINAL_ERRORS = ("INSUFFICIENT", "OVERFLOW", "TOO_HEAVY")


class Rejected(Exception):
    """A business rule says no: the transaction's writes are discarded, this becomes its receipt."""

    def __init__(self, code: str, **details: Any) -> None:
        super().__init__(code)
        self.code = code
        self.details = details


class InvariantViolation(Exception):
    """A contract broke its own promise: a bug, never a receipt.

    The violations name records and amounts, so they are not for logs; `contract` may be.
    """

    def __init__(self, contract: str, violations: list[str]) -> None:
        super().__init__("; ".join(violations))
        self.contract = contract
        self.violations = violations


def reject(code: str, **details: Any) -> NoReturn:
    """Raise `Rejected`."""
    raise Rejected(code, **details)


class Record(msgspec.Struct, array_like=True, frozen=True):
    """Base of every record at rest. Times are ms since 1970, money is integer minor units."""


def closure(steps: Mapping[str, tuple[str, ...]]) -> dict[str, frozenset[str]]:
    """From which states each state may have come, by any number of steps: a transaction of several
    calls takes more than one. `steps` has the states right before each."""
    reached = {state: frozenset(before) for state, before in steps.items()}
    for _ in steps:
        reached = {
            state: before.union(*[reached[one] for one in sorted(before)])
            for state, before in reached.items()
        }
    return reached


class BlockInfo(msgspec.Struct, frozen=True):
    """What a contract may know of its block; `time_scale` > 1 only on dev networks."""

    height: int
    time_ms: int
    time_scale: int


class Args(BaseModel):
    """Base of all arguments. A field `ticket` is the signature over all the other ones."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    def terms(self) -> dict[str, Any]:
        """What a ticket signs: every argument that was given, but for the ticket."""
        return self.model_dump(by_alias=True, exclude={"ticket"}, exclude_none=True)


def _bytes_schema(length: int) -> WithJsonSchema:
    pattern = f"^[0-9a-f]{{{2 * length}}}$"
    return WithJsonSchema({"type": "string", "format": "bytes", "pattern": pattern})


def _compressed(key: bytes) -> bytes:
    if key[0] not in (2, 3):
        raise ValueError
    return key


def without_nul(text: str) -> str:
    """The text, if it can stand everywhere: some programs end texts at NUL."""
    if "\x00" in text:
        raise ValueError
    return text


Amount = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]
AmountOrZero = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
Seq = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]
TimeMs = Annotated[int, Field(ge=0, le=TIME_MS_MAX)]
TtlMs = Annotated[int, Field(ge=1, le=TIME_MS_MAX)]
Limit = Annotated[int, Field(ge=1, le=PAGE_MAX)]
Code = Annotated[str, Field(min_length=1, max_length=CODE_CHARS_MAX), AfterValidator(without_nul)]
Reason = Annotated[
    str, Field(min_length=1, max_length=REASON_CHARS_MAX), AfterValidator(without_nul)
]
Id16 = Annotated[bytes, Field(min_length=16, max_length=16), _bytes_schema(16)]
Hash32 = Annotated[bytes, Field(min_length=32, max_length=32), _bytes_schema(32)]
Signature = Annotated[bytes, Field(min_length=64, max_length=64), _bytes_schema(64)]
PublicKey = Annotated[
    bytes,
    Field(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES),
    AfterValidator(_compressed),
    _bytes_schema(PUBLIC_KEY_BYTES),
]


class TicketArgs(Args):
    """Arguments that carry a second party's consent, good until `ticket_until` (exclusive)."""

    ticket_until: TimeMs
    ticket: Signature


class OptionalTicketArgs(Args):
    """The same where the second party may also act alone and then needs no ticket."""

    ticket_until: TimeMs | None = None
    ticket: Signature | None = None


class Proposing(Args):
    """Arguments of a change that another person must approve: the proposer's id and reason."""

    proposal: Id16
    reason: Reason

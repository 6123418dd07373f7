"""What a contract consists of: tables, actions, queries, invariants. Declarations only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.kernel.access import PUBLIC
from contracts.kernel.context import Context, View
from contracts.kernel.state import Changes, State, Table
from contracts.kernel.types import Args, Proposing

Details = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """Something that changes state. `roles`: one of which the sender needs; empty for anybody."""

    args: type[Args]
    run: Callable[[Context, Any], Details]
    roles: tuple[str, ...] = ()


def _everybody(_context: Context, _args: Any) -> tuple[str, ...]:
    return (PUBLIC,)


@dataclass(frozen=True, slots=True)
class Governed:
    """A change that one person proposes with a reason and another one approves.

    Its name is an action of its contract: calling it proposes. `kernel approve` carries it out,
    whatever the contract. `check` rejects what cannot be; it runs when the change is proposed and
    again when it is approved. `apply` makes the change inside the approval's transaction, with
    `ctx.contract` and `ctx.action` as at the proposal and the approver as `ctx.sender`. `readers`
    says who may see the proposal.
    """

    args: type[Proposing]
    check: Callable[[Context, Any], None]
    apply: Callable[[Context, Any], Details]
    proposers: tuple[str, ...]
    approvers: tuple[str, ...]
    readers: Callable[[Context, Any], tuple[str, ...]] = _everybody


@dataclass(frozen=True, slots=True)
class Query:
    """Something that only reads; it sees what its viewer may see.

    `rests_on` names the record that the answer shows, and the argument that is its key, so that a
    client can have the record proved instead of believing the answer; `sums` then gives it the
    figures that are sums of the record's fields, some with a minus before their name.
    """

    args: type[Args]
    run: Callable[[View, Any], Details]
    rests_on: tuple[Table[Any], str] | None = None
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _no_violations(_: Changes) -> list[str]:
    return []


def _clear_allowed(_: State) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Audit:
    """What a walk over the whole state found: broken promises, and figures in minor units."""

    violations: list[str]
    figures: dict[str, Any]


def _nothing_to_audit(_: State) -> Audit:
    return Audit([], {})


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract. `governed` are the changes that take two persons.

    `found` writes its part of the genesis state from its `parameters`. `violations` judges one
    transaction's changes where a table of the contract changed, or an account whose purpose begins
    with its name and a dot; `audit` the whole state. `clear_allowed` says whether calls may travel
    unsealed; `sealed` that clients should seal them. Rejections of its calls are readable by
    `refusals_for`, besides the sender. `errors` are its own codes in precedence.
    """

    name: str
    actions: Mapping[str, Action]
    queries: Mapping[str, Query]
    tables: tuple[Table[Any], ...]
    errors: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    parameters: type[Args] = Args
    found: Callable[[State, Any], None] = field(default=lambda _state, _parameters: None)
    violations: Callable[[Changes], list[str]] = _no_violations
    audit: Callable[[State], Audit] = _nothing_to_audit
    sealed: bool = False
    refusals_for: tuple[str, ...] = ()
    clear_allowed: Callable[[State], bool] = _clear_allowed
    governed: Mapping[str, Governed] = field(default_factory=dict)

    def arguments_of(self, action: str) -> type[Args] | None:
        """The arguments of an action or of a governed change; None if there is none."""
        found = self.actions.get(action) or self.governed.get(action)
        return None if found is None else found.args

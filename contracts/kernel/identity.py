"""Identities: which keys may send, and in which roles.

Genesis registers the founders; afterwards someone entitled enrols others. An identity is a public
key, its roles, and, for institutions, a name; a holder has no name on chain. The institutions'
identities are public, a holder's is for itself, its bank and the regulator.
"""

from __future__ import annotations

from contracts.kernel.access import PUBLIC, REGULATOR
from contracts.kernel.state import Reader, State, Table
from contracts.kernel.types import Record, Rejected

HOLDER = "holder"

# Who may enrol whom: an administrator anybody but administrators, an operator all but the
# supervising roles, a bank its holders. One person alone must not be able to make a second one.
ADMINISTRATOR = "administrator"
SUPERVISING_ROLES = (ADMINISTRATOR, "regulator", "bank")
ENROLLING_ROLES = (ADMINISTRATOR, "operator", "bank")


class Identity(Record, frozen=True):
    """A key that may send. `enrolled_by` is empty for the founders."""

    public_key: bytes
    name: str
    roles: tuple[str, ...]
    enrolled_by: bytes
    enrolled_ms: int


def _identity_readers(identity: Identity) -> tuple[str, ...]:
    if identity.roles != (HOLDER,):
        return (PUBLIC,)
    return (identity.public_key.hex(), identity.enrolled_by.hex(), REGULATOR)


IDENTITIES = Table("kernel/identities", Identity, "the public key, 33 bytes", _identity_readers)


def roles_of(reader: Reader, public_key: bytes) -> frozenset[str]:
    """The roles that a key has; none for a stranger."""
    raw = reader.get(IDENTITIES.name, public_key)
    return frozenset() if raw is None else frozenset(IDENTITIES.decode(raw).roles)


def roles_in(state: State, public_key: bytes) -> tuple[str, ...]:
    """The same inside a transaction."""
    identity = state.get(IDENTITIES, public_key)
    return () if identity is None else identity.roles


def may_enrol(enroller_roles: tuple[str, ...], roles: tuple[str, ...]) -> bool:
    """Whether someone with `enroller_roles` may give `roles` to a new key."""
    if ADMINISTRATOR in enroller_roles:
        return ADMINISTRATOR not in roles
    if "operator" in enroller_roles:
        return not any(role in SUPERVISING_ROLES for role in roles)
    return "bank" in enroller_roles and roles == (HOLDER,)


def register(state: State, identity: Identity) -> bool:
    """Register a key; False if just this was done before, `IDEM_CONFLICT` if something else was."""
    known = state.get(IDENTITIES, identity.public_key)
    if known is None:
        state.insert(IDENTITIES, identity.public_key, identity)
        return True
    if (known.name, known.roles) != (identity.name, identity.roles):
        raise Rejected("IDEM_CONFLICT", what=IDENTITIES.name)
    return False

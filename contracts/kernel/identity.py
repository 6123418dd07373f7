"""Identities: which keys may send, and in which roles.

An identity is named, for ever, by its first public key; records name it so. The key in use may be
another: rotated by its owner, or replaced by two persons after a loss. Later keys lead to their
identity, and a key that was replaced is never used again. Institutions are public and have a name.
A holder is a person: no name, at most a salted commitment to what its bank knows, and only itself,
its bank and the regulator see that it exists. Who changes what is `enrolment`'s part.
"""

from __future__ import annotations

from contracts.kernel.access import PUBLIC, REGULATOR, Viewer
from contracts.kernel.state import Reader, State, Table
from contracts.kernel.types import PUBLIC_KEY_BYTES, Record, Rejected

HOLDER = "holder"
ADMINISTRATOR = "administrator"
OPERATOR = "operator"
BANK = "bank"
# Who may call what only nodes may; nobody can be given it.
NODE = "node"
# The offices that supervise or decide: only two persons together give or take them.
OFFICES = (ADMINISTRATOR, "regulator", BANK, OPERATOR)
OFFICERS_MAX = 100
NOBODY = Viewer(None, frozenset())


class Identity(Record, frozen=True):
    """Who may send. `enrolled_by` is empty for the founders, `suspended_by` while it may act.

    `key` signs for it now. `commitment` is 32 bytes or empty.
    """

    public_key: bytes
    name: str
    roles: tuple[str, ...]
    enrolled_by: bytes
    enrolled_ms: int
    key: bytes
    commitment: bytes
    suspended_by: bytes
    suspended_for: str


class LaterKey(Record, frozen=True):
    """Says which identity a key that is not its first belongs to."""

    identity: bytes
    readers: tuple[str, ...]


class Office(Record, frozen=True):
    """Those who hold one of the offices."""

    members: tuple[bytes, ...]


def identity_readers(identity: Identity) -> tuple[str, ...]:
    """Everybody for institutions; for a holder itself, its bank and the regulator."""
    if identity.roles != (HOLDER,):
        return (PUBLIC,)
    return (identity.public_key.hex(), identity.enrolled_by.hex(), REGULATOR)


IDENTITIES = Table(
    "kernel/identities",
    Identity,
    "the identity's first public key, 33 bytes",
    identity_readers,
    guessable=True,
    secret=PUBLIC_KEY_BYTES,
)
LATER_KEYS = Table(
    "kernel/later_keys",
    LaterKey,
    "a public key that an identity took later, 33 bytes",
    lambda later: later.readers,
    guessable=True,
    secret=PUBLIC_KEY_BYTES,
)
OFFICE = Table("kernel/offices", Office, "the office's name in UTF-8")


def new_identity(
    public_key: bytes,
    name: str,
    roles: tuple[str, ...],
    enrolled_by: bytes,
    enrolled_ms: int,
    commitment: bytes = b"",
) -> Identity:
    """An identity that may act with its first key; roles in order, each once."""
    roles = tuple(sorted(dict.fromkeys(roles)))
    if roles == (HOLDER,):
        name = ""
    return Identity(
        public_key, name, roles, enrolled_by, enrolled_ms, public_key, commitment, b"", ""
    )


# ---- who is behind a key


def identity_of(state: State, key: bytes) -> Identity | None:
    """The identity that a key is or was one of; None for a stranger's."""
    identity = state.get(IDENTITIES, key)
    if identity is None:
        later = state.get(LATER_KEYS, key)
        identity = None if later is None else state.get(IDENTITIES, later.identity)
    return identity


def sender_of(state: State, key: bytes) -> Identity:
    """The identity that acts with this key; rejects with `UNAUTHORIZED` if none may."""
    identity = identity_of(state, key)
    if identity is None:
        raise Rejected("UNAUTHORIZED", why="the sender is not registered")
    if identity.key != key:
        raise Rejected("UNAUTHORIZED", why="this key was replaced")
    if identity.suspended_by:
        raise Rejected("UNAUTHORIZED", why="the sender is suspended")
    return identity


def roles_in(state: State, public_key: bytes) -> tuple[str, ...]:
    """The roles that an identity may act in; none while it is suspended, or for strangers."""
    identity = state.get(IDENTITIES, public_key)
    return () if identity is None or identity.suspended_by else identity.roles


def signing_key(state: State, public_key: bytes) -> bytes | None:
    """The key that signs for an identity; itself if it is none, None while it is suspended."""
    identity = state.get(IDENTITIES, public_key)
    if identity is None:
        return public_key
    return None if identity.suspended_by else identity.key


def may_send(reader: Reader, key: bytes) -> bool:
    """Whether transactions signed by this key are executed at all."""
    identity = identity_of(State(reader), key)
    return identity is not None and identity.key == key and not identity.suspended_by


def owner_of(reader: Reader, key: bytes) -> bytes:
    """The name of the identity that a key is or was one of; a stranger's key stands for itself."""
    identity = identity_of(State(reader), key)
    return key if identity is None else identity.public_key


def viewer_of(reader: Reader, key: bytes) -> Viewer:
    """What whoever has proved this key may read as; a replaced or suspended one is nobody."""
    identity = identity_of(State(reader), key)
    if identity is None:
        return Viewer(key, frozenset(), key)
    if identity.key != key or identity.suspended_by:
        return NOBODY
    return Viewer(identity.public_key, frozenset(identity.roles), key)


def roles_of(reader: Reader, key: bytes) -> frozenset[str]:
    """The roles of whoever uses this key; none for a stranger."""
    return viewer_of(reader, key).roles


# ---- writing


def register(state: State, identity: Identity) -> bool:
    """Register an identity; False if just this was done before.

    Rejects with `IDEM_CONFLICT` if the key is known as something else.
    """
    known = identity_of(state, identity.public_key)
    if known is None:
        put_identity(state, None, identity)
        return True
    same = (known.public_key, known.name, known.roles, known.commitment)
    if same != (identity.public_key, identity.name, identity.roles, identity.commitment):
        raise Rejected("IDEM_CONFLICT", what=IDENTITIES.name)
    return False


def enrolled_holder(state: State, key: bytes, enrolled_by: bytes, enrolled_ms: int) -> bytes:
    """The identity behind a key; a stranger is enrolled as a holder."""
    known = identity_of(state, key)
    if known is None:
        put_identity(state, None, new_identity(key, "", (HOLDER,), enrolled_by, enrolled_ms))
        return key
    return known.public_key


def put_identity(state: State, before: Identity | None, after: Identity) -> None:
    """Write an identity, and its name in the offices that it takes or leaves."""
    if NODE in after.roles:
        raise Rejected("BAD_ARG", field="roles", why="nodes have this role by being listed")
    state.put(IDENTITIES, after.public_key, after)
    held = () if before is None else before.roles
    for office in OFFICES:
        if (office in held) == (office in after.roles):
            continue
        members = tuple([one for one in officers(state, office) if one != after.public_key])
        if office in after.roles:
            members = (*members, after.public_key)
        if len(members) > OFFICERS_MAX:
            raise Rejected("BAD_STATE", why="the office is full", officers_max=OFFICERS_MAX)
        state.put(OFFICE, office.encode(), Office(members))


def officers(state: State, office: str) -> tuple[bytes, ...]:
    """Those who hold an office, suspended or not."""
    found = state.get(OFFICE, office.encode())
    return () if found is None else found.members

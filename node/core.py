"""The synchronous core of a node: store, executor, replica and engine over two databases.

The process (`app`) and the simulator build the same core with other disks and other clocks. Opening
a core writes the genesis state into an empty database and restores the votes that were signed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from contracts.kernel.registry import Contract, genesis_writes, next_validators
from node.admission import Candidate, admit_certified
from node.bodies import vote_entry_codec
from node.code import Code, FixedCode, Library
from node.code_hashes import genesis_hashes
from node.consensus.events import Timeouts
from node.consensus.replica import Replica
from node.engine import Engine
from node.execution import Executor, Limits, Salts
from node.genesis import genesis_parameters
from node.importer import Importer
from node.keyring import Keyring
from node.protocol.committee import CommitteeSecret
from node.protocol.errors import Refused, StoreFailure
from node.protocol.genesis import Genesis
from node.protocol.keys import PrivateKey
from node.protocol.sealing import Opener
from node.protocol.validators import ValidatorSet
from node.state.keyvalue import KeyValue
from node.state.shelf import NO_SNAPSHOTS, Shelf
from node.state.staging import Staging
from node.state.store import Store
from node.state.vault import Vault
from node.state.vote_log import VoteLog
from node.sync import SnapshotSource, Sync
from node.trust import trust_of


class Core(msgspec.Struct, frozen=True):
    """The parts that others read; `engine` is the only one that is fed."""

    engine: Engine
    store: Store
    votes: VoteLog
    executor: Executor
    opener: Opener
    keyring: Keyring
    shelf: Shelf
    staging: Staging | None
    code: Code


def open_core(
    genesis: Genesis,
    contracts: Library | Mapping[str, Contract],
    key: PrivateKey,
    secret: CommitteeSecret,
    vault: Vault,
    state_database: KeyValue,
    vote_database: KeyValue,
    progress: Callable[[int], None] | None = None,
    shelf: Shelf = NO_SNAPSHOTS,
    staging: Staging | None = None,
) -> Core:
    """The core that runs the versions in a library, or just these contracts.

    `shelf` has the snapshots that peers may fetch; without `staging` the node takes none itself.
    Raises `StoreFailure` where a database is damaged or belongs to another network, and
    `Misconfigured` `UNKNOWN_CONTRACT_HASH` where it needs a version that is not in the library.
    """
    chain = genesis.chain
    store = Store(state_database, vault, genesis.tree_depth, genesis.hash, progress)
    salts = Salts(secret.privacy_key)
    keyring = Keyring(genesis.chain_id, key, store, secret.epochs)
    opener = Opener(chain, keyring)
    code = Code(store, contracts) if isinstance(contracts, Library) else FixedCode(contracts)
    executor = Executor(chain, code, store, store.tree, salts, _limits(genesis), opener)
    if store.is_new:
        _write_genesis(genesis, code, store, executor)
    votes = _open_votes(vote_database, vault, store)
    entries = [vote_entry_codec.decode(raw) for raw in votes.load()]
    restored = _restore_bodies(
        genesis, code.now, opener, [raw for entry in entries for raw in entry.raws]
    )
    validators = ValidatorSet(*next_validators(store, store.head.height + 1))
    head_block = store.block(store.head.height)
    replica = Replica(
        chain,
        key,
        validators,
        store.head.header,
        Timeouts(genesis.timeouts.base_ms, genesis.timeouts.cap_ms),
        [entry.record for entry in entries],
        head_block.certificate if head_block else None,
        genesis.created_ms,
        votes.vote_from,
    )
    importer = Importer(chain, code, opener, executor)
    engine = Engine(
        genesis,
        code,
        key.public_key,
        replica,
        executor,
        store,
        _sync(genesis, secret, store, importer, validators, staging),
        shelf,
        restored,
        votes.vote_from,
        validators,
    )
    return Core(engine, store, votes, executor, opener, keyring, shelf, staging, code)


def _write_genesis(genesis: Genesis, code: Code, store: Store, executor: Executor) -> None:
    founding = code.founding(genesis_hashes(genesis))
    writes = genesis_writes(founding, genesis_parameters(genesis))
    delta = store.tree.update(executor.leaf_changes(writes))
    store.commit(store.genesis_batch(writes, delta))


def _open_votes(database: KeyValue, vault: Vault, store: Store) -> VoteLog:
    votes = VoteLog(database, vault)
    if votes.is_new and store.head.height > 0:
        raise StoreFailure(
            "VOTES_MISSING",
            "the chain is there but the vote database is empty, and without its own votes this "
            "validator could sign twice: put it back, or let `groat node repair --votes-lost` keep "
            "it silent for as long as that is so",
        )
    return votes


def _sync(
    genesis: Genesis,
    secret: CommitteeSecret,
    store: Store,
    importer: Importer,
    validators: ValidatorSet,
    staging: Staging | None,
) -> Sync:
    height = store.head.height
    source = None
    if staging is not None:
        every, trust = genesis.snapshot_every, trust_of(genesis, secret)
        source = SnapshotSource(trust, staging.vault, every, staging.records)
    is_adopted = 0 < height == store.oldest.history
    return Sync(importer, height, validators, source, is_adopted=is_adopted)


def _limits(genesis: Genesis) -> Limits:
    limits = genesis.limits
    return Limits(
        limits.block_transactions,
        limits.block_bytes,
        limits.block_calls,
        limits.block_writes,
        genesis.time_scale,
    )


def _restore_bodies(
    genesis: Genesis, contracts: Mapping[str, Contract], opener: Opener, raws: list[bytes]
) -> list[Candidate]:
    """The transactions that this node has promised to serve. It verified them before it voted."""
    chain = genesis.chain
    try:
        return [admit_certified(chain, contracts, opener, raw) for raw in raws]
    except Refused as refusal:
        raise StoreFailure(
            "DAMAGED_VOTES", f"the vote database holds an unreadable body ({refusal.code})"
        ) from None

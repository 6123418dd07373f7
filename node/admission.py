"""Admission: from raw bytes to a candidate that can be ordered and executed.

Two halves. `examine` needs no state and costs nearly all of the time (signature, seals), so that
a worker process can run it in batches. `admit` turns its verdict into a `Candidate` with
validated arguments. A candidate may carry a rejection already (bad seal, bad argument): the
mempool takes the second kind only, while a block that carries either books a failed receipt. One is
*locked* where this node lacks the secret of an epoch that a call is sealed to: what its receipt
says is not known here then, unless the chain does not accept that epoch anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from contracts.kernel.context import Rejected
from contracts.kernel.registry import Contract, validate
from node.protocol.domain import Chain
from node.protocol.encoding import Codec, encode
from node.protocol.errors import Refused
from node.protocol.sealing import Opener
from node.protocol.transaction import (
    TRANSACTION_BYTES_MAX,
    Call,
    SealedCall,
    Transaction,
    parse_transaction,
    verify_signature,
)

WRONG_EPOCH = "WRONG_EPOCH"
SEAL_CODES = frozenset({"BAD_ENVELOPE", WRONG_EPOCH})


class Verdict(msgspec.Struct, frozen=True):
    """What the stateless checks found. `code` is empty where all is well.

    `opened` has the canonical clear call for each sealed one, in order.
    """

    code: str
    message: str
    opened: tuple[bytes, ...]


class PreparedCall(msgspec.Struct, frozen=True):
    """One call with validated arguments. `sealed` tells whether it travelled encrypted."""

    contract: str
    action: str
    args: Any
    sealed: bool


class Candidate(msgspec.Struct, frozen=True):
    """A transaction ready for execution, or with the rejection that its receipt will carry.

    `epochs` are those that its sealed calls name, each once; `contracts` are those that checked its
    arguments, for which `verdict` is kept.
    """

    transaction: Transaction
    calls: tuple[PreparedCall, ...]
    rejection: str
    details: dict[str, Any]
    epochs: tuple[int, ...] = ()
    verdict: Verdict = Verdict("", "", ())
    contracts: Mapping[str, Contract] = {}

    @property
    def content_hash(self) -> bytes:
        """The hash that block roots and proposals name."""
        return self.transaction.content_hash

    @property
    def poolable(self) -> bool:
        """Whether the mempool may take it: a bad seal is refused where it enters."""
        return self.rejection not in SEAL_CODES

    @property
    def locked(self) -> bool:
        """Whether this node lacked a secret that it takes to open the calls."""
        return self.rejection == WRONG_EPOCH


_call_codec: Codec[Call] = Codec(Call, TRANSACTION_BYTES_MAX)


def examine(chain: Chain, opener: Opener, raw: bytes) -> Verdict:
    """Decode, verify the signature, open every seal. Pure; never raises for bad input."""
    try:
        transaction = parse_transaction(chain, raw)
        verify_signature(transaction)
        return Verdict("", "", _open_seals(opener, transaction))
    except Refused as refusal:
        return Verdict(refusal.code, refusal.message, ())


def admit(
    chain: Chain, contracts: Mapping[str, Contract], raw: bytes, verdict: Verdict
) -> Candidate:
    """The candidate for `raw`; raises `Refused` where the bytes or the signature are bad."""
    if verdict.code and verdict.code not in SEAL_CODES:
        raise Refused(verdict.code, verdict.message)
    return _candidate(parse_transaction(chain, raw), contracts, verdict)


def admit_certified(
    chain: Chain, contracts: Mapping[str, Contract], opener: Opener, raw: bytes
) -> Candidate:
    """As `admit`, of a transaction whose signature a quorum has checked; parsed once only."""
    transaction = parse_transaction(chain, raw)
    try:
        verdict = Verdict("", "", _open_seals(opener, transaction))
    except Refused as refusal:
        if refusal.code not in SEAL_CODES:
            raise
        verdict = Verdict(refusal.code, refusal.message, ())
    return _candidate(transaction, contracts, verdict)


def _candidate(
    transaction: Transaction, contracts: Mapping[str, Contract], verdict: Verdict
) -> Candidate:
    epochs = _epochs_of(transaction)
    if verdict.code:
        return Candidate(transaction, (), verdict.code, {}, epochs, verdict, contracts)
    opened = iter(verdict.opened)
    prepared = []
    for call in transaction.body.calls:
        sealed = type(call) is SealedCall
        clear: Call = _call_codec.decode(next(opened)) if sealed else call  # type: ignore[assignment]
        try:
            args = validate(contracts, clear.contract, clear.action, clear.args)
        except Rejected as rejected:
            details = dict(rejected.details)
            return Candidate(transaction, (), rejected.code, details, epochs, verdict, contracts)
        prepared.append(PreparedCall(clear.contract, clear.action, args, sealed))
    return Candidate(transaction, tuple(prepared), "", {}, epochs, verdict, contracts)


def admit_again(chain: Chain, contracts: Mapping[str, Contract], candidate: Candidate) -> Candidate:
    """The same transaction with its arguments checked by other versions of the contracts."""
    return admit(chain, contracts, candidate.transaction.raw, candidate.verdict)


def unlock(chain: Chain, opener: Opener, candidate: Candidate) -> Candidate:
    """The same transaction with the secrets that are here now; it may remain locked."""
    return admit_certified(chain, candidate.contracts, opener, candidate.transaction.raw)


def examine_batch(chain: Chain, opener: Opener, raws: Sequence[bytes]) -> list[Verdict]:
    """`examine` for each of `raws`, in order."""
    return [examine(chain, opener, raw) for raw in raws]


def _epochs_of(transaction: Transaction) -> tuple[int, ...]:
    calls = transaction.body.calls
    return tuple(dict.fromkeys([call.epoch for call in calls if type(call) is SealedCall]))


def _open_seals(opener: Opener, transaction: Transaction) -> tuple[bytes, ...]:
    body = transaction.body
    return tuple(
        encode(opener.open(call, body.sender, body.nonce, body.valid_until, index))
        for index, call in enumerate(body.calls)
        if type(call) is SealedCall
    )

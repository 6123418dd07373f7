"""The verifier: signatures and seals, checked once per node in one worker process.

The worker keeps the crypto off the event loop's interpreter lock. Raw bytes go in by the batch,
verdicts come out; the checks themselves are `admission.examine`. The process is told the keys of
the epochs, holds no other secret, and dies with the node.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from node.admission import Verdict, examine_batch
from node.protocol.domain import Chain
from node.protocol.keys import PrivateKey
from node.protocol.sealing import Opener

EXAMINE_BATCH_MAX = 250
PR_SET_PDEATHSIG = 1

_CLEAR = Verdict("", "", ())

_worker: tuple[Chain, Opener] | None = None
_epochs: dict[int, PrivateKey] = {}
"""The worker process's own state, set by `_begin` and `_learn`."""

_Packed = tuple[bytes, ...] | tuple[str, str]


class Verifier:
    """Front of the worker process."""

    def __init__(self, chain: Chain) -> None:
        self._pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("fork"),
            initializer=_begin,
            initargs=(chain,),
        )

    def warm_up(self) -> None:
        """Fork now: before there are an event loop, threads and sockets to inherit."""
        self._pool.submit(_examine, ()).result()

    def learn(self, epoch: int, key: PrivateKey) -> None:
        """Open calls sealed to this epoch too, in all that is examined from now on."""
        self._pool.submit(_learn, epoch, key.secret)

    async def examine(self, raws: Sequence[bytes]) -> list[Verdict]:
        """The verdict on each of `raws`, in order."""
        loop = asyncio.get_running_loop()
        packed = await loop.run_in_executor(self._pool, _examine, tuple(raws))
        return [_unpack(item) for item in packed]

    def close(self) -> None:
        """End the worker process."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _begin(chain: Chain) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A node that is killed outright cannot end its worker, so the kernel does.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _worker = chain, Opener(chain, _epochs)


def _learn(epoch: int, secret: bytes) -> None:
    _epochs[epoch] = PrivateKey(secret)


def _examine(raws: tuple[bytes, ...]) -> list[_Packed]:
    if _worker is None:
        raise AssertionError("the worker was not initialised")
    return [_pack(verdict) for verdict in examine_batch(*_worker, raws)]


def _pack(verdict: Verdict) -> _Packed:
    """Plain tuples cross the pipe faster than records."""
    return (verdict.code, verdict.message) if verdict.code else verdict.opened


def _unpack(packed: _Packed) -> Verdict:
    if not packed:
        return _CLEAR
    if isinstance(packed[0], str):
        return Verdict(packed[0], str(packed[1]), ())
    return Verdict("", "", packed)

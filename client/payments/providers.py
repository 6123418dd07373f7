"""Payment providers behind one interface: how a channel charges, asks and gives back (R4.6).

Two adapters, for two dialects: JSON in minor units, and a form in yuan. A provider that does not
answer in time raises `NoAnswer`: nobody knows then, and it must be asked again under the same
reference. Amounts are in minor units.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import aiohttp

from client.payments.sandbox import NONE, TRADE, fen_of, yuan_of
from node.protocol.errors import Refused
from node.protocol.json_view import integer_from_json

ANSWER_SECONDS = 5.0
ANSWER_BYTES_MAX = 64 << 10
STATUSES = ("succeeded", "failed", "pending", NONE)


class NoAnswer(Exception):
    """The provider did not answer, or not sensibly: the outcome is unknown."""


class Answer(NamedTuple):
    """What the provider says of a charge: one of `STATUSES`, and the amount in its books."""

    status: str
    amt: int


class Provider(Protocol):
    """A way to charge; every method may be repeated with the same reference. Raises `NoAnswer`."""

    async def charge(self, reference: str, amt: int, cur: str) -> Answer:
        """Charge once under this reference."""
        ...

    async def look(self, reference: str) -> Answer:
        """What became of it."""
        ...

    async def refund(self, reference: str, identity: str, amt: int) -> None:
        """Give a part back once under this id."""
        ...


class _Remote:
    """One provider's address, token and socket."""

    def __init__(self, url: str, token: str, seconds: float = ANSWER_SECONDS) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> dict[str, object]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)
        try:
            async with self._session.request(
                method,
                self._url + path,
                json=body,
                data=form,
                headers=self._headers,
                allow_redirects=False,
            ) as response:
                raw = await response.content.read(ANSWER_BYTES_MAX)
                answer = json.loads(raw) if response.status < 300 else None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            raise NoAnswer(f"{self._url}: {str(error) or type(error).__name__}") from None
        if not isinstance(answer, dict):
            raise NoAnswer(f"{self._url} answered {response.status}")
        return answer


class JsonProvider(_Remote):
    """JSON bodies, minor units."""

    async def charge(self, reference: str, amt: int, cur: str) -> Answer:
        """See `Provider`."""
        body = {"reference": reference, "amount": amt, "currency": cur}
        return _answer(await self._ask("POST", "/v1/charges", body))

    async def look(self, reference: str) -> Answer:
        """See `Provider`."""
        return _answer(await self._ask("GET", f"/v1/charges/{reference}"))

    async def refund(self, reference: str, identity: str, amt: int) -> None:
        """See `Provider`."""
        body = {"reference": reference, "id": identity, "amount": amt}
        await self._ask("POST", "/v1/refunds", body)


class FormProvider(_Remote):
    """One gateway for all, forms, yuan with two decimals; CNY alone."""

    async def charge(self, reference: str, amt: int, cur: str) -> Answer:
        """See `Provider`."""
        if cur != "CNY":
            raise NoAnswer(f"this provider takes no {cur}")
        return await self._trade("trade.pay", reference, total_amount=yuan_of(amt))

    async def look(self, reference: str) -> Answer:
        """See `Provider`."""
        return await self._trade("trade.query", reference)

    async def refund(self, reference: str, identity: str, amt: int) -> None:
        """See `Provider`."""
        more = {"out_request_no": identity, "refund_amount": yuan_of(amt)}
        await self._trade("trade.refund", reference, **more)

    async def _trade(self, method: str, reference: str, **more: str) -> Answer:
        form = {"method": method, "out_trade_no": reference, **more}
        told = await self._ask("POST", "/gateway.do", form=form)
        by_name = {theirs: ours for ours, theirs in TRADE.items()}
        try:
            amt = fen_of(str(told.get("total_amount")))
        except Refused:
            raise NoAnswer(f"{self._url} names no amount") from None
        return _checked(by_name.get(str(told.get("trade_status")), ""), amt)


ADAPTERS: dict[str, type[JsonProvider] | type[FormProvider]] = {
    "json": JsonProvider,
    "form": FormProvider,
}


def _answer(told: Mapping[str, object]) -> Answer:
    try:
        amt = integer_from_json(told.get("amount"), "amount")
    except Refused:
        raise NoAnswer("the provider names no amount") from None
    return _checked(str(told.get("status")), amt)


def _checked(status: str, amt: int) -> Answer:
    if status not in STATUSES:
        raise NoAnswer("the provider names no status that there is")
    return Answer(status, amt)

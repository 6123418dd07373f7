"""Webhooks in the form of the Standard Webhooks specification 1.0.0: signed and recognisable.

What is signed is `{id}.{timestamp}.{body}`, by HMAC-SHA256 under a shared secret. A message keeps
its id however often it is sent, so that the receiver can tell a repetition; one that is more than
five minutes old or early is refused. When to send what is `connector`'s part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from client.outcomes import Json
from node.protocol.errors import Misconfigured

SECRET_PREFIX = "whsec_"  # noqa: S105
SECRET_BYTES_MIN = 24
SECRET_BYTES_MAX = 64
TOLERANCE_SECONDS = 300
ANSWER_BYTES_MAX = 64 << 10
DELIVERY_SECONDS = 15.0
ID_HEADER = "webhook-id"
TIME_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
_VERSION = "v1"


class Undelivered(Exception):
    """The receiver did not take the message; the same message may be sent again later."""


class BadSignature(Exception):
    """A message that the holder of the secret did not send, or not lately."""


def parse_secret(text: str) -> bytes:
    """The secret in `whsec_` and base64; raises `Misconfigured` `BAD_SECRET`."""
    try:
        secret = base64.b64decode(text.strip().removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise Misconfigured(
            "BAD_SECRET",
            f"a webhook secret is {SECRET_PREFIX} and base64 of {SECRET_BYTES_MIN} to "
            f"{SECRET_BYTES_MAX} bytes",
        )
    return secret


def format_secret(secret: bytes) -> str:
    """The text that `parse_secret` reads."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def sign(secret: bytes, identity: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a message."""
    return {
        ID_HEADER: identity,
        TIME_HEADER: str(timestamp_s),
        SIGNATURE_HEADER: f"{_VERSION},{_signature(secret, identity, timestamp_s, body)}",
    }


def verify(secret: bytes, headers: Mapping[str, str], body: bytes, now_s: int) -> str:
    """The id of a genuine message; raises `BadSignature`."""
    identity, timestamp = headers.get(ID_HEADER, ""), headers.get(TIME_HEADER, "")
    if not identity or not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 12:
        raise BadSignature("no id or no timestamp")
    if abs(now_s - int(timestamp)) > TOLERANCE_SECONDS:
        raise BadSignature("its timestamp is too far from now")
    expected = _signature(secret, identity, int(timestamp), body).encode()
    for part in headers.get(SIGNATURE_HEADER, "").split():
        version, _, given = part.partition(",")
        if version == _VERSION and hmac.compare_digest(given.encode(), expected):
            return identity
    raise BadSignature("its signature does not match")


class Webhook:
    """One receiver, and the socket to it."""

    def __init__(self, url: str, secret: bytes, seconds: float = DELIVERY_SECONDS) -> None:
        self.url = url
        self._secret = secret
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
        await self.close()

    async def close(self) -> None:
        """Close the socket."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def deliver(self, identity: str, timestamp_s: int, message: Json) -> Json:
        """Send a message once; the receiver's JSON answer, {} for none. Raises `Undelivered`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)
        body = json.dumps(message, separators=(",", ":"), sort_keys=True).encode()
        headers = sign(self._secret, identity, timestamp_s, body)
        headers["Content-Type"] = "application/json"
        try:
            async with self._session.post(
                self.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                raw = await response.content.read(ANSWER_BYTES_MAX + 1)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Undelivered(f"{self.url}: {str(error) or type(error).__name__}") from None
        if not 200 <= response.status < 300:
            raise Undelivered(f"{self.url} answered {response.status}")
        return _answer(self.url, raw)


def _answer(url: str, raw: bytes) -> Json:
    if not raw.strip():
        return {}
    try:
        answer = json.loads(raw) if len(raw) <= ANSWER_BYTES_MAX else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Undelivered(f"{url} did not answer with a JSON object")
    return answer


def _signature(secret: bytes, identity: str, timestamp_s: int, body: bytes) -> str:
    signed = f"{identity}.{timestamp_s}.".encode() + body
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()

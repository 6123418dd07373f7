"""Below and around the application: whatever comes in, a problem document goes out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import uvloop

from node.http import requests
from node.http.limits import HttpLimits
from node.http.rate_limit import ADDRESSES_MAX, RateLimit
from node.http.server import HEADER_LINE_BYTES_MAX, HEADERS_MAX, HttpServer
from node.protocol.errors import Misconfigured
from tests.http.conftest import Api
from tests.http.support import Service, World


async def raw_exchange(api: Api, sent: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of what comes back for these bytes."""
    reader, writer = await asyncio.open_connection(*api.server.address)
    writer.write(sent)
    try:
        async with asyncio.timeout(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
        await writer.wait_closed()
    return int(head[0].split()[1]), headers, json.loads(body)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nBad\x00Header: 1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /" + b"a" * (HEADER_LINE_BYTES_MAX + 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * (HEADER_LINE_BYTES_MAX + 10) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * (HEADERS_MAX + 10) + b"\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_not_http(api: Api, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    with caplog.at_level(logging.WARNING):
        status, headers, body = await raw_exchange(api, sent)
    assert (status, body["code"]) == (400, "BAD_HTTP")
    assert headers["content-type"].startswith("application/problem+json")
    assert headers["x-content-type-options"] == "nosniff"
    assert "aiohttp" not in json.dumps(body) + json.dumps(headers)
    assert caplog.records == []
    async with api.http.get(api.server.url + "/metrics") as response:
        assert "groat_http_malformed_total 1.0" in await response.text()


async def test_broken_chunks(api: Api) -> None:
    head = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    head += b"Content-Type: application/octet-stream\r\n\r\n"
    status, _, body = await raw_exchange(api, head + b"zz\r\nxx\r\n")
    assert (status, body["status"]) == (400, 400)


async def test_a_body_that_never_comes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_TIMEOUT_S", 0.05)
    head = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
    head += b"Content-Type: application/octet-stream\r\n\r\nabc"
    status, _, body = await raw_exchange(api, head)
    assert (status, body["code"]) == (408, "BODY_TIMEOUT")


async def test_an_unfulfillable_expectation(api: Api) -> None:
    sent = b"GET /livez HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\n\r\n"
    status, headers, body = await raw_exchange(api, sent)
    assert (status, body["code"]) == (417, "BAD_HTTP")
    assert headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/", "/v2/status", "//", "/v1/status/"])
async def test_no_such_resource(api: Api, path: str) -> None:
    assert await api.code("GET", path, 404) == "NOT_FOUND"


async def test_no_such_method(api: Api) -> None:
    assert await api.code("DELETE", "/v1/transactions", 405) == "METHOD_NOT_ALLOWED"
    assert api.headers["Allow"] == "POST"
    assert await api.code("POST", "/v1/status", 405) == "METHOD_NOT_ALLOWED"


async def test_head_is_get_without_a_body(api: Api) -> None:
    async with api.http.head(api.server.url + "/v1/status") as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) > 100
        assert await response.read() == b""


@pytest.mark.parametrize("path", ["/v1/challenges", "/v1/sessions"])
async def test_bodies_are_bounded_typed_and_plain(api: Api, path: str) -> None:
    large = b'{"public_key": "' + b"0" * requests.JSON_BYTES_MAX + b'"}'
    headers = {"Content-Type": "application/json"}
    assert await api.code("POST", path, 413, data=large, headers=headers) == "TOO_LARGE"
    assert await api.code("POST", path, 415, data=b"{}") == "BAD_CONTENT_TYPE"
    packed = {**headers, "Content-Encoding": "gzip"}
    assert await api.code("POST", path, 415, data=b"{}", headers=packed) == "BAD_CONTENT_TYPE"


async def test_our_own_faults_are_logged_and_not_told(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(api.service, "peers", broken)
    answer = await api.ask("GET", "/v1/peers", 500)
    assert answer["code"] == "INTERNAL"
    assert "secret" not in json.dumps(answer)
    assert "the secret reason" in caplog.text


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_connections_are_bounded(world: World, run: Callable[[Any], Any]) -> None:
    async def main() -> bytes:
        server = HttpServer(Service(world), "127.0.0.1", 0, HttpLimits(connections=1))
        await server.start()
        first = await asyncio.open_connection(*server.address)
        await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*server.address)
        answer = await reader.read()
        for one in (first[1], writer):
            one.close()
            await one.wait_closed()
        await server.stop()
        return answer

    answer = run(main())
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"TOO_MANY_CONNECTIONS"' in answer


async def test_a_client_that_goes_away_is_not_our_fault(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    for head in (b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n4\r\nab"):
        _, writer = await asyncio.open_connection(*api.server.address)
        kind = b"Content-Type: application/octet-stream\r\n"
        writer.write(b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\n" + kind + head)
        await asyncio.sleep(0.02)
        writer.transport.abort()
    await asyncio.sleep(0.05)
    await api.get("/livez")
    assert caplog.records == []


async def test_an_address_in_use_is_one_line(api: Api, world: World) -> None:
    host, port = api.server.address
    with pytest.raises(Misconfigured, match=r"node\.toml") as refused:
        await HttpServer(Service(world), host, port).start()
    assert refused.value.code == "ADDRESS_IN_USE"


async def test_stop_ends_long_polls_and_idle_connections(api: Api) -> None:
    path = f"{api.server.url}/v1/transactions/{'ab' * 32}?wait=30"
    polling = asyncio.ensure_future(api.http.get(path))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await api.server.stop()
        response = await polling
    assert (await response.json())["status"] == "unknown"


def test_token_bucket() -> None:
    limit = RateLimit(per_second=2, burst=3)
    far = "203.0.113.9"
    assert [limit.admits(far, 10.0) for _ in range(4)] == [True, True, True, False]
    assert [limit.admits(far, 10.5) for _ in range(2)] == [True, False]
    assert limit.admits("203.0.113.10", 10.5)
    assert all(limit.admits(one, 10.5) for one in ("127.0.0.1", "::1") for _ in range(10))


def test_token_bucket_is_bounded() -> None:
    limit = RateLimit(per_second=0.001, burst=1)
    assert limit.admits("first", 0.0)
    assert not limit.admits("first", 0.0)
    for number in range(ADDRESSES_MAX):
        limit.admits(f"198.51.100.{number}", 0.0)
    assert limit.admits("first", 0.0), "its bucket was dropped to make room"


async def test_over_the_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.http.rate_limit.is_loopback", lambda _: False)
    limits = HttpLimits(requests_per_second=1, burst=1)
    server = HttpServer(Service(world), "127.0.0.1", 0, limits)
    await server.start()
    async with aiohttp.ClientSession() as http:
        async with http.get(server.url + "/livez") as first:
            assert first.status == 200
        async with http.get(server.url + "/livez") as second:
            assert second.status == 429
            assert (await second.json(content_type=None))["code"] == "RATE_LIMITED"
            assert second.headers["Retry-After"] == "1"
    await server.stop()

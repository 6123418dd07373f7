"""The whole API under a fuzzer that reads its own description: every answer is one it promises.

Schemathesis makes requests of each operation of the OpenAPI document, valid and invalid ones, and
hypothesis sends what no document describes: other bodies, headers and paths.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import interface
from node.http.api import ROUTES
from node.http.limits import HttpLimits
from node.http.openapi import build_document
from node.http.server import HttpServer
from tests.http.support import Service, World

EXAMPLES = 6
WILD_EXAMPLES = 150
CHECKS = (
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    unsupported_method,
)
STEADY = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SCHEMA = schemathesis.openapi.from_dict(build_document(ROUTES, interface(CONTRACTS), "0.1.0"))
# A stream has no end that a fuzzer could wait for; it has tests of its own.
OPERATIONS = [
    found.ok()
    for found in SCHEMA.get_all_operations()
    if isinstance(found, Ok) and found.ok().definition.raw["operationId"] != "streamEvents"
]


class HurriedService(Service):
    """Waits for nothing: how long one may wait is tested elsewhere."""

    async def wait_committed(self, transaction_id: bytes, timeout_s: float) -> bool:
        return self.query.is_final(transaction_id)


class Served:
    """A node over a chain with a card, in a thread of its own."""

    def __init__(self) -> None:
        self.world = World()
        self.world.open_shop()
        self.world.commit(self.world.consume(1))
        self._loop = asyncio.new_event_loop()
        self._started, self._end = threading.Event(), asyncio.Event()
        self.address = ("", 0)
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        self._thread.start()
        assert self._started.wait(10)

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    async def _serve(self) -> None:
        server = HttpServer(HurriedService(self.world), "127.0.0.1", 0, HttpLimits())
        await server.start()
        self.address = server.address
        self._started.set()
        await self._end.wait()
        await server.stop()

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    node = Served()
    yield node
    node.stop()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.label)
def test_every_answer_is_one_that_the_document_promises(
    served: Served, operation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @STEADY
    @given(case=operation.as_strategy())
    def valid(case: Any) -> None:
        case.call_and_validate(base_url=served.url, checks=CHECKS)

    @STEADY
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def invalid(case: Any) -> None:
        case.call_and_validate(base_url=served.url, checks=(*CHECKS, negative_data_rejection))

    valid()
    if operation.path_parameters or operation.query or operation.body:
        invalid()
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


TOKENS = st.sampled_from(
    [
        b"GET",
        b"POST",
        b"DELETE",
        b"get",
        b" ",
        b"  ",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b"\x00",
        b"\xff",
    ]
)
TARGETS = st.one_of(
    st.sampled_from(
        [b"/v1/status", b"/v1/transactions?wait=commit", b"*", b"/", b"/..%2f..%2fetc"]
    ),
    st.binary(max_size=40).map(lambda raw: b"/" + raw),
)
HEADERS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"Host: x",
                b"Content-Length: 5",
                b"Content-Length: 18446744073709551616",
                b"Transfer-Encoding: chunked",
                b"Transfer-Encoding: gzip, chunked",
                b"Expect: 100-continue",
                b"Upgrade: websocket",
                b"Connection: close",
                b"Authorization: Bearer " + b"00" * 80,
                b"Content-Type: application/x-groat-batch",
                b"Content-Encoding: gzip",
                b"Range: bytes=0-",
                b"Last-Event-ID: 1.1",
            ]
        ),
        st.binary(max_size=30),
    ),
    max_size=6,
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a request, more or less."""
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/2"]))
    start = b" ".join([draw(TOKENS), draw(TARGETS), version])
    end = draw(st.sampled_from([b"\r\n\r\n", b"\n\n", b"\r\n", b""]))
    return b"\r\n".join([start, *draw(HEADERS)]) + end + draw(st.binary(max_size=60))


@settings(STEADY, max_examples=WILD_EXAMPLES)
@given(sent=st.lists(requests(), min_size=1, max_size=3).map(b"".join))
def test_what_no_document_describes_gets_a_refusal_or_nothing(served: Served, sent: bytes) -> None:
    with socket.create_connection(served.address, timeout=10) as line, suppress(ConnectionError):
        line.sendall(sent)
        line.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := line.recv(65_536):
            answer += chunk
        # Text that looks like a status line of ours cannot come from what was sent.
        assert b"HTTP/1.1 5" not in answer, answer
        assert b"Traceback" not in answer
    with socket.create_connection(served.address, timeout=10) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 200 ")

"""What operators ask: alive, ready, version, metrics, entry points, and the API's description."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client.parser import text_string_to_metric_families

from contracts.catalog import CONTRACTS
from contracts.kernel.registry import interface
from node.http.api import ROUTES
from node.http.metrics import COUNTERS, GAUGES
from node.http.openapi import build_document
from node.http.service import FailedCheck
from node.protocol.errors import StoreFailure
from tests.http.conftest import Api
from tests.http.support import BLOCK_MS, World


async def test_alive_and_ready(api: Api) -> None:
    assert (await api.get("/livez"))["status"] == "OK"
    ready = await api.get("/readyz")
    assert (ready["status"], ready["failed_checks"]) == ("OK", [])
    api.service.failed = [FailedCheck("peers", "2 of 3 needed for a quorum")]
    answer = await api.ask("GET", "/readyz", 503)
    assert answer["code"] == "NOT_READY"
    assert answer["failed_checks"] == [
        {"component": "peers", "reason": "2 of 3 needed for a quorum"}
    ]
    assert (await api.get("/livez"))["status"] == "OK"


async def test_version(api: Api) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", (await api.get("/version"))["version"])


async def test_metrics(api: Api, world: World) -> None:
    world.open_shop()
    await api.get("/v1/status")
    await api.code("GET", "/nope", 404)
    async with api.http.get(api.server.url + "/metrics") as response:
        families = {
            family.name: family for family in text_string_to_metric_families(await response.text())
        }
    values = {name: family.samples[0].value for name, family in families.items()}
    assert values["groat_consensus_height"] == values["groat_consensus_total_txs"] == 3
    assert values["groat_consensus_num_txs"] == 1
    assert values["groat_consensus_block_interval_seconds"] == BLOCK_MS / 1000
    assert values["groat_consensus_view_number"] == 7
    assert values["groat_p2p_message_send_bytes"] == 512
    assert families["groat_consensus_total_txs"].type == "counter"
    answered = {
        (sample.labels["operation"], sample.labels["status"]): sample.value
        for sample in families["groat_http_requests"].samples
        if sample.name.endswith("_total")
    }
    assert answered[("getStatus", "200")] == 1
    assert sum(value for (_, status), value in answered.items() if status == "404") == 1


def test_metric_names_are_distinct() -> None:
    assert not set(GAUGES) & set(COUNTERS)


async def test_entry_points_answer(api: Api) -> None:
    for link in (await api.get("/"))["links"]:
        if link not in ("/v1/events", "/metrics"):
            await api.get(link)


async def test_security_headers_and_no_cors(api: Api) -> None:
    url = api.server.url + "/v1/status"
    async with api.http.get(url, headers={"Origin": "https://evil.example"}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert response.headers["Referrer-Policy"] == "no-referrer"
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert await api.code("OPTIONS", "/v1/sessions", 405, headers=preflight) == "METHOD_NOT_ALLOWED"


# ---- OpenAPI


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return build_document(ROUTES, interface(CONTRACTS), "0.1.0")


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


async def test_the_document_is_served(api: Api) -> None:
    served = await api.get("/v1/openapi.json")
    assert served["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(served).validate()


async def test_document_and_router_agree(api: Api, document: dict[str, Any]) -> None:
    routed = {
        (route.method, route.resource.canonical)
        for route in api.server.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if (path, method.upper()) not in _concrete_queries()
    }
    assert routed == described


def _concrete_queries() -> set[tuple[str, str]]:
    return {
        (f"/v1/contracts/{name}/queries/{query}", "POST")
        for name, contract in CONTRACTS.items()
        for query in contract.queries
    }


def test_every_query_is_described_with_its_arguments(document: dict[str, Any]) -> None:
    for path, method in _concrete_queries():
        operation = document["paths"][path][method.lower()]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema["type"] == "object"
        assert "$ref" not in str(schema)
    card = document["paths"]["/v1/contracts/prepaid/queries/card"]["post"]
    assert card["requestBody"]["required"]
    assert "card" in card["requestBody"]["content"]["application/json"]["schema"]["properties"]


def test_every_action_has_a_schema(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["prepaid.consume"]
    assert set(schema["required"]) == {"card", "amt", "seq"}
    assert {"type": "string", "pattern": "^-?(0|[1-9][0-9]*)$"} in schema["properties"]["amt"][
        "anyOf"
    ]


def test_operations_have_distinct_names(document: dict[str, Any]) -> None:
    names = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names)) > 25


async def test_damage_met_while_reading_stops_the_node(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code, status, told in (("DISK_FAILED", 503, 0), ("DATABASE_DAMAGED", 500, 1)):
        failure = StoreFailure(code, "/secret/folder is damaged")

        def fail(*_: object, failure: StoreFailure = failure) -> None:
            raise failure

        monkeypatch.setattr(api.service.query, "blocks", fail)
        answer = await api.ask("GET", "/v1/blocks", status)
        assert "secret" not in str(answer)
        assert len(api.service.store_failures) == told

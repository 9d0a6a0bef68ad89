"""What holds for every endpoint: tokens, problems, limits, probes, the OpenAPI document."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from gateway.api.openapi import document
from gateway.api.routes import ROUTES
from gateway.core.errors import Refused, StoreError
from gateway.core.ports import Health


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if not route.open], ids=lambda route: route.operation_id
)
async def test_nothing_is_told_without_a_token(api, route):
    path = re.sub(r"\{\w+\}", "1", route.path)
    for token in (None, "xg_wrong", ""):
        await api.problem(401, route.method, path, token=token)
        assert api.headers["WWW-Authenticate"] == "Bearer"


async def test_probes_need_no_token(api):
    assert await api.call("GET", "/healthz", token=None) == (200, {"status": "ok"})
    assert await api.call("GET", "/readyz", token=None) == (200, {"status": "ready", "problems": []})
    api.operations.present = Health(problems=("the lease is lost",))
    status, answer = await api.call("GET", "/readyz", token=None)
    assert (status, answer["problems"]) == (503, ["the lease is lost"])


async def test_metrics(api):
    api.operations.present = Health(counters={"runs_sent": 7}, gauges={"lag_ms": 1.5}, problems=("x",))
    _, text = await api.call("GET", "/metrics", token=None)
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found == {
        "xxljob_gateway_runs_sent_total": 7,
        "xxljob_gateway_lag_ms": 1.5,
        "xxljob_gateway_ready": 0,
    }


async def test_a_body_that_is_not_json(api):
    for raw in (b"{", b"", b"appname=x", b'{"appname": "\\ud800"}', b"\xff"):
        for method, path in (
            ("POST", "/api/v1/apps"),
            ("POST", "/api/v1/jobs"),
            ("POST", "/api/v1/jobs/batch"),
            ("PATCH", "/api/v1/jobs/1"),
        ):
            answer = await api.problem(400, method, path, raw=raw)
            assert "not JSON" in answer["detail"]
    assert (await api.problem(400, "POST", "/api/v1/jobs/1/trigger", raw=b"{"))["detail"]


async def test_a_body_over_8_mb(api):
    assert (
        "at most 8388608"
        in (await api.problem(413, "POST", "/api/v1/jobs", raw=b" " * (8 * 1024 * 1024 + 1)))["detail"]
    )

    async def stream():
        for _ in range(9):
            yield b" " * 1024 * 1024

    headers = {"Authorization": f"Bearer {api.token}"}
    async with api.session.post(api.url + "/api/v1/jobs/batch", data=stream(), headers=headers) as answer:
        assert answer.status == 413


async def test_a_body_of_several_megabytes_is_taken(api):
    answer = await api.wrong("POST", "/api/v1/apps", {"appname": "billing", "title": "x" * 5_000_000})
    assert answer[0] == "title"
    assert len(answer[1]) < 300


async def test_an_address_that_is_none(api):
    assert "/api/v1/nothing" in (await api.problem(404, "GET", "/api/v1/nothing"))["detail"]


async def test_a_method_that_is_not_taken(api):
    await api.problem(405, "PUT", "/api/v1/jobs/5")
    assert api.headers["Allow"] == "DELETE, GET, PATCH"
    await api.problem(405, "DELETE", "/api/v1/jobs")


@pytest.mark.parametrize(
    ("error", "status"),
    [(StoreError("the disk is full"), 503), (Refused("not allowed"), 403), (KeyError("x"), 500)],
)
async def test_failures_are_problems(api, error, status):
    api.operations.fails = error
    answer = await api.problem(status, "POST", "/api/v1/jobs/1/trigger")
    assert ("disk is full" in answer["detail"]) == (status == 503)


async def test_bad_input_is_not_logged(api):
    with capture_logs() as logs:
        await api.problem(422, "POST", "/api/v1/apps", {"appname": 5})
        await api.problem(400, "POST", "/api/v1/apps", raw=b"{")
        await api.problem(404, "GET", "/api/v1/jobs/7")
        await api.problem(401, "GET", "/api/v1/jobs/7", token="no")
    assert logs == []


# ---------------------------------------------------------------- OpenAPI


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


async def test_the_document_is_served(api):
    assert (await api.call("GET", "/openapi.json", token=None))[1] == json.loads(json.dumps(document()))


def test_the_document_names_every_route_once():
    paths = document()["paths"]
    operations = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(operations) == len(set(operations)) == len(ROUTES)
    for route in ROUTES:
        operation = paths[route.path][route.method.lower()]
        assert operation["summary"]
        assert operation["responses"]
        placeholders = set(re.findall(r"\{(\w+)\}", route.path))
        assert {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"} == placeholders


def test_every_reference_has_a_target():
    found = document()
    schemas = found["components"]["schemas"]
    used = set(references(found))
    assert {name.rpartition("/")[2] for name in used} <= set(schemas)
    assert all(name.startswith("#/components/schemas/") for name in used)


def test_bodies_refuse_unknown_fields_and_say_so():
    schemas = document()["components"]["schemas"]
    for name in ("AppBody", "AppPatch", "JobBody", "JobPatch", "TriggerBody", "ScheduleBody", "TaskBody"):
        assert schemas[name]["additionalProperties"] is False
    assert "required" not in schemas["JobPatch"]
    assert schemas["JobBody"]["required"] == ["app", "name", "schedule", "task"]


def test_queries_are_described_by_their_public_names():
    parameters = document()["paths"]["/api/v1/runs"]["get"]["parameters"]
    assert [one["name"] for one in parameters] == [
        "cursor",
        "limit",
        "job_id",
        "app",
        "state",
        "from",
        "to",
        "root_id",
        "task_id",
        "trigger",
        "parent_id",
        "author",
    ]

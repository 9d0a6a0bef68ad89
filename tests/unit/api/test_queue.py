"""The queue of an app through the API."""

from __future__ import annotations

import pytest

from gateway.core.waiting import Queue, Waiting
from gateway.store.runs import RunStore
from tests.unit.api.test_runs import BASE, runs

__all__ = ["runs"]


async def test_who_waits(billing, runs):
    (waiting,) = (await RunStore(billing.db, billing.clock).get_many([BASE + 3])).values()
    at_ms = billing.clock.ms + 2000
    billing.queues.queue = Queue(
        5, 7, (Waiting(waiting, 1, "5 of 5", at_ms), Waiting(waiting, 2, "it", None))
    )
    await billing.ok("PATCH", "/api/v1/apps/billing", {"max_running": 5})
    billing.clock.ms += 700
    answer = await billing.ok("GET", "/api/v1/apps/billing/queue")
    assert (answer["app"], answer["max_running"], answer["running"], answer["waiting"]) == (
        "billing",
        5,
        5,
        7,
    )
    first, second = answer["items"]
    assert (first["run_id"], first["position"], first["reason"], first["waited_ms"]) == (
        BASE + 3,
        1,
        "5 of 5",
        700,
    )
    assert (first["predicted_start_ms"], second["predicted_start"]) == (at_ms, None)
    assert len((await billing.ok("GET", "/api/v1/apps/billing/queue?limit=1"))["items"]) == 1
    await billing.problem(404, "GET", "/api/v1/apps/nobody/queue")
    assert (await billing.wrong("GET", "/api/v1/apps/billing/queue?limit=0"))[0] == "limit"


@pytest.mark.parametrize(("path", "what"), [("move-to-front", "front"), ("bypass-limits", "bypass")])
async def test_a_waiting_run_goes_first(billing, runs, path, what):
    await billing.problem(409, "POST", f"/api/v1/runs/{BASE + 3}/{path}")
    billing.queues.run = (await RunStore(billing.db, billing.clock).get_many([BASE + 3]))[BASE + 3]
    assert (await billing.ok("POST", f"/api/v1/runs/{BASE + 3}/{path}"))["id"] == BASE + 3
    assert billing.queues.changed == [(what, BASE + 3)]
    assert (await billing.wrong("POST", f"/api/v1/runs/x/{path}"))[0] == "run_id"

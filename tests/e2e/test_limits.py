"""Limits and draining with two nodes and real executors of two generations; what these wrote down is the oracle."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from tests.e2e.conftest import DatabaseMaker, start_peer
from tests.e2e.gateway_process import Api, GatewayProcess, Json, run_command
from tests.e2e.peers import Execution, Peer
from tests.kit.process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.timeout(180)]

APP = "limited"
LIMIT = 5
PRIORITIES = (1, 5, 10, 15)
JOBS = 200
SLEEP_MS = 80
LONG = "60000"


@dataclass
class Stage:
    nodes: list[GatewayProcess]
    peers: list[Peer]

    @property
    def api(self) -> Api:
        return self.nodes[0].api

    @property
    def other(self) -> Api:
        return self.nodes[1].api

    def limit(self, most: int | None) -> None:
        self.other.call("PATCH", f"/api/v1/apps/{APP}", {"max_running": most})

    def parts(self) -> dict[str, int]:
        nodes = self.api.call("GET", "/api/v1/nodes")["nodes"]
        return {node["name"]: node["parts"] for node in nodes}

    def events(self, since: int = 0) -> list[Execution]:
        """What all executors wrote down, in the order of time."""
        found = [event for peer in self.peers for event in peer.events()]
        return sorted(found, key=lambda event: event.at_ms)[since:]


@pytest.fixture(scope="module")
def stage(make_database: DatabaseMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    url = make_database("mariadb")
    assert url is not None
    assert run_command("migrate", "--database-url", url).code == 0
    directory = tmp_path_factory.mktemp("limits")
    nodes = [
        GatewayProcess(directory / name, options=("--database-url", url, "--node-name", name))
        for name in "ab"
    ]
    stage = Stage(nodes, [])
    try:
        for node in nodes:
            node.process.start()
        for node in nodes:
            node.wait_ready()
        stage.api.create_app(APP)
        for name, node in zip(("java-2.4.2", "java-3.3.2"), nodes, strict=True):
            stage.peers.append(start_peer(name, node, APP, directory / name))
        addresses = {peer.address for peer in stage.peers}
        for node in nodes:
            wait_until(lambda node=node: node.api.online(APP) == addresses, timeout_s=40, what="executors")
        wait_until(lambda: stage.parts() == {"a": 64, "b": 64}, timeout_s=15, what="parts to be shared")
        yield stage
    finally:
        for process in (*stage.peers, *nodes):
            process.kill()


def most_at_once(events: list[Execution]) -> int:
    most = now = 0
    for event in events:
        now += 1 if event.event == "start" else -1
        most = max(most, now)
    return most


def test_five_places_for_two_hundred_jobs_that_are_due_at_once(stage: Stage) -> None:
    """Never more than five run, over both executors; whoever has the higher priority starts first."""
    stage.limit(LIMIT)
    before = len(stage.events())
    due_ms = int(time.time() * 1000) + 4000
    priorities = list(PRIORITIES) * (JOBS // len(PRIORITIES))
    random.Random(7).shuffle(priorities)
    jobs: list[Json] = [
        {
            "app": APP,
            "name": f"job {number}",
            "schedule": {"kind": "one_time", "expression": due_ms},
            "task": {"handler": "sleepHandler", "params": str(SLEEP_MS + priority)},  # what tells them apart
            "priority": priority,
        }
        for number, priority in enumerate(priorities)
    ]
    stage.api.call("POST", "/api/v1/jobs/batch", {"jobs": jobs}, expect=(201,))
    wait_until(
        lambda: len(stage.events(before)) == 2 * JOBS, timeout_s=60, every_s=0.2, what="all jobs to end"
    )
    events = stage.events(before)
    starts = [event for event in events if event.event == "start"]
    assert len(starts) == JOBS
    assert starts[0].at_ms >= due_ms
    assert LIMIT - 2 <= most_at_once(events) <= LIMIT  # a slow machine may not see all five at once
    assert {event.pid for event in starts} == {peer.pid for peer in stage.peers}
    # Those that start together arrive in any order, so each may be as far from its turn as there are places.
    found = [int(event.param or 0) - SLEEP_MS for event in starts]
    for place, priority in enumerate(found):
        later = found[place + LIMIT :]
        assert all(priority >= one for one in later), (place, found)
    stage.limit(None)


def test_replace_stops_the_old_run_on_whichever_executor_it_is(stage: Stage) -> None:
    """Each takes the other's place: the code of the old run has been interrupted before the new one begins."""
    job_id = stage.other.create_job(APP, "sleepHandler", params=LONG, overlap="replace", name="replaced")
    before = len(stage.events())
    runs: list[int] = []
    for turn in range(3):
        api, peer = (stage.api, stage.other)[turn % 2], stage.peers[turn % 2]
        runs.append(api.trigger(job_id, addresses=[peer.address]))
        wait_until(
            lambda: [event.event for event in stage.events(before)].count("start") == len(runs),
            timeout_s=15,
            what="the new run to start",
        )
    told = [(event.event, event.pid) for event in stage.events(before)]
    first, second = (peer.pid for peer in stage.peers)
    assert told == [
        ("start", first),
        ("interrupt", first),
        ("start", second),
        ("interrupt", second),
        ("start", first),
    ]
    for old, new in pairwise(runs):
        row = stage.api.wait_run(old, {"stopped"})
        assert row["reason"] == f"replaced by run {new}: overlap replace"
    stage.api.stop_run(runs[-1])
    assert stage.api.wait_run(runs[-1])["state"] == "stopped"
    assert stage.events(before)[-1].event == "interrupt"


def test_a_drained_executor_gets_nothing_new_and_finishes(stage: Stage) -> None:
    """Drained through the node that may not own the job; what runs there ends well."""
    drained, other = stage.peers
    path = f"/api/v1/apps/{APP}/executors"
    every_second = {"kind": "cron", "expression": "0/1 * * * * ?", "timezone": "UTC"}
    slow = stage.api.create_job(APP, "sleepHandler", params="3000", name="slow")
    run_id = stage.api.trigger(slow, addresses=[drained.address])
    stage.api.wait_run(run_id, {"running"})
    jobs = [
        stage.api.create_job(APP, "okHandler", name=f"second {number}", params="s", schedule=every_second)
        for number in range(6)
    ]
    time.sleep(1.2)
    answer = stage.other.call("PATCH", path, {"address": drained.address, "draining": True})
    answered_ms = time.time() * 1000
    assert answer["draining"]
    assert answer["running"] >= 1
    time.sleep(2)
    for job_id in jobs:
        stage.api.disable(job_id)
    assert [event for event in drained.executions(param="s") if event.at_ms > answered_ms] == []
    assert len([event for event in other.executions(param="s") if event.at_ms > answered_ms]) >= 6
    assert stage.api.wait_run(run_id)["state"] == "succeeded"
    (item,) = (one for one in stage.api.executors(APP) if one["draining"])
    assert (item["address"].rstrip("/"), item["running"]) == (drained.address, 0)
    stage.other.call("PATCH", path, {"address": drained.address, "draining": False})
    first = stage.api.create_job(APP, "okHandler", name="back", params="back", route="WEIGHTED")
    for _ in range(2):
        stage.api.wait_run(stage.api.trigger(first), {"succeeded"})
    assert [len(peer.executions(param="back")) for peer in stage.peers] == [1, 1]

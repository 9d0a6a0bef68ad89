"""The gateway dies by SIGKILL at named points, comes back, and nothing has run twice or not at all.

XXLJOB_GATEWAY_CRASH_POINT names the point; the process kills itself when it first gets there, once: only while the
file XXLJOB_GATEWAY_CRASH_MARKER does not exist, which it creates before it dies.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import DatabaseMaker, PeerMaker
from tests.e2e.gateway_process import GatewayProcess
from tests.e2e.peers import Peer
from tests.kit.process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

POINTS = ("after_claim", "after_send", "after_answer")
VERSIONS = ("java-3.3.2", "java-2.4.2")
RETRY_S = 35  # a Java executor reports a result that found nobody again every 30 s

GatewayMaker = Callable[..., GatewayProcess]


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def make_gateway(
    request: pytest.FixtureRequest, make_database: DatabaseMaker, tmp_path: Path
) -> Iterator[GatewayMaker]:
    made: list[GatewayProcess] = []

    def make(point: str | None = None) -> GatewayProcess:
        env = {}
        if point is not None:
            marker = tmp_path / "crashed"
            env = {"XXLJOB_GATEWAY_CRASH_POINT": point, "XXLJOB_GATEWAY_CRASH_MARKER": str(marker)}
        gateway = GatewayProcess(tmp_path / "gateway", database_url=make_database(request.param), env=env)
        made.append(gateway)
        gateway.start()
        return gateway

    yield make
    for gateway in made:
        gateway.kill()


def with_peer(gateway: GatewayProcess, extra_peer: PeerMaker, version: str) -> Peer:
    appname = f"crash-{version.replace('.', '-')}"
    gateway.api.create_app(appname)
    peer = extra_peer(version, gateway, appname)
    wait_until(
        lambda: gateway.api.online(appname) == {peer.address},
        timeout_s=10,
        what=f"{version} to be registered",
    )
    return peer


def assert_once_each(gateway: GatewayProcess, peer: Peer, job_id: int) -> None:
    """Every row of the job succeeded, and each was executed exactly once."""
    rows = gateway.api.runs(job_id)
    assert {row["id"]: row["state"] for row in rows} == {row["id"]: "succeeded" for row in rows}
    ran = Counter(e.run_id for e in peer.executions(run_ids={row["id"] for row in rows}))
    assert ran == {row["id"]: 1 for row in rows}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("point", POINTS)
def test_triggered_run_survives(
    make_gateway: GatewayMaker, extra_peer: PeerMaker, point: str, version: str
) -> None:
    gateway = make_gateway(point)
    peer = with_peer(gateway, extra_peer, version)
    job_id = gateway.api.create_job(peer.appname, "sleepHandler")
    # It may die before the answer is out.
    with contextlib.suppress(OSError):
        gateway.api.trigger(job_id, params="4000")
    gateway.wait_killed()
    gateway.start()
    (row,) = gateway.api.runs(job_id)
    gateway.api.wait_run(row["id"], timeout_s=20 + RETRY_S)
    assert_once_each(gateway, peer, job_id)
    assert len(peer.executions()) == 1


@pytest.mark.parametrize("point", POINTS)
def test_every_second_through_a_crash(make_gateway: GatewayMaker, extra_peer: PeerMaker, point: str) -> None:
    """Both versions at once: whichever run gets to the point first kills the gateway for both."""
    gateway = make_gateway(point)
    peers = [with_peer(gateway, extra_peer, version) for version in VERSIONS]
    time.sleep((0.2 - time.time() % 1) % 1)
    jobs: dict[Peer, int] = {}
    for peer in peers:
        schedule = {
            "kind": "cron",
            "expression": "0/1 * * * * ?",
            "timezone": "UTC",
            "misfire": "skip",
        }
        jobs[peer] = gateway.api.create_job(
            peer.appname, "okHandler", params="each second", schedule=schedule, misfire_after_s=60
        )
    first = int(time.time()) + 1
    gateway.wait_killed()
    gateway.start()
    time.sleep(6)
    time.sleep((0.5 - time.time() % 1) % 1)
    for job_id in jobs.values():
        gateway.api.disable(job_id)
    slots = [second * 1000 for second in range(first, int(time.time()) + 1)]

    def all_ended() -> bool:
        rows = [row for job_id in jobs.values() for row in gateway.api.runs(job_id)]
        return all(row["state"] not in {"planned", "queued", "dispatching", "running"} for row in rows)

    wait_until(all_ended, timeout_s=20 + RETRY_S, every_s=0.5, what="all runs to end")
    for peer, job_id in jobs.items():
        assert_once_each(gateway, peer, job_id)
        assert sorted(row["slot_ms"] for row in gateway.api.runs(job_id)) == slots
        assert len(peer.executions(param="each second")) == len(slots)


@pytest.mark.parametrize("version", VERSIONS)
def test_result_that_found_nobody_arrives_later(
    make_gateway: GatewayMaker, extra_peer: PeerMaker, version: str
) -> None:
    gateway = make_gateway()
    peer = with_peer(gateway, extra_peer, version)
    job_id = gateway.api.create_job(peer.appname, "sleepHandler")
    run_id = gateway.api.trigger(job_id, params="1000")
    gateway.api.wait_run(run_id, {"running"})
    gateway.kill()
    wait_until(
        lambda: [e.event for e in peer.events()] == ["start", "end"], timeout_s=5, what="the handler to end"
    )
    time.sleep(1)  # the callback meets a closed port
    gateway.start()
    run = gateway.api.wait_run(run_id, timeout_s=20 + RETRY_S)
    assert run["state"] == "succeeded"
    assert run["message"] == "slept 1000"
    assert_once_each(gateway, peer, job_id)

"""The gateway dies by SIGKILL at named points, comes back, and nothing has run twice or not at all.

XXLJOB_GATEWAY_CRASH_POINT names the point; the process kills itself when it gets there, once: only while the file
XXLJOB_GATEWAY_CRASH_MARKER does not exist, which it creates before it dies. So the tests make that file first,
let the gateway open its connections by a run, and take the file away when the next one may kill it.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import DatabaseMaker, PeerMaker
from tests.e2e.gateway_process import FINAL, GatewayProcess, Json
from tests.e2e.peers import Peer
from tests.kit.process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

POINTS = ("after_claim", "after_send", "after_answer")
VERSIONS = ("java-3.3.2", "java-2.4.2")
RETRY_S = 35  # a Java executor reports a result that found nobody again every 30 s
NEVER_CAME = "the executor never received it: sent again"
IT_CAME = "the executor has it"


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """While it is there, nothing kills the gateway."""
    path = tmp_path / "crashed"
    path.touch()
    return path


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def gateway(
    request: pytest.FixtureRequest, make_database: DatabaseMaker, tmp_path: Path, marker: Path
) -> Iterator[GatewayProcess]:
    """Not started, see `start_towards`."""
    process = GatewayProcess(
        tmp_path / "gateway",
        database_url=make_database(request.param),
        env={"XXLJOB_GATEWAY_CRASH_MARKER": str(marker)},
    )
    yield process
    process.kill()


def start_towards(gateway: GatewayProcess, point: str) -> None:
    """Start a life that ends at this point, once the marker is gone."""
    gateway.process.env["XXLJOB_GATEWAY_CRASH_POINT"] = point
    gateway.start()


def with_peer(gateway: GatewayProcess, extra_peer: PeerMaker, version: str) -> Peer:
    """Registered, with a connection to it that is open."""
    appname = f"crash-{version.replace('.', '-')}"
    gateway.api.create_app(appname)
    peer = extra_peer(version, gateway, appname)
    wait_until(
        lambda: gateway.api.online(appname) == {peer.address},
        timeout_s=10,
        what=f"{version} to be registered",
    )
    warm_up(gateway, peer)
    return peer


def warm_up(gateway: GatewayProcess, peer: Peer) -> None:
    """On a connection that is still being opened `after_send` would be before the bytes have left."""
    job_id = gateway.api.create_job(peer.appname, "okHandler", name=f"warm up at {time.time()}")
    row = gateway.api.wait_run(gateway.api.trigger(job_id, params="warm up"))
    assert row["state"] == "succeeded"


def assert_once_each(gateway: GatewayProcess, peer: Peer, job_id: int) -> list[Json]:
    """Every row of the job succeeded, and each was executed exactly once. The rows."""
    rows = gateway.api.runs(job_id)
    assert {row["id"]: row["state"] for row in rows} == {row["id"]: "succeeded" for row in rows}
    ran = Counter(e.run_id for e in peer.executions(run_ids={row["id"] for row in rows}))
    assert ran == {row["id"]: 1 for row in rows}
    return rows


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("point", POINTS)
def test_triggered_run_survives(
    gateway: GatewayProcess, extra_peer: PeerMaker, marker: Path, point: str, version: str
) -> None:
    start_towards(gateway, point)
    peer = with_peer(gateway, extra_peer, version)
    job_id = gateway.api.create_job(peer.appname, "sleepHandler")
    marker.unlink()
    # It may die before the answer is out.
    with contextlib.suppress(OSError):
        gateway.api.trigger(job_id, params="3500")
    gateway.wait_killed()
    # What the executor has got tells that the gateway died at the point it should.
    if point == "after_claim":
        time.sleep(0.3)
        assert peer.executions(handler="sleepHandler") == []
    else:
        wait_until(
            lambda: peer.executions(handler="sleepHandler"),
            timeout_s=2,
            every_s=0.01,
            what="the run to begin",
        )
    gateway.start()
    (row,) = gateway.api.runs(job_id)
    row = gateway.api.wait_run(row["id"], timeout_s=20 + RETRY_S)
    assert_once_each(gateway, peer, job_id)
    assert len(peer.executions(handler="sleepHandler")) == 1
    assert row["message"] == "slept 3500"
    assert (NEVER_CAME if point == "after_claim" else IT_CAME) in row["reason"]


def test_every_second_through_crashes(gateway: GatewayProcess, extra_peer: PeerMaker, marker: Path) -> None:
    """Two versions at once: whichever run gets to the point first kills the gateway for both; thrice."""
    start_towards(gateway, POINTS[0])
    peers = [with_peer(gateway, extra_peer, version) for version in VERSIONS]
    until_fraction(0.2)
    jobs: dict[Peer, int] = {}
    schedule = {"kind": "cron", "expression": "0/1 * * * * ?", "timezone": "UTC", "misfire": "skip"}
    for peer in peers:
        jobs[peer] = gateway.api.create_job(
            peer.appname, "okHandler", params="each second", schedule=schedule, misfire_after_s=60
        )
    first = int(time.time()) + 1
    deaths: list[float] = []
    for point, following in zip(POINTS, (*POINTS[1:], "nowhere"), strict=True):
        time.sleep(2)
        until_fraction(0.5)
        before = sum(len(peer.executions()) for peer in peers)
        marker.unlink()
        gateway.wait_killed()
        deaths.append(time.time())
        time.sleep(0.2)
        executed = sum(len(peer.executions()) for peer in peers) - before
        assert (executed == 0) if point == "after_claim" else (executed >= 1), point
        start_towards(gateway, following)
    time.sleep(2)
    for job_id in jobs.values():
        gateway.api.wait_nothing_late(job_id)  # what waits when its job is disabled is skipped, rightly
    until_fraction(0.5)
    for job_id in jobs.values():
        gateway.api.disable(job_id)
    slots = [second * 1000 for second in range(first, int(time.time()) + 1)]

    def all_ended() -> bool:
        rows = [row for job_id in jobs.values() for row in gateway.api.runs(job_id)]
        return all(row["state"] in FINAL for row in rows)

    wait_until(all_ended, timeout_s=20 + RETRY_S, every_s=0.5, what="all runs to end")
    rows = [row for peer, job_id in jobs.items() for row in assert_once_each(gateway, peer, job_id)]
    for peer, job_id in jobs.items():
        assert sorted(row["slot_ms"] for row in gateway.api.runs(job_id)) == slots
        assert len(peer.executions(param="each second")) == len(slots)
    assert {row["message"] for row in rows} == {"done each second"}
    # The handler is quick: after two of the deaths its result met a closed port, and came again.
    begun = {e.run_id: e.at_ms / 1000 for peer in peers for e in peer.executions(param="each second")}
    for death in deaths[1:]:
        cut_off = [row for row in rows if death - 0.5 < begun[row["id"]] < death + 0.2]
        assert any(row["finished_ms"] / 1000 > death + 0.5 for row in cut_off), cut_off


def until_fraction(fraction: float) -> None:
    time.sleep((fraction - time.time() % 1) % 1)

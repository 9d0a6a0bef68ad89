"""What XXL-JOB is known to get wrong, tried on this scheduler; each test is named after what it shows.

The numbers are those of issues of xuxueli/xxl-job, or of what its scheduling loop is seen to do.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

import pytest

from tests.conftest import skip_for_lack
from tests.e2e.gateway_process import ACCESS_TOKEN, FINAL, GatewayProcess, Json
from tests.faults.conftest import WorldMaker
from tests.faults.executors import Event, OwnExecutor
from tests.faults.oracle import OPEN, Verdict, judge
from tests.faults.scenarios_clocks import lacks_faketime, library
from tests.faults.world import World, now_ms
from tests.kit.process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.timeout(120)]

APP = "faults-own"


def begin(world: World) -> int:
    """Jobs of all schedules, all running; from which slot on they are judged."""
    world.create_jobs()
    from_ms = (now_ms() // 1000 + 2) * 1000
    world.wait_started(from_ms)
    return from_ms


def verdict(world: World, from_ms: int, *, after_s: float = 3) -> Verdict:
    """After that many seconds, and when all that was due has ended."""
    time.sleep(after_s)
    until_ms = now_ms() // 1000 * 1000
    world.wait_settled(until_ms, timeout_s=20)
    return judge(world.jobs, from_ms, until_ms, world.rows(), world.events())


def assert_all_executed_once(found: Verdict) -> None:
    assert not found.broken(), found.examples
    assert found.executed == found.due, (found.states, found.examples)
    assert not found.unended, found.examples


def begun(world: World, run_ids: set[int] | None = None) -> Counter[int]:
    """How often each run was begun by a handler."""
    return Counter(
        event.run_id
        for event in world.events()
        if event.event == "start" and (run_ids is None or event.run_id in run_ids)
    )


# ---------------------------------------------------------------- the scheduling loop


@pytest.mark.parametrize("after", [False, True], ids=["not-committed", "commit-unknown"])
def test_a_commit_that_fails_in_the_scan_fires_nothing_twice(make_world: WorldMaker, after: bool) -> None:
    """XXL-JOB hands late jobs over inside the transaction: if its commit fails, the next scan does it again."""
    world = make_world(nodes=1, executors=("own", "own"))
    from_ms = begin(world)
    proxy = world.nodes[0].database
    assert proxy is not None
    plan = proxy.sabotage(b"\x03COMMIT", after=after, every=4)
    time.sleep(6)
    proxy.spare()
    assert plan.done >= 5, f"only {plan.done} of {plan.seen} commits were cut off"
    assert_all_executed_once(verdict(world, from_ms))


def test_a_crash_between_planning_and_firing_loses_nothing(make_world: WorldMaker) -> None:
    """XXL-JOB commits the next time and fires from memory up to 5 s later: a crash between loses them (#3369)."""
    world = make_world(nodes=1, executors=("own", "own"))
    from_ms = begin(world)
    (node,) = world.nodes
    for _ in range(2):
        time.sleep(2.3)
        ahead_ms = now_ms() + 500
        node.kill()
        ahead = {
            row.run_id for row in world.rows().values() if row.state == "planned" and row.slot_ms > ahead_ms
        }
        assert ahead, "nothing was planned ahead: the crash shows nothing"
        node.begin()
        node.wait_ready()
        wait_until(
            lambda ids=ahead: begun(world, ids) == dict.fromkeys(ids, 1), timeout_s=10, what="them to run"
        )  # type: ignore[misc]
    assert_all_executed_once(verdict(world, from_ms))


def test_a_stall_of_more_than_three_seconds_strands_nothing(make_world: WorldMaker) -> None:
    """XXL-JOB's ring keeps what a stall made it miss until the same second of the next minute."""
    world = make_world(nodes=1, executors=("own", "own"))
    from_ms = begin(world)
    process = world.nodes[0].process
    for stall_s in (3.4, 4.6):
        process.freeze()
        time.sleep(stall_s)
        process.thaw()
        time.sleep(1)
    found = verdict(world, from_ms)
    assert_all_executed_once(found)
    assert found.latest_s < 4.6 + 4, found.examples


def test_a_restart_fires_nothing_old(make_world: WorldMaker) -> None:
    """Its alarms are sent again after a restart (#1310); here: no run, no attempt, no ending is repeated."""
    world = make_world(nodes=1, executors=("own", "own"))
    (node,) = world.nodes
    failing = [
        node.api.create_job(APP, "failHandler", name=f"fails {n}", retry={"max_attempts": 2})
        for n in range(3)
    ]
    for job_id in failing:
        node.api.trigger(job_id, params="x")
    from_ms = begin(world)
    time.sleep(2)
    for end in (node.kill, node.stop):
        before = {row.run_id: row for row in world.rows().values() if row.state not in OPEN}
        counted = begun(world)
        assert len(before) > 10
        end()
        node.begin()
        node.wait_ready()
        time.sleep(2)
        after = world.rows()
        assert {run_id: after[run_id] for run_id in before} == before
        again = begun(world)
        assert {run_id: again[run_id] for run_id in before} == {run_id: counted[run_id] for run_id in before}
    attempts = Counter(row.job_id for row in world.rows().values() if row.job_id in failing)
    assert attempts == dict.fromkeys(failing, 2)
    assert_all_executed_once(verdict(world, from_ms))


# ---------------------------------------------------------------- executors


def test_a_long_run_at_an_address_nobody_registered_is_no_loss_after_ten_minutes(tmp_path: Path) -> None:
    """XXL-JOB fails a run after 10 minutes if its address is not (or no longer) in the registry: a false loss.

    The gateway lives forty times as fast as its executor, so eighteen seconds are twelve minutes to it.
    """
    if lack := lacks_faketime():
        skip_for_lack(lack)
    speed = 40
    gateway = GatewayProcess(
        tmp_path / "gateway",
        env={
            "LD_PRELOAD": library() or "",
            "FAKETIME": f"+0 x{speed}",
            "XXLJOB_GATEWAY_LEASE_S": "60",
            "XXLJOB_GATEWAY_EXECUTOR_TIMEOUT_S": "30",
        },
    )
    executor = OwnExecutor(gateway.admin_url, APP, tmp_path / "executor", beat_s=1)
    try:
        gateway.start()
        gateway.api.create_app(APP)
        executor.start()
        executor.wait_listening()
        wait_until(lambda: gateway.api.online(APP), timeout_s=10, what="the executor to be registered")
        job_id = gateway.api.create_job(APP, "sleepHandler")
        elsewhere = f"http://localhost:{executor.port}"  # the same place by another name
        started = time.monotonic()
        run_id = gateway.api.trigger(job_id, params="18000", addresses=[elsewhere])
        while time.monotonic() - started < 17:
            row = gateway.api.run(run_id)
            assert row["state"] in {"planned", "queued", "dispatching", "running"}, row
            assert elsewhere not in gateway.api.online(APP)
            time.sleep(1)
        asked = executor.stats()["calls"].get("/idleBeat", 0)
        assert asked >= 10, f"it was asked {asked} times only whether it is at work: this was no ten minutes"
        row = gateway.api.wait_run(run_id, timeout_s=15)
        assert row["state"] == "succeeded", row
        assert row["finished_ms"] - row["sent_ms"] > 600_000
    finally:
        executor.kill()
        gateway.kill()


def test_no_run_is_sent_to_an_executor_that_took_its_registration_back(make_world: WorldMaker) -> None:
    """XXL-JOB's admin goes on for up to 30 s, and every one of those runs fails (#2422)."""
    world = make_world(nodes=2, executors=("own", "own"))
    from_ms = begin(world)
    leaving = world.executors[0]
    assert isinstance(leaving, OwnExecutor)
    leaving.leave()
    left_ms = now_ms()
    time.sleep(1)
    leaving.process.signal(9)  # whatever came to it from now on would fail
    found = verdict(world, from_ms, after_s=4)
    late = [
        event.at_ms - left_ms
        for event in world.events()
        if event.event == "receive" and event.executor == leaving.address and event.at_ms > left_ms
    ]
    assert max(late, default=0) <= 1000, f"ms after it had gone: {late}"
    assert_all_executed_once(found)


@pytest.mark.parametrize("kind", ["own", "java-3.3.2"])
def test_no_run_in_the_queue_of_an_executor_is_lost_when_another_is_killed(
    make_world: WorldMaker, kind: str
) -> None:
    """A kill takes the job's whole queue on that executor along, and a run that comes meanwhile as well (#3557)."""
    world = make_world(nodes=2, executors=(kind,))
    appname = world.executors[0].appname
    first, second = (node.api for node in world.nodes)
    for round_ in range(3):
        job_id = first.create_job(appname, "sleepHandler", name=f"queue {round_}")
        working = first.trigger(job_id, params="20000")
        first.wait_run(working, {"running"})
        waiting = [(first, second)[n % 2].trigger(job_id, params="50") for n in range(4)]
        for run_id in waiting:
            first.wait_run(run_id, {"running"})  # accepted over there
        with ThreadPoolExecutor(4) as pool:
            stopped = pool.submit(second.stop_run, working)
            meanwhile = [pool.submit(first.trigger, job_id, params="50") for _ in range(3)]
            stopped.result()
            runs = [working, *waiting, *(one.result() for one in meanwhile)]
        rows = [first.wait_run(run_id, timeout_s=20) for run_id in runs]
        assert rows[0]["state"] == "stopped", rows[0]
        for row in rows[1:]:
            # What came while the kill was on its way was killed as well, and says so in its result.
            assert row["state"] in {"stopped", "succeeded"} or "killed" in row["message"], row
        succeeded = {row["id"] for row in rows if row["state"] == "succeeded"}
        executed = begun(world, set(runs))
        assert all(executed[run_id] == 1 for run_id in succeeded), executed
        assert max(executed.values()) == 1, executed
        after = first.wait_run(first.trigger(job_id, params="10"))
        assert after["state"] == "succeeded", "the queue goes on"


# ---------------------------------------------------------------- broadcasts and bursts


def _report(port: int, results: list[Json]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {
        "XXL-JOB-ACCESS-TOKEN": ACCESS_TOKEN,
        "User-Agent": "Java/17",
        "Content-Type": "application/json",
    }
    connection.request("POST", "/xxl-job-admin/api/callback", json.dumps(results).encode(), headers)
    assert json.loads(connection.getresponse().read())["code"] == 200
    connection.close()


def _repeat_results(world: World, stop: threading.Event) -> None:
    """Each result once more to every node, as soon as it exists, and again later."""
    while not stop.wait(0.05):
        ended: list[Event] = [event for event in world.events() if event.event == "end"]
        times = dict(world.query("SELECT id, trigger_ms FROM run"))
        results = [
            {
                "logId": event.run_id,
                "logDateTim": times[event.run_id],
                "handleCode": event.code,
                "handleMsg": "repeated",
            }
            for event in ended
            if event.run_id in times
        ]
        if results:
            for node in world.nodes:
                _report(node.port, results)


@pytest.mark.parametrize(
    ("handler", "state", "attempts"), [("okHandler", "succeeded", 1), ("failHandler", "failed", 2)]
)
def test_a_broadcast_ends_once_however_many_shards_end(
    make_world: WorldMaker, handler: str, state: str, attempts: int
) -> None:
    """XXL-JOB starts what follows a broadcast once for each of its shards (#1116)."""
    world = make_world(nodes=2, executors=("own", "own", "own"))
    api = world.nodes[0].api
    job_id = api.create_job(APP, handler, route="SHARDING_BROADCAST", retry={"max_attempts": 2})
    stop = threading.Event()
    repeater = threading.Thread(target=_repeat_results, args=(world, stop))
    repeater.start()
    try:
        parents = [world.nodes[n % 2].api.trigger(job_id, params=f"p{n}") for n in range(6)]
        ends = {parent: api.wait_run(parent, timeout_s=30) for parent in parents}
        time.sleep(1)
    finally:
        stop.set()
        repeater.join()
    rows = [row for row in api.runs(job_id) if row["shard"] >= 0]
    assert {end["state"] for end in ends.values()} == {state}
    assert {row["state"] for row in rows} <= {state, "retrying"}
    for parent in parents:
        mine = Counter((row["shard"], row["attempt"]) for row in rows if row["root_id"] == parent)
        assert mine == dict.fromkeys([(s, a) for s in range(3) for a in range(1, attempts + 1)], 1)
        assert api.run(parent)["finished_ms"] == ends[parent]["finished_ms"], "it ended a second time"
    assert begun(world) == {row["id"]: 1 for row in rows}


def test_500_starts_at_once_get_a_row_each_and_run(make_world: WorldMaker) -> None:
    """XXL-JOB's trigger queue drops what is too much, and nothing tells so (#2159)."""
    world = make_world(nodes=2, executors=("own", "own"))
    job_id = world.nodes[0].api.create_job(APP, "okHandler")

    def start(number: int) -> int:
        return world.nodes[number % 2].api.trigger(job_id, params=f"start {number}")

    with ThreadPoolExecutor(25) as pool:
        runs = list(pool.map(start, range(500)))
    assert len(set(runs)) == 500
    wait_until(
        lambda: all(row.state in FINAL for row in world.rows().values()),
        timeout_s=40,
        every_s=0.5,
        what="all to end",
    )
    rows = world.rows()
    assert Counter(rows[run_id].state for run_id in runs) == {"succeeded": 500}
    assert begun(world) == dict.fromkeys(runs, 1)
    params = Counter(event.param for event in world.events() if event.event == "start")
    assert params == {f"start {number}": 1 for number in range(500)}


def test_500_starts_at_once_with_a_limit_of_100_run_100_at_a_time(make_world: WorldMaker) -> None:
    """XXL-JOB has no limit over its executors: 500 starts are 500 threads (#2159)."""
    world = make_world(nodes=2, executors=("own", "own"))
    api = world.nodes[0].api
    api.call("PATCH", f"/api/v1/apps/{APP}", {"max_running": 100})
    # An executor runs one at a time of each job.
    jobs = [api.create_job(APP, "sleepHandler", name=f"job {n}") for n in range(250)]

    def start(number: int) -> int:
        node = world.nodes[number % 2]
        return node.api.trigger(jobs[number % len(jobs)], params="500")

    with ThreadPoolExecutor(25) as pool:
        runs = list(pool.map(start, range(500)))
    wait_until(
        lambda: all(row.state in FINAL for row in world.rows().values()),
        timeout_s=60,
        every_s=0.5,
        what="all to end",
    )
    rows = world.rows()
    assert Counter(rows[run_id].state for run_id in runs) == {"succeeded": 500}
    assert begun(world) == dict.fromkeys(runs, 1)
    changes = sorted(
        (event.at_ms, 1 if event.event == "start" else -1)
        for event in world.events()
        if event.event in {"start", "end"}
    )
    assert max(accumulate(change for _, change in changes)) <= 100


def test_a_loop_of_children_is_refused_when_it_is_saved(make_world: WorldMaker) -> None:
    """XXL-JOB saves jobs that start each other, and runs them for ever (#447)."""
    api = make_world(nodes=1, executors=("own",)).nodes[0].api
    first, second = (api.create_job(APP, "okHandler", name=f"job {n}") for n in range(2))
    api.call("PATCH", f"/api/v1/jobs/{first}", {"children": [{"job": second}]})
    refused = api.call("PATCH", f"/api/v1/jobs/{second}", {"children": [{"job": first}]}, expect=(422,))
    (error,) = refused["errors"]
    assert error["field"] == "children[0].job"
    assert f"{second} → {first} → {second}" in error["expected"], error
    api.wait_run(api.trigger(second))
    time.sleep(1)
    assert api.runs(first) == []
    assert len(api.runs(second)) == 1

"""Unchanged executors of three Java generations and pyxxl against the gateway, on each database.

What ran is counted in the file each executor writes itself, never taken from the gateway's word.
"""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import skip_for_lack
from tests.e2e.conftest import DatabaseMaker, PeerMaker
from tests.e2e.gateway_process import ACCESS_TOKEN, FINAL, GatewayProcess, Json
from tests.e2e.peers import PEERS, Execution, Peer, PeerUnavailableError, make_peer
from tests.kit.process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SECONDS = 20
TEXT = "你好，世界 😀🚀 <x>&'\"\\ =1"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def gateway(
    request: pytest.FixtureRequest, make_database: DatabaseMaker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    process = GatewayProcess(
        tmp_path_factory.mktemp(f"gateway-{request.param}"), database_url=make_database(request.param)
    )
    try:
        process.start()
        yield process
        assert process.stop() == 0
    finally:
        process.kill()


def appname_of(peer: str) -> str:
    return f"e2e-{peer.replace('.', '-')}"


@pytest.fixture(scope="module")
def peers(
    gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Peer | str]]:
    """One of each kind, registered; or the reason why this machine has none."""
    found: dict[str, Peer | str] = {}
    try:
        for name in PEERS:
            gateway.api.create_app(appname_of(name))
            try:
                peer = make_peer(
                    name, gateway.admin_url, appname_of(name), ACCESS_TOKEN, tmp_path_factory.mktemp(name)
                )
            except PeerUnavailableError as lack:
                found[name] = str(lack)
            else:
                peer.start()
                found[name] = peer
        for peer in found.values():
            if isinstance(peer, Peer):
                peer.wait_listening()
                wait_online(gateway, peer.appname, {peer.address})
        yield found
    finally:
        for peer in found.values():
            if isinstance(peer, Peer):
                peer.kill()


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest, peers: dict[str, Peer | str]) -> Peer:
    found = peers[request.param]
    if isinstance(found, str):
        skip_for_lack(found)
    return found


def wait_online(gateway: GatewayProcess, appname: str, addresses: set[str], *, timeout_s: float = 10) -> None:
    wait_until(
        lambda: gateway.api.online(appname) == addresses,
        timeout_s=timeout_s,
        what=f"executors of {appname} to be {addresses or 'none'}",
    )


def run_once(gateway: GatewayProcess, peer: Peer, handler: str, params: str = "", **fields: object) -> Json:
    """Trigger a job of its own; the row at its end."""
    job_id = gateway.api.create_job(peer.appname, handler, **fields)
    return gateway.api.wait_run(gateway.api.trigger(job_id, params=params))


def starts(peer: Peer, run: Json) -> list[Execution]:
    return peer.executions(run_ids={run["id"]})


def percentiles(values: list[int]) -> str:
    ordered = sorted(values)

    def at(share: float) -> int:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return f"min {ordered[0]}  p50 {at(0.5)}  p90 {at(0.9)}  max {ordered[-1]} ms"


# ---------------------------------------------------------------- every second


@dataclass(frozen=True)
class Schedule:
    job_id: int
    slots: list[int]  # all seconds the job was due in, ms


def until_fraction(fraction: float) -> None:
    """Sleep until the wall clock shows that part of a second: neither request meets a slot."""
    time.sleep((fraction - time.time() % 1) % 1)


CHAINED = {"kind": "second_delay", "expression": 1}
CHAINS = {
    "slow": ("sleepHandler", "700"),
    "failing": ("failHandler", "again"),
    "killed": ("sleepHandler", "600000"),
}


@pytest.fixture(scope="module")
def chains(gateway: GatewayProcess, peers: dict[str, Peer | str]) -> dict[tuple[str, str], int]:
    """Jobs of second_delay of each peer, which go on beside those of `every_second`."""
    return {
        (name, kind): gateway.api.create_job(
            peer.appname, handler, params=params, schedule=CHAINED, name=f"{kind} chain"
        )
        for name, peer in peers.items()
        if isinstance(peer, Peer)
        for kind, (handler, params) in CHAINS.items()
    }


@pytest.fixture(scope="module")
def every_second(
    gateway: GatewayProcess, peers: dict[str, Peer | str], chains: dict[tuple[str, str], int]
) -> dict[str, Schedule]:
    """A job every second for each peer, all at once, paused after SECONDS."""
    until_fraction(0.2)
    jobs: dict[str, tuple[int, int]] = {}
    for name, peer in peers.items():
        if isinstance(peer, Peer):
            job_id = gateway.api.create_job(
                peer.appname,
                "okHandler",
                params=f"every second {name}",
                schedule={
                    "kind": "cron",
                    "expression": "0/1 * * * * ?",
                    "timezone": "UTC",
                    "misfire": "skip",
                },
            )
            jobs[name] = job_id, int(time.time()) + 1
    time.sleep(SECONDS)
    found: dict[str, Schedule] = {}
    for name, (job_id, first) in jobs.items():
        until_fraction(
            0.4
        )  # for each: on a busy machine a call may take longer than the half second before a slot
        last = int(time.time())
        gateway.api.disable(job_id)
        found[name] = Schedule(job_id, [second * 1000 for second in range(first, last + 1)])
    time.sleep(1.5)  # what was sent before may still report
    return found


@pytest.fixture(scope="module")
def ended_chains(
    gateway: GatewayProcess, chains: dict[tuple[str, str], int], every_second: dict[str, Schedule]
) -> dict[tuple[str, str], list[Json]]:
    """The rows of each chain, after the one that is to be killed was killed twice."""
    killed = [job_id for (_, kind), job_id in chains.items() if kind == "killed"]
    for _ in range(2):
        for job_id in killed:
            wait_until(
                lambda job_id=job_id: gateway.api.runs(job_id, state="running"),
                timeout_s=10,
                what="the next run of a chain",
            )
            gateway.api.stop_run(gateway.api.runs(job_id)[-1]["id"])
    for job_id in killed:
        wait_until(
            lambda job_id=job_id: len(gateway.api.runs(job_id, state="running,stopped")) == 3,
            timeout_s=10,
            what="the third run of a chain",
        )
    for job_id in chains.values():
        gateway.api.disable(job_id)
    for job_id in killed:
        gateway.api.stop_run(gateway.api.runs(job_id)[-1]["id"])
    return {key: gateway.api.runs(job_id, limit=50) for key, job_id in chains.items()}


@pytest.mark.parametrize("kind", CHAINS)
def test_second_delay_keeps_its_gap(
    gateway: GatewayProcess,
    peer: Peer,
    kind: str,
    ended_chains: dict[tuple[str, str], list[Json]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = ended_chains[peer.name, kind]
    over = [row for row in rows if row["finished_ms"]]
    states = {"slow": {"succeeded"}, "failing": {"failed"}, "killed": {"stopped"}}[kind]
    assert {row["state"] for row in over[:-1]} <= states
    assert len(over) >= (2 if kind == "killed" else SECONDS // 3)
    # By the rows: due one second after the end before, to the millisecond.
    for before, after in itertools.pairwise(rows[: len(over) + 1]):
        assert after["due_ms"] == before["finished_ms"] + 1000
    # By the executor: each run once, never a second before the one before had ended, nor long after.
    begun = {e.run_id: e.at_ms for e in peer.executions(run_ids={row["id"] for row in rows})}
    assert set(begun) == {row["id"] for row in rows if row["sent_ms"]}
    runs_ms = 700 if kind == "slow" else 0
    gaps = [
        begun[after["id"]] - begun[before["id"]] - runs_ms
        for before, after in itertools.pairwise(rows)
        if after["id"] in begun
    ]
    late = [begun[row["id"]] - row["due_ms"] for row in rows[1:] if row["id"] in begun]
    with capsys.disabled():
        print(f"\n{peer.name}, {kind}: {len(begun)} runs, started late by {percentiles(late)}")
    assert min(gaps) >= 1000
    assert min(late) >= 0
    assert max(late) < 1000
    assert len(begun) == len({*begun.values()}) == len(peer.executions(run_ids=set(begun)))


def test_fires_each_second_once_and_on_time(
    gateway: GatewayProcess, peer: Peer, every_second: dict[str, Schedule], capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = every_second[peer.name]
    ran = peer.executions(param=f"every second {peer.name}")
    begun = sorted(e.at_ms for e in ran)
    lateness = [at - at // 1000 * 1000 for at in begun]
    with capsys.disabled():
        print(
            f"\n{peer.name}: {len(begun)} of {len(schedule.slots)} started, late by {percentiles(lateness)}"
        )
    # In its own second: not early, less than a second late, none missing, none double.
    assert [at // 1000 * 1000 for at in begun] == schedule.slots
    assert len({e.run_id for e in ran}) == len(ran)


def test_each_slot_has_one_row(
    gateway: GatewayProcess, peer: Peer, every_second: dict[str, Schedule]
) -> None:
    schedule = every_second[peer.name]
    rows = gateway.api.runs(schedule.job_id, limit=7)
    assert sorted(row["slot_ms"] for row in rows) == schedule.slots
    assert {row["state"] for row in rows} == {"succeeded"}
    assert {row["address"].rstrip("/") for row in rows} == {peer.address}
    assert all(row["due_ms"] <= row["sent_ms"] <= row["finished_ms"] for row in rows)
    begun = {e.run_id: e.at_ms for e in peer.executions(run_ids={row["id"] for row in rows})}
    assert {row["id"] for row in rows} == set(begun)
    # P3 by the row's own word too
    assert all(row["slot_ms"] <= begun[row["id"]] for row in rows)


# ---------------------------------------------------------------- one run at a time


def test_registers_by_itself(gateway: GatewayProcess, peer: Peer) -> None:
    (executor,) = gateway.api.executors(peer.appname)
    assert executor["address"].rstrip("/") == peer.address
    assert executor["dialect"]
    assert abs(time.time() * 1000 - executor["last_beat_ms"]) < 95_000


def test_success_with_chinese_and_emoji(gateway: GatewayProcess, peer: Peer) -> None:
    run = run_once(gateway, peer, "okHandler", TEXT)
    assert run["state"] == "succeeded"
    assert run["result_code"] == 200
    assert run["message"] == f"done {TEXT}"
    (execution,) = starts(peer, run)
    assert execution.param == TEXT
    assert (execution.shard_index, execution.shard_total) == (0, 1)


def test_parameter_of_the_job(gateway: GatewayProcess, peer: Peer) -> None:
    job_id = gateway.api.create_job(peer.appname, "okHandler", params=TEXT)
    run = gateway.api.wait_run(gateway.api.trigger(job_id))
    assert run["state"] == "succeeded"
    assert [e.param for e in starts(peer, run)] == [TEXT]


def test_failure_keeps_its_message(gateway: GatewayProcess, peer: Peer) -> None:
    run = run_once(gateway, peer, "failHandler", "因为 😀")
    assert run["state"] == "failed"
    assert run["result_code"] == 500
    assert run["message"] == "failed on purpose: 因为 😀"
    assert len(starts(peer, run)) == 1


def test_exception_keeps_its_message(gateway: GatewayProcess, peer: Peer) -> None:
    run = run_once(gateway, peer, "throwHandler", "x")
    assert run["state"] == "failed"
    assert run["result_code"] == 500
    assert "thrown on purpose: x" in run["message"]
    assert len(starts(peer, run)) == 1


def test_timeout(gateway: GatewayProcess, peer: Peer) -> None:
    run = run_once(gateway, peer, "sleepHandler", "20000", timeout_s=1)
    if peer.name == "pyxxl":  # it says 500 TimeoutError, which nobody can tell from a task's own error
        assert run["state"] in {"failed", "timed_out"}
        assert "TimeoutError" in run["message"]
    else:
        assert run["state"] == "timed_out"
        assert run["result_code"] == 502
        assert "timeout" in run["message"]
    events = [e.event for e in peer.events() if e.run_id == run["id"]]
    assert events == ["start", "interrupt"]
    assert 900 <= run["finished_ms"] - run["sent_ms"] < 4000


def test_unknown_handler_is_refused(gateway: GatewayProcess, peer: Peer) -> None:
    run = run_once(gateway, peer, "nobodyHandler")
    assert run["state"] == "failed"
    said = f"{run['message']} {run['reason']}"
    assert "nobodyHandler" in said
    assert "not found" in said
    assert starts(peer, run) == []


def test_running_job_is_stopped(gateway: GatewayProcess, peer: Peer) -> None:
    job_id = gateway.api.create_job(peer.appname, "sleepHandler")
    run_id = gateway.api.trigger(job_id, params="60000")
    gateway.api.wait_run(run_id, {"running"})
    wait_until(lambda: peer.executions(run_ids={run_id}), timeout_s=5, what="the handler to begin")
    gateway.api.stop_run(run_id)
    run = gateway.api.wait_run(run_id)
    assert run["state"] == "stopped"
    wait_until(
        lambda: [e.event for e in peer.events() if e.run_id == run_id] == ["start", "interrupt"],
        timeout_s=5,
        what="the handler to be interrupted",
    )
    # The job is usable afterwards.
    again = gateway.api.wait_run(gateway.api.trigger(job_id, params="10"))
    assert again["state"] == "succeeded"


def test_deadline_kills(gateway: GatewayProcess, peer: Peer) -> None:
    job_id = gateway.api.create_job(peer.appname, "sleepHandler", deadline_s=1, on_deadline="kill")
    run = gateway.api.wait_run(gateway.api.trigger(job_id, params="60000"))
    assert (run["state"], run["kill"]["state"]) == ("timed_out", "confirmed")
    assert 1000 <= run["kill"]["asked_ms"] - run["sent_ms"] < 2000
    wait_until(
        lambda: [e.event for e in peer.events() if e.run_id == run["id"]] == ["start", "interrupt"],
        timeout_s=5,
        what="the handler to be interrupted",
    )


def test_retry(gateway: GatewayProcess, peer: Peer) -> None:
    job_id = gateway.api.create_job(peer.appname, "flakyHandler", retry={"max_attempts": 2})
    run_id = gateway.api.trigger(job_id, params=f"flaky {job_id}")
    first = gateway.api.wait_run(run_id)
    assert first["state"] == "retrying"
    assert first["message"] == f"first time: flaky {job_id}"
    wait_until(lambda: len(gateway.api.runs(job_id)) == 2, timeout_s=30, what="a row of the second attempt")
    second = gateway.api.wait_run(gateway.api.runs(job_id)[1]["id"], timeout_s=60)
    assert second["state"] == "succeeded"
    assert second["message"] == f"second time: flaky {job_id}"
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert second["root_id"] == run_id
    assert [e.run_id for e in peer.executions(param=f"flaky {job_id}")] == [run_id, second["id"]]


def test_no_retry_after_the_last_attempt(gateway: GatewayProcess, peer: Peer) -> None:
    job_id = gateway.api.create_job(peer.appname, "failHandler", retry={"max_attempts": 2})
    gateway.api.trigger(job_id, params=f"hopeless {job_id}")

    def ended() -> bool:
        rows = gateway.api.runs(job_id)
        return len(rows) == 2 and rows[1]["state"] in FINAL

    wait_until(ended, timeout_s=60, what="both attempts to end")
    time.sleep(1)
    assert [row["state"] for row in gateway.api.runs(job_id)] == ["retrying", "failed"]
    assert len(peer.executions(param=f"hopeless {job_id}")) == 2


# ---------------------------------------------------------------- logs


def read_log(next_page: Callable[[int], Json], *, timeout_s: float = 10) -> tuple[list[str], int]:
    """All lines, asked for page by page as a viewer does, and the number of answers that brought some."""
    lines: list[str] = []
    answers = 0
    end = time.monotonic() + timeout_s
    while True:
        page = next_page(len(lines) + 1)
        fresh = page["content"].removesuffix("\n").split("\n") if page["content"] else []
        if fresh:
            assert page["from_line"] == len(lines) + 1
            assert page["to_line"] == len(lines) + len(fresh)
            answers += 1
        lines += fresh
        if page["is_end"]:
            return lines, answers
        assert time.monotonic() < end, f"no end of the log after {lines}"
        time.sleep(0.1)


def test_log_line_by_line(gateway: GatewayProcess, peer: Peer) -> None:
    run = run_once(gateway, peer, "okHandler", TEXT)
    lines, _ = read_log(lambda from_line: gateway.api.log(run["id"], from_line))
    expected = [
        f"param: {TEXT}",
        "shard 0 of 1",
        'text: 任务执行中 😀🚀 <b>bold</b> & "quoted"',
        *(f"step {n}" for n in range(1, 6)),
        "last line",
    ]
    ours = [line for line in lines if "log]-[" in line or "pyxxl_program" in line]
    assert [line.endswith(text) for line, text in zip(ours, expected, strict=True)] == [True] * len(expected)
    # From any line on
    fourth = gateway.api.log(run["id"], 4)
    assert fourth["from_line"] == 4
    assert fourth["content"].split("\n")[0] == lines[3]


def test_log_while_running(gateway: GatewayProcess, peer: Peer) -> None:
    job_id = gateway.api.create_job(peer.appname, "sleepHandler")
    run_id = gateway.api.trigger(job_id, params="2000")
    gateway.api.wait_run(run_id, {"running"})
    wait_until(lambda: peer.executions(run_ids={run_id}), timeout_s=5, what="the handler to begin")
    time.sleep(0.3)
    early = gateway.api.log(run_id)
    assert "sleeping 2000" in early["content"]
    assert early["is_end"] is False
    lines, answers = read_log(lambda from_line: gateway.api.log(run_id, from_line))
    assert answers >= 2
    assert "\n".join(lines).startswith(early["content"].rstrip("\n"))
    assert gateway.api.wait_run(run_id)["message"] == "slept 2000"


# ---------------------------------------------------------------- two executors


def test_broadcast_reaches_both(gateway: GatewayProcess, peer: Peer, extra_peer: PeerMaker) -> None:
    appname = f"{peer.appname}-shards"
    gateway.api.create_app(appname)
    both = [extra_peer(peer.name, gateway, appname) for _ in range(2)]
    wait_online(gateway, appname, {p.address for p in both})
    job_id = gateway.api.create_job(appname, "okHandler", route="SHARDING_BROADCAST")
    parent_id = gateway.api.trigger(job_id, params="to all")
    parent = gateway.api.wait_run(parent_id)
    assert parent["state"] == "succeeded"
    rows = {row["id"]: row for row in gateway.api.runs(job_id)}
    shards = [row for row in rows.values() if row["id"] != parent_id]
    assert len(rows) == 3
    assert sorted(row["shard"] for row in shards) == [0, 1]
    assert {row["state"] for row in shards} == {"succeeded"}
    assert {row["root_id"] for row in shards} == {parent_id}
    ran = [(p, e) for p in both for e in p.executions()]
    assert {p.address for p, _ in ran} == {p.address for p in both}
    assert len(ran) == 2
    for p, execution in ran:
        row = rows[execution.run_id]
        assert (execution.shard_index, execution.shard_total) == (row["shard"], 2)
        assert row["address"].rstrip("/") == p.address
        assert execution.param == "to all"
    completes_once(gateway, appname, both)


def completes_once(gateway: GatewayProcess, appname: str, both: list[Peer]) -> None:
    """Each shard fails once and is tried again; the parent has one end, and its child one run."""
    child_id = gateway.api.create_job(appname, "okHandler", params="child")
    job_id = gateway.api.create_job(
        appname,
        "flakyHandler",
        route="SHARDING_BROADCAST",
        retry={"intervals_s": ["300ms"]},
        children=[{"job": child_id}],
    )
    parent_id = gateway.api.trigger(job_id, params="flaky")
    assert gateway.api.wait_run(parent_id)["state"] == "succeeded"
    wait_until(
        lambda: [row["state"] for row in gateway.api.runs(child_id)] == ["succeeded"],
        timeout_s=10,
        what="the child to run",
    )
    time.sleep(0.5)
    (child,) = gateway.api.runs(child_id)
    assert (child["parent_id"], child["trigger"]) == (parent_id, "child")
    assert [len(p.executions(param="flaky")) for p in both] == [2, 2]
    assert sum(len(p.executions(param="child")) for p in both) == 1
    states = sorted(row["state"] for row in gateway.api.runs(job_id) if row["shard"] >= 0)
    assert states == ["retrying", "retrying", "succeeded", "succeeded"]
    counts = gateway.api.run(parent_id)["shards"]
    assert (counts["total"], counts["pending"], counts["succeeded"]) == (2, 0, 2)


def test_shutdown_removes_it_at_once(gateway: GatewayProcess, peer: Peer, extra_peer: PeerMaker) -> None:
    appname = f"{peer.appname}-leave"
    gateway.api.create_app(appname)
    stays, leaves = (extra_peer(peer.name, gateway, appname) for _ in range(2))
    wait_online(gateway, appname, {stays.address, leaves.address})
    job_id = gateway.api.create_job(appname, "okHandler")
    before = [gateway.api.wait_run(gateway.api.trigger(job_id, params="before")) for _ in range(4)]
    assert {row["state"] for row in before} == {"succeeded"}
    assert (len(stays.executions()), len(leaves.executions())) == (2, 2)  # ROUND

    leaves.process.signal(signal.SIGTERM)
    wait_online(gateway, appname, {stays.address}, timeout_s=2)
    after = [gateway.api.wait_run(gateway.api.trigger(job_id, params="after")) for _ in range(6)]
    assert {row["state"] for row in after} == {"succeeded"}
    assert {row["address"].rstrip("/") for row in after} == {stays.address}
    assert leaves.executions(param="after") == []
    assert len(stays.executions(param="after")) == 6

    # Nobody left: said so, not sent anywhere.
    leaves.process.wait(20)
    stays.process.signal(signal.SIGTERM)
    wait_online(gateway, appname, set(), timeout_s=2)
    alone = gateway.api.wait_run(gateway.api.trigger(job_id, params="nobody"))
    assert alone["state"] == "failed"
    assert alone["reason"]


def test_wrong_token_of_an_executor_is_not_registered(
    gateway: GatewayProcess, peer: Peer, tmp_path: Path
) -> None:
    appname = f"{peer.appname}-token"
    gateway.api.create_app(appname)
    intruder = make_peer(peer.name, gateway.admin_url, appname, "not the token", tmp_path)
    try:
        intruder.start()
        intruder.wait_listening()
        time.sleep(0.5)
        assert gateway.api.executors(appname) == []
    finally:
        intruder.kill()

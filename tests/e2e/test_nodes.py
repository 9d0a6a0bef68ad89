"""Several nodes on one database, as processes: they share the jobs, any of them takes any call, one may die."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pymysql
import pytest
from sqlalchemy.engine import make_url

from gateway.core.parts import part_of
from tests.conftest import skip_for_lack
from tests.e2e.conftest import DatabaseMaker, PeerMaker
from tests.e2e.gateway_process import (
    ACCESS_TOKEN,
    ADMIN_TOKEN,
    REPOSITORY,
    Api,
    GatewayProcess,
    Json,
    run_command,
)
from tests.e2e.peers import Peer
from tests.kit.mariadb import MariadbServer
from tests.kit.process import free_port, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.timeout(180)]

PEER = "java-3.3.2"
APP = "several-nodes"
PARTS = 128
ONE_NODE = (
    "2d07096cf2587906483f76ca3d7d99bea5e0faff"  # the last commit whose version runs one node a database
)
SEVERAL = "f0faba2584a391fade17a9f962916c16e8e587b5"  # a version that shares parts with other nodes

NodeMaker = Callable[..., GatewayProcess]


@pytest.fixture
def url(make_database: DatabaseMaker) -> str:
    made = make_database("mariadb")
    assert made is not None
    done = run_command("migrate", "--database-url", made)
    assert done.code == 0, done
    return made


@pytest.fixture
def make_node(tmp_path: Path, url: str) -> Iterator[NodeMaker]:
    """`make_node("a")`: not started; a node of that name on the test's database."""
    made: list[GatewayProcess] = []

    def make(name: str, *options: str, env: dict[str, str] | None = None) -> GatewayProcess:
        node = GatewayProcess(
            tmp_path / f"node-{name}-{len(made)}",
            options=("--database-url", url, "--node-name", name, *options),
            env=env,
        )
        made.append(node)
        return node

    yield make
    for node in made:
        node.kill()


def nodes_of(node: GatewayProcess) -> dict[str, Json]:
    return {one["name"]: one for one in node.api.call("GET", "/api/v1/nodes")["nodes"]}


def parts_of(node: GatewayProcess) -> dict[str, int]:
    return {name: one["parts"] for name, one in nodes_of(node).items() if one["parts"]}


def wait_parts(node: GatewayProcess, parts: dict[str, int], timeout_s: float = 15) -> None:
    wait_until(lambda: parts_of(node) == parts, timeout_s=timeout_s, what=f"parts to be {parts}")


def start_two(make_node: NodeMaker) -> tuple[GatewayProcess, GatewayProcess]:
    one, other = make_node("a"), make_node("b")
    one.start()
    other.start()
    wait_parts(one, {"a": 64, "b": 64})
    return one, other


def with_peer(nodes: Sequence[GatewayProcess], extra_peer: PeerMaker) -> Peer:
    """A Java executor that knows all nodes, registered everywhere."""
    nodes[0].api.create_app(APP)

    class Admins:
        admin_url = ",".join(node.admin_url for node in nodes)

    peer = extra_peer(PEER, Admins, APP)
    for node in nodes:
        wait_until(
            lambda node=node: node.api.online(APP) == {peer.address},
            timeout_s=15,
            what="the executor to be known to all nodes",
        )
    return peer


def every_second(node: GatewayProcess, name: str, **fields: object) -> int:
    schedule = {"kind": "cron", "expression": "0/1 * * * * ?", "timezone": "UTC", "misfire": "skip"}
    return node.api.create_job(
        APP, "okHandler", name=name, params=name, schedule=schedule, misfire_after_s=60, **fields
    )


def until_fraction(fraction: float) -> None:
    time.sleep((fraction - time.time() % 1) % 1)


def assert_each_once(node: GatewayProcess, peer: Peer, jobs: dict[str, int], first: int) -> list[Json]:
    """Every second since `first` has one row of each job and one execution. The rows."""
    for job_id in jobs.values():
        node.api.wait_nothing_late(job_id, timeout_s=20)
    until_fraction(0.5)
    for job_id in jobs.values():
        node.api.disable(job_id)
    last = int(time.time())
    slots = [second * 1000 for second in range(first, last + 1)]
    found: list[Json] = []
    for name, job_id in jobs.items():
        rows = node.api.runs(job_id)
        assert sorted(row["slot_ms"] for row in rows) == slots
        wait_until(
            lambda name=name: len(peer.executions(param=name)) >= len(slots),
            timeout_s=15,
            what=f"all slots of {name} to begin",
        )
        assert Counter(e.run_id for e in peer.executions(param=name)) == {row["id"]: 1 for row in rows}
        found += rows
    return found


def test_two_nodes_share_the_jobs_and_one_is_killed(make_node: NodeMaker, extra_peer: PeerMaker) -> None:
    """Jobs of both nodes fire each second, through the death of one and its return."""
    one, other = start_two(make_node)
    peer = with_peer((one, other), extra_peer)
    jobs = {f"job {n}": every_second(one if n % 2 else other, f"job {n}", enabled=False) for n in range(6)}
    until_fraction(0.2)
    for job_id in jobs.values():
        one.api.enable(job_id)
    first = int(time.time()) + 1
    time.sleep(2.5)
    other.kill()
    wait_parts(one, {"a": PARTS}, timeout_s=5)
    assert nodes_of(one)["b"]["state"] == "dead"
    time.sleep(2)
    other.start()
    wait_parts(one, {"a": 64, "b": 64}, timeout_s=5)
    time.sleep(2)
    for row in assert_each_once(one, peer, jobs, first):
        one.api.wait_run(row["id"], {"succeeded"}, timeout_s=40)


def test_a_node_that_was_replaced_while_it_slept_starts_nothing_and_joins_again(
    make_node: NodeMaker, extra_peer: PeerMaker
) -> None:
    one, other = start_two(make_node)
    peer = with_peer((one, other), extra_peer)
    until_fraction(0.2)
    name = "asleep"
    job_id = every_second(other, name)
    first = int(time.time()) + 1
    sleeper, heir = (one, other) if _owner(one, job_id) == "a" else (other, one)
    time.sleep(2)
    # The next slot is claimed by now and waits in memory to be sent.
    until_fraction(0.9)
    sleeper.process.freeze()
    wait_parts(heir, {nodes_name(heir): PARTS}, timeout_s=8)
    time.sleep(2)
    sleeper.process.thaw()
    wait_parts(heir, {"a": 64, "b": 64}, timeout_s=8)
    assert any('"lease_lost"' in line for line in sleeper.log_lines())
    time.sleep(1)
    assert_each_once(heir, peer, {name: job_id}, first)
    assert sleeper.alive
    assert "Traceback" not in sleeper.process.output()


def nodes_name(node: GatewayProcess) -> str:
    return node.process.argv[node.process.argv.index("--node-name") + 1]


def _owner(node: GatewayProcess, job_id: int) -> str:
    return "a" if part_of(job_id) in _parts(node, "a") else "b"


def _parts(node: GatewayProcess, name: str) -> set[int]:
    argv = node.process.argv
    where = make_url(argv[argv.index("--database-url") + 1])
    connection = pymysql.connect(
        host=where.host,
        port=where.port,
        user=where.username,
        password=where.password,
        database=where.database,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM part WHERE node = %s", (name,))
        return {row[0] for row in cursor.fetchall()}


def test_any_node_takes_any_call(make_node: NodeMaker, extra_peer: PeerMaker) -> None:
    """Triggers, edits, stops and names through the node that does not own the job."""
    one, other = start_two(make_node)
    peer = with_peer((one, other), extra_peer)
    for node in (one, other):
        job_id = node.api.create_job(APP, "sleepHandler", name=f"made by {nodes_name(node)}")
        for asked in (one, other):
            begun = time.monotonic()
            run_id = asked.api.trigger(job_id, params="100")
            row = asked.api.wait_run(run_id, {"succeeded"})
            assert time.monotonic() - begun < 3
            assert row["message"] == "slept 100"
            run_id = asked.api.trigger(job_id, params="30000")
            asked.api.wait_run(run_id, {"running"})
            (other if asked is one else one).api.stop_run(run_id)
            assert asked.api.wait_run(run_id)["state"] == "stopped"
    body = {"task_id": "once", "params": "1"}
    first = one.api.call("POST", f"/api/v1/jobs/{job_id}/trigger", body, expect=(202,))["run_id"]
    status, text = other.api.request("POST", f"/api/v1/jobs/{job_id}/trigger", body)
    assert status == 409
    assert str(first) in text
    one.api.delete_job(job_id)
    assert other.api.request("POST", f"/api/v1/jobs/{job_id}/trigger", {})[0] == 404
    peer.stop()
    wait_until(
        lambda: not other.api.online(APP) and not one.api.online(APP), timeout_s=3, what="it to be gone"
    )


def test_an_edit_takes_effect_with_its_answer_on_every_node(
    make_node: NodeMaker, extra_peer: PeerMaker
) -> None:
    one, other = start_two(make_node)
    peer = with_peer((one, other), extra_peer)
    until_fraction(0.2)
    jobs = [every_second(one, f"edited {n}") for n in range(6)]
    for turn in range(6):
        time.sleep(0.9)  # now and then just when the next slot has been claimed
        node = (one, other)[turn % 2]
        for job_id in jobs:
            old = node.api.call("GET", f"/api/v1/jobs/{job_id}")
            task = {**old["task"], "params": f"turn {turn}"}
            node.api.call("PATCH", f"/api/v1/jobs/{job_id}", {"task": task})
            answered_ms = time.time() * 1000
            late = [
                e
                for e in peer.executions()
                if e.job_id == job_id and e.at_ms > answered_ms + 30 and e.param != f"turn {turn}"
            ]
            assert late == []
    for job_id in jobs:
        other.api.disable(job_id)
    time.sleep(0.2)
    count = len(peer.executions())
    time.sleep(2)
    assert len(peer.executions()) == count


def test_drain_and_resume(make_node: NodeMaker) -> None:
    one, other = start_two(make_node)
    env = {"XXLJOB_GATEWAY_URL": f"http://127.0.0.1:{other.port}", "XXLJOB_GATEWAY_TOKEN": ADMIN_TOKEN}
    ended = run_command("nodes", "drain", "a", env=env)
    assert (ended.code, ended.errors) == (0, [])
    assert re.search(r"^a +draining +0 ", ended.output, re.MULTILINE)
    assert parts_of(one) == {"b": PARTS}
    assert one.api.is_ready()
    ended = run_command("nodes", "drain", "b", env=env)
    assert ended.code == 1
    assert "there is no other node to take its parts" in ended.errors[0]
    assert run_command("nodes", "drain", "c", env=env).errors == ["error: node 'c' does not exist"]
    ended = run_command("nodes", "resume", "a", env=env)
    assert ended.code == 0
    wait_parts(other, {"a": 64, "b": 64}, timeout_s=5)
    assert one.stop() == 0
    assert parts_of(other) == {"b": PARTS}
    assert nodes_of(other)["a"]["state"] == "stopped"


def refused(url: str, directory: Path, *options: str, env: dict[str, str] | None = None) -> str:
    ended = run_command(
        *("serve", "--port", str(free_port()), "--data-dir", str(directory), "--database-url", url, *options),
        env=env,
    )
    assert ended.code in {1, 2}
    assert ended.output == ""
    return ended.errors[-1]


def test_a_node_that_does_not_fit_is_refused(make_node: NodeMaker, url: str, tmp_path: Path) -> None:
    node = make_node("a")
    node.start()
    same = {"XXLJOB_GATEWAY_ACCESS_TOKEN": ACCESS_TOKEN}
    second = tmp_path / "second"
    where = nodes_of(node)["a"]["control_address"]
    assert refused(url, second, "--node-name", "a", env=same) == (
        f"error: a node named 'a' ({where}) is alive on this database: give this one another name (node_name) "
        "and a data directory of its own"
    )
    for env, said in (
        ({"LEASE_S": "3"}, "lease_s: 3.0 is not valid: 2.0"),
        ({"TIMEZONE": "Asia/Tokyo"}, "timezone: 'Asia/Tokyo' is not valid: 'UTC'"),
        ({"REGISTER_UNKNOWN_APPS": "true"}, "register_unknown_apps: True is not valid: False"),
        ({"ACCESS_TOKEN": "another"}, "access_token: must share a token with the other nodes"),
    ):
        given = {f"XXLJOB_GATEWAY_{name}": value for name, value in env.items()}
        assert refused(url, second, "--node-name", "b", env=same | given) == (
            f"error: {said}, as node 'a' ({where}) of this database has it: all nodes must agree"
        )
    for options, said in (
        (("--node-name", "no good"), "node_name: 'no good' is not valid: "),
        (("--control-host", "0.0.0.0"), "control_host: '0.0.0.0' is not valid: the one address by which "),
    ):
        assert said in refused(url, second, *options, env=same)
    assert parts_of(node) == {"a": PARTS}
    assert refused(url, second, "--workers", "2", "--demo", env=same) == (
        "error: demo: 'true' is not valid: false with several workers: start the demo with one"
    )
    # Rotating the token needs both for a while: a node that knows either may join.
    both = make_node("b", env={"XXLJOB_GATEWAY_ACCESS_TOKEN": f"another,{ACCESS_TOKEN}"})
    both.start()
    wait_parts(node, {"a": 64, "b": 64})


def test_a_worker_dies_and_the_others_go_on_at_once(make_node: NodeMaker, extra_peer: PeerMaker) -> None:
    workers = make_node("w", "--workers", "2")
    workers.start(40)
    wait_parts(workers, {"w-w1": 64, "w-w2": 64})
    peer = with_peer((workers,), extra_peer)
    until_fraction(0.2)
    jobs = {f"job {n}": every_second(workers, f"job {n}") for n in range(2)}
    first = int(time.time()) + 1
    time.sleep(2)
    until_fraction(0.4)
    children = subprocess.run(
        ["pgrep", "-P", str(workers.process.pid)], capture_output=True, text=True
    ).stdout.split()
    os.kill(int(children[0]), signal.SIGKILL)
    begun = time.monotonic()
    wait_until(lambda: PARTS in parts_of(workers).values(), timeout_s=5, every_s=0.02, what="a take-over")
    assert time.monotonic() - begun < 1.5  # the lease alone would have lasted longer
    wait_parts(workers, {"w-w1": 64, "w-w2": 64}, timeout_s=20)
    time.sleep(1)
    rows = assert_each_once(workers, peer, jobs, first)
    for row in rows:
        workers.api.wait_run(row["id"], {"succeeded"}, timeout_s=40)
    assert workers.stop(40) == 0


# ---------------------------------------------------------------- upgrade


def sources_of(commit: str, place: Path) -> Path:
    """The sources of an earlier version, from this repository's history."""
    place.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(REPOSITORY), "archive", commit, "gateway", "compat", "importer"],
        capture_output=True,
    )
    if archive.returncode:
        skip_for_lack(f"no commit {commit[:7]} in this copy: an earlier version runs beside this one")
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive.stdout, check=True)
    return place


def made_of(node: GatewayProcess, sources: Path) -> GatewayProcess:
    node.process.cwd = sources
    node.process.env["PYTHONPATH"] = str(sources)
    return node


def test_upgrade_with_the_version_before_still_running(
    make_node: NodeMaker,
    extra_peer: PeerMaker,
    mariadb_server: MariadbServer,
    mariadb_url: str,
    tmp_path: Path,
) -> None:
    """The schema first, then a node beside the old one, which then stops: each second once, none missing."""
    earlier_sources = sources_of(ONE_NODE, tmp_path / "earlier")
    old = made_of(GatewayProcess(tmp_path / "old", options=("--database-url", mariadb_url)), earlier_sources)
    migrated = subprocess.run(
        [sys.executable, "-m", "gateway", "migrate", "--database-url", mariadb_url],
        cwd=earlier_sources,
        env={**os.environ, "PYTHONPATH": str(earlier_sources)},
        capture_output=True,
        text=True,
    )
    assert migrated.stdout == "schema 0001, was empty\n", migrated
    new = GatewayProcess(tmp_path / "new", options=("--database-url", mariadb_url, "--node-name", "new"))
    try:
        old.start()
        peer = with_peer((old,), extra_peer)
        until_fraction(0.2)
        job_id = every_second(old, "through the upgrade")
        first = int(time.time()) + 1
        time.sleep(2)
        assert run_command("migrate", "--database-url", mariadb_url).output.endswith("was 0001\n")
        time.sleep(1.5)
        new.start()
        time.sleep(2)
        owners = mariadb_server.execute(f"SELECT DISTINCT node FROM `{mariadb_url.rpartition('/')[2]}`.part")
        assert len(owners) == 1
        assert owners[0][0] != "new"  # the old one owns all: it knows no hand-over
        assert old.stop() == 0
        wait_parts(new, {"new": PARTS}, timeout_s=5)
        time.sleep(2)
        assert_each_once(new, peer, {"through the upgrade": job_id}, first)
    finally:
        old.kill()
        new.kill()


def test_upgrade_node_by_node_from_a_version_that_shares(
    make_node: NodeMaker, extra_peer: PeerMaker, tmp_path: Path
) -> None:
    """Two versions share the parts and call each other; then one takes all over from the other."""
    old = made_of(make_node("old"), sources_of(SEVERAL, tmp_path / "earlier"))
    new = make_node("new")
    old.start()
    new.start()
    wait_parts(new, {"new": 64, "old": 64})
    peer = with_peer((old, new), extra_peer)
    by_hand = every_second(new, "by hand", enabled=False)
    until_fraction(0.2)
    jobs = {f"upgrade {number}": every_second(old, f"upgrade {number}") for number in range(6)}
    first = int(time.time()) + 1
    time.sleep(2)
    for node, other in ((old, new), (new, old)):
        run_id = node.api.trigger(by_hand)
        assert other.api.wait_run(run_id, {"succeeded"}, timeout_s=10)["id"] == run_id
    assert old.stop() == 0
    wait_parts(new, {"new": PARTS}, timeout_s=5)
    time.sleep(2)
    assert_each_once(new, peer, jobs, first)


def test_a_process_of_its_own_group_is_left_by_no_worker(make_node: NodeMaker) -> None:
    """Workers whose parent was killed stop by themselves. Until then both of their listeners answer."""
    private = free_port()
    listens = {"XXLJOB_GATEWAY_PRIVATE_TRIGGER_LISTEN": f"127.0.0.1:{private}"}
    workers = make_node("w", "--workers", "2", env=listens)
    workers.start(40)
    workers.api.create_app(APP)
    job_id = workers.api.create_job(APP, "okHandler")
    made = workers.api.call("POST", f"/api/v1/jobs/{job_id}/trigger-urls", {"kind": "private"}, expect=(201,))
    assert made["url"] == f"http://127.0.0.1:{private}{made['path']}"
    assert {Api(private).request("POST", made["path"])[0] for _ in range(6)} == {202}
    assert workers.api.request("POST", made["path"])[0] == 404
    assert Api(private).request("GET", "/healthz")[0] == 404
    children = subprocess.run(
        ["pgrep", "-P", str(workers.process.pid)], capture_output=True, text=True
    ).stdout.split()
    assert len(children) == 2
    workers.kill()
    wait_until(lambda: not any(map(lives, children)), timeout_s=30, what="the workers to end")


def lives(pid: str) -> bool:
    """Whether it does anything yet: where nobody waits for orphans, their entries stay."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_worker_whose_parent_died_before_it_was_ready_ends(tmp_path: Path, url: str) -> None:
    """It has never seen its parent alive, and must not go on as a node that nobody looks after."""
    with subprocess.Popen(["true"]) as parent:
        parent.wait()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        given = {
            "LISTEN_FD": str(listening.fileno()),
            "PARENT_PID": str(parent.pid),
            "DATABASE_URL": url,
            "DATA_DIR": str(tmp_path / "data"),
        }
        ended = subprocess.run(
            [sys.executable, "-m", "gateway", "serve"],
            env={**os.environ, **{f"XXLJOB_GATEWAY_{name}": value for name, value in given.items()}},
            cwd=REPOSITORY,
            pass_fds=[listening.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    assert '"event": "stopping"' in ended.stderr

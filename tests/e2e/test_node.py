"""A node's own life: it stops in order, stays alone on its database, checks and migrates it, and shows a demo."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.store.schema import HEAD
from tests.conftest import require_tool
from tests.e2e.conftest import DatabaseMaker, PeerMaker
from tests.e2e.gateway_process import REPOSITORY, Api, GatewayProcess, run_command
from tests.kit.mariadb import MariadbServer
from tests.kit.process import Process, free_port, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

DATABASES = ["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)]
PEER = "java-3.3.2"
APP = "node-life"

GatewayMaker = Callable[..., GatewayProcess]


@pytest.fixture
def make_gateway(tmp_path: Path) -> Iterator[GatewayMaker]:
    """`make_gateway(database_url)`: not started; each has a data directory of its own."""
    made: list[GatewayProcess] = []

    def make(database_url: str | None = None) -> GatewayProcess:
        gateway = GatewayProcess(tmp_path / f"gateway-{len(made)}", database_url=database_url)
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.kill()


def every_second(api: Api, name: str = "each second") -> int:
    schedule = {"kind": "cron", "expression": "0/1 * * * * ?", "timezone": "UTC", "misfire": "skip"}
    return api.create_job(APP, "okHandler", name=name, params=name, schedule=schedule, misfire_after_s=60)


def serve_refused(*options: str) -> tuple[int, str]:
    """Exit code and the last line of a `serve` that ends by itself; nothing but log lines may stand before it."""
    ended = run_command("serve", "--port", str(free_port()), *options)
    assert ended.output == ""
    for line in ended.errors[:-1]:
        assert json.loads(line)["level"] in {"info", "warning"}, ended.errors
    return ended.code, ended.errors[-1]


# ---------------------------------------------------------------- stop and start


@pytest.mark.parametrize("kind", DATABASES)
def test_sigterm_takes_results_and_starts_nothing(
    kind: str, make_gateway: GatewayMaker, make_database: DatabaseMaker, extra_peer: PeerMaker
) -> None:
    gateway = make_gateway(make_database(kind))
    begun = time.time()
    gateway.start()
    first_start_s = time.time() - begun
    api = gateway.api
    api.create_app(APP)
    peer = extra_peer(PEER, gateway, APP)
    wait_until(lambda: api.online(APP) == {peer.address}, timeout_s=10, what="the executor to be registered")
    sleeper = api.create_job(APP, "sleepHandler")
    time.sleep((0.2 - time.time() % 1) % 1)
    ticker = every_second(api)
    first = int(time.time()) + 1
    time.sleep(2)
    # Ends 1.7 s after the signal: in the grace period of 5 s.
    run_id = api.trigger(sleeper, params="2000")
    api.wait_run(run_id, {"running"})
    time.sleep((0.5 - time.time() % 1) % 1)

    told = time.time()
    gateway.process.signal(signal.SIGTERM)
    gateway.process.wait(10)
    stopped = time.time()
    assert gateway.process.returncode == 0
    # It waited for the result, and not longer.
    (ended,) = [e.at_ms for e in peer.events() if e.event == "end"]
    assert ended / 1000 < stopped < ended / 1000 + 2

    time.sleep(1)
    begun = time.time()
    gateway.start()
    ready_after = time.time() - begun
    # No lease to wait for, no /idleBeat to ask: what is known is known.
    assert ready_after < first_start_s + 1.5  # a lease lasts two seconds
    run = api.run(run_id)
    assert run["state"] == "succeeded"
    assert run["message"] == "slept 2000"
    assert told * 1000 < run["finished_ms"] < stopped * 1000

    time.sleep(3)
    time.sleep((0.5 - time.time() % 1) % 1)
    api.disable(ticker)
    slots = [second * 1000 for second in range(first, int(time.time()) + 1)]
    wait_until(
        lambda: {row["state"] for row in api.runs(ticker)} == {"succeeded"},
        timeout_s=10,
        what="all slots to have been executed",
    )
    ran = sorted(e.at_ms for e in peer.executions(param="each second"))
    assert sorted(row["slot_ms"] for row in api.runs(ticker)) == slots
    assert len(ran) == len(slots)
    # Half a second before and after the signal no slot is due; whatever was due later waited for the start.
    assert [at for at in ran if told * 1000 < at < begun * 1000] == []
    late = [at for at in ran if begun * 1000 <= at < (begun + ready_after + 1) * 1000]
    assert len(late) >= int(begun) - int(told)


@pytest.mark.mariadb
def test_another_node_takes_over_at_once_after_a_stop(
    make_gateway: GatewayMaker, make_database: DatabaseMaker
) -> None:
    url = make_database("mariadb")
    one, other = make_gateway(url), make_gateway(url)
    one.start()
    one.api.create_app(APP)
    assert one.stop() == 0
    other.start()
    assert "waiting_for_lease" not in other.process.output()
    assert other.api.call("GET", f"/api/v1/apps/{APP}")["appname"] == APP


# ---------------------------------------------------------------- alone


def test_second_gateway_on_the_same_data_directory_is_refused(make_gateway: GatewayMaker) -> None:
    gateway = make_gateway()
    gateway.start()
    code, line = serve_refused("--data-dir", str(gateway.data_dir))
    assert code == 1
    assert line == f"error: another gateway is running with the data directory {gateway.data_dir}"
    assert gateway.api.is_ready()


def test_second_gateway_on_the_same_embedded_database_is_refused(
    make_gateway: GatewayMaker, tmp_path: Path
) -> None:
    gateway = make_gateway()
    gateway.start()
    path = gateway.data_dir / "gateway.db"
    code, line = serve_refused(
        "--data-dir", str(tmp_path / "second"), "--database-url", f"sqlite+aiosqlite:///{path}"
    )
    assert code == 1
    assert line == (
        f"error: another gateway is running with the database {path}: SQLite takes one process; several nodes "
        "need MySQL or MariaDB"
    )
    # The first one has not been disturbed: it still owns what it schedules.
    time.sleep(1)
    assert gateway.alive
    assert gateway.api.is_ready()


def test_workers_on_an_embedded_database_are_refused(tmp_path: Path) -> None:
    code, line = serve_refused("--data-dir", str(tmp_path / "data"), "--workers", "2")
    assert code == 2
    assert line == (
        "error: workers: 2 is not valid: 1 with SQLite, which takes one process; name a MySQL or MariaDB "
        "database for more"
    )


def test_taken_port_is_refused(make_gateway: GatewayMaker, tmp_path: Path) -> None:
    gateway = make_gateway()
    gateway.start()
    ended = run_command("serve", "--port", str(gateway.port), "--data-dir", str(tmp_path / "second"))
    assert ended.code == 1
    assert ended.errors[-1] == f"error: cannot listen on 127.0.0.1:{gateway.port}: address already in use"


# ---------------------------------------------------------------- check and migrate


@pytest.mark.mariadb
def test_schema_is_checked_and_migrated(
    mariadb_server: MariadbServer, mariadb_url: str, make_gateway: GatewayMaker, tmp_path: Path
) -> None:
    name = mariadb_url.rpartition("/")[2]
    options = ("--data-dir", str(tmp_path / "data"), "--database-url", mariadb_url)
    empty = f"error: the database is empty, this version needs {HEAD}: run `xxljob-gateway migrate`"

    assert serve_refused(*options) == (1, empty)
    ended = run_command("check", *options)
    assert (ended.code, ended.errors) == (1, [empty])
    assert "***" in ended.output
    assert "gateway-test" not in ended.output  # the password

    ended = run_command("migrate", *options)
    assert (ended.code, ended.output, ended.errors) == (0, f"schema {HEAD}, was empty\n", [])
    ended = run_command("migrate", *options)
    assert (ended.code, ended.output, ended.errors) == (0, f"schema {HEAD} already\n", [])
    ended = run_command("check", *options)
    assert (ended.code, ended.errors) == (0, [])
    assert ended.output.splitlines()[-1] == "ok"

    mariadb_server.execute(f"UPDATE `{name}`.alembic_version SET version_num='0000'")
    outdated = (
        f"error: the database is at schema 0000, this version needs {HEAD}: run `xxljob-gateway migrate`"
    )
    assert serve_refused(*options) == (1, outdated)
    assert run_command("check", *options).errors == [outdated]

    mariadb_server.execute(f"UPDATE `{name}`.alembic_version SET version_num='9999'")
    newer = f"error: the database has schema 9999, newer than this version's {HEAD}: upgrade the gateway"
    assert serve_refused(*options) == (1, newer)
    assert run_command("check", *options).errors == [newer]
    ended = run_command("migrate", *options)
    assert ended.code == 1
    assert len(ended.errors) == 1
    assert "9999" in ended.errors[0]

    mariadb_server.execute(f"UPDATE `{name}`.alembic_version SET version_num='{HEAD}'")
    gateway = make_gateway(mariadb_url)
    gateway.start()
    assert gateway.stop() == 0


@pytest.mark.mariadb
def test_database_of_somebody_else_is_left_alone(
    mariadb_server: MariadbServer, mariadb_url: str, tmp_path: Path
) -> None:
    name = mariadb_url.rpartition("/")[2]
    mariadb_server.execute(f"CREATE TABLE `{name}`.customer (id INT)")
    options = ("--data-dir", str(tmp_path / "data"), "--database-url", mariadb_url)
    said = "error: the database holds other tables (customer …): name an empty database or one of a gateway"
    for command in ("check", "migrate", "serve"):
        ended = run_command(command, *options)
        assert (ended.code, ended.errors) == (1, [said]), command
    assert mariadb_server.execute(f"SHOW TABLES FROM `{name}`") == [("customer",)]


@pytest.mark.mariadb
def test_unreachable_database_is_one_line(tmp_path: Path) -> None:
    url = f"mysql+aiomysql://gateway:secret-word@127.0.0.1:{free_port()}/gone"
    options = ("--data-dir", str(tmp_path / "data"), "--database-url", url)
    for command in ("check", "migrate", "serve"):
        ended = run_command(command, *options)
        assert ended.code == 1, command
        assert len(ended.errors) == 1, ended
        assert ended.errors[0].startswith("error: the database cannot be "), ended
        assert "127.0.0.1" in ended.errors[0]
        assert "secret-word" not in ended.output + ended.errors[0]


@pytest.mark.mariadb
def test_durability_settings_are_reported(tmp_path: Path) -> None:
    for program in ("mariadbd", "mariadb-install-db"):
        require_tool(program, "settings are tried on a MariaDB server of our own")
    server = MariadbServer(tmp_path / "mariadb", options=("--log-bin=binlog", "--sync-binlog=1"))
    try:
        server.start()
        url = server.create_database("durability")
        options = ("--data-dir", str(tmp_path / "data"), "--database-url", url)
        assert run_command("migrate", *options).code == 0
        assert run_command("check", *options).code == 0

        server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        server.execute("SET GLOBAL sync_binlog = 0")
        ended = run_command("check", *options)
        assert ended.code == 1
        assert ended.errors == [
            "error: innodb_flush_log_at_trx_commit is 2: a crash loses committed runs; set it to 1",
            "error: sync_binlog is 0: a replica may miss runs; set it to 1",
        ]
        assert "ok" not in ended.output.splitlines()

        # `serve` starts and says so.
        gateway = GatewayProcess(tmp_path / "gateway", database_url=url)
        try:
            gateway.start()
            said = [line for line in gateway.log_lines() if '"event": "durability"' in line]
            assert [json.loads(line)["problem"].split()[0] for line in said] == [
                "innodb_flush_log_at_trx_commit",
                "sync_binlog",
            ]
            assert {json.loads(line)["level"] for line in said} == {"warning"}
        finally:
            gateway.kill()
    finally:
        server.close()


# ---------------------------------------------------------------- demo


def test_demo_fires_within_ten_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an empty machine, without any setting but the place; what is printed is what works."""
    port, data_dir = free_port(), tmp_path / "a place" / "data"
    for name in [name for name in os.environ if name.startswith("XXLJOB_GATEWAY_")]:
        monkeypatch.delenv(name)
    demo = Process(
        [
            *(sys.executable, "-m", "gateway", "serve", "--demo", "--log-format", "text"),
            *("--port", str(port), "--data-dir", str(data_dir)),
        ],
        log=tmp_path / "terminal",
        env={"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        cwd=REPOSITORY,
    )
    begun = time.monotonic()
    try:
        demo.start()

        def fires() -> list[str]:
            return [line for line in demo.output().splitlines() if "demo_run" in line]

        wait_until(fires, timeout_s=10, what="the first fire in the terminal")
        api = Api(port, (data_dir / "token").read_text().strip())

        def succeeded() -> list[int]:
            rows = api.call("GET", "/api/v1/runs?state=succeeded")["items"]
            return [row["id"] for row in rows]

        wait_until(succeeded, timeout_s=10 - (time.monotonic() - begun), what="the first fire in the API")
        (run_id,) = succeeded()[-1:]
        (line,) = [line for line in fires() if str(run_id) in line]
        assert "demoHello" in line or "demoReport" in line
        assert "said" in line

        # The command that was printed shows the same, copied into another terminal.
        (command,) = re.findall(r"^  (.*runs list)$", demo.output(), re.MULTILINE)
        listed = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=20, cwd=REPOSITORY
        )
        assert listed.returncode == 0, listed
        assert str(run_id) in listed.stdout

        # Both jobs, none of their runs failed, and no end without an answer.
        for handler in ("demoHello", "demoReport"):
            wait_until(
                lambda name=handler: name in "".join(fires()), timeout_s=20, what=f"a run of {handler}"
            )
        states = {row["state"] for row in api.call("GET", "/api/v1/runs")["items"]}
        assert states <= {"planned", "queued", "dispatching", "running", "succeeded"}
        assert demo.terminate(15) == 0
        assert "Traceback" not in demo.output()
    finally:
        demo.kill()

"""The processes of one scenario: a fresh database, the gateway on it, a fleet of executors, a load generator."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from database import MariadbSql, SqliteSql
from figures import Cores
from machine import cpu_of
from nodes import Nodes
from oracle import Jobs, Receipt, Row, receipts

from tests.e2e.gateway_process import ACCESS_TOKEN, ADMIN_TOKEN, REPOSITORY, Api, GatewayProcess
from tests.kit.mariadb import MariadbServer
from tests.kit.process import Process, free_port, wait_until

HERE = Path(__file__).parent
APP = "bench"
EXECUTORS = 64
FIRST_RUN_ID = 1 << 32  # what comes before are rows of history.py
BATCH = 2000  # jobs a call
FOLLOW_S = 3  # in which all nodes see what one of them was told: they look once a second
NEVER = "0 0 3 1 1 ?"  # due once a year
ONCE_A_SECOND = "* * * * * ?"
DATABASE_OPTIONS = (
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=1G",
    "--innodb-log-buffer-size=64M",
    "--innodb-flush-log-at-trx-commit=1",
)


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far, and when that was (monotonic seconds)."""

    at: float
    gateway: float
    database: float | None
    load: float

    def since(self, before: Usage, *, seconds: float | None = None, load: float | None = None) -> Cores:
        """`seconds`: what to divide by, the time between both if left out. `load`: more CPU seconds of load."""
        span = seconds or self.at - before.at
        database = (
            None
            if self.database is None or before.database is None
            else round((self.database - before.database) / span, 3)
        )
        return Cores(
            round((self.gateway - before.gateway) / span, 3),
            database,
            round((self.load - before.load + (load or 0)) / span, 3),
        )


class Bench:
    """What all scenarios share: the database server and a directory. Close it.

    `nodes` and `workers` are what a stage has if its scenario does not say otherwise.
    """

    def __init__(self, directory: Path, *, mariadb: bool, nodes: int = 1, workers: int = 1) -> None:
        self.directory = directory
        self.nodes = nodes
        self.workers = workers
        self.server: MariadbServer | None = None
        self._number = 0
        if mariadb:
            self.server = MariadbServer(directory / "mariadb", options=DATABASE_OPTIONS)
            self.server.start(60)

    @property
    def database_pid(self) -> int | None:
        return None if self.server is None else int((self.server.directory / "pid").read_text())

    @contextmanager
    def stage(self, *, nodes: int | None = None, workers: int | None = None) -> Iterator[Stage]:
        """Thrown away at the end, processes first."""
        self._number += 1
        name = f"bench_{self._number}"
        directory = self.directory / name
        directory.mkdir()
        url = None if self.server is None else self.server.create_database(name)
        found = Nodes(directory, url, count=nodes or self.nodes, workers=workers or self.workers)
        stage = Stage(self, name, directory, url, found)
        try:
            yield stage
        finally:
            stage.close()
            if self.server is not None:
                self.server.drop_database(name)
            shutil.rmtree(directory, ignore_errors=True)
            time.sleep(1)  # for the database to be done with it

    def close(self) -> None:
        if self.server is not None:
            self.server.close()


class Stage:
    """Nothing runs yet: `open` starts the usual set, scenarios about starting do it themselves."""

    def __init__(self, bench: Bench, name: str, directory: Path, url: str | None, nodes: Nodes) -> None:
        self.bench = bench
        self.url = url
        self.directory = directory
        self.nodes = nodes
        self.sql = (
            SqliteSql(nodes.first.data_dir / "gateway.db")
            if bench.server is None
            else MariadbSql(bench.server, name)
        )
        self.fleet: Process | None = None
        self._control = 0

    @property
    def gateway(self) -> GatewayProcess:
        """The first node, or the only one."""
        return self.nodes.first

    @property
    def api(self) -> Api:
        return self.nodes.first.api

    def open(self, callbacks: str = "none") -> None:
        """The gateway, its app, and executors that report results in this way (fleet.py)."""
        self.start_gateway()
        self.start_fleet(callbacks)

    def start_gateway(self) -> None:
        """All nodes, and the app, once they know it."""
        self.nodes.start(self.sql)
        self.api.create_app(APP)
        if self.nodes.owners > 1:
            time.sleep(FOLLOW_S)

    def start_fleet(self, callbacks: str) -> None:
        """Executors that know all nodes that run, each first calling another."""
        self._control = free_port()
        self.fleet = Process(
            [
                *(sys.executable, str(HERE / "fleet.py"), "--app", APP, "--addresses", str(EXECUTORS)),
                *("--admin", *(node.admin_url for node in self.nodes.alive)),
                *("--base-port", str(_free_block(EXECUTORS)), "--control-port", str(self._control)),
                *("--token", ACCESS_TOKEN, "--callbacks", callbacks),
            ],
            log=self.directory / "fleet.log",
            cwd=REPOSITORY,
        )
        fleet = self.fleet
        fleet.start()
        fleet.wait_ready(lambda: '"ready"' in fleet.output(), timeout_s=30, what="the fleet to register")
        self.wait_online(EXECUTORS)

    def wait_online(self, count: int) -> None:
        """Return when all nodes know that many executors. Workers share a port: they get the time it takes."""
        for node in self.nodes.alive:
            wait_until(
                lambda node=node: len(node.api.online(APP)) == count,
                timeout_s=15,
                what=f"{count} executors to be known",
            )
        if self.nodes.owners > len(self.nodes.alive):
            time.sleep(FOLLOW_S)

    def close(self) -> None:
        if self.fleet is not None:
            self.fleet.kill()
        self.nodes.kill()

    # ------------------------------------------------------------ jobs

    def create_jobs(
        self, count: int, *, every_s: int = 1, spread: bool = False, kind: str | None = None, **fields: Any
    ) -> Jobs:
        """Disabled ones, to be begun together. Every second on the second: cron, otherwise a fixed rate."""
        if kind is not None:
            schedule = {"kind": kind, **({"expression": NEVER} if kind == "cron" else {})}
        elif every_s == 1 and not spread:
            schedule = {"kind": "cron", "expression": ONCE_A_SECOND}
        else:
            schedule = {"kind": "fixed_rate", "expression": f"{every_s}s"}
        job = {
            "app": APP,
            "schedule": schedule,
            "task": {"kind": "xxl", "handler": "benchHandler", "params": "some=parameters"},
            "route": "ROUND",
            "enabled": False,
            **fields,
        }
        ids: list[int] = []
        for start in range(0, count, BATCH):
            jobs = [job | {"name": f"job {number}"} for number in range(start, min(count, start + BATCH))]
            ids += self.api.call("POST", "/api/v1/jobs/batch", {"jobs": jobs}, expect=(200, 201))["ids"]
        if ids != [*range(ids[0], ids[0] + count)]:
            raise AssertionError("the ids of the jobs have gaps")
        return Jobs(ids[0], ids[-1], every_s, spread)

    def begin(self, jobs: Jobs) -> Jobs:
        """Enable them, first due at a full second a few seconds from now.

        By SQL, as the API gives all jobs of a batch one phase and starts each when it is enabled.
        """
        count = jobs.last_id - jobs.first_id + 1
        start_ms = (int(time.time()) + 6 + count // 5000) * 1000
        mine = f"BETWEEN {jobs.first_id} AND {jobs.last_id}"
        anchor = jobs.phase_sql.replace("job_id", "id")
        self.sql.execute(
            f"UPDATE job SET enabled = 1, anchor_ms = {start_ms} + {anchor} WHERE id {mine}",
            f"UPDATE job_next_fire SET enabled = 1, next_fire_at = {start_ms} + {jobs.phase_sql} WHERE job_id {mine}",
        )
        if time.time() * 1000 > start_ms - 4000:
            raise AssertionError("enabling the jobs took too long: they would begin late")
        return jobs.starting(start_ms)

    def end(self, jobs: Jobs) -> None:
        """No more slots; returns when what was planned ahead has been sent."""
        mine = f"BETWEEN {jobs.first_id} AND {jobs.last_id}"
        self.sql.execute(f"UPDATE job_next_fire SET enabled = 0 WHERE job_id {mine}")
        time.sleep(2)
        wait_until(
            lambda: (
                not self.sql.query("SELECT id FROM run WHERE open_part IS NOT NULL AND state < 4 LIMIT 1")
            ),
            timeout_s=60,
            every_s=1,
            what="all planned runs to be sent",
        )

    # ------------------------------------------------------------ what is known

    def records(self) -> list[Receipt]:
        return receipts(self._fleet_says("/records"))

    def fleet_stats(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._fleet_says("/stats"))
        return found

    def _fleet_says(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._control}{path}", timeout=60) as answer:
            said: bytes = answer.read()
            return said

    def rows(self) -> dict[int, Row]:
        """All runs that the gateway has made, by id."""
        found: Sequence[Any] = self.sql.query(
            f"SELECT id, job_id, slot_key, state, trigger_ms FROM run WHERE id >= {FIRST_RUN_ID}"
        )
        return {row[0]: Row(*row) for row in found}

    def usage(self) -> Usage:
        database = self.bench.database_pid
        return Usage(
            time.monotonic(),
            self.nodes.cpu_seconds(),
            None if database is None else cpu_of(database),
            0.0 if self.fleet is None else cpu_of(self.fleet.pid),
        )

    # ------------------------------------------------------------ load

    def load(self, mode: str, *options: object) -> dict[str, Any]:
        """The report of load.py, its connections spread over the nodes."""
        is_of_api = mode in {"triggers", "batches"}
        token = ADMIN_TOKEN if is_of_api else ACCESS_TOKEN
        urls = [f"http://127.0.0.1:{node.port}" if is_of_api else node.admin_url for node in self.nodes.alive]
        done = subprocess.run(
            [
                *(sys.executable, str(HERE / "load.py"), mode, "--admin", *urls, "--token", token),
                *map(str, options),
            ],
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            raise RuntimeError(f"load.py {mode}: {done.stderr[-500:]}")
        report: dict[str, Any] = json.loads(done.stdout)
        return report


def sleep_until_ms(wall_ms: float) -> None:
    time.sleep(max(0.0, wall_ms / 1000 - time.time()))


def _free_block(count: int) -> int:
    """The first of `count` free ports below those that `free_port` gives."""
    for _ in range(50):
        base = random.randrange(10000, 20000 - count)
        try:
            for port in range(base, base + count):
                with socket.create_server(("127.0.0.1", port)):
                    pass
        except OSError:
            continue
        return base
    raise RuntimeError(f"no {count} free ports in a row between 10000 and 20000")

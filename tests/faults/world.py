"""The processes of one fault run: nodes on one database, executors, jobs due each second, proxies between them."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql

from tests.e2e.gateway_process import Api, GatewayProcess, run_command
from tests.e2e.peers import Peer
from tests.faults.executors import Event, OwnExecutor, events_of, make_executor, wait_registered
from tests.faults.oracle import OPEN, ROW_SQL, STATES, Due, Row, row_of
from tests.faults.proxy import Hub, Proxy
from tests.kit.mariadb import PASSWORD, USER, MariadbServer
from tests.kit.process import wait_until

ALL_EXECUTORS = ("java-2.2.0", "java-3.3.2", "pyxxl", "own", "own")
MISFIRE_AFTER_S = 60
SCHEDULES: tuple[tuple[dict[str, str], int], ...] = (  # and the period in ms
    ({"kind": "cron", "expression": "* * * * * ?", "timezone": "UTC"}, 1000),
    ({"kind": "fixed_rate", "expression": "1s"}, 1000),
    ({"kind": "cron", "expression": "0/2 * * * * ?", "timezone": "UTC"}, 2000),
    ({"kind": "fixed_rate", "expression": "2s"}, 2000),
)
PARTS = 128


class Node(GatewayProcess):
    """A gateway of several on one database."""

    def __init__(
        self,
        name: str,
        directory: Path,
        database_url: str,
        *,
        proxy: Proxy | None,
        env: Mapping[str, str],
        workers: int = 1,
    ) -> None:
        super().__init__(
            directory,
            options=("--node-name", name, "--workers", str(workers)),
            env={
                "XXLJOB_GATEWAY_DATABASE_URL": database_url,
                "XXLJOB_GATEWAY_LOG_FORMAT": "json",
                **env,
            },
        )
        self.name = name
        self.database = proxy
        self.workers = workers

    @property
    def members(self) -> list[str]:
        """What the database knows it as: each worker is a node of its own."""
        return [self.name] if self.workers == 1 else [f"{self.name}-w{n + 1}" for n in range(self.workers)]

    def worker_pids(self) -> dict[str, int]:
        """Of the workers that are alive, by name."""
        found: dict[str, int] = {}
        if self.workers == 1 or not self.alive:
            return found
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in map(int, children.split()):
            with contextlib.suppress(OSError, StopIteration):
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                name = next(one for one in variables if one.startswith(b"XXLJOB_GATEWAY_NODE_NAME="))
                found[name.partition(b"=")[2].decode()] = pid
        return found

    def begin(self) -> None:
        """Start it without waiting."""
        self.process.start()

    def wait_answering(self, timeout_s: float = 30) -> None:
        """It serves HTTP, ready or not."""

        def answers() -> bool:
            try:
                return self.api.request("GET", "/healthz")[0] == 200
            except OSError:
                return False

        self.process.wait_ready(answers, timeout_s=timeout_s, what=f"node {self.name} to answer")


@dataclass
class Plan:
    """What a world is made of."""

    nodes: int = 3
    workers: int = 1
    executors: tuple[str, ...] = ALL_EXECUTORS
    jobs_per_app: int = 8
    proxied_database: bool = True
    proxied_executors: bool = False  # our own only: released ones register where they listen
    own_options: dict[str, Any] = field(default_factory=dict)
    admins: tuple[int, ...] | None = None  # which nodes the executors know; all, if left out
    env: Mapping[str, str] = field(default_factory=dict)
    node_env: Callable[[int, Path], Mapping[str, str]] = lambda _number, _directory: {}
    job_fields: Mapping[str, Any] = field(default_factory=dict)


class World:
    """Use `open_world`."""

    def __init__(self, directory: Path, server: MariadbServer, schema: str, plan: Plan) -> None:
        self.directory = directory
        self.server = server
        self.schema = schema
        self.plan = plan
        self.hub = Hub()
        self.nodes: list[Node] = []
        self.executors: list[Peer] = []
        self.executor_proxies: dict[Peer, Proxy] = {}
        self.jobs: list[Due] = []
        self.notes: list[str] = []
        self.marks: dict[str, Any] = {}  # what a fault leaves for its check
        self._number = 0
        self._balancer: Proxy | None = None
        self._checks: threading.Thread | None = None
        self._closed = threading.Event()

    # ------------------------------------------------------------ start

    def start(self) -> None:
        self.server.create_database(self.schema)
        done = run_command("migrate", "--database-url", self.url(self.server.port))
        assert done.code == 0, done
        for _ in range(self.plan.nodes):
            self.add_node()
        for node in self.nodes:
            node.begin()
        for node in self.nodes:
            node.wait_ready(60)

    def url(self, port: int) -> str:
        return f"mysql+aiomysql://{USER}:{PASSWORD}@127.0.0.1:{port}/{self.schema}"

    def database_port(self, number: int) -> int:
        """Of the server this node is meant for."""
        return self.server.port

    def add_node(self) -> Node:
        number = len(self.nodes)
        name = "abcdefgh"[number]
        directory = self.directory / f"node-{name}"
        directory.mkdir(parents=True)
        port, proxy = self.database_port(number), None
        if self.plan.proxied_database:
            proxy = self.hub.proxy([("127.0.0.1", port)])
            port = proxy.port
        env = {**self.plan.env, **self.plan.node_env(number, directory)}
        node = Node(name, directory, self.url(port), proxy=proxy, env=env, workers=self.plan.workers)
        self.nodes.append(node)
        return node

    def admins(self) -> str:
        numbers = self.plan.admins or range(len(self.nodes))
        return ",".join(self.nodes[number].admin_url for number in numbers)

    def any_admin(self) -> str:
        """One address for clients that know only one: a load balancer in front of all nodes."""
        if self._balancer is None:
            numbers = self.plan.admins or range(len(self.nodes))
            nodes = [self.nodes[number] for number in numbers]
            self._balancer = self.hub.proxy([("127.0.0.1", node.port) for node in nodes])
            self._checks = threading.Thread(target=self._check_health, args=(self._balancer, nodes))
            self._checks.start()
        return f"http://127.0.0.1:{self._balancer.port}/xxl-job-admin"

    def _check_health(self, balancer: Proxy, nodes: Sequence[Node]) -> None:
        """What does not answer within a second gets no more calls, and those it has are cut off."""
        apis = [Api(node.port, timeout_s=1) for node in nodes]
        while not self._closed.wait(0.5):
            well = []
            for api in apis:
                with contextlib.suppress(OSError):
                    if api.request("GET", "/healthz")[0] == 200:
                        well.append(("127.0.0.1", api.port))
            if well != balancer.targets:
                balancer.serve_only(well)

    def start_executors(self) -> None:
        """All of one language are one app. The apps come first: a refused executor asks again after 30 s only."""
        kinds = [(kind, f"faults-{kind.partition('-')[0]}") for kind in self.plan.executors]
        for appname in sorted({appname for _, appname in kinds}):
            self.nodes[0].api.create_app(appname)
        for kind, appname in kinds:
            self.add_executor(kind, appname)
        self.wait_registered(self.executors)

    def wait_registered(self, peers: list[Peer], *, timeout_s: float = 40) -> None:
        for peer in peers:
            peer.wait_listening()
        for node in self.nodes:
            if node.alive:
                wait_registered(peers, node.api.online, timeout_s=timeout_s)

    def add_executor(self, kind: str, appname: str, **options: Any) -> Peer:
        """Started, not waited for."""
        self._number += 1
        directory = self.directory / f"executor-{self._number}-{kind}"
        admins = self.any_admin() if kind == "pyxxl" else self.admins()
        proxy = None
        if kind == "own":
            options = {**self.plan.own_options, **options}
            if self.plan.proxied_executors:
                proxy = self.hub.proxy([("127.0.0.1", 1)])
                options["address"] = f"http://127.0.0.1:{proxy.port}"
        peer = make_executor(kind, admins, appname, directory, **options)
        if proxy is not None:
            proxy.targets = [("127.0.0.1", peer.port)]
            self.executor_proxies[peer] = proxy
        peer.start()
        self.executors.append(peer)
        return peer

    def create_jobs(self, **fields: Any) -> None:
        for appname in sorted({peer.appname for peer in self.executors}):
            for number in range(self.plan.jobs_per_app):
                schedule, every_ms = SCHEDULES[number % len(SCHEDULES)]
                self.create_job(appname, f"{appname} {number}", schedule, every_ms, **fields)

    def create_job(
        self, appname: str, name: str, schedule: Mapping[str, str], every_ms: int, **fields: Any
    ) -> int:
        """A job with a period; its phase is where its first slot is, for a fixed rate when it was created."""
        before_ms = time.time_ns() // 1_000_000
        handler = fields.pop("handler", "okHandler")
        job_id = self.nodes[0].api.create_job(
            appname,
            handler,
            name=name,
            params=fields.pop("params", name),
            schedule={**schedule, "misfire": "skip"},
            misfire_after_s=MISFIRE_AFTER_S,
            **{**self.plan.job_fields, **fields},
        )
        after_ms = time.time_ns() // 1_000_000
        anchor_ms = 0
        if schedule["kind"] == "fixed_rate":
            ((anchor_ms,),) = self.query(f"SELECT anchor_ms FROM job WHERE id = {job_id}")
            # It must be the instant of the creation, give or take how well the clocks agree.
            assert before_ms - 100 <= anchor_ms <= after_ms + every_ms + 100, (before_ms, anchor_ms, after_ms)
        self.jobs.append(Due(job_id, every_ms, anchor_ms, appname, after_ms + 1))
        return job_id

    # ------------------------------------------------------------ what is known

    def query(self, sql: str) -> Sequence[tuple[Any, ...]]:
        """Of the database itself, past all proxies and nodes."""
        with self.server.connect() as connection, connection.cursor() as cursor:
            connection.select_db(self.schema)
            cursor.execute(sql)
            return list(cursor.fetchall())

    def rows(self) -> dict[int, Row]:
        return {row[0]: row_of(row) for row in self.query(ROW_SQL)}

    def events(self) -> list[Event]:
        return [event for peer in self.executors for event in events_of(peer)]

    def jobs_by_node(self) -> dict[str, int]:
        """How many of our jobs each node owns at this moment."""
        counts = {name: 0 for node in self.nodes for name in node.members}
        owners = self.query("SELECT p.node, COUNT(*) FROM job j JOIN part p ON p.id = j.part GROUP BY p.node")
        for name, count in owners:
            counts[str(name)] = int(count)
        return counts

    def parts_by_node(self) -> dict[str, int]:
        return {str(name): int(n) for name, n in self.query("SELECT node, COUNT(*) FROM part GROUP BY node")}

    def busiest(self) -> Node:
        """The node with most of our jobs: what befalls it is seen."""
        counts = self.jobs_by_node()
        return max(self.nodes, key=lambda node: counts.get(node.name, 0))

    def wait_spread(self, *, timeout_s: float = 30) -> None:
        """Every node that is alive owns a share."""
        alive = [name for node in self.nodes if node.alive for name in node.members]

        def spread() -> bool:
            parts = self.parts_by_node()
            return all(parts.get(name, 0) >= PARTS // len(alive) // 2 for name in alive)

        wait_until(spread, timeout_s=timeout_s, every_s=0.2, what="all nodes to own their share")

    def wait_started(self, from_ms: int, *, timeout_s: float = 15) -> None:
        """Every job has been executed once: what follows shows the fault, not a start."""

        def all_started() -> bool:
            rows = self.rows()
            begun = {
                rows[event.run_id].job_id
                for event in self.events()
                if event.event == "start" and event.run_id in rows and event.at_ms >= from_ms
            }
            return begun >= {job.job_id for job in self.jobs}

        wait_until(all_started, timeout_s=timeout_s, every_s=0.3, what="each job to be executed once")

    def wait_settled(self, until_ms: int, *, timeout_s: float) -> float:
        """Return when all slots before `until_ms` have rows that have ended, or after that time; seconds it took."""
        begun = time.monotonic()
        listed = ",".join(str(number) for number, word in STATES.items() if word in OPEN)
        while time.monotonic() - begun < timeout_s:
            try:
                ((still_open,),) = self.query(
                    f"SELECT COUNT(*) FROM run WHERE slot_key > 0 AND slot_key < {until_ms} AND state IN ({listed})"
                )
                planned = dict(
                    self.query(
                        "SELECT job_id, MAX(GREATEST(slot_key, last_slot_ms)) FROM run GROUP BY job_id"
                    )
                )
            except pymysql.err.Error:
                time.sleep(0.5)
                continue
            behind = [job for job in self.jobs if planned.get(job.job_id, 0) < until_ms - job.every_ms]
            if not still_open and not behind:
                break
            time.sleep(0.3)
        time.sleep(0.5)  # for the executors to write what they have been told
        return time.monotonic() - begun

    def questions(self) -> int:
        """How often our own executors have been asked about a run: what doubts lead to."""
        return sum(
            peer.stats()["calls"].get("/log", 0)
            for peer in self.executors
            if isinstance(peer, OwnExecutor) and peer.process.alive
        )

    def note(self, text: str) -> None:
        self.notes.append(text)

    def assert_undisturbed(self) -> None:
        """Faults kill with SIGKILL only: whatever ended otherwise ended by somebody else's doing, and spoils the run."""
        for peer in self.executors:
            code = peer.process.returncode
            assert code in {None, -signal.SIGKILL}, (
                f"{peer.name} at {peer.address} ended with {code}\n{peer.process.tail(5)}"
            )

    # ------------------------------------------------------------ end

    def close(self) -> None:
        self._closed.set()
        for peer in self.executors:
            peer.kill()
        for node in self.nodes:
            node.kill()
        if self._checks is not None:
            self._checks.join()
        self.hub.close()
        if self.server.alive:
            self.server.drop_database(self.schema)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def until_fraction(fraction: float) -> None:
    """Sleep until the wall clock shows that part of a second."""
    time.sleep((fraction - time.time() % 1) % 1)

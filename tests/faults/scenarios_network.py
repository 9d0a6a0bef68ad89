"""Packets dropped between one node and the others: the node lives in a network namespace of its own.

Only root may make one, and iptables drops the packets. Elsewhere the proxies of the other scenarios must do.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.e2e.gateway_process import Api, Json
from tests.e2e.peers import Peer
from tests.faults.executors import OwnExecutor
from tests.faults.scenarios_nodes import READY_S
from tests.faults.stage import Scenario, Timing, hold, say
from tests.faults.world import Node, Plan, World
from tests.kit.mariadb import MariadbServer
from tests.kit.process import free_port

OUTSIDE, INSIDE = "10.213.77.1", "10.213.77.2"


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=True)


def lacks_namespaces() -> str | None:
    if os.geteuid() != 0:
        return "network namespaces need root: see the scenarios with a proxy"
    for program in ("ip", "iptables"):
        if shutil.which(program) is None:
            return f"no {program} here (Debian: iproute2, iptables)"
    name = f"faults-try-{os.getpid()}"
    try:
        _run("ip", "netns", "add", name)
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed here: {error.stderr.strip()}"
    try:
        _run("ip", "netns", "exec", name, "iptables", "-A", "INPUT", "-p", "tcp", "-j", "DROP")
    except subprocess.CalledProcessError as error:
        return f"iptables does not work here: {error.stderr.strip()}"
    finally:
        _run("ip", "netns", "del", name)
    say("network namespaces are allowed here: packets are really dropped")
    return None


def control_host(address: str) -> dict[str, str]:
    return {"XXLJOB_GATEWAY_CONTROL_HOST": address}


class InsideApi(Api):
    """The node's address instead of loopback."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._host = INSIDE

    def request(self, method: str, path: str, body: Json | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self._host, self.port, timeout=self.timeout_s)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()


class InsideNode(Node):
    @property
    def admin_url(self) -> str:
        return f"http://{INSIDE}:{self.port}/xxl-job-admin"


def _remove(pid: int) -> None:
    for argv in (("ip", "link", "del", f"fo{pid}"), ("ip", "netns", "del", f"faults-{pid}")):
        with contextlib.suppress(subprocess.CalledProcessError):
            _run(*argv)


def _remove_left_over() -> None:
    """Of runs that were killed: a second device with the same address would get the packets."""
    for line in _run("ip", "netns", "list").stdout.splitlines():
        name = line.split()[0]
        pid = name.removeprefix("faults-")
        if name != pid and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            _remove(int(pid))


class NamespaceWorld(World):
    """The last node is in the namespace; database and executors stand on this side of it."""

    def __init__(self, directory: Path, server: MariadbServer, schema: str, plan: Plan) -> None:
        super().__init__(directory, server, schema, plan)
        self.namespace = f"faults-{os.getpid()}"
        self.database = self.hub.proxy([("127.0.0.1", self.server.port)], host="0.0.0.0")
        self.inside: Node | None = None

    def start(self) -> None:
        ns = self.namespace
        _remove_left_over()
        _run("ip", "netns", "add", ns)
        _run("ip", "link", "add", f"fo{os.getpid()}", "type", "veth", "peer", "name", f"fi{os.getpid()}")
        _run("ip", "link", "set", f"fi{os.getpid()}", "netns", ns)
        _run("ip", "addr", "add", f"{OUTSIDE}/24", "dev", f"fo{os.getpid()}")
        _run("ip", "link", "set", f"fo{os.getpid()}", "up")
        _run("ip", "netns", "exec", ns, "ip", "addr", "add", f"{INSIDE}/24", "dev", f"fi{os.getpid()}")
        for device in ("lo", f"fi{os.getpid()}"):
            _run("ip", "netns", "exec", ns, "ip", "link", "set", device, "up")
        super().start()

    def add_node(self) -> Node:
        number = len(self.nodes)
        if number < self.plan.nodes - 1:
            node = super().add_node()
            node.process.env |= control_host(OUTSIDE)
            return node
        name = "abcdefgh"[number]
        directory = self.directory / f"node-{name}"
        url = self.url(self.database.port).replace("127.0.0.1", OUTSIDE)
        node = InsideNode(name, directory, url, proxy=None, env=control_host(INSIDE))
        argv = node.process.argv
        argv[argv.index("--host") + 1] = "0.0.0.0"
        node.process.argv = ["ip", "netns", "exec", self.namespace, *argv]
        node.api = InsideApi(node.port)
        self.nodes.append(node)
        self.inside = node
        return node

    def add_executor(self, kind: str, appname: str, **options: object) -> Peer:
        port = free_port()
        return super().add_executor(
            kind, appname, **options, port=port, host="0.0.0.0", address=f"http://{OUTSIDE}:{port}"
        )

    def drop(self, *rule: str) -> None:
        _run("ip", "netns", "exec", self.namespace, "iptables", "-A", *rule, "-j", "DROP")

    def pass_all(self) -> None:
        _run("ip", "netns", "exec", self.namespace, "iptables", "-F")

    def close(self) -> None:
        try:
            super().close()
        finally:
            _remove(os.getpid())


def _inside(world: World) -> tuple[NamespaceWorld, Node]:
    assert isinstance(world, NamespaceWorld)
    assert world.inside is not None
    jobs = world.jobs_by_node()[world.inside.name]
    world.note(f"node {world.inside.name} has {jobs} of {len(world.jobs)} jobs")
    assert jobs, "nothing would be seen"
    return world, world.inside


def isolated(world: World, timing: Timing) -> None:
    here, node = _inside(world)
    here.drop("INPUT")
    here.drop("OUTPUT")
    hold(world, node.name, timing.hold_s)
    here.pass_all()
    node.wait_ready(READY_S)


def database_answers_lost(world: World, timing: Timing) -> None:
    here, node = _inside(world)
    here.drop("INPUT", "-p", "tcp", "--sport", str(here.database.port))
    hold(world, node.name, timing.hold_s)
    here.pass_all()
    node.wait_ready(READY_S)


def database_requests_lost(world: World, timing: Timing) -> None:
    here, node = _inside(world)
    here.drop("OUTPUT", "-p", "tcp", "--dport", str(here.database.port))
    hold(world, node.name, timing.hold_s)
    here.pass_all()
    node.wait_ready(READY_S)


def executors_answers_lost(world: World, timing: Timing) -> None:
    _executors(world, timing, "INPUT", "--sport")


def executors_requests_lost(world: World, timing: Timing) -> None:
    _executors(world, timing, "OUTPUT", "--dport")


def _executors(world: World, timing: Timing, chain: str, port: str) -> None:
    here, _ = _inside(world)
    for peer in world.executors:
        assert isinstance(peer, OwnExecutor)
        here.drop(chain, "-p", "tcp", port, str(peer.port))
    time.sleep(timing.hold_s)
    here.pass_all()


FAILED = frozenset({"failed"})
PLAN = Plan(executors=("own", "own", "own"), jobs_per_app=24)


def _scenario(name: str, shows: str, fault: object, **more: object) -> Scenario:
    return Scenario(name, shows, fault, PLAN, NamespaceWorld, lacks=lacks_namespaces, **more)  # type: ignore[arg-type]


SCENARIOS = [
    _scenario("packets: node isolated", "from everybody", isolated),
    _scenario("packets: answers of the database lost", "one direction", database_answers_lost),
    _scenario("packets: requests to the database lost", "one direction", database_requests_lost),
    _scenario(
        "packets: answers of the executors lost",
        "one direction",
        executors_answers_lost,
        silence_s=25,
        settle_s=90,
        may=FAILED,
    ),
    _scenario(
        "packets: requests to the executors lost",
        "one direction; a connection that cannot be made is no doubt: the run fails",
        executors_requests_lost,
        silence_s=25,
        settle_s=90,
        may=FAILED,
    ),
]

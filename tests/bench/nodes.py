"""The gateway of a stage: one process, one with workers, or several nodes on one database."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from database import Run, Sql
from machine import cpu_of, group_of, memory_of

from tests.e2e.gateway_process import ApiError, GatewayProcess
from tests.kit.process import wait_until

PARTS = 128
SERVE = ("--log-level", "warning", "--log-format", "json")
START_S = 60
BALANCE_S = 60

# The runs that history.py makes are years old, and are to stay while the scenario lasts.
KEEPS_ALL = {"XXLJOB_GATEWAY_RETENTION_DAYS": "3650"}


class Nodes:
    """Made and not started. `all` are the processes in the order of their names, the first answers the API."""

    def __init__(self, directory: Path, url: str | None, *, count: int, workers: int) -> None:
        self._directory = directory
        self._url = url
        self._workers = workers
        self._named = count > 1
        self.all: list[GatewayProcess] = []
        for _ in range(count):
            self.add()

    def add(self) -> GatewayProcess:
        """One more, not started."""
        number = len(self.all) + 1
        node = GatewayProcess(
            self._directory / f"node-{number}",
            database_url=self._url if number == 1 else None,  # which it migrates
            options=(
                *SERVE,
                *(("--database-url", self._url) if self._url and number > 1 else ()),
                *(("--node-name", self.name(number - 1)) if self._named else ()),
                *(("--workers", str(self._workers)) if self._workers > 1 else ()),
            ),
            env=KEEPS_ALL,
        )
        node.api.timeout_s = 120
        self.all.append(node)
        return node

    @staticmethod
    def name(index: int) -> str:
        return f"bench-{index + 1}"

    @property
    def first(self) -> GatewayProcess:
        return self.all[0]

    @property
    def alive(self) -> list[GatewayProcess]:
        return [node for node in self.all if node.alive]

    @property
    def owners(self) -> int:
        """How many of the processes that run schedule jobs."""
        return len(self.alive) * self._workers

    def start(self, sql: Sql) -> None:
        """All of them; returns when each owns its share."""
        for node in self.all:
            node.start(START_S)
        self.wait_balanced(sql)

    def wait_balanced(self, sql: Sql) -> None:
        fair = (PARTS // self.owners, -(-PARTS // self.owners))

        def balanced() -> bool:
            held = parts_held(sql.query)
            return len(held) == self.owners and all(fair[0] <= parts <= fair[1] for parts in held.values())

        if self.owners > 1:
            wait_until(
                balanced, timeout_s=BALANCE_S, what=f"{self.owners} owners to have {fair[0]} parts each"
            )

    def kill(self) -> None:
        for node in self.all:
            kill_group(node)

    def cpu_seconds(self) -> float:
        """Of all processes that run, since their start."""
        return sum(cpu_of(pid) for pid in self._pids())

    def memory(self) -> dict[str, float]:
        """Resident MB of all processes, now and at their highest; what workers share is counted for each."""
        found = [memory_of(pid) for pid in self._pids()]
        return {name: round(sum(one[name] for one in found), 1) for name in ("rss", "peak")}

    def _pids(self) -> list[int]:
        return [pid for node in self.alive for pid in group_of(node.process.pid)]

    def counters(self, names: Sequence[str]) -> dict[str, float]:
        """Of /metrics, over all nodes. Workers share a port, so nobody can ask each of them: none then."""
        if self._workers > 1:
            return {}
        try:
            return {name: sum(node.api.metric(f"{name}_total") for node in self.alive) for name in names}
        except (OSError, ApiError):  # an overloaded gateway may not answer, which the verdict will show
            return dict.fromkeys(names, 0.0)


def parts_held(query: Run) -> Counter[str]:
    """Parts by the name of their owner."""
    return Counter(
        {name: int(count) for name, count in query("SELECT node, COUNT(*) FROM part GROUP BY node")}
    )


def kill_group(node: GatewayProcess) -> None:
    """kill -9 to the process and its workers, all at once."""
    if node.alive:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.process.pid, signal.SIGKILL)
    node.kill()


def until_answer(node: GatewayProcess, path: str, started: float) -> float:
    """Seconds of monotonic time since `started` until the first 200; asked every 5 ms."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return time.monotonic() - started
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        if not node.alive or time.monotonic() - started > START_S:
            raise AssertionError(f"no 200 from {path}\n{node.process.tail()}")
        time.sleep(0.005)

"""Real executors as processes: releases of xxl-job-core, pyxxl, and node's xxl-job.

Prepared once in the test cache (XXLJOB_TEST_CACHE, else .test-cache in the repository): jars resolved by Maven
from Maven Central, our program compiled against them, and a virtual environment with pyxxl.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.java_releases import (
    RELEASES,
    PeerUnavailableError,
    cache_dir,
    classpath,
    one_at_a_time,
    prepare,
)
from tests.kit.process import Process, free_port, listens

HERE = Path(__file__).resolve().parent
PYXXL = "pyxxl==0.4.8"
NODE = "xxl-job@0.1.7"
PEERS = ("java-2.2.0", "java-2.4.2", "java-3.3.2", "pyxxl")


@dataclass(frozen=True)
class Execution:
    """One line of the counter file, written by the handler itself."""

    event: str  # start | end | interrupt
    handler: str
    job_id: int  # 0: this generation does not tell its handlers
    run_id: int
    param: str | None
    shard_index: int
    shard_total: int
    at_ms: int
    pid: int


def pyxxl_python() -> Path:
    """The Python of a virtual environment with pyxxl in it."""
    with one_at_a_time("pyxxl"):
        place = (
            cache_dir() / f"{PYXXL.replace('==', '-')}-py{sys.version_info.major}.{sys.version_info.minor}"
        )
        python = place / "bin" / "python"
        complete = place / "complete"
        if not complete.exists():
            shutil.rmtree(place, ignore_errors=True)
            prepare([sys.executable, "-m", "venv", str(place)], what="a virtual environment for pyxxl")
            prepare([str(python), "-m", "pip", "install", "-q", PYXXL], what=f"pip install {PYXXL}")
            complete.touch()
        return python


def node_modules() -> Path:
    """A folder with node's xxl-job in it, and express."""
    with one_at_a_time("node"):
        place = cache_dir() / NODE.replace("@", "-")
        complete = place / "complete"
        if not complete.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            (place / "package.json").write_text('{"private": true}')
            prepare(
                [
                    "npm",
                    "install",
                    "--prefix",
                    str(place),
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                    NODE,
                ],
                what=f"npm install {NODE}",
            )
            complete.touch()
        return place / "node_modules"


class Peer:
    """An executor process with a port and a counter file of its own, kept over restarts."""

    name: str

    def __init__(
        self, admin_url: str, appname: str, token: str, directory: Path, *, port: int | None = None
    ) -> None:
        self.admin_url = admin_url
        self.appname = appname
        self.token = token
        self.port = port or free_port()
        self.directory = directory
        self.counter = directory / "counter.jsonl"
        self.log_path = directory / "joblogs"
        self.log_path.mkdir(parents=True, exist_ok=True)
        self.process = Process(self._argv(), log=directory / "output.log", env=self._env(), cwd=directory)

    def _argv(self) -> list[str]:
        raise AssertionError(f"{type(self).__name__} has no command line")

    def _env(self) -> dict[str, str]:
        return {}

    @property
    def address(self) -> str:
        """Without a trailing slash, whatever the client sends."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self) -> None:
        """Returns at once; several peers start side by side."""
        self.process.start()

    def wait_listening(self, timeout_s: float = 30) -> None:
        self.process.wait_ready(
            lambda: listens(self.port), timeout_s=timeout_s, what=f"{self.name} to listen on {self.port}"
        )

    def stop(self, timeout_s: float = 20) -> None:
        """SIGTERM: it takes its registration back."""
        self.process.terminate(timeout_s)

    def kill(self) -> None:
        """SIGKILL: nobody is told."""
        self.process.kill()

    def freeze(self) -> None:
        self.process.freeze()

    def thaw(self) -> None:
        self.process.thaw()

    def events(self) -> list[Execution]:
        """All lines of the counter file that are complete."""
        if not self.counter.exists():
            return []
        lines = self.counter.read_text("ascii").split("\n")[:-1]
        return [
            Execution(
                event=line["event"],
                handler=line["handler"],
                job_id=line["jobId"],
                run_id=line["runId"],
                param=line["param"],
                shard_index=line["shardIndex"],
                shard_total=line["shardTotal"],
                at_ms=line["startMs"],
                pid=line["pid"],
            )
            for line in map(json.loads, lines)
        ]

    def executions(
        self, *, handler: str | None = None, param: str | None = None, run_ids: set[int] | None = None
    ) -> list[Execution]:
        """One for each time a handler began, in order."""
        return [
            e
            for e in self.events()
            if e.event == "start"
            and handler in {None, e.handler}
            and param in {None, e.param}
            and (run_ids is None or e.run_id in run_ids)
        ]


class JavaExecutor(Peer):
    def __init__(
        self,
        version: str,
        admin_url: str,
        appname: str,
        token: str,
        directory: Path,
        *,
        port: int | None = None,
    ) -> None:
        self.version = version
        self.name = f"java-{version}"
        self._classpath = classpath(version)
        super().__init__(admin_url, appname, token, directory, port=port)

    def _argv(self) -> list[str]:
        settings = {
            "admin": self.admin_url,
            "appname": self.appname,
            "port": self.port,
            "logpath": self.log_path,
            "token": self.token,
            "counter": self.counter,
        }
        return [
            *("java", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
            *("-Dfile.encoding=UTF-8", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
            *(
                "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
                "-Dorg.slf4j.simpleLogger.logFile=System.out",
            ),
            *(f"-Dpeer.{name}={value}" for name, value in settings.items()),
            *RELEASES[self.version].flags,
            *("-cp", self._classpath, "peer.TestExecutor"),
        ]


class PyxxlExecutor(Peer):
    name = "pyxxl"

    def __init__(
        self, admin_url: str, appname: str, token: str, directory: Path, *, port: int | None = None
    ) -> None:
        self._python = pyxxl_python()
        super().__init__(admin_url, appname, token, directory, port=port)

    def _argv(self) -> list[str]:
        return [
            *(str(self._python), str(HERE / "pyxxl_program.py")),
            *("--admin", self.admin_url, "--appname", self.appname, "--port", str(self.port)),
            *("--logpath", str(self.log_path), "--counter", str(self.counter), "--token", self.token),
        ]

    def _env(self) -> dict[str, str]:
        return {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}  # it opens its logs in the locale's encoding


class NodeExecutor(Peer):
    name = "node"

    def __init__(
        self, admin_url: str, appname: str, token: str, directory: Path, *, port: int | None = None
    ) -> None:
        if shutil.which("node") is None:
            raise PeerUnavailableError("no node here: the released xxl-job of npm is run as a peer")
        self._modules = node_modules()
        super().__init__(admin_url, appname, token, directory, port=port)

    def _argv(self) -> list[str]:
        return [
            *("node", str(HERE / "node_program.cjs"), self.admin_url, self.appname, str(self.port)),
            *(str(self.counter), self.token),
        ]

    def _env(self) -> dict[str, str]:
        return {"MODULES": str(self._modules)}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/job"


def make_peer(
    name: str, admin_url: str, appname: str, token: str, directory: Path, *, port: int | None = None
) -> Peer:
    """`pyxxl`, `node`, or `java-` and a release; not started. PeerUnavailableError when this machine cannot."""
    directory.mkdir(parents=True, exist_ok=True)
    if name == "node":
        return NodeExecutor(admin_url, appname, token, directory, port=port)
    if name == "pyxxl":
        return PyxxlExecutor(admin_url, appname, token, directory, port=port)
    return JavaExecutor(name.removeprefix("java-"), admin_url, appname, token, directory, port=port)

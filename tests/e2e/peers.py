"""Real executors as processes: xxl-job-core of three generations, and pyxxl.

Prepared once in the test cache (XXLJOB_TEST_CACHE, else .test-cache in the repository): jars resolved by Maven
from Maven Central, our program compiled against them, and a virtual environment with pyxxl.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kit.process import Process, free_port, listens

HERE = Path(__file__).resolve().parent
JAVA_SOURCES = HERE / "java"
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
PYXXL = "pyxxl==0.4.8"
# xxl-job-core: the slf4j-simple that fits the slf4j-api it brings, and the folder of our adapter
GENERATIONS = {
    "2.2.0": ("1.7.36", "before23"),
    "2.4.2": ("2.0.17", "since23"),
    "3.3.2": ("2.0.17", "since23"),
}
PEERS = ("java-2.2.0", "java-2.4.2", "java-3.3.2", "pyxxl")


class PeerUnavailableError(Exception):
    """This machine cannot prepare the peer (a missing program, no network)."""


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


def cache_dir() -> Path:
    path = Path(os.environ.get("XXLJOB_TEST_CACHE") or HERE.parents[1] / ".test-cache").resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def _one_at_a_time(name: str) -> Iterator[None]:
    with (cache_dir() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare(argv: list[str], *, what: str) -> None:
    if shutil.which(argv[0]) is None:
        raise PeerUnavailableError(f"no {argv[0]} here: {what}")
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise PeerUnavailableError(f"{what} failed: {(done.stdout + done.stderr).strip()[-800:]}")


def java_classpath(version: str) -> str:
    """Jars and classes of one generation, from the cache when they are there."""
    slf4j, adapter = GENERATIONS[version]
    if shutil.which("java") is None:
        raise PeerUnavailableError("no java here: released xxl-job-core executors are run as peers")
    sources = sorted([*(JAVA_SOURCES / "common").glob("*.java"), *(JAVA_SOURCES / adapter).glob("*.java")])
    pom = JAVA_SOURCES / "pom.xml"
    with _one_at_a_time(f"java-{version}"):
        stamp = hashlib.sha256(pom.read_bytes() + slf4j.encode()).hexdigest()[:12]
        jars = cache_dir() / "java" / version / f"jars-{stamp}"
        if not jars.is_dir():
            unfinished = jars.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _prepare(
                [
                    *("mvn", "-q", "-B", "-f", str(pom), f"{DEPENDENCY_PLUGIN}:copy-dependencies"),
                    *(f"-Dxxl.version={version}", f"-Dslf4j.version={slf4j}"),
                    *("-DincludeScope=runtime", f"-DoutputDirectory={unfinished}"),
                ],
                what=f"fetching xxl-job-core {version} with Maven",
            )
            unfinished.rename(jars)
        stamp = hashlib.sha256(stamp.encode() + b"".join(s.read_bytes() for s in sources)).hexdigest()[:12]
        classes = jars.parent / f"classes-{stamp}"
        if not classes.is_dir():
            unfinished = classes.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _prepare(
                [
                    *("javac", "-encoding", "UTF-8", "--release", "17", "-d", str(unfinished)),
                    *("-cp", f"{jars}/*", *map(str, sources)),
                ],
                what=f"compiling the test executor for {version}",
            )
            unfinished.rename(classes)
    return f"{classes}:{jars}/*"


def pyxxl_python() -> Path:
    """The Python of a virtual environment with pyxxl in it."""
    with _one_at_a_time("pyxxl"):
        place = (
            cache_dir() / f"{PYXXL.replace('==', '-')}-py{sys.version_info.major}.{sys.version_info.minor}"
        )
        python = place / "bin" / "python"
        complete = place / "complete"
        if not complete.exists():
            shutil.rmtree(place, ignore_errors=True)
            _prepare([sys.executable, "-m", "venv", str(place)], what="a virtual environment for pyxxl")
            _prepare([str(python), "-m", "pip", "install", "-q", PYXXL], what=f"pip install {PYXXL}")
            complete.touch()
        return python


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
        self._classpath = java_classpath(version)
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


def make_peer(
    name: str, admin_url: str, appname: str, token: str, directory: Path, *, port: int | None = None
) -> Peer:
    """One of PEERS, not started. PeerUnavailableError when this machine cannot."""
    directory.mkdir(parents=True, exist_ok=True)
    if name == "pyxxl":
        return PyxxlExecutor(admin_url, appname, token, directory, port=port)
    return JavaExecutor(name.removeprefix("java-"), admin_url, appname, token, directory, port=port)

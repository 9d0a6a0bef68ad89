"""`serve --workers N`: a parent that binds the port once, and N nodes that inherit it.

With one inherited socket no waiting connection is lost when a worker dies or stands still. The parent runs no
jobs. It sees at once when a worker dies, ends that worker's lease, so that the others need not wait until it has
run out, and starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.app.data_dir import lock_data_dir, made_up_name
from gateway.app.database import prepare_database
from gateway.app.listen import LISTEN_FD, PARENT_PID, PRIVATE_FD, bind, is_worker, parent_pid, urls_of
from gateway.app.node import first_token
from gateway.core.clock import SystemClock
from gateway.core.cluster import Member
from gateway.core.errors import GatewayError, InvalidValue, Refused
from gateway.peers.caller import PeerCaller
from gateway.settings import PREFIX, Settings
from gateway.store import schema
from gateway.store.engine import database_url, open_database
from gateway.store.nodes import Nodes
from gateway.store.tokens import TokenStore

log = structlog.get_logger(__name__)

READY_FD = PREFIX + "READY_FD"
START_S = 600.0  # a long backlog is read before a node answers
ALONE_S = 60.0
RESTART_S = (0.0, 1.0, 5.0, 15.0)
STEADY_S = 60.0  # after so long a life the next restart is at once again
END_S = 20.0
LONGEST_NAME = 54


@dataclass(eq=False)
class Worker:
    """One child and the directory that its lives share."""

    name: str
    data_dir: Path
    process: asyncio.subprocess.Process | None = None
    failures: int = 0
    started_at: float = 0.0


@dataclass
class Workers:
    """The running set. `failed` says why it cannot go on."""

    urls: tuple[str, ...]
    first_token: str | None
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str = ""


@contextlib.asynccontextmanager
async def running_workers(settings: Settings, options: Mapping[str, object]) -> AsyncIterator[Workers]:
    """All workers started; stopped at the end. `options` of the command line reach them by their environment."""
    url = database_url(settings.effective_database_url)
    if url.get_backend_name() == "sqlite":
        raise InvalidValue(
            "workers",
            settings.workers,
            "1 with SQLite, which takes one process; name a MySQL or MariaDB database for more",
        )
    if settings.demo:
        raise InvalidValue("demo", "true", "false with several workers: start the demo with one")
    if settings.node_name is not None and len(settings.node_name) > LONGEST_NAME:
        raise InvalidValue("node_name", settings.node_name, f"up to {LONGEST_NAME} characters with workers")
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(lock_data_dir(settings.data_dir).close)
        db = open_database(url, pool_size=1)
        stack.push_async_callback(db.close)
        await prepare_database(db)
        for warning in await schema.durability_problems(db):
            log.warning("durability", problem=warning)
        token = await first_token(settings, TokenStore(db, clock))
        sock = bind(settings.host, settings.port)
        stack.callback(sock.close)
        sockets = {LISTEN_FD: sock.fileno()}
        if settings.private_address is not None:
            private = bind(*settings.private_address)
            stack.callback(private.close)
            sockets[PRIVATE_FD] = private.fileno()
        found = Workers(urls_of([sock.getsockname()[:2]]), token)
        parent = _Parent(
            settings, options, sockets, Nodes(db, clock, int(settings.lease_s * 1000)), clock, found
        )
        stack.push_async_callback(parent.stop)
        await parent.start()
        yield found


class _Parent:
    def __init__(
        self,
        settings: Settings,
        options: Mapping[str, object],
        sockets: Mapping[str, int],
        nodes: Nodes,
        clock: SystemClock,
        found: Workers,
    ) -> None:
        base = settings.node_name or made_up_name(settings.data_dir)
        self._workers = [
            Worker(f"{base}-w{number}", settings.data_dir / f"worker-{number}")
            for number in range(1, settings.workers + 1)
        ]
        self._settings = settings
        self._options = options
        self._sockets = sockets
        self._nodes = nodes
        self._clock = clock
        self._found = found
        self._keeping: list[asyncio.Task[None]] = []
        self._stopping = False
        self._alone_since: float | None = None

    async def start(self) -> None:
        """Raises `Refused` when a worker does not come up; what it said stands in the log above."""
        await asyncio.gather(*(self._launch(worker) for worker in self._workers))
        self._keeping = [asyncio.create_task(self._keep(worker)) for worker in self._workers]

    async def stop(self) -> None:
        self._stopping = True
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        alive = [
            worker.process for worker in self._workers if worker.process and worker.process.returncode is None
        ]
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        ends = [asyncio.ensure_future(process.wait()) for process in alive]
        if ends:
            _, late = await asyncio.wait(ends, timeout=self._settings.stop_grace_s + END_S)
            for process in alive if late else ():
                if process.returncode is None:
                    process.kill()
            await asyncio.gather(*ends)

    async def _launch(self, worker: Worker) -> None:
        """Start it and wait until it answers calls."""
        worker.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        ready, says_ready = os.pipe()
        try:
            worker.started_at = self._clock.monotonic()
            worker.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "gateway", "serve"),
                env=self._environment(worker, says_ready),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(*self._sockets.values(), says_ready),
            )
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(says_ready)
        said = await _first_byte(ready)
        if not said:
            raise Refused(f"worker {worker.name!r} did not start: what it said stands above")
        log.info("worker_started", node=worker.name, pid=worker.process.pid)

    def _environment(self, worker: Worker, says_ready: int) -> dict[str, str]:
        given = {
            PREFIX + name.upper(): str(value) for name, value in self._options.items() if value is not None
        }
        own = {
            "DATA_DIR": str(worker.data_dir),
            "NODE_NAME": worker.name,
            "CONTROL_PORT": "0",
            "WORKERS": "1",
            "DEMO": "false",
        }
        return {
            **os.environ,
            **given,
            **{PREFIX + name: value for name, value in own.items()},
            **{name: str(number) for name, number in self._sockets.items()},
            READY_FD: str(says_ready),
            PARENT_PID: str(os.getpid()),
        }

    async def _keep(self, worker: Worker) -> None:
        """Wait for its end, fence it, start it again. A loop."""
        while worker.process is not None:
            code = await worker.process.wait()
            if self._stopping:
                return
            lived_s = self._clock.monotonic() - worker.started_at
            worker.failures = 0 if lived_s >= STEADY_S else worker.failures + 1
            log.error("worker_died", node=worker.name, code=code, lived_s=round(lived_s, 1))
            try:
                await self._fence(worker)
            except Exception as error:
                log.warning("worker_not_fenced", node=worker.name, error=str(error)[:200])
            if self._is_hopeless():
                return
            await self._clock.sleep(
                RESTART_S[min(worker.failures, len(RESTART_S)) - 1] if worker.failures else 0
            )
            if self._stopping:
                return
            try:
                await self._launch(worker)
            except (GatewayError, OSError) as error:
                if self._stopping:
                    return
                log.error("worker_not_started", node=worker.name, error=str(error))
                if worker.process.returncode is None:
                    worker.process.kill()

    def _is_hopeless(self) -> bool:
        """A port that accepts and never answers is worse than none: after a minute without a worker, end."""
        now = self._clock.monotonic()
        if any(one.process is not None and one.process.returncode is None for one in self._workers):
            self._alone_since = None
            return False
        self._alone_since = self._alone_since if self._alone_since is not None else now
        if now - self._alone_since < ALONE_S:
            return False
        self._found.failure = f"no worker has come up for {ALONE_S:g} s"
        self._found.failed.set()
        return True

    async def _fence(self, worker: Worker) -> None:
        """It is dead for sure: the others may have its parts now."""
        roster = await self._nodes.look(())
        member = roster.members.get(worker.name)
        if member is None or not member.live:
            return
        await self._nodes.fence(member.name, member.epoch, member.beat)
        others = [one for one in roster.members.values() if one.live and one.name != worker.name]
        await self._tell(others)

    async def _tell(self, others: list[Member]) -> None:
        peers = PeerCaller(await self._nodes.secret())
        for other in others:
            peers.nudge(other)
        await self._clock.sleep(0.2)
        await peers.close()


async def _first_byte(descriptor: int) -> bytes:
    """Of a pipe, which is closed then; nothing when the other end goes, or when it takes too long."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        async with asyncio.timeout(START_S):
            return await reader.read(1)
    except TimeoutError:
        return b""
    finally:
        transport.close()


def say_ready() -> None:
    """Tell the parent that this worker answers calls; nothing where there is none."""
    number = os.environ.pop(READY_FD, None)
    if number is not None and is_worker():
        with contextlib.suppress(BrokenPipeError):  # it has died meanwhile
            os.write(int(number), b"r")
        os.close(int(number))


async def parent_gone() -> None:
    """Return when the parent of this worker has died, perhaps before this was called; never where there is none."""
    clock, parent = SystemClock(), parent_pid()
    while parent is None or os.getppid() == parent:
        await clock.sleep(1.0)

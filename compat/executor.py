"""A small executor of our own that speaks the real protocol: for `serve --demo` and for tests.

Enters: `/run` and the questions. Leaves: registrations, and results in batches, repeated until taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import structlog
from aiohttp import web

from compat import dialects
from gateway.core.clock import Clock, iso_utc
from gateway.core.generations import REST, REST35

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
CALL_TIMEOUT_S = 3.0
KEPT_LOGS = 1000
_SUCCESS = {"code": 200, "msg": "Success"}
Json = dict[str, Any]


@dataclass(eq=False)
class RunContext:
    """What a handler is given. `shard` is (index, total)."""

    params: str
    job_id: int
    run_id: int
    shard: tuple[int, int]
    log_time_ms: int
    timeout_s: int
    handler: Handler
    clock: Clock
    lines: list[str] = field(default_factory=list)

    def log(self, text: str) -> None:
        """Add to the log of this run; each line of the text becomes a numbered one."""
        self.lines.extend(f"{iso_utc(self.clock.now_ms())} {line}" for line in text.splitlines() or [""])


Handler = Callable[[RunContext], Awaitable[str | None]]


class HandlerError(Exception):
    """Raised by a handler to end its run with a code of its own."""

    def __init__(self, message: str, code: int = 500) -> None:
        super().__init__(message)
        self.code = code


class JobWorker:
    """All runs of one job here: one at a time, the others wait in the order they came."""

    def __init__(self, ended: Callable[[RunContext, int, str | None], None]) -> None:
        self._ended = ended
        self._waiting: deque[RunContext] = deque()
        self._running: tuple[RunContext, asyncio.Task[str | None]] | None = None
        self._killed = ""
        self._loop: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self._running is not None or bool(self._waiting)

    def take(self, run: RunContext, strategy: str) -> str | None:
        """Queue the run, or say why it is refused."""
        if any(waiting.run_id == run.run_id for waiting in self._waiting):
            return f"run {run.run_id} is already in the queue"
        if strategy == "DISCARD_LATER" and self.busy:
            return "block strategy DISCARD_LATER: the job is busy"
        if strategy == "COVER_EARLY" and self.busy:
            self.kill("block strategy COVER_EARLY: a later run took over")
        self._waiting.append(run)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._work())
        return None

    def kill(self, reason: str) -> None:
        """End the running one and all that wait, each with a result."""
        while self._waiting:
            self._ended(self._waiting.popleft(), 500, f"{reason} (it was still in the queue)")
        if self._running is not None:
            self._killed = reason
            self._running[1].cancel()

    async def close(self) -> None:
        self.kill("the executor stops")
        if self._loop is not None:
            await asyncio.wait({self._loop}, timeout=CALL_TIMEOUT_S)

    async def _work(self) -> None:
        while self._waiting:
            run = self._waiting.popleft()
            self._killed = ""
            task = asyncio.ensure_future(run.handler(run))
            self._running = (run, task)
            run.log(f"started, parameters: {run.params}")
            await asyncio.wait({task}, timeout=run.timeout_s or None)
            code, message = self._end_of(run, task)
            self._running = None
            run.log(f"ended with code {code}: {message or ''}")
            self._ended(run, code, message)

    def _end_of(self, run: RunContext, task: asyncio.Future[str | None]) -> tuple[int, str | None]:
        if not task.done():
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            task.cancel()
            return 502, f"no end within {run.timeout_s} s"
        if task.cancelled():
            return 500, f"{self._killed or 'cancelled'} (it was running)"
        error = task.exception()
        if error is None:
            return 200, task.result()
        return error.code if isinstance(error, HandlerError) else 500, str(error) or type(error).__name__


class DemoExecutor:
    """Start it inside a running loop. Port 0 takes a free one, kept over a stop and a new start.

    `answer` serves one call by its name; tests override it to refuse, to be late or to say nothing.
    """

    def __init__(
        self,
        appname: str,
        handlers: Mapping[str, Handler],
        *,
        admin_url: str,
        clock: Clock,
        token: str = "",
        port: int = 0,
        dialect: str = REST,
        beat_every_s: float = 30.0,
        retry_every_s: float = 30.0,
    ) -> None:
        self.appname = appname
        self.port = port
        self.clock = clock
        self._handlers = dict(handlers)
        self._api = f"{admin_url.rstrip('/')}/api/"
        self._token = token
        self._dialect = dialect
        self._time_field = "logDateTime" if dialect == REST35 else "logDateTim"
        self._beat_every_s = beat_every_s
        self._retry_every_s = retry_every_s
        self._workers: dict[int, JobWorker] = {}
        self._logs: dict[int, RunContext] = {}
        self._results: list[Json] = []
        self._has_results = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/"

    async def start(self) -> None:
        app = web.Application(client_max_size=5 * 1024 * 1024)
        app.router.add_route("*", "/{method:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        self.port = self._runner.addresses[0][1]
        headers = {"User-Agent": dialects.OWN_CLIENT, "Content-Type": "application/json;charset=UTF-8"}
        if self._token:
            headers[dialects.TOKEN_HEADER] = self._token
        if self._dialect == REST35:
            headers[dialects.APPNAME_HEADER] = self.appname
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(CALL_TIMEOUT_S))
        self._tasks = [asyncio.create_task(loop) for loop in (self._beats(), self._callbacks())]

    async def stop(self) -> None:
        """As a graceful one does: no more runs, the running ones end as killed, results and removal go out."""
        await self.stop_serving()
        await self._end_work()
        await self._deliver()
        await self._register("registryRemove")
        await self._hang_up()

    async def crash(self) -> None:
        """As after kill -9: all that was in memory is gone and nobody is told."""
        await self._hang_up()
        await self.stop_serving()
        await self._end_work()
        self._results.clear()
        self._logs.clear()

    async def stop_serving(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _end_work(self) -> None:
        for worker in self._workers.values():
            await worker.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hang_up(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method = request.raw_path.removeprefix("/")
        try:
            if request.method != "POST":
                said = _refusal("only POST is served")
            elif self._token and request.headers.get(dialects.TOKEN_HEADER, "") != self._token:
                said = _refusal("the access token is wrong")
            elif self._dialect == REST35 and not request.headers.get(dialects.APPNAME_HEADER):
                said = _refusal("the app name is missing")
            else:
                said = await self.answer(method, {} if method == "beat" else json.loads(await request.read()))
        except (ValueError, TypeError, KeyError) as error:
            said = _refusal(f"the request cannot be read: {error!r}")
        return web.json_response(said)

    async def answer(self, method: str, fields: Json) -> Json:
        if method == "beat":
            return _SUCCESS
        if method == dialects.run_method(self._dialect):
            return self._run(fields)
        if method == "log":
            return self._log(fields)
        if method not in {"idleBeat", "kill"}:
            return _refusal(f"there is no call {method!r} here")
        worker = self._workers.get(int(fields["jobId"]))
        if worker is None or not worker.busy:  # idle; or nothing to kill, which is a success too
            return _SUCCESS
        if method == "idleBeat":
            return _refusal("the job is running or has runs waiting")
        worker.kill("killed by the scheduler")
        return _SUCCESS

    def _run(self, fields: Json) -> Json:
        handler = self._handlers.get(fields["executorHandler"])
        if handler is None or fields["glueType"] != "BEAN":
            return _refusal(f"there is no {fields['glueType']} handler {fields['executorHandler']!r}")
        run = RunContext(
            params=fields["executorParams"] or "",
            job_id=int(fields["jobId"]),
            run_id=int(fields["logId"]),
            shard=(int(fields["broadcastIndex"]), int(fields["broadcastTotal"])),
            log_time_ms=int(fields["logDateTime"]),
            timeout_s=int(fields["executorTimeout"]),
            handler=handler,
            clock=self.clock,
        )
        worker = self._workers.setdefault(run.job_id, JobWorker(self._ended))
        if refused := worker.take(run, fields["executorBlockStrategy"]):
            return _refusal(refused)
        while len(self._logs) >= KEPT_LOGS:
            del self._logs[next(iter(self._logs))]
        self._logs[run.run_id] = run
        return _SUCCESS

    def _log(self, fields: Json) -> Json:
        """Like Java: all lines from the one asked for; none at all is told by line 0 and the end."""
        time_ms = int(fields[self._time_field])
        first = int(fields["fromLineNum"])
        run = self._logs.get(int(fields["logId"]))
        page: Json = {"fromLineNum": first, "toLineNum": 0, "logContent": "", "isEnd": False}
        if run is None or run.log_time_ms != time_ms or not run.lines:
            page |= {"logContent": "there is no log of this run", "isEnd": True}
        elif lines := run.lines[max(first, 1) - 1 :]:
            page |= {"toLineNum": len(run.lines), "logContent": "".join(f"{line}\n" for line in lines)}
        return _SUCCESS | {"content" if self._dialect == REST else "data": page}

    def _ended(self, run: RunContext, code: int, message: str | None) -> None:
        time = {self._time_field: run.log_time_ms}
        self._results.append({"logId": run.run_id, **time, "handleCode": code, "handleMsg": message})
        self._has_results.set()

    async def _beats(self) -> None:
        while True:
            await self._register("registry")
            await self.clock.sleep(self._beat_every_s)

    async def _callbacks(self) -> None:
        while True:
            await self._has_results.wait()
            if not await self._deliver():
                await self.clock.sleep(self._retry_every_s)

    async def _deliver(self) -> bool:
        """Send all results there are; they stay until the gateway has taken them."""
        self._has_results.clear()
        batch = list(self._results)
        body = {"callbackList": batch} if self._dialect == REST35 else batch
        if batch and not await self._call("callback", body):
            self._has_results.set()
            return False
        del self._results[: len(batch)]
        return True

    async def _register(self, method: str) -> None:
        fields = {"registryGroup": "EXECUTOR", "registryKey": self.appname, "registryValue": self.address}
        await self._call(method, fields)

    async def _call(self, method: str, body: object) -> bool:
        if self._session is None:
            return False
        why = "no usable answer"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with self._session.post(self._api + method, data=json.dumps(body).encode()) as response:
                said = json.loads(await response.read())
                if said["code"] == 200:
                    return True
                why = said["msg"]
        log.warning("gateway_call_failed", method=method, app=self.appname, reason=why)
        return False


def _refusal(why: str) -> Json:
    return {"code": 500, "msg": why}


async def _demo_hello(run: RunContext) -> str:
    run.log(f"hello, {run.params or 'world'}")
    return "said hello"


async def _demo_report(run: RunContext) -> str:
    for step in range(1, 6):
        run.log(f"part {step} of 5, shard {run.shard[0] + 1} of {run.shard[1]}")
        await run.clock.sleep(1)
    return "report finished"


def demo_executor(
    admin_url: str, token: str | None, clock: Clock, appname: str = "demo-executor"
) -> DemoExecutor:
    """Two handlers to try the gateway with: `demoHello` and `demoReport`."""
    handlers = {"demoHello": _demo_hello, "demoReport": _demo_report}
    told = {name: _told(name, handler) for name, handler in handlers.items()}
    return DemoExecutor(appname, told, admin_url=admin_url, token=token or "", clock=clock)


def _told(name: str, handler: Handler) -> Handler:
    """The same handler, and a line in the terminal for each run."""

    async def run_and_tell(run: RunContext) -> str | None:
        message = await handler(run)
        log.info("demo_run", handler=name, run_id=run.run_id, said=message)
        return message

    return run_and_tell

"""An executor of our own with faults, run as a process. Standard library only: nothing of the product is in it.

It does what the Java executor does where that matters to a scheduler: one queue and one worker a job; the log of a
run begins with the run, not with its arrival, and outlives the process; results go out together, to the first
administrator that takes them, and stay on disk until one has. Each event is a line of the counter file.

On the control port: POST /mode?normal | mute | deaf | refuse, POST /leave, GET /stats.
    mute    takes runs and executes them, and answers nothing
    deaf    reads everything and does nothing at all
    refuse  answers every run with code 500
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any

Json = dict[str, Any]
SUCCESS: Json = {"code": 200, "msg": "Success"}
CALL_TIMEOUT_S = 3.0


def refusal(why: str) -> Json:
    return {"code": 500, "msg": why}


class Counter:
    """Each event is in the file before anything else happens, so kill -9 loses none."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, event: str, run: Json, **more: object) -> None:
        line = {
            "event": event,
            "handler": run.get("executorHandler", ""),
            "jobId": run.get("jobId", 0),
            "runId": run["logId"],
            "param": run.get("executorParams"),
            "shardIndex": run.get("broadcastIndex", 0),
            "shardTotal": run.get("broadcastTotal", 1),
            "startMs": time.time_ns() // 1_000_000,
            "pid": os.getpid(),
            "logTime": run.get("logDateTime", 0),
            **more,
        }
        self._file.write(json.dumps(line).encode() + b"\n")


class Worker:
    """All runs of one job, one at a time."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._waiting: deque[Json] = deque()
        self._running: asyncio.Task[tuple[int, str]] | None = None
        self._loop: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self._running is not None or bool(self._waiting)

    def take(self, run: Json) -> Json:
        if any(waiting["logId"] == run["logId"] for waiting in self._waiting):
            return refusal(f"repeat trigger job, logId:{run['logId']}")
        strategy = run["executorBlockStrategy"]
        if strategy == "DISCARD_LATER" and self.busy:
            return refusal("block strategy effect：Discard Later")
        if strategy == "COVER_EARLY" and self.busy:
            self.kill("block strategy effect：Cover Early")
        self._waiting.append(run)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._work())
        return SUCCESS

    def kill(self, why: str) -> None:
        while self._waiting:
            self._executor.ended(
                self._waiting.popleft(), 500, f"{why} [job not executed, in the job queue, killed.]"
            )
        if self._running is not None:
            self._running.cancel(why)

    async def _work(self) -> None:
        while self._waiting:
            run = self._waiting.popleft()
            self._running = asyncio.create_task(self._executor.execute(run))
            timeout = run["executorTimeout"] or None
            try:
                code, message = await asyncio.wait_for(self._running, timeout)
            except TimeoutError:
                code, message = 502, "job execute timeout "
            except asyncio.CancelledError:
                self._executor.counter.write("interrupt", run)
                code, message = 500, "scheduling center kill job. [job running, killed]"
            self._running = None
            self._executor.ended(run, code, message)


class Executor:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.mode = "normal"
        counter = Path(arguments.counter)
        self._logs: dict[int, int] = {}  # begun runs and their log time
        if counter.exists():  # an earlier life at this address: its log files are still there
            for line in counter.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if event["event"] == "start":
                        self._logs[event["runId"]] = event["logTime"]
        self.counter = Counter(counter)
        self._workers: dict[int, Worker] = {}
        self._kept = counter.with_name("results.json")
        self._results: list[tuple[Json, Json]] = []  # the run, and what is to be said of it
        if self._kept.exists():
            self._results = [tuple(pair) for pair in json.loads(self._kept.read_text())]
        self._wake = asyncio.Event()
        self._admins = arguments.admins.split(",")
        self.calls: dict[str, int] = {}

    # ------------------------------------------------------------ called by the scheduler

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                target, headers, body = await read_message(reader)
                path = target.split(" ")[1]
                self.calls[path] = self.calls.get(path, 0) + 1
                if self.mode == "deaf":
                    continue
                if headers.get("xxl-job-access-token", "") != self.arguments.token:
                    said = refusal("The access token is wrong.")
                else:
                    said = self._answer(path, json.loads(body or b"{}"))
                if self.mode == "mute":
                    continue
                text = json.dumps(said).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/html;charset=UTF-8\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(text), text)
                )
                await writer.drain()
        writer.close()

    def _answer(self, path: str, fields: Json) -> Json:
        if path == "/beat":
            return SUCCESS
        if path == "/run":
            self.counter.write("receive", fields)
            if self.mode == "refuse":
                return refusal("refused, as the test wants it")
            if fields["executorHandler"] not in HANDLERS:
                return refusal(f"job handler [{fields['executorHandler']}] not found.")
            return self._workers.setdefault(fields["jobId"], Worker(self)).take(fields)
        if path == "/log":
            return self._log(fields)
        worker = self._workers.get(fields["jobId"])
        busy = worker is not None and worker.busy
        if path == "/idleBeat":
            return refusal("job thread is running or has trigger queue.") if busy else SUCCESS
        if path == "/kill":
            if worker is not None:
                worker.kill("scheduling center kill job.")
            return SUCCESS
        return refusal(f"invalid request, uri-mapping({path}) not found.")

    def _log(self, fields: Json) -> Json:
        page = {
            "fromLineNum": fields["fromLineNum"],
            "toLineNum": 0,
            "logContent": "readLog fail, logFile not exists",
            "isEnd": True,
        }
        if self._logs.get(fields["logId"]) == fields["logDateTim"]:
            page |= {"toLineNum": 1, "logContent": "job execute start\n", "isEnd": False}
        return SUCCESS | {"data": page}

    # ------------------------------------------------------------ what it does

    async def execute(self, run: Json) -> tuple[int, str]:
        self._logs[run["logId"]] = run["logDateTime"]
        self.counter.write("start", run)
        return await HANDLERS[run["executorHandler"]](run)

    def ended(self, run: Json, code: int, message: str) -> None:
        self.counter.write("end", run, code=code)
        self._results.append(
            (
                run,
                {
                    "logId": run["logId"],
                    "logDateTim": run["logDateTime"],
                    "handleCode": code,
                    "handleMsg": message,
                },
            )
        )
        self._wake.set()

    async def report(self) -> None:
        """Results to the first administrator that takes them; on disk as soon as none did."""
        if self._results:
            self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = list(self._results)
            took = await self._tell("callback", [result for _, result in batch])
            if took is None:
                self._kept.write_text(json.dumps(self._results))
                await asyncio.sleep(self.arguments.retry_s)
                self._wake.set()
                continue
            del self._results[: len(batch)]
            if self._kept.exists():
                self._kept.write_text(json.dumps(self._results))
            for run, result in batch:
                self.counter.write("acked", run, admin=took, code=result["handleCode"])

    async def beats(self) -> None:
        while True:
            took = await self.register("registry")
            await asyncio.sleep(self.arguments.beat_s if took else 1)

    async def register(self, method: str) -> bool:
        fields = {
            "registryGroup": "EXECUTOR",
            "registryKey": self.arguments.appname,
            "registryValue": self.arguments.address,
        }
        return await self._tell(method, fields) is not None

    async def _tell(self, method: str, body: object) -> str | None:
        """The address of the administrator that said code 200; None if nobody did."""
        for admin in self._admins:
            try:
                said = await asyncio.wait_for(
                    post(f"{admin}/api/{method}", body, self.arguments.token), CALL_TIMEOUT_S
                )
            except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
                print(f"{method} to {admin}: {error!r}", flush=True)
                continue
            if said.get("code") == 200:
                return admin
            self.counter.write("not_taken", {"logId": 0}, admin=admin, method=method, said=said)
        return None

    # ------------------------------------------------------------ called by the tests

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            target, _, _ = await read_message(reader)
            path, _, query = target.split(" ")[1].partition("?")
            said: Json = {"mode": self.mode, "calls": self.calls, "unreported": len(self._results)}
            if path == "/mode":
                self.mode = query
            elif path == "/leave":
                said = {"removed": await self.register("registryRemove")}
            text = json.dumps(said).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(text), text)
            )
            await writer.drain()
        writer.close()


# ---------------------------------------------------------------- handlers


async def ok(run: Json) -> tuple[int, str]:
    return 200, f"done {run['executorParams']}"


async def sleep(run: Json) -> tuple[int, str]:
    await asyncio.sleep(int(run["executorParams"]) / 1000)
    return 200, f"slept {run['executorParams']}"


async def fail(run: Json) -> tuple[int, str]:
    return 500, f"failed on purpose: {run['executorParams']}"


HANDLERS = {"okHandler": ok, "sleepHandler": sleep, "failHandler": fail}


# ---------------------------------------------------------------- HTTP


async def read_message(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """First line, headers in small letters, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    return head[0], headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def post(url: str, body: object, token: str) -> Json:
    origin, _, path = url.removeprefix("http://").partition("/")
    host, _, port = origin.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        text = json.dumps(body).encode()
        head = (
            f"POST /{path} HTTP/1.1\r\nHost: {origin}\r\nContent-Type: application/json;charset=UTF-8\r\n"
            f"User-Agent: Java/17.0.15\r\nXXL-JOB-ACCESS-TOKEN: {token}\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + text)
        line, _, answer = await read_message(reader)
        if line.split(" ")[1] != "200":
            return {"code": int(line.split(" ")[1]), "msg": line}
        said: Json = json.loads(answer)
        return said
    finally:
        writer.close()


async def main(arguments: argparse.Namespace) -> None:
    executor = Executor(arguments)
    # Its own port twice over restarts: asyncio asks for the address to be reusable.
    await asyncio.start_server(executor.serve, arguments.host, arguments.port, backlog=512)
    await asyncio.start_server(executor.control, "127.0.0.1", arguments.control_port)
    loops = [asyncio.create_task(loop) for loop in (executor.beats(), executor.report())]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await executor.register("registryRemove")
    for loop in loops:
        loop.cancel()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--appname", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", required=True, help="what it registers; a proxy's, where one is between")
    parser.add_argument("--admins", required=True, help="base addresses, separated by commas")
    parser.add_argument("--token", default="")
    parser.add_argument("--counter", required=True)
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--beat-s", type=float, default=30)
    parser.add_argument("--retry-s", type=float, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse()))

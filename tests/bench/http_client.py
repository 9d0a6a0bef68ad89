"""CPU and rate of one POST to an executor: aiohttp's client and compat.http1, on both loops.

    python tests/bench/http_client.py [--runs 5] [--calls 50000] [--addresses 64] [--in-flight 256]

A bare server in a process of its own answers as a Java executor does. Every run is a fresh process;
CPU is that process's user and system time over the calls alone, after a warm-up that opens the
connections. Prints a Markdown table of medians (lowest and highest in brackets).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
import time
from functools import partial

import aiohttp
from wire import JSON_TYPE, BareServer, cpu_seconds, http_answer, run, say

from compat.http1 import Call, ConnectionPool, Origin, Outcome, PreparedBody, request_head

HOST, BASE_PORT = "127.0.0.1", 21000
HEADERS = JSON_TYPE | {"XXL-JOB-ACCESS-TOKEN": "default_token"}
BODY = PreparedBody(
    b'{"jobId":1234,"executorHandler":"demoJobHandler","executorParams":"some parameters",'
    b'"executorBlockStrategy":"SERIAL_EXECUTION","executorTimeout":0,"logId":',
    b',"logDateTime":',
    b',"glueType":"BEAN","glueSource":"","glueUpdatetime":1586629003729,"broadcastIndex":0,"broadcastTotal":1}',
)
FIRST_LOG_ID, NOW_MS = 2**32, 1795247421259


async def serve(addresses: int) -> None:
    answer = http_answer(b'{"code":200,"msg":"Success"}')
    heads: dict[bytes, tuple[str, int]] = {}
    loop = asyncio.get_running_loop()
    for number in range(addresses):
        await loop.create_server(partial(BareServer, lambda *_: answer, heads), HOST, BASE_PORT + number)
    say({"ready": addresses})
    await asyncio.Event().wait()


async def calls_by_http1(
    pool: ConnectionPool, heads: list[tuple[Origin, bytes]], calls: int, in_flight: int
) -> None:
    """Each answer sends the next request, to the next address."""
    numbers = iter(range(calls))
    finished = asyncio.Event()
    left = calls

    def send() -> None:
        number = next(numbers, None)
        if number is not None:
            origin, head = heads[number % len(heads)]
            pool.send(origin, Call(BODY.request(head, FIRST_LOG_ID + number, NOW_MS), float("inf"), done))

    def done(call: Call, outcome: Outcome, status: int, _body: bytes) -> None:
        nonlocal left
        assert outcome is Outcome.ANSWERED, call.error
        assert status == 200
        left -= 1
        if not left:
            finished.set()
        send()

    for _ in range(in_flight):
        send()
    await finished.wait()


async def calls_by_aiohttp(
    session: aiohttp.ClientSession, urls: list[str], calls: int, in_flight: int
) -> None:
    """Tasks that live throughout: none is made per call."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            _, _, body = BODY.request(b"", FIRST_LOG_ID + number, NOW_MS).partition(b"\r\n\r\n")
            async with session.post(urls[number % len(urls)], data=body, headers=HEADERS) as response:
                await response.read()
                assert response.status == 200

    await asyncio.gather(*(worker() for _ in range(in_flight)))


async def measure(arguments: argparse.Namespace) -> None:
    ports = range(BASE_PORT, BASE_PORT + arguments.addresses)
    if arguments.client == "http1":
        pool = ConnectionPool(monotonic=time.monotonic)
        origins = [Origin("http", HOST, port) for port in ports]
        heads = [(origin, request_head(origin, "/run", HEADERS)) for origin in origins]
        calls, close = partial(calls_by_http1, pool, heads), pool.close
    else:
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=16)
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), raise_for_status=False
        )
        urls = [f"http://{HOST}:{port}/run" for port in ports]
        calls, close = partial(calls_by_aiohttp, session, urls), session.close
    await calls(5 * arguments.in_flight, arguments.in_flight)
    gc.collect()
    gc.freeze()
    cpu, wall = cpu_seconds(), time.perf_counter()
    await calls(arguments.calls, arguments.in_flight)
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    say({"cpu_us": cpu / arguments.calls * 1e6, "per_second": arguments.calls / wall})
    await close()


def median(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def compare(arguments: argparse.Namespace) -> None:
    command = [
        sys.executable,
        __file__,
        "--addresses",
        str(arguments.addresses),
        "--calls",
        str(arguments.calls),
    ]
    command += ["--in-flight", str(arguments.in_flight)]
    server = subprocess.Popen([*command, "--part", "server"], stdout=subprocess.PIPE, text=True)
    try:
        server.stdout.readline()
        kinds = [(client, loop) for client in ("aiohttp", "http1") for loop in ("asyncio", "uvloop")]
        results = {kind: [] for kind in kinds}
        for _ in range(arguments.runs):
            for client, loop in kinds:  # in turn, so that a noisy minute hits all of them
                part = [*command, "--part", "client", "--client", client, "--loop", loop]
                done = subprocess.run(part, stdout=subprocess.PIPE, check=True, text=True)
                results[client, loop].append(json.loads(done.stdout))
    finally:
        server.kill()
        server.wait()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("aiohttp", "uvloop")]
    print(
        f"Python {platform.python_version()}, {', '.join(versions)}; {arguments.runs} runs of {arguments.calls:,} calls,"
    )
    print(f"{arguments.addresses} addresses, {arguments.in_flight} calls in flight.\n")
    print("| client | loop | CPU µs a call | calls/s |\n| --- | --- | --- | --- |")
    for (client, loop), runs in results.items():
        cpu = median([run["cpu_us"] for run in runs], 1)
        print(f"| {client} | {loop} | {cpu} | {median([run['per_second'] for run in runs], 0)} |")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--runs", type=int, default=5)
    add("--calls", type=int, default=50_000)
    add("--addresses", type=int, default=64)
    add("--in-flight", type=int, default=256)
    add("--part", choices=("all", "server", "client"), default="all", help="the parts are started by `all`")
    add("--client", choices=("aiohttp", "http1"), default="http1")
    add("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    return parser.parse_args()


if __name__ == "__main__":
    asked = parse()
    if asked.part == "server":
        run(serve(asked.addresses))
    elif asked.part == "client":
        run(measure(asked), [asked.loop])
    else:
        compare(asked)

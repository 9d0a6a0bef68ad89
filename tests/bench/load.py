"""A load generator against a gateway: results, manual triggers or beats, as fast as they are answered.

    python tests/bench/load.py callbacks --ids 4294967296-4295167295 --per-call 20 --connections 16
    python tests/bench/load.py triggers --jobs 1-100 --token "$ADMIN" --seconds 10 --ids-out runs.txt
    python tests/bench/load.py beats --addresses 1000 --seconds 10

Every connection carries one request at a time and the next one at once (a closed loop). Prints one
line of JSON: mode, requests, items (results, runs or beats), seconds, requests_per_second,
items_per_second, latency_ms {min, p50, p90, p99, max}, errors {text: count}, cpu_seconds and
cpu_us_per_request of this process. Failed requests are counted, not repeated, and are in no other figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

from wire import AS_JAVA, JSON_TYPE, counted, cpu_seconds, distribution, numbers, run, say, why_failed

from compat.http1 import Call, ConnectionPool, Origin, Outcome, request_head, split_address

Requests = Iterator[tuple[bytes, int]]  # finished, with the number of items in it


class Load:
    def __init__(
        self,
        origin: Origin,
        requests: Requests,
        is_good: Callable[[int, bytes], bool],
        arguments: argparse.Namespace,
    ) -> None:
        self._origin = origin
        self._requests = requests
        self._is_good = is_good
        self._stop_at = time.monotonic() + arguments.seconds
        self._connections = arguments.connections
        self._pool = ConnectionPool(
            monotonic=time.monotonic, max_connections_per_address=arguments.connections, answer_timeout_s=10
        )
        self._busy = 0
        self._finished = asyncio.Event()
        self._latencies = array("d")
        self._items = 0
        self._errors: Counter[str] = Counter()

    async def run(self) -> dict[str, object]:
        cpu_before, started = cpu_seconds(), time.monotonic()
        for _ in range(self._connections):
            self._busy += 1
            self._next()
        await self._finished.wait()
        seconds, cpu = time.monotonic() - started, cpu_seconds() - cpu_before
        await self._pool.close()
        done = len(self._latencies)
        return {
            "requests": done,
            "items": self._items,
            "seconds": round(seconds, 3),
            "requests_per_second": round(done / seconds, 1),
            "items_per_second": round(self._items / seconds, 1),
            "latency_ms": distribution(latency * 1000 for latency in self._latencies),
            "errors": counted(self._errors),
            "cpu_seconds": round(cpu, 3),
            "cpu_us_per_request": round(cpu * 1e6 / max(1, done + self._errors.total()), 1),
        }

    def _next(self) -> None:
        following = next(self._requests, None) if time.monotonic() < self._stop_at else None
        if following is None:
            self._busy -= 1
            if not self._busy:
                self._finished.set()
            return
        request, items = following
        self._pool.send(self._origin, Call(request, float("inf"), self._done, items))

    def _done(self, call: Call, outcome: Outcome, status: int, body: bytes) -> None:
        if outcome is Outcome.ANSWERED and self._is_good(status, body):
            self._latencies.append(time.monotonic() - call.sent_at)
            self._items += call.token
        else:
            self._errors[why_failed(call, outcome, status, body)] += 1
        self._next()


def good_for_executors(status: int, body: bytes) -> bool:
    return status == 200 and b'"code":200' in body.replace(b" ", b"")


def executor_headers(arguments: argparse.Namespace) -> dict[str, str]:
    return AS_JAVA | ({"XXL-JOB-ACCESS-TOKEN": arguments.token} if arguments.token is not None else {})


def with_body(head: bytes, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


def callback_requests(head: bytes, arguments: argparse.Namespace) -> Requests:
    now_ms = arguments.log_date_time or int(time.time() * 1000)
    rows = numbers(arguments.ids)
    for _ in range(arguments.rounds):
        results = (
            b'{"logId":%d,"logDateTim":%d,"handleCode":200}' % (row[0], row[1] if row[1:] else now_ms)
            for row in rows
        )
        while part := list(islice(results, arguments.per_call)):
            yield with_body(head, b"[%b]" % b",".join(part)), len(part)


def trigger_requests(origin: Origin, prefix: str, arguments: argparse.Namespace) -> Requests:
    bearer = JSON_TYPE | {"Authorization": f"Bearer {arguments.token}"}
    jobs = [
        (with_body(request_head(origin, f"{prefix}api/v1/jobs/{job}/trigger", bearer), b"{}"), 1)
        for (job, *_) in numbers(arguments.jobs)
    ]
    return cycle(jobs)


def beat_requests(head: bytes, arguments: argparse.Namespace) -> Requests:
    beats = []
    for number in range(arguments.addresses):
        address = f"http://127.0.0.1:{arguments.base_port + number}/"
        body = {"registryGroup": "EXECUTOR", "registryKey": arguments.app, "registryValue": address}
        beats.append((with_body(head, json.dumps(body, separators=(",", ":")).encode()), 1))
    return cycle(beats)


async def main(arguments: argparse.Namespace) -> None:
    origin, prefix = split_address(arguments.admin)
    run_ids: set[int] = set()
    is_good = good_for_executors
    if arguments.mode == "callbacks":
        requests = callback_requests(
            request_head(origin, prefix + "api/callback", executor_headers(arguments)), arguments
        )
    elif arguments.mode == "beats":
        requests = beat_requests(
            request_head(origin, prefix + "api/registry", executor_headers(arguments)), arguments
        )
    else:
        requests = trigger_requests(origin, prefix, arguments)

        def is_good(status: int, body: bytes) -> bool:
            if status == 202:
                run_ids.add(int(json.loads(body)["run_id"]))
            return status == 202

    load = Load(origin, islice(requests, arguments.count), is_good, arguments)
    report = {"mode": arguments.mode} | await load.run()
    if arguments.mode == "triggers":
        report["distinct_run_ids"] = len(run_ids)
        if arguments.ids_out:
            Path(arguments.ids_out).write_text("".join(f"{run_id}\n" for run_id in sorted(run_ids)))
    say(report)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = parser.add_subparsers(dest="mode", required=True)
    for mode in ("callbacks", "triggers", "beats"):
        add = modes.add_parser(mode).add_argument
        add("--admin", default="http://127.0.0.1:8080", help="the gateway, with its prefix")
        add("--connections", type=int, default=16)
        add("--seconds", type=float, default=10, help="no request begins after that")
        add("--count", type=int, help="requests at most")
        add("--token", help="of the executors (callbacks, beats) or of the API (triggers)")
        if mode == "callbacks":
            add("--ids", required=True, help="a range, or a file of lines 'logId' or 'logId logDateTim'")
            add("--per-call", type=int, default=1)
            add("--log-date-time", type=int, help="in ms, where the ids have none; without it: now")
            add("--rounds", type=int, default=1, help="how often the same results are sent")
        elif mode == "triggers":
            add("--jobs", required=True, help="a range, or a file of ids; taken in turn")
            add("--ids-out", help="file for the run ids")
        else:
            add("--app", default="bench")
            add("--addresses", type=int, default=1000)
            add("--base-port", type=int, default=20000)
    return parser.parse_args()


if __name__ == "__main__":
    run(main(parse()))

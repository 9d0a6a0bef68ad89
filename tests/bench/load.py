"""A load generator against a gateway: results, manual triggers, batches of them or beats, as fast as they are answered.

    python tests/bench/load.py callbacks --ids 4294967296-4295167295 --per-call 20 --connections 16
    python tests/bench/load.py triggers --jobs 1-100 --token "$ADMIN" --seconds 10 --ids-out runs.txt
    python tests/bench/load.py batches --jobs 1-4 --token "$ADMIN" --per-call 10000 --named --ids-out runs.txt
    python tests/bench/load.py beats --addresses 1000 --seconds 10

Every connection carries one request at a time and the next one at once (a closed loop); with several `--admin`
they are spread over them. Prints one
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
from collections.abc import Callable, Iterator, Sequence
from itertools import count, cycle, islice
from pathlib import Path

from wire import AS_JAVA, JSON_TYPE, counted, cpu_seconds, distribution, numbers, run, say, why_failed

from compat.http1 import Call, ConnectionPool, Origin, Outcome, request_head, split_address

Requests = Iterator[tuple[bytes, int]]  # finished, with the number of items in it
OF_API = ("triggers", "batches")
Door = tuple[Origin, Requests]  # a node, and the requests made for it


class Load:
    def __init__(
        self,
        doors: Sequence[Door],
        is_good: Callable[[int, bytes], bool],
        arguments: argparse.Namespace,
    ) -> None:
        self._doors = doors
        self._left = arguments.count
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
        for number in range(self._connections):
            self._busy += 1
            self._next(self._doors[number % len(self._doors)])
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

    def _next(self, door: Door) -> None:
        origin, requests = door
        following = next(requests, None) if self._left != 0 and time.monotonic() < self._stop_at else None
        if following is None:
            self._busy -= 1
            if not self._busy:
                self._finished.set()
            return
        request, items = following
        if self._left is not None:
            self._left -= 1
        self._pool.send(origin, Call(request, float("inf"), self._done, (items, door)))

    def _done(self, call: Call, outcome: Outcome, status: int, body: bytes) -> None:
        items, door = call.token
        if outcome is Outcome.ANSWERED and self._is_good(status, body):
            self._latencies.append(time.monotonic() - call.sent_at)
            self._items += items
        else:
            self._errors[why_failed(call, outcome, status, body)] += 1
        self._next(door)


def good_for_executors(status: int, body: bytes) -> bool:
    return status == 200 and b'"code":200' in body.replace(b" ", b"")


def executor_headers(arguments: argparse.Namespace) -> dict[str, str]:
    return AS_JAVA | ({"XXL-JOB-ACCESS-TOKEN": arguments.token} if arguments.token is not None else {})


def with_body(head: bytes, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


def all_results(arguments: argparse.Namespace) -> Iterator[bytes]:
    now_ms = arguments.log_date_time or int(time.time() * 1000)
    rows = numbers(arguments.ids)
    for _ in range(arguments.rounds):
        for row in rows:
            yield b'{"logId":%d,"logDateTim":%d,"handleCode":200}' % (row[0], row[1] if row[1:] else now_ms)


def callback_requests(head: bytes, results: Iterator[bytes], per_call: int) -> Requests:
    """`results` is shared by all nodes: each gets what the others have not taken."""
    while part := list(islice(results, per_call)):
        yield with_body(head, b"[%b]" % b",".join(part)), len(part)


def trigger_requests(origin: Origin, prefix: str, arguments: argparse.Namespace) -> Requests:
    bearer = JSON_TYPE | {"Authorization": f"Bearer {arguments.token}"}
    jobs = [
        (with_body(request_head(origin, f"{prefix}api/v1/jobs/{job}/trigger", bearer), b"{}"), 1)
        for (job, *_) in numbers(arguments.jobs)
    ]
    return cycle(jobs)


def batch_requests(origin: Origin, prefix: str, arguments: argparse.Namespace, door: int) -> Requests:
    """Runs of an hour from now, so that nothing but the submission is measured; with names, each new."""
    bearer = JSON_TYPE | {"Authorization": f"Bearer {arguments.token}"}
    jobs = cycle(job for (job, *_) in numbers(arguments.jobs))
    plain = b'{"submissions":[%b]}' % b",".join([b'{"delay_s":3600}'] * arguments.per_call)
    for number in count():
        body = plain
        if arguments.named:
            start = f'{{"delay_s":3600,"task_id":"{door}-{number}-'
            texts = [f'{start}{n}"}}' for n in range(arguments.per_call)]
            body = f'{{"submissions":[{",".join(texts)}]}}'.encode()
        head = request_head(origin, f"{prefix}api/v1/jobs/{next(jobs)}/trigger/batch", bearer)
        yield with_body(head, body), arguments.per_call


def beat_requests(head: bytes, arguments: argparse.Namespace, door: int) -> Requests:
    """An executor beats at one node; the nodes have them in turn."""
    beats = []
    for number in range(door, arguments.addresses, len(arguments.admin)):
        address = f"http://127.0.0.1:{arguments.base_port + number}/"
        body = {"registryGroup": "EXECUTOR", "registryKey": arguments.app, "registryValue": address}
        beats.append((with_body(head, json.dumps(body, separators=(",", ":")).encode()), 1))
    return cycle(beats)


async def main(arguments: argparse.Namespace) -> None:
    run_ids: set[int] = set()
    is_good = good_for_executors
    if arguments.mode == "triggers":

        def is_good(status: int, body: bytes) -> bool:
            if status == 202:
                run_ids.add(int(json.loads(body)["run_id"]))
            return status == 202

    elif arguments.mode == "batches":

        def is_good(status: int, body: bytes) -> bool:
            answer = json.loads(body) if status == 202 else {"accepted": 0}
            run_ids.update(one["run_id"] for one in answer.get("results", ()) if one["status"] == 202)
            return answer["accepted"] == arguments.per_call

    load = Load(doors(arguments), is_good, arguments)
    report = {"mode": arguments.mode} | await load.run()
    if arguments.mode in OF_API:
        report["distinct_run_ids"] = len(run_ids)
        if arguments.ids_out:
            Path(arguments.ids_out).write_text("".join(f"{run_id}\n" for run_id in sorted(run_ids)))
    say(report)


def doors(arguments: argparse.Namespace) -> list[Door]:
    found: list[Door] = []
    results = all_results(arguments) if arguments.mode == "callbacks" else iter(())
    for number, (origin, prefix) in enumerate(map(split_address, arguments.admin)):
        if arguments.mode == "callbacks":
            head = request_head(origin, prefix + "api/callback", executor_headers(arguments))
            requests = callback_requests(head, results, arguments.per_call)
        elif arguments.mode == "batches":
            requests = batch_requests(origin, prefix, arguments, number)
        elif arguments.mode == "beats":
            head = request_head(origin, prefix + "api/registry", executor_headers(arguments))
            requests = beat_requests(head, arguments, number)
        else:
            requests = trigger_requests(origin, prefix, arguments)
        found.append((origin, requests))
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = parser.add_subparsers(dest="mode", required=True)
    for mode in ("callbacks", *OF_API, "beats"):
        add = modes.add_parser(mode).add_argument
        add("--admin", nargs="+", default=["http://127.0.0.1:8080"], help="the nodes, with their prefix")
        add("--connections", type=int, default=16)
        add("--seconds", type=float, default=10, help="no request begins after that")
        add("--count", type=int, help="requests at most")
        add("--token", help="of the executors (callbacks, beats) or of the API (triggers, batches)")
        if mode == "callbacks":
            add("--ids", required=True, help="a range, or a file of lines 'logId' or 'logId logDateTim'")
            add("--per-call", type=int, default=1)
            add("--log-date-time", type=int, help="in ms, where the ids have none; without it: now")
            add("--rounds", type=int, default=1, help="how often the same results are sent")
        elif mode in OF_API:
            add("--jobs", required=True, help="a range, or a file of ids; taken in turn")
            add("--ids-out", help="file for the run ids")
            if mode == "batches":
                add("--per-call", type=int, default=10_000)
                add("--named", action="store_true", help="a task id for each")
        else:
            add("--app", default="bench")
            add("--addresses", type=int, default=1000)
            add("--base-port", type=int, default=20000)
    return parser.parse_args()


if __name__ == "__main__":
    run(main(parse()))

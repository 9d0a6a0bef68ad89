"""What executors say to the gateway: their registrations and their results, spread over its nodes."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence

from wire import AS_JAVA, counted, distribution, why_failed

from compat.http1 import Call, ConnectionPool, Outcome, request_bytes, request_head, split_address

RESULT = b'{"logId":%d,"logDateTim":%d,"handleCode":200}'
BATCH = 20
FLUSH_S = 0.02  # how long a result waits for others in `batch` mode
RETRY_S = 1.0  # after which results no node took are sent again


def headers(token: str | None) -> dict[str, str]:
    return AS_JAVA | ({"XXL-JOB-ACCESS-TOKEN": token} if token is not None else {})


class Results:
    """Sends results to the nodes in turn: one a call, or up to 20. What one does not take goes to the next."""

    def __init__(
        self, pool: ConnectionPool, admins: Sequence[str], token: str | None, *, mode: str, delay_s: float
    ) -> None:
        self._doors = [
            (origin, request_head(origin, prefix + "api/callback", headers(token)))
            for origin, prefix in map(split_address, admins)
        ]
        self._turn = 0
        self._pool = pool
        self._per_call = BATCH if mode == "batch" else 1
        self._delay_s = delay_s
        self._running: deque[tuple[float, tuple[int, int]]] = deque()
        self._pending: list[tuple[int, int]] = []
        self._waiting = 0  # to be sent again
        self.reset()
        asyncio.get_running_loop().call_later(FLUSH_S, self._tick)

    def reset(self) -> None:
        self._round_trips = array("d")
        self._stored = 0
        self._failures: Counter[str] = Counter()

    def stats(self) -> dict[str, object]:
        return {
            "calls": len(self._round_trips),
            "results": self._stored,
            "not_yet_stored": len(self._running)
            + len(self._pending)
            + self._pool.stats().waiting
            + self._waiting,
            "round_trip_ms": distribution(seconds * 1000 for seconds in self._round_trips),
            "failures": counted(self._failures),
        }

    def add(self, result: tuple[int, int]) -> None:
        if self._delay_s:
            self._running.append((time.monotonic() + self._delay_s, result))
        else:
            self._give(result)

    def _give(self, result: tuple[int, int]) -> None:
        self._pending.append(result)
        if len(self._pending) >= self._per_call:
            self._flush()

    def _flush(self) -> None:
        self._send(self._pending)
        self._pending = []

    def _send(self, results: list[tuple[int, int]], tried: int = 1) -> None:
        self._turn = (self._turn + 1) % len(self._doors)
        origin, head = self._doors[self._turn]
        body = b"[%b]" % b",".join([RESULT % result for result in results])
        call = Call(b"%b%d\r\n\r\n%b" % (head, len(body), body), float("inf"), self._done, (results, tried))
        self._pool.send(origin, call)

    def _done(self, call: Call, outcome: Outcome, status: int, body: bytes) -> None:
        results, tried = call.token
        if outcome is Outcome.ANSWERED and b'"code":200' in body.replace(b" ", b""):
            self._round_trips.append(time.monotonic() - call.sent_at)
            self._stored += len(results)
            return
        self._failures[why_failed(call, outcome, status, body)] += 1
        if tried < len(self._doors):
            self._send(results, tried + 1)
        else:
            self._waiting += len(results)
            asyncio.get_running_loop().call_later(RETRY_S, self._send_again, results)

    def _send_again(self, results: list[tuple[int, int]]) -> None:
        self._waiting -= len(results)
        self._send(results)

    def _tick(self) -> None:
        now = time.monotonic()
        while self._running and self._running[0][0] <= now:
            self._give(self._running.popleft()[1])
        if self._pending:
            self._flush()
        asyncio.get_running_loop().call_later(FLUSH_S, self._tick)


class Registration:
    """Registers all addresses, again and again, each at a node of its own or, if that fails, at the next."""

    def __init__(self, pool: ConnectionPool, arguments: argparse.Namespace) -> None:
        self._pool = pool
        self._doors = [split_address(admin) for admin in arguments.admin]
        self._headers = headers(arguments.token)
        apps = (
            [f"{arguments.app}-{n}" for n in range(arguments.apps)] if arguments.apps > 1 else [arguments.app]
        )
        self._bodies = [
            json.dumps(
                {
                    "registryGroup": "EXECUTOR",
                    "registryKey": apps[n % len(apps)],
                    "registryValue": f"http://127.0.0.1:{arguments.base_port + n}/",
                }
            ).encode()
            for n in range(arguments.addresses)
        ]
        self._left: set[int] = set()
        self._all_done = asyncio.Event()
        self.failures: Counter[str] = Counter()

    async def tell(self, method: str) -> None:
        """`registry` or `registryRemove` for every address; returns when all are answered or given up."""
        self._left = set(range(len(self._bodies)))
        self._all_done.clear()
        for number in range(len(self._bodies)):
            self._call(method, number, 1)
        await self._all_done.wait()

    def _call(self, method: str, number: int, tried: int) -> None:
        origin, prefix = self._doors[(number + tried) % len(self._doors)]
        request = request_bytes(origin, f"{prefix}api/{method}", self._headers, self._bodies[number])
        token = (method, number, tried)
        self._pool.send(origin, Call(request, time.monotonic() + 10, self._done, token))

    def _done(self, call: Call, outcome: Outcome, status: int, body: bytes) -> None:
        method, number, tried = call.token
        if outcome is not Outcome.ANSWERED or b'"code":200' not in body.replace(b" ", b""):
            self.failures[why_failed(call, outcome, status, body)] += 1
            if tried < len(self._doors):
                self._call(method, number, tried + 1)
                return
        self._left.discard(number)
        if not self._left:
            self._all_done.set()

    async def keep_up(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self.tell("registry")

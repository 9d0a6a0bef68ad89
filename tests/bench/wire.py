"""What the benchmark programs share: a bare HTTP server, distributions, the loop, CPU figures."""

from __future__ import annotations

import asyncio
import json
import math
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]

sys.path.insert(
    0, str(Path(__file__).resolve().parents[2])
)  # the repository, for programs started by their path

from compat.http1 import Call, Outcome

JSON_TYPE = {"Content-Type": "application/json;charset=UTF-8"}
# The gateway believes what /log of an executor says about a run only if it is a client known to know.
AS_JAVA = JSON_TYPE | {"User-Agent": "Java/17.0.15"}


Heads = dict[bytes, tuple[str, int]]  # heads of requests seen before → target, Content-Length


def read_head(head: bytes, heads: Heads) -> tuple[str, int]:
    """Target and Content-Length, kept for the next time."""
    line, *fields = head.decode("latin-1").split("\r\n")
    lengths = [
        int(value)
        for name, _, value in (f.partition(":") for f in fields)
        if name.lower() == "content-length"
    ]
    if len(heads) > 10_000:
        heads.clear()
    heads[head] = line.split(" ")[1], lengths[0] if lengths else 0
    return heads[head]


class BareServer(asyncio.Protocol):
    """Keep-alive HTTP/1.1, Content-Length only: `answer(target, body)` gives the finished answer.

    Heads seen before cost one look-up; requests that come in one segment are not copied together.
    """

    def __init__(self, answer: Callable[[str, bytes], bytes], heads: Heads) -> None:
        self._answer = answer
        self._heads = heads
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            head = data[:end]
            target, length = self._heads.get(head) or read_head(head, self._heads)
            stop = end + 4 + length
            if len(data) < stop:
                break
            self._transport.write(self._answer(target, data[end + 4 : stop]))
            data = data[stop:]
        self._rest = data


def http_answer(body: bytes, content_type: str = "text/html;charset=UTF-8") -> bytes:
    """As the Java executor's Netty writes it."""
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: keep-alive\r\n\r\n%b"
        % (content_type.encode(), len(body), body)
    )


def distribution(values: Iterable[float], digits: int = 3) -> dict[str, float | None]:
    """min, p50, p90, p99, max; nearest rank; None when there are no values."""
    ordered = sorted(values)
    if not ordered:
        return dict.fromkeys(("min", "p50", "p90", "p99", "max"))
    ranks = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[max(0, math.ceil(rank * len(ordered)) - 1)], digits)
        for name, rank in ranks.items()
    }


def cpu_seconds() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def numbers(text: str) -> list[tuple[int, ...]]:
    """`5`, `100-199`, or a file with a line of whole numbers each."""
    if text.replace("-", "", 1).isdigit():
        first, _, last = text.partition("-")
        return [(number,) for number in range(int(first), int(last or first) + 1)]
    return [tuple(map(int, line.split())) for line in Path(text).read_text().splitlines() if line.strip()]


def why_failed(call: Call, outcome: Outcome, status: int, body: bytes) -> str:
    """A short text to count failures under."""
    return (
        call.error if outcome is not Outcome.ANSWERED else f"{status} {body[:100].decode(errors='replace')}"
    )


def counted(reasons: Counter[str]) -> dict[str, int]:
    return dict(reasons.most_common(10))


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def say(value: object) -> None:
    """One line of JSON on standard output."""
    print(json.dumps(value), flush=True)


def run(main: Coroutine[Any, Any, None], loops: Sequence[str] = ("uvloop", "asyncio")) -> None:
    """On the first of these loops that is installed."""
    factory = uvloop.new_event_loop if uvloop is not None and loops[0] == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)

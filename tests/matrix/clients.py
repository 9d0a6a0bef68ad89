"""The clients of the matrix, what each of them can, and what no registry serves."""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.java_releases import RELEASES

FEATURES = {
    "register": "an executor is known, with its dialect",
    "token": "its app has an access token of its own, which goes both ways",
    "schedule": "a job every second: each slot once, none before its time",
    "success": "the end of a run, with its message",
    "failure": "the same, failed",
    "timeout": "a run that takes too long ends as timed out",
    "kill": "a run is stopped where it runs",
    "log": "the lines of a run's log",
    "broadcast": "two executors, each with its shard",
    "late": "an executor that stood still reads the call late: it is asked, not called again",
    "never": "an executor dies with the call unread: it is asked, and called again once",
    "shutdown": "an executor that ends is out at once",
}


@dataclass(frozen=True)
class Client:
    """`name` is that of a peer. What is false here is no fault: the release has nothing of the kind."""

    name: str
    title: str
    params: bool = True  # up to 1.8.2 any parameter fails on JDK 9 and later, by a cast of the client's own
    messages: bool = True  # a success may have a message
    utf8: bool = True
    timeout: str = "timed_out"  # what a run that was too long ends as; empty: it knows no timeout
    shards: bool = True
    token: bool = True
    by_hand: str = ""  # the dialect to enter with its addresses, where it does not register over HTTP
    log: bool = True
    goodbye: bool = True
    cut_off: bool = False  # its own end may interrupt its goodbye
    settles: bool = True  # whether its log tells a run that it has
    sends_again: bool = True  # whether it can also be known that it has not: its log, and whether it is idle


BY_HAND = {(1, 5, 0): "form14", (1, 6, 0): "form15", (1, 7, 2): "netcom16"}


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _java(version: str) -> Client:
    number = _number(version)
    return Client(
        f"java-{version}",
        f"Java {version}",
        params=number >= (1, 9, 0),
        messages=number >= (1, 6, 0),
        utf8=number != (2, 1, 1),
        timeout="timed_out" if number >= (1, 9, 2) else "",
        shards=number >= (1, 8, 1),
        token=number >= (1, 8, 1),
        by_hand=next((name for below, name in BY_HAND.items() if number < below), ""),
        goodbye=number >= (1, 9, 0),
        cut_off=(2, 0, 0) <= number <= (2, 1, 0),
        settles=number >= (1, 6, 0),
        sends_again=number >= (1, 8, 0),
    )


CLIENTS = {
    client.name: client
    for client in (
        *map(_java, sorted(RELEASES, key=_number)),
        Client("pyxxl", "Python pyxxl 0.4.8", timeout="failed"),
        Client(
            "node",
            "Node xxl-job 0.1.7",
            timeout="failed",
            log=False,
            goodbye=False,
            settles=False,
            sends_again=False,
        ),
    )
}

# One of each generation at least, for every run of all tests.
DOZEN = (
    *(f"java-{version}" for version in ("1.4.1", "1.6.2", "1.8.0", "1.8.2", "1.9.2", "2.0.1", "2.1.0")),
    *(f"java-{version}" for version in ("2.1.2", "2.2.0", "2.5.0", "3.3.2")),
    "pyxxl",
)

# One of each way to be called, in one app.
MIXED = ("java-1.9.1", "java-1.9.2", "java-2.0.1", "java-2.1.2", "java-3.3.2", "pyxxl")

NOT_RUN = {
    "Java 3.4.0 to 3.4.2": "not on Maven Central; recorded messages of a build of 3.4.2 are replayed in the tests",
    "Java 3.5.0-SNAPSHOT": "not released; recorded messages of a build are replayed, and our own executor speaks it in tests",
    "Go xxl-job-executor-go 1.2.0": "the Go proxy does not serve it; recorded messages of a build are replayed in the tests",
    ".NET DotXxlJob": "no client was run; it speaks the protocol of Java 2.2.0 to 3.4.2 with differences known from its source",
    "PHP hyperf/xxl-job-incubator": "as .NET",
    "Rust xxljob-sdk-rs": "as .NET",
}

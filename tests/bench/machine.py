"""The machine under the figures: its limits, and what its processes use."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from wire import distribution

from tests.kit.mariadb import find_program

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int) -> float:
    """User and system seconds of a process and its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def group_of(pid: int) -> list[int]:
    """All processes of the group that this one leads: a gateway and its workers."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            if int(stat.read_text().rpartition(")")[2].split()[2]) == pid:
                found.append(int(stat.parent.name))
    return found


def memory_of(pid: int) -> dict[str, float]:
    """Resident memory in MB: now (`rss`) and at its highest (`peak`)."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return {
        name: round(int(status[key].split()[0]) / 1024, 1)
        for name, key in (("rss", "VmRSS"), ("peak", "VmHWM"))
    }


def load_average() -> float:
    return os.getloadavg()[0]


def limits(directory: Path, *, mariadb: bool) -> dict[str, Any]:
    """What can be said before a run. `directory` is where the databases will be."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": ", ".join(
            f"{name} {_version(name)}"
            for name in ("uvloop", "aiohttp", "sqlalchemy", "aiomysql", "aiosqlite")
        ),
        "database": _mariadb_version() if mariadb else _sqlite_version(),
        "load_average_before": round(load_average(), 2),
        "python_ms": python_ms(),
        "fsync_ms": fsync_ms(directory),
        "loopback_us": loopback_us(),
    }


def warnings(found: dict[str, Any]) -> list[str]:
    """Reasons to mistrust the figures of such a machine."""
    said = []
    if found["load_average_before"] > 0.3:
        said.append(
            f"the machine was not quiet before the run (load {found['load_average_before']}): "
            "rates and lateness are too bad, CPU per fire is about right"
        )
    if found["fsync_ms"]["p50"] < 0.02:
        said.append("an fsync costs nothing here (memory disk?): commits are cheaper than on a real disk")
    if "uvloop –" in found["packages"]:
        said.append("uvloop is not installed: the gateway runs on asyncio's own loop")
    return said


def python_ms(rounds: int = 20) -> dict[str, float | None]:
    """Counting to a million: what the processor gives one thread of Python today. Virtual ones differ by the hour."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        number = 0
        while number < 1_000_000:
            number += 1
        taken.append((time.perf_counter() - started) * 1000)
    return distribution(taken, 1)


def fsync_ms(directory: Path, rounds: int = 300) -> dict[str, float | None]:
    """Appending 4 KiB and flushing it, as a commit does."""
    path = directory / "fsync"
    block, taken = b"x" * 4096, []
    with path.open("wb", buffering=0) as file:
        for _ in range(rounds):
            started = time.perf_counter()
            file.write(block)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - started) * 1000)
    path.unlink()
    return distribution(taken)


def loopback_us(rounds: int = 3000) -> dict[str, float | None]:
    """One byte there and back over TCP, to a process of its own."""
    server = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        peer = server.accept()[0]
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := peer.recv(64):
            peer.sendall(data)
        os._exit(0)
    taken = []
    with server, socket.create_connection(server.getsockname()) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            started = time.perf_counter()
            client.sendall(b"x")
            client.recv(64)
            taken.append((time.perf_counter() - started) * 1e6)
    os.waitpid(child, 0)
    return distribution(taken, 1)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "–"


def _mariadb_version() -> str:
    program = find_program("mariadbd")
    if program is None:
        raise FileNotFoundError("mariadbd: install it, or use --database sqlite")
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _sqlite_version() -> str:
    import sqlite3

    return f"SQLite {sqlite3.sqlite_version} (WAL, synchronous=FULL)"

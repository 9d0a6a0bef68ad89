"""Where the gateway's time goes at a steady rate: the cost of a fire by part, the dearest functions, a flame graph.

    python tests/bench/costs.py [--rate 8000] [--seconds 15] [--results] [--second] [--database mariadb|sqlite]
                                  [--stacks FILE] [--flame FILE.svg]

Wants py-spy (`pip install py-spy`), which looks at the running gateway from outside, and the right to do that (root, or
kernel.yama.ptrace_scope 0). The rate is the suite's `steady`; nothing is judged, and the profiler stops the gateway for a
moment each time, so that rates which are just held without it are not held here. The samples tell the shares; what
they are shares of is the CPU time that the kernel has counted. A part is the module of ours whose function is
innermost; what the event loop, the driver or the HTTP server do on nobody's behalf is a part by itself.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from scenarios_fires import WARM_S
from stage import Bench, Stage, sleep_until_ms

from tests.e2e.gateway_process import REPOSITORY

SAMPLES_A_SECOND = 200
OURS = re.compile(r"/((?:gateway|compat)/[^:]*)\.py")
PY_SPY = shutil.which("py-spy", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))


def main() -> int:
    arguments = parse()
    if PY_SPY is None:
        print("there is no py-spy here: pip install py-spy", file=sys.stderr)
        return 2
    directory = Path(tempfile.mkdtemp(prefix="costs-", dir=arguments.directory))
    try:
        with (
            closing(Bench(directory, mariadb=arguments.database == "mariadb")) as bench,
            bench.stage() as stage,
        ):
            stage.open("batch" if arguments.results else "none")
            jobs = stage.begin(stage.create_jobs(arguments.rate, spread=not arguments.second))
            sleep_until_ms(jobs.start_ms + WARM_S * 1000)
            before = stage.usage()
            stacks = record(stage, arguments.seconds)
            cores = stage.usage().since(before)
            if arguments.flame is not None:
                flame(stage, arguments.seconds, arguments.flame)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if arguments.stacks is not None:
        arguments.stacks.write_text("\n".join(stacks) + "\n")
    print(
        f"{arguments.rate:,} fires/s, {arguments.seconds} s; cores {cores} (py-spy's own are not among them)\n"
    )
    for line in report(stacks, cores.gateway / arguments.rate * 1e6):
        print(line)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Where the gateway's time goes at a steady rate.")
    parser.add_argument("--rate", type=int, default=8000, help="fires a second")
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--results", action="store_true", help="executors report results, 20 a call")
    parser.add_argument("--second", action="store_true", help="all on the second instead of spread")
    parser.add_argument("--database", choices=("mariadb", "sqlite"), default="mariadb")
    parser.add_argument("--directory", help="where databases are, on a real disk")
    parser.add_argument("--stacks", type=Path, help="keep the collapsed stacks")
    parser.add_argument("--flame", type=Path, help="draw a flame graph, in a second window")
    return parser.parse_args()


def record(stage: Stage, seconds: int) -> list[str]:
    """Collapsed stacks of the gateway's busy moments: frames from outermost to innermost, and a number."""
    path = stage.directory / "stacks"
    _py_spy(stage, seconds, "raw", path)
    return path.read_text().splitlines()


def flame(stage: Stage, seconds: int, path: Path) -> None:
    _py_spy(stage, seconds, "flamegraph", path)


def _py_spy(stage: Stage, seconds: int, kind: str, path: Path) -> None:
    assert PY_SPY is not None
    command = [PY_SPY, "record", "--pid", str(stage.gateway.process.pid), "--duration", str(seconds)]
    command += ["--rate", str(SAMPLES_A_SECOND), "--format", kind, "--output", str(path), "--full-filenames"]
    # Only moments that hold Python's lock: a process that is stopped while it waits for events looks busy.
    done = subprocess.run([*command, "--gil"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"py-spy: {done.stderr[-500:]}")


def report(stacks: list[str], micros: float) -> Iterator[str]:
    """`micros`: CPU of the gateway for one fire, which is divided as the samples are."""
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        names = frames.split(";")
        parts[part_of(names)] += int(count)
        functions[_short(names[-1])] += int(count)
    total = sum(parts.values())
    yield f"{micros:.1f} µs of the gateway a fire, {total:,} samples"
    yield from ("", "| part | share | µs a fire |", "| --- | --- | --- |")
    for name, count in parts.most_common(20):
        yield f"| {name} | {count / total:.1%} | {micros * count / total:.1f} |"
    yield from ("", "| function, by its own time | share | µs a fire |", "| --- | --- | --- |")
    for name, count in functions.most_common(25):
        yield f"| {name} | {count / total:.1%} | {micros * count / total:.1f} |"


def part_of(frames: list[str]) -> str:
    """The module of the gateway that is innermost, or else the library that is."""
    for frame in reversed(frames):
        mine = OURS.search(frame)
        if mine is not None and "site-packages" not in frame:
            return mine[1]
    for frame in reversed(frames):
        if "site-packages/" in frame:
            return frame.partition("site-packages/")[2].partition("/")[0] + " for nobody"
    return "event loop"


def _short(frame: str) -> str:
    name, _, place = frame.partition(" (")
    for root in ("site-packages/", f"python{sys.version_info[0]}.{sys.version_info[1]}/", f"{REPOSITORY}/"):
        place = place.rpartition(root)[2]
    return f"`{name}` {place.rstrip(')')}"


if __name__ == "__main__":
    sys.exit(main())

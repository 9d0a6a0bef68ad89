"""Faults on real processes: three nodes, a MariaDB, five executors; what was due against what was executed.

    python tests/faults/suite.py [--only NAME...] [--short] [--keep] [--seconds N] [--json FILE]

Each scenario has a fresh database. Progress and details go to standard error, the table to standard output.
The exit code is 1 when a promise is broken. docs/reliability.md has the results.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the repository: this file is started by its path

from tests.faults import scenarios
from tests.faults.stage import Bench, Line, play, say, table


def main() -> int:
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    chosen = scenarios.chosen(arguments.only)
    if arguments.nodes:
        chosen = [replace(one, plan=replace(one.plan, nodes=arguments.nodes)) for one in chosen]
    if arguments.list:
        for scenario in chosen:
            print(f"{scenario.name}: {scenario.shows}")
        return 0
    directory = Path(tempfile.mkdtemp(prefix="faults-", dir=arguments.directory))
    lines: list[Line] = []
    try:
        with closing(Bench(directory, keep=arguments.keep)) as bench:
            for scenario in chosen:
                say(f"{scenario.name}: {scenario.shows}")
                line = play(bench, scenario, short=arguments.short, hold_s=arguments.seconds)
                lines.append(line)
                report(line)
    finally:
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
        print(table(lines))
        if arguments.json:
            Path(arguments.json).write_text(
                json.dumps([line.as_json() for line in lines], indent=1, ensure_ascii=False, default=str)
                + "\n"
            )
    return 1 if any(line.wrong for line in lines) else 0


def report(line: Line) -> None:
    say(f"{line.name}: {line.word} ({line.seconds:.0f} s)")
    for note in line.notes:
        say(f"    {note}")
    if line.verdict is not None:
        for what, texts in line.verdict.examples.items():
            for text in texts:
                say(f"    {what}: {text[:400]}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="scenarios whose names contain one of these"
    )
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--short", action="store_true", help="faults that last a few seconds only")
    parser.add_argument("--seconds", type=float, help="how long each fault lasts, instead of its own time")
    parser.add_argument("--nodes", type=int, help="how many, instead of the scenario's own number")
    parser.add_argument("--keep", action="store_true", help="keep the logs and the files of executors")
    parser.add_argument(
        "--directory", help="where everything will be; the system's temporary directory if left out"
    )
    parser.add_argument("--json", metavar="FILE", help="also all details")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

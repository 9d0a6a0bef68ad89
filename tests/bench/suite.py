"""Every figure that one node can show, in one table.

    python tests/bench/suite.py [--database mariadb|sqlite] [--only NAME…] [--seconds N] [--json FILE]

Starts all it needs itself: a private MariaDB with durable commits, the gateway (`python -m gateway serve`), a
fleet of executors, load generators; each scenario on a fresh database. Progress goes to standard error, the
table to standard output. docs/performance.md says what each scenario does. The exit code is 1 if something
that was asked for is not reached.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import machine
import scenarios_calls
import scenarios_fires
import scenarios_life
from figures import Figure, failed, table
from scenarios_fires import Options
from stage import Bench

Scenario = Callable[[Bench, Options], Iterator[Figure]]
SCENARIOS: dict[str, Scenario] = {
    "steady": scenarios_fires.steady,
    "lateness": scenarios_fires.lateness,
    "bursts": scenarios_fires.bursts,
    "results": scenarios_calls.results,
    "triggers": scenarios_calls.triggers,
    "cost": scenarios_fires.cost,
    "crash": scenarios_life.crash,
    "start": scenarios_life.start,
    "beats": scenarios_calls.beats,
}
RATES = (1000, 8000, 10000, 12000, 15000)
RATES_RESULTS = (1000, 5000, 8000, 10000, 12000)


def run_scenario(name: str, bench: Bench, options: Options) -> list[Figure]:
    """Its lines; what broke on the way is one of them."""
    found: list[Figure] = []
    try:
        found.extend(SCENARIOS[name](bench, options))
    except Exception as error:
        traceback.print_exc()
        found.append(failed(name, error))
    return found


def main() -> int:
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=arguments.directory))
    started = time.monotonic()
    options = Options(
        seconds=arguments.seconds,
        rates=tuple(arguments.rates or RATES),
        rates_results=tuple(arguments.rates or RATES_RESULTS),
        every_s=arguments.every,
        say=lambda text: print(f"{time.monotonic() - started:6.0f} s  {text}", file=sys.stderr, flush=True),
    )
    is_mariadb = arguments.database == "mariadb"
    try:
        limits = machine.limits(directory, mariadb=is_mariadb)
        figures: list[Figure] = []
        with closing(Bench(directory, mariadb=is_mariadb)) as bench:
            for name in arguments.only or SCENARIOS:
                figures += run_scenario(name, bench, options)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    warnings = machine.warnings(limits)
    print(report(limits, warnings, figures))
    if arguments.json:
        known = {
            "machine": limits,
            "warnings": warnings,
            "options": {name: value for name, value in vars(arguments).items() if name != "json"},
            "figures": [figure.as_json() for figure in figures],
        }
        Path(arguments.json).write_text(json.dumps(known, indent=1, ensure_ascii=False, default=str) + "\n")
    return 1 if any(figure.verdict.startswith("NOT REACHED") for figure in figures) else 0


def report(limits: dict[str, Any], warnings: list[str], figures: list[Figure]) -> str:
    lines = [table(figures), "", "The machine:", ""]
    lines += [f"- {name.replace('_', ' ')}: {_shown(value)}" for name, value in limits.items()]
    lines += [f"- **mind**: {warning}" for warning in warnings]
    lines.append("- not shown here: two nodes, one killed (this version runs one)")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return str(value)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--database", choices=("mariadb", "sqlite"), default="mariadb")
    add("--only", nargs="+", choices=tuple(SCENARIOS), metavar="NAME", help=", ".join(SCENARIOS))
    add("--seconds", type=int, default=20, help="length of a measured window")
    add("--rates", nargs="+", type=int, help="fires/s that `steady` climbs, instead of its own")
    add("--every", type=int, default=1, help="seconds between two fires of a job where fires are spread")
    add("--directory", help="where the databases will be; the system's temporary directory if left out")
    add("--json", metavar="FILE", help="also all details")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

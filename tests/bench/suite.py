"""Every figure the gateway can show, in one table.

    python tests/bench/suite.py [--database mariadb|sqlite] [--only NAME…] [--seconds N] [--json FILE]
                                [--nodes N] [--workers N]

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
import scenarios_nodes
import scenarios_size
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
    "batches": scenarios_calls.batches,
    "cost": scenarios_fires.cost,
    "crash": scenarios_life.crash,
    "restart": scenarios_life.restart,
    "failover": scenarios_nodes.failover,
    "start": scenarios_life.start,
    "idle": scenarios_size.idle,
    "scaling": scenarios_size.scaling,
    "history": scenarios_size.history,
    "registry": scenarios_calls.registry,
}
NOT_BY_ITSELF: dict[str, Scenario] = {"workers": scenarios_nodes.workers}  # it repeats what others measure
ALL = SCENARIOS | NOT_BY_ITSELF
RATES = (1000, 8000, 10000, 12000, 15000)
RATES_RESULTS = (1000, 5000, 8000, 10000, 12000)
COST_RATES = (200, 8000)
HISTORY_ROWS = 10_000_000


def run_scenario(name: str, bench: Bench, options: Options) -> list[Figure]:
    """Its lines; what broke on the way is one of them."""
    found: list[Figure] = []
    try:
        found.extend(ALL[name](bench, options))
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
        cost_rates=tuple(arguments.cost_rates),
        history_rows=arguments.history_rows,
        say=lambda text: print(f"{time.monotonic() - started:6.0f} s  {text}", file=sys.stderr, flush=True),
    )
    is_mariadb = arguments.database == "mariadb"
    try:
        limits = machine.limits(directory, mariadb=is_mariadb)
        figures: list[Figure] = []
        bench = Bench(directory, mariadb=is_mariadb, nodes=arguments.nodes, workers=arguments.workers)
        with closing(bench):
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
    add("--only", nargs="+", choices=tuple(ALL), metavar="NAME", help=", ".join(ALL))
    add("--seconds", type=int, default=20, help="length of a measured window")
    add("--rates", nargs="+", type=int, help="fires/s that `steady` climbs, instead of its own")
    add("--cost-rates", nargs="+", type=int, default=COST_RATES, help="fires/s, spread, of `cost`")
    add("--history-rows", type=int, default=HISTORY_ROWS, help="finished runs of `history`")
    add("--nodes", type=int, default=1, help="gateways on one database, the load spread over them")
    add("--workers", type=int, default=1, help="processes of each gateway that share its port")
    add("--every", type=int, default=1, help="seconds between two fires of a job where fires are spread")
    add("--directory", help="where the databases will be; the system's temporary directory if left out")
    add("--json", metavar="FILE", help="also all details")
    found = parser.parse_args()
    if found.database == "sqlite" and (found.nodes, found.workers) != (1, 1):
        parser.error("--database sqlite takes one node and one worker")
    return found


if __name__ == "__main__":
    sys.exit(main())

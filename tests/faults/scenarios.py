"""All scenarios, in the order they are run."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults import (
    scenarios_clocks,
    scenarios_database,
    scenarios_executors,
    scenarios_galera,
    scenarios_network,
    scenarios_nodes,
)
from tests.faults.stage import Scenario

ALL: list[Scenario] = [
    *scenarios_nodes.SCENARIOS,
    *scenarios_network.SCENARIOS,
    *scenarios_database.SCENARIOS,
    *scenarios_executors.SCENARIOS,
    *scenarios_clocks.SCENARIOS,
    *scenarios_galera.SCENARIOS,
]


def chosen(names: Sequence[str] | None) -> list[Scenario]:
    """Those whose name contains one of these texts; all without any. ValueError for a text that fits none."""
    for name in names or ():
        if not any(name.lower() in scenario.name.lower() for scenario in ALL):
            raise ValueError(f"no scenario is called {name!r}; --list says which there are")
    return [
        scenario
        for scenario in ALL
        if not names or any(name.lower() in scenario.name.lower() for name in names)
    ]


def named(name: str) -> Scenario:
    (found,) = (scenario for scenario in ALL if scenario.name == name)
    return found

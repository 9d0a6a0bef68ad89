"""Plays one seed and judges it; what happened is printed when it failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from tests.kit.virtual_loop import Process
from tests.simulation.oracle import Oracle
from tests.simulation.proof import judge_proof
from tests.simulation.simulation import Simulation


async def play(seed: int, directory: Path) -> Simulation:
    simulation = Simulation(seed, directory)
    before = structlog.get_config()
    structlog.configure(
        processors=[lambda _logger, _method, event: _noted(simulation, event)],
        cache_logger_on_first_use=False,
    )
    try:
        await simulation.play()
        await Oracle(simulation).judge()
        await judge_proof(simulation)
    except BaseException:
        print(f"seed {seed}")
        print("\n".join(simulation.story))
        raise
    finally:
        structlog.configure(**before)
        await simulation.world.close()
    return simulation


def _noted(simulation: Simulation, event: dict[str, Any]) -> Any:
    words = " ".join(f"{name}={value}" for name, value in event.items() if name not in ("event", "exc_info"))
    process = Process.current()
    simulation.note(f"  {process.name if process else '-'}: {event['event']} {words}")
    raise structlog.DropEvent

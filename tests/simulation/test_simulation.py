"""Many small lives of one to three nodes under random faults.

A failure names its seed: `SIMULATION_SEEDS=17 pytest tests/simulation` plays that one again, `SIMULATION_SEEDS=0-2000`
a long night.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.simulation.play import play

FIRST, LAST = 0, 199


def _seeds() -> list[int]:
    text = os.environ.get("SIMULATION_SEEDS", f"{FIRST}-{LAST}")
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.parametrize("seed", _seeds())
async def test_promises_hold(seed: int, tmp_path: Path) -> None:
    await play(seed, tmp_path)

"""Envs: named values beside a run's params. Executors get both as one JSON parameter, `{"params": …, "Envs": […]}`."""

from __future__ import annotations

import json
from collections.abc import Iterable

Envs = tuple[tuple[str, str], ...]

MOST = 100
NAME = r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$"
MAX_VALUE = 4096
MAX_TOTAL = 60_000


def merged(own: Envs, override: Iterable[tuple[str, str]]) -> Envs:
    """A name given again has the later value, in its own place; new names follow."""
    found = dict(own)
    found.update(override)
    return tuple(found.items())


def with_envs(params: str, envs: Envs) -> str:
    """The parameter that an executor gets: the params as they are where there are no envs."""
    if not envs:
        return params
    named = [{"name": name, "value": value} for name, value in envs]
    return json.dumps({"params": params, "Envs": named}, ensure_ascii=False, separators=(",", ":"))

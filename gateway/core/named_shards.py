"""Shards that a job names itself, however many executors there are."""

from __future__ import annotations

from dataclasses import dataclass

MOST = 1000


@dataclass(frozen=True, slots=True)
class NamedShard:
    """`params` None means those of the run, or of the job."""

    name: str
    params: str | None = None

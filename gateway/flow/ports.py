"""What one stage offers to others; `loops` passes the real ones in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.core.ending import End

OnEnded = Callable[[frozenset[int] | Exception], None]


class Finisher(Protocol):
    """Where attempts end; see `complete`."""

    def finish(self, ends: Sequence[End], on_written: OnEnded) -> None: ...

    async def prepare(self, job_ids: Iterable[int]) -> None: ...

    async def close_parent(self, job_id: int, slot_key: int) -> None: ...

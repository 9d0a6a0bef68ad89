"""Several writers as one: transactions side by side, for work that does not wait for another's commit."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.ports import LazySource, OnWritten, Work, Written
from gateway.store.writer import GroupWriter


class Lanes:
    """Implements `core.ports.Writer`. Each work goes to the writer with the least to do."""

    def __init__(self, writers: Sequence[GroupWriter]) -> None:
        self._writers = tuple(writers)

    @property
    def healthy(self) -> bool:
        return all(writer.healthy for writer in self._writers)

    def submit(self, work: Work, on_written: OnWritten) -> None:
        self._least().submit(work, on_written)

    def add_lazy(self, source: LazySource) -> None:
        self._writers[0].add_lazy(source)

    async def write(self, work: Work) -> Written:
        return await self._least().write(work)

    def _least(self) -> GroupWriter:
        return min(self._writers, key=lambda writer: writer.backlog)

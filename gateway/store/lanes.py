"""Several writers as one: transactions side by side, for work that does not wait for another's commit."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.ports import LazySource, OnWritten
from gateway.core.work import Work, Written
from gateway.store.writer import GroupWriter

FULL = 160  # rows


class Lanes:
    """Implements `core.ports.Writer`. The first writer whose next transaction is not full gets a work.

    So at a low rate one of them does all, in few commits, and a high rate keeps all of them busy.
    """

    def __init__(self, writers: Sequence[GroupWriter]) -> None:
        self._writers = tuple(writers)

    @property
    def healthy(self) -> bool:
        return all(writer.healthy for writer in self._writers)

    @property
    def renewed_at(self) -> float:
        return max(writer.renewed_at for writer in self._writers)

    def submit(self, work: Work, on_written: OnWritten) -> None:
        self._open().submit(work, on_written)

    def add_lazy(self, source: LazySource) -> None:
        self._writers[0].add_lazy(source)

    async def write(self, work: Work) -> Written:
        return await self._open().write(work)

    def _open(self) -> GroupWriter:
        for writer in self._writers:
            if writer.backlog < FULL:
                return writer
        return min(self._writers, key=lambda writer: writer.backlog)

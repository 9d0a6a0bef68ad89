"""Group commit: one transaction for all that waits when the previous one is done.

Stages submit `Work`; the writer merges what has come into one transaction. The usual case is optimistic:
guarded updates whose number of matched rows must equal the number of moves. When one does not match, the
transaction is rolled back and repeated carefully: rows are locked and read first, and every guard is judged
one by one. The careful form is also the one that follows a commit whose outcome is unknown, because it
recognises what has already been applied.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import structlog

from gateway.core.clock import Clock
from gateway.core.errors import LeaseLost, StoreError
from gateway.core.model import Counters
from gateway.core.ports import LazySource, OnWritten
from gateway.core.work import Work, Written
from gateway.store.engine import Database, is_conflict, is_gone, is_refused, is_repeatable
from gateway.store.transaction import GuardMissedError, Merged, Transaction, open_cursor

log = structlog.get_logger(__name__)

LAZY_S = 0.2
MAX_ROWS = 2000
FLUSH_TIMEOUT_S = 10.0
_ATTEMPTS = 3
_BACKOFF_S = (0.05, 0.2, 0.5, 1.0)


class _RefusedError(Exception):
    """The database will never take this."""


class GroupWriter:
    """Implements `core.ports.Writer` on a database. `run` is the loop; nothing is written before it starts.

    `renews=False` holds the parts of its work instead of raising the node's beat: for a second writer beside one
    that claims, which must not wait for the node's row while the other's transaction lasts. `renewed_at` is the
    monotonic instant of the last renewal that was committed.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        counters: Counters,
        *,
        renews: bool = True,
        chance: random.Random | None = None,
    ) -> None:
        self._db = db
        self._renews = renews
        self._clock = clock
        self._counters = counters
        self._waiting: list[tuple[Work, OnWritten]] = []
        self._lazy: list[LazySource] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._rows = 0
        self._chance = chance or random.Random()  # noqa: S311 – jitter
        self.healthy = True
        self.renewed_at = float("-inf")

    # ------------------------------------------------------------ port

    def submit(self, work: Work, on_written: OnWritten) -> None:
        self._waiting.append((work, on_written))
        self._rows += _size(work)
        self._idle.clear()
        self._arrived.set()

    def add_lazy(self, source: LazySource) -> None:
        self._lazy.append(source)

    async def write(self, work: Work) -> Written:
        done: asyncio.Future[Written] = asyncio.get_running_loop().create_future()

        def on_written(result: Written | Exception) -> None:
            if done.done():
                return
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)

        self.submit(work, on_written)
        return await done

    async def drain(self) -> None:
        """Return when everything submitted so far, and what lazy sources hold, has been written."""
        self.submit(Work(), _ignore)
        await self._idle.wait()

    @property
    def backlog(self) -> int:
        """Rows that wait for the next transaction."""
        return self._rows

    # ------------------------------------------------------------ loop

    async def run(self) -> None:
        while True:
            await self._clock.wait(self._arrived, LAZY_S)
            works = self._take()
            if works:
                await self._flush(works)
            if not self._waiting:
                self._idle.set()

    def _take(self) -> list[tuple[Work, OnWritten]]:
        works: list[tuple[Work, OnWritten]] = []
        for source in self._lazy:
            work = source()
            if work is not None:
                works.append((work, _ignore))
        rows = 0
        taken = 0
        for work, _ in self._waiting:
            size = _size(work)
            if taken and rows + size > MAX_ROWS:
                break
            rows += size
            taken += 1
        self._rows -= rows
        works += self._waiting[:taken]
        self._waiting = self._waiting[taken:]
        if not self._waiting:
            self._arrived.clear()
        return works

    async def _flush(self, works: Sequence[tuple[Work, OnWritten]]) -> None:
        works = self._under_one_lease(works)
        if not works:
            return
        merged = Merged.of(work for work, _ in works)
        try:
            result: Written | Exception = await self._commit(merged)
            if merged.lease is not None and self._renews:
                self.renewed_at = self._clock.monotonic()
        except LeaseLost as error:
            with_lease = [item for item in works if item[0].lease is not None]
            without = [item for item in works if item[0].lease is None]
            for _, on_written in with_lease:
                on_written(error)
            if without:
                await self._flush(without)
            return
        except _RefusedError as error:
            if len(works) > 1:
                # One bad row must not take its neighbours with it.
                middle = len(works) // 2
                await self._flush(works[:middle])
                await self._flush(works[middle:])
                return
            log.error("write_refused", error=str(error)[:300])
            result = StoreError(f"the database refuses this: {error}"[:500])
        for work, on_written in works:
            try:
                on_written(result.of(work) if isinstance(result, Written) else result)
            except Exception:
                log.exception("after_write_failed")

    @staticmethod
    def _under_one_lease(works: Sequence[tuple[Work, OnWritten]]) -> Sequence[tuple[Work, OnWritten]]:
        """Without those that were submitted under an earlier lease than the others: it is over."""
        epochs = {work.lease.epoch for work, _ in works if work.lease is not None}
        if len(epochs) < 2:
            return works
        newest = max(epochs)
        kept: list[tuple[Work, OnWritten]] = []
        for work, on_written in works:
            if work.lease is None or work.lease.epoch == newest:
                kept.append((work, on_written))
            else:
                on_written(LeaseLost())
        return kept

    async def _commit(self, merged: Merged) -> Written:
        """Write until it is written. Only refused data and a lost lease get out."""
        careful = False
        unknown = False
        failures = 0
        repeats = 0
        odd = 0
        while True:
            try:
                async with asyncio.timeout(FLUSH_TIMEOUT_S), self._db.write() as conn:
                    tx = Transaction(
                        self._db,
                        await open_cursor(conn),
                        self._counters,
                        self._clock.now_ms(),
                        renews=self._renews,
                    )
                    written = await (
                        tx.carefully(merged, applied_before=unknown) if careful else tx.hopefully(merged)
                    )
            except GuardMissedError:
                careful = True
                self._counters.add("writes_repeated_carefully")
            except LeaseLost:
                raise
            except Exception as error:
                if is_conflict(error) and not careful:
                    careful = True
                    continue
                if is_conflict(error) or is_refused(error):
                    raise _RefusedError(str(error)) from error
                if is_repeatable(error):
                    repeats += 1
                    self._counters.add("transactions_repeated")
                    if repeats > _ATTEMPTS:
                        self.healthy = False
                        log.warning("transaction_keeps_failing", error=str(error)[:200])
                    await self._clock.sleep(self._chance.uniform(0.005, 0.03) * repeats)
                    continue
                if not is_gone(error):
                    log.error("write_failed", error=repr(error)[:300])
                    odd += 1
                    if odd > _ATTEMPTS:  # whatever it is, one work must not stop all others for ever
                        raise _RefusedError(repr(error)[:300]) from error
                careful = unknown = True
                if self.healthy:
                    log.warning("database_unavailable", error=str(error)[:200])
                self.healthy = False
                await self._clock.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
            else:
                if not self.healthy:
                    log.info("database_available_again")
                self.healthy = True
                self._counters.add("commits")
                return written


def _size(work: Work) -> int:
    return len(work.fires) + len(work.inserts) + len(work.moves)


def _ignore(_result: Written | Exception) -> None:
    """What became of work that nobody waits for."""

"""Access: who came with which token, as far as it takes a look at runs or a line for people.

In: access tokens of the database, results with the reach of their caller. Out: the tokens in memory, the results that count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from gateway.core.access import AccessCatalog, AccessTokens, Reach
from gateway.core.context import Context
from gateway.core.errors import GatewayError, Refused
from gateway.core.events import Level, Source
from gateway.core.model import ExecutorResult

log = structlog.get_logger(__name__)

LOOK_S = 0.2  # of the time that an executor waits
LOOKED_AT_ONCE = 500
Report = Callable[[Sequence[ExecutorResult], str], Awaitable[bool]]


class _TooManyError(Exception):
    """So many runs are unknown that the database needs too long to find their apps."""


class Doorkeeper:
    """Without a `catalog` there are no tokens but the setting's."""

    def __init__(
        self, context: Context, tokens: AccessTokens | None = None, catalog: AccessCatalog | None = None
    ) -> None:
        self._context = context
        self._tokens = tokens or AccessTokens((), context.registry, context.clock.now_ms)
        self._catalog = catalog
        self._tokens.on_refused = self._refused

    async def load(self) -> None:
        """All tokens, as they are now."""
        if self._catalog is not None:
            self._tokens.set_all(await self._catalog.all_access_tokens())

    async def report(
        self, results: Sequence[ExecutorResult], client: str, reach: Reach, report: Report
    ) -> bool:
        """Report those that this caller may. Raises `Refused` if there are others, which it is to send again.

        A run that nobody knows, or that cannot be looked up now, is anybody's: a result is never lost for want of a database.
        But who sends very many, and so makes the look-up slow, sends them again.
        """
        try:
            apps = await self._apps_of({result.run_id for result in results})
        except _TooManyError:
            return False
        within = [
            result
            for result in results
            if (app_id := apps.get(result.run_id)) is None or reach.covers(app_id)
        ]
        durable = not within or await report(within, client)
        if len(within) == len(results):
            return durable
        beyond = next(result.run_id for result in results if result not in within)
        app = self._context.registry.app(apps[beyond])
        why = f"run {beyond} is of an app that does not accept this access token"
        self._refused(app.appname if app else "", "", why)
        raise Refused(why)

    async def _apps_of(self, run_ids: set[int]) -> dict[int, int]:
        flights = self._context.flights
        found = {
            run_id: flight.seed.app_id for run_id in run_ids if (flight := flights.get(run_id)) is not None
        }
        unknown = sorted(run_ids - found.keys())
        for start in range(0, len(unknown), LOOKED_AT_ONCE):
            if not self._context.writer.healthy:
                break
            try:
                async with asyncio.timeout(LOOK_S):
                    runs = await self._context.runs.get_many(unknown[start : start + LOOKED_AT_ONCE])
            except (GatewayError, TimeoutError) as error:
                log.warning("runs_not_looked_up", count=len(unknown) - start, error=str(error)[:200])
                if len(unknown) > LOOKED_AT_ONCE and self._context.writer.healthy:
                    raise _TooManyError from None
                break
            found |= {run.id: run.app_id for run in runs.values()}
        return found

    def _refused(self, appname: str, peer: str, why: str) -> None:
        """An event, of the app where it is known: names that callers make up must not become sources."""
        source, source_id = (Source.APP, appname) if appname else (Source.SYSTEM, "executors")
        text = f"from {peer}: {why}" if peer else why
        self._context.journal.note(
            self._context.clock.now_ms(), Level.WARN, source, source_id, "token_refused", text
        )

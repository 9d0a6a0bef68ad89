"""The steps of an import between two databases: read, look, apply, copy. What is said between them is the command's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.app.database import wrong_schema
from gateway.app.target import looking_at, refuse_if_running, refuse_if_unwritable, working_on
from gateway.core.clock import SystemClock
from gateway.core.errors import Refused
from gateway.settings import Settings
from gateway.store.engine import database_url
from importer.apply import Applied, apply_plan, read_target
from importer.history import import_days, import_logs
from importer.plan.target import Target
from importer.plan.values import Plan
from importer.report.copied import copied_days, copied_logs
from importer.report.values import Copied
from importer.source.source import SourceOptions, open_source
from importer.source.url import SourceUrl
from importer.source.values import Installation

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there and here before anything is written. `missing`: what becomes of a target that is not there yet."""

    installation: Installation
    target: Target
    exists: bool = True
    missing: str = ""


class Move:
    """Between one source and one target. Each call opens what it needs and closes it again."""

    def __init__(self, url: SourceUrl, options: SourceOptions, settings: Settings, name: str) -> None:
        self._url = url
        self._options = options
        self._settings = settings
        self._name = name
        self._clock = SystemClock()

    def now_ms(self) -> int:
        return self._clock.wall_ms()

    async def see(self, *, to_write: bool) -> Seen:
        """Nothing is written, made or upgraded. `to_write`: refuse a target that could not be written now."""
        if to_write:
            refuse_if_running(self._settings)
            if self._settings.database_url is None:
                refuse_if_unwritable(self._settings)
        target, exists = await self.look()
        is_made = database_url(self._settings.effective_database_url).get_backend_name() == "sqlite"
        if to_write and not (exists or is_made):
            raise Refused(wrong_schema(None, None) or "")
        missing = "which the import makes" if is_made else "still empty: run `xxljob-gateway migrate` first"
        async with open_source(self._url, self._options) as source:
            return Seen(await source.installation(), target, exists, missing)

    async def look(self) -> tuple[Target, bool]:
        async with looking_at(self._settings) as db:
            return (Target(), False) if db is None else (await read_target(db, self._clock, self._name), True)

    async def apply(self, plan: Plan, installation: Installation, progress: Progress) -> Applied:
        async with working_on(self._settings) as db:
            return await apply_plan(db, self._clock, plan, release=installation.release, progress=progress)

    async def copy(
        self, plan: Plan, installation: Installation, log_days: int, *, daily: bool, progress: Progress
    ) -> tuple[Copied, Copied]:
        """The newest days of the log, and the daily report. A call that ends in the middle is gone on with by the next."""
        logs, days = Copied(), Copied()
        async with working_on(self._settings) as db, open_source(self._url, self._options) as source:
            if log_days:
                found = await import_logs(
                    source,
                    db,
                    self._clock,
                    plan,
                    days=log_days,
                    jobs=installation.jobs,
                    retention_days=self._settings.retention_days,
                    progress=progress,
                )
                logs = copied_logs(found, log_days, source.unread)
            if daily:
                days = copied_days(await import_days(source, db, self._clock, plan), source.unread)
        return logs, days

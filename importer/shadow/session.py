"""One shadow from its options to its report: the source is opened, watched or looked back on, and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.clock import Clock
from gateway.core.errors import InvalidValue
from gateway.core.moments import parse_moment
from importer.errors import SourceError
from importer.plan.around import Around
from importer.plan.notes import Notes
from importer.plan.zones import ChosenZone, choose_zone
from importer.shadow.follow import Follower, Pace, look_back
from importer.shadow.reading import Reader
from importer.shadow.report import About, report_of
from importer.shadow.watch import Watch
from importer.source.source import Source, SourceOptions, open_source
from importer.source.url import SourceUrl
from importer.source.values import Installation, SourceJob


@dataclass(frozen=True, slots=True)
class ShadowOptions:
    """`start` and `end`: of a past range, as people write instants. `release`: the old admin's, where it is known.

    `name`: what the report calls the source, instead of its own name.
    """

    pace: Pace
    timezone: str | None = None
    release: tuple[int, ...] | None = None
    only: frozenset[int] = frozenset()
    start: str | None = None
    end: str | None = None
    name: str = ""


Told = Callable[[Callable[[], Mapping[str, Any]]], None]


class Shadow:
    """`tell` is called after each look, with what makes the report of that moment."""

    def __init__(
        self, url: SourceUrl, source: SourceOptions, options: ShadowOptions, clock: Clock, tell: Told
    ) -> None:
        self._url = url
        self._source_options = source
        self._options = options
        self._clock = clock
        self._tell = tell
        self.found: Mapping[str, Any] | None = None

    async def run(self, stopped: asyncio.Event) -> None:
        """`found` is the report, also when this raises `SourceError`: as long as there was a first look."""
        async with open_source(self._url, self._source_options) as source:
            about, reader, now_ms = await self._prepare(source)
            if self._options.start is not None:
                start_ms, end_ms = self._range(reader, now_ms)
                reader.around = _from(reader.around, start_ms)
                await self._look_back(source, reader, about, start_ms, end_ms, stopped)
            else:
                await self._follow(source, reader, about, stopped)

    async def _look_back(
        self,
        source: Source,
        reader: Reader,
        about: About,
        start_ms: int,
        end_ms: int | None,
        stopped: asyncio.Event,
    ) -> None:
        notes: list[str] = []
        seen: list[Watch] = []

        def tell(watch: Watch) -> None:
            seen[:] = [watch]
            self._tell(lambda: report_of(watch, _noted(about, notes)))

        settle_ms, only = self._options.pace.settle_ms, self._options.only
        try:
            await look_back(source, reader, start_ms, end_ms, settle_ms, only, stopped, tell, notes)
        finally:
            if seen:
                self.found = report_of(seen[0], _noted(about, notes))

    async def _follow(self, source: Source, reader: Reader, about: About, stopped: asyncio.Event) -> None:
        follower = Follower(source, reader, self._clock, self._options.pace, self._options.only)

        def tell(watch: Watch) -> None:
            self._tell(lambda: report_of(watch, _noted(about, follower.notes)))

        try:
            await follower.run(stopped, tell)
        finally:
            if follower.watch is not None:
                self.found = report_of(follower.watch, _noted(about, follower.notes))

    async def _prepare(self, source: Source) -> tuple[About, Reader, int]:
        moment = await source.moment()
        ids = [sign.job_id for sign in moment.signs]
        unknown = sorted(self._options.only.difference(ids))
        if unknown:
            raise InvalidValue("--job", unknown[0], f"the id of a job in {source.name}")
        jobs = await source.schedules(ids)
        notes = Notes("source")
        chosen = self._zone(source, jobs, notes)
        release = self._options.release
        first, last = (release, release) if release else (source.release.first, source.release.last)
        around = Around(
            first=first,
            last=last,
            zone=chosen.zone,
            now_ms=moment.now_ms,
            zone_given=self._options.timezone is not None,
        )
        groups = {one.key: one.appname or one.title or one.key for one in await source.groups(jobs)}
        said = tuple(f"{' '.join(filter(None, (one.field, one.value)))}: {one.why}" for one in notes.findings)
        told = ".".join(map(str, release)) if release else str(source.release)
        return (
            About(self._options.name or source.name, told, chosen.zone, chosen.origin, said),
            Reader(around, groups),
            moment.now_ms,
        )

    def _zone(self, source: Source, jobs: list[SourceJob], notes: Notes) -> ChosenZone:
        installation = Installation(
            name=source.name,
            server="",
            release=str(source.release),
            first=source.release.first,
            last=source.release.last,
            read_ms=0,
            columns={},
            jobs=tuple(jobs),
        )
        return choose_zone(installation, self._options.timezone, notes)

    def _range(self, reader: Reader, now_ms: int) -> tuple[int, int | None]:
        """On the clock of the old admin, where no offset is given."""
        assert self._options.start is not None
        zone = reader.around.zone
        start_ms = parse_moment(self._options.start, zone, field="--from")
        if start_ms >= now_ms:
            raise InvalidValue("--from", self._options.start, "an instant in the past")
        end = self._options.end
        end_ms = None if end is None else parse_moment(end, zone, field="--to")
        if end_ms is not None and end_ms <= start_ms:
            raise InvalidValue("--to", end, "an instant after --from")
        return start_ms, end_ms


def _from(around: Around, now_ms: int) -> Around:
    """Schedules that are over by now had slots then."""
    return Around(
        first=around.first, last=around.last, zone=around.zone, now_ms=now_ms, zone_given=around.zone_given
    )


def _noted(about: About, notes: list[str]) -> About:
    return About(about.source, about.release, about.zone, about.zone_from, (*about.notes, *notes))


__all__ = ["Shadow", "ShadowOptions", "SourceError"]

"""Planning and writing, from a gateway's API to a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.core.errors import InvalidValue
from gateway.core.zones import Zone
from importer.manifests.present import Calls, read_present
from importer.report.life import signs_of_life
from importer.source.url import SourceUrl
from importer.writeback.database import open_back
from importer.writeback.history import read_glue
from importer.writeback.plan import plan_writing
from importer.writeback.values import Existing, Shape, WritePlan


@dataclass(frozen=True, slots=True)
class Wanted:
    """`apps`: by appname; all of them if none is named."""

    url: SourceUrl
    zone: Zone
    table_map: Mapping[str, str] = field(default_factory=dict)
    existing: str = "fail"
    enabled: bool = False
    apps: tuple[str, ...] = ()


async def planned(calls: Calls, wanted: Wanted, now_ms: int) -> WritePlan:
    """Raises `SourceError`, and what `calls` raises. The database is looked at first: it may be the wrong one."""
    async with open_back(wanted.url, wanted.table_map) as back:
        there = await back.there()
        release, room = back.layout.release, back.room
        signs = signs_of_life(await back.signs(wanted.zone))
    present = read_present(calls)
    for appname in wanted.apps:
        if appname not in present.apps:
            raise InvalidValue("--app", appname, "the appname of an app that exists")
    apps = [one for name, one in present.apps.items() if not wanted.apps or name in wanted.apps]
    names = {one["appname"] for one in apps}
    jobs = [one for one in present.jobs.values() if one["app"] in names]
    plan = plan_writing(
        sorted(apps, key=lambda one: one["id"]),
        jobs,
        read_glue(calls, jobs, wanted.zone),
        there,
        Shape(release.first, release.last, room, wanted.zone, now_ms, wanted.enabled),
        existing=Existing(wanted.existing),
        database=wanted.url.name,
        release=str(release),
    )
    return replace(plan, signs=signs)


async def written(wanted: Wanted, plan: WritePlan) -> None:
    """Raises `SourceError`; then nothing was written."""
    async with open_back(wanted.url, wanted.table_map) as back:
        await back.write(plan)

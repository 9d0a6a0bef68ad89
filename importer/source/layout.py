"""Which of a database's tables are the installation.

Databases that were upgraded in place have mixed shapes: the reader goes by what is there, not by a release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from importer.errors import SourceError
from importer.source.catalog import Table
from importer.source.checks import check_columns, check_fit, check_tables
from importer.source.connection import Connection
from importer.source.fetch import no_right, select
from importer.source.names import NEW, OLD, name_here
from importer.source.quartz import FIRING
from importer.source.release import Release, recognise
from importer.source.survey import Survey


@dataclass(frozen=True, slots=True)
class Layout:
    """`tables` by logical name, those of Quartz by theirs. `is_old`: the tables of 1.2 to 2.0.

    `by_name`: logs and GLUE versions name their job by group and name. `text_groups`: a group is a text in its jobs.
    """

    tables: Mapping[str, Table]
    is_old: bool
    by_name: bool
    text_groups: bool
    release: Release
    notes: tuple[str, ...]


async def find_layout(connection: Connection, database: str, table_map: Mapping[str, str]) -> Layout:
    """Raises `SourceError` when the tables are not those of an xxl-job installation, or only some of them."""
    survey = Survey(connection, database, table_map)
    await survey.look()
    is_old = await _is_old(survey)
    tables = dict(survey.old if is_old else survey.new)
    tables.pop("lock", None)
    if is_old:
        tables.update(survey.quartz)
    info = tables["info"]
    text_groups = is_old and info.has("job_group") and info.columns["job_group"].is_text
    by_name = is_old and _is_by_name(tables)
    await check_tables(survey, tables, is_old=is_old, text_groups=text_groups)
    for kind, table in tables.items():
        await check_columns(survey, kind, table, is_old=is_old)
    await check_fit(survey, tables, is_old=is_old, by_name=by_name, text_groups=text_groups)
    if text_groups:
        tables.pop("group", None)
    for table in tables.values():
        if table.engine and table.engine.lower() != "innodb":
            survey.notes.append(
                f"{table.name} is kept by {table.engine}, which has no snapshots: it was read a moment after the rest"
            )
    return Layout(tables, is_old, by_name, text_groups, recognise(tables, is_old=is_old), tuple(survey.notes))


def _is_by_name(tables: Mapping[str, Table]) -> bool:
    """Up to 1.5 everything names a job by group and name."""
    info = tables["info"]
    return info.has("job_name") and not info.has("glue_updatetime")


async def _is_old(survey: Survey) -> bool:
    """Which of both sets of tables is in use."""
    new, old = survey.new.get("info"), survey.old.get("info")
    if new is None and old is None:
        raise await _nothing_there(survey)
    if new is None or old is None:
        return new is None
    if await survey.has_rows(new):
        survey.notes.append(
            f"{new.name} was read; the tables of an older release are still there ({old.name})"
        )
        await _note_what_still_fires(survey, new)
        return False
    if await survey.has_rows(old):
        survey.notes.append(f"{old.name} was read, because {new.name} is empty")
        return True
    return False


async def _note_what_still_fires(survey: Survey, info: Table) -> None:
    """Who copies the jobs of 2.0 copies none of their states: these stand with Quartz."""
    triggers = survey.quartz.get("triggers")
    if triggers is None or not info.has("trigger_status") or not triggers.has("trigger_state"):
        return
    connection = survey.connection
    is_on = f"SELECT 1 FROM {info.sql} WHERE {info.column('trigger_status')} = 1 LIMIT 1"
    firing = f"SELECT COUNT(*) FROM {triggers.sql} WHERE {triggers.column('trigger_state')} IN ({FIRING})"
    if await select(connection, info, is_on):
        return
    ((count,),) = await select(connection, triggers, firing)
    if count:
        survey.notes.append(
            f"all jobs of {info.name} are stopped, while {triggers.name} still has {count} that run: "
            "were they not started again after the upgrade?"
        )


async def _nothing_there(survey: Survey) -> SourceError:
    database = survey.database
    for stock in (NEW["info"], OLD["info"]):
        if name := await survey.hidden(stock):
            return await no_right(
                survey.connection,
                name,
                f"{database} has no table {name}, or this account has no right to see it",
            )
    some = sorted(
        {*survey.others, *(table.name for kinds in (survey.new, survey.old) for table in kinds.values())}
    )
    if survey.quartz or any(name.lower().endswith("qrtz_job_details") for name in some):
        return SourceError(
            f"{database} has only tables of Quartz: xxl-job 1.0 and 1.1 keep their jobs there as serialized Java "
            "objects, which nothing else can read; upgrade the old installation to 1.2 or later first"
        )
    listed = f"it has {', '.join(some[:8])}{', …' if len(some) > 8 else ''}" if some else "it is empty"
    return SourceError(
        f"{database} is not an xxl-job database: it has neither {name_here(NEW['info'], survey.table_map)} "
        f"nor {name_here(OLD['info'], survey.table_map).upper()} ({listed}); "
        "tables of other names can be given: --table-map xxl_job_=PREFIX_"
    )

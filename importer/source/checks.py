"""Whether the tables of an installation are all there and fit together.

Mixed but whole is read, with a note. What no release and no finished upgrade leaves behind is refused: half of its
values stand here, half there. So is what this account may not see, because it would be lost without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from importer.errors import SourceError
from importer.source.catalog import Table
from importer.source.connection import quoted
from importer.source.fetch import no_right
from importer.source.names import NEW, OLD, QUARTZ, name_here
from importer.source.survey import Survey

# Without these nothing can be said about a row. Of alternatives one is enough.
_NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "info": (("id",), ("job_group",)),
    "group": (("id",), ("app_name",)),
    "log": (
        ("id",),
        ("trigger_time",),
        ("trigger_code", "trigger_status"),
        ("handle_code", "handle_status"),
    ),
    "logglue": (("id",), ("glue_source",)),
    "user": (("id",), ("username",), ("password",)),
    "registry": (("registry_key",), ("registry_value",)),
    "log_report": (("trigger_day",), ("running_count",), ("suc_count",), ("fail_count",)),
    "triggers": (("sched_name",), ("trigger_name",), ("trigger_group",), ("trigger_state",)),
    "cron_triggers": (("sched_name",), ("trigger_name",), ("trigger_group",), ("cron_expression",)),
    "scheduler_state": (("sched_name",), ("last_checkin_time",)),
}
# Without these all jobs would be there, and run otherwise or not at all.
_JOBS_SINCE_2_1 = (
    "executor_route_strategy",
    "executor_handler",
    "executor_param",
    "executor_block_strategy",
    "executor_timeout",
    "executor_fail_retry_count",
    "glue_type",
    "glue_source",
    "child_jobid",
)
_GROUPS_SINCE_2_1 = ("address_type", "address_list")
# Every release has these, and jobs run without them. One that is not seen may be one that the account has no right to see.
_USUAL: Mapping[str, tuple[str, ...]] = {
    "info": ("author", "alarm_email"),
    "log": ("trigger_msg", "handle_time", "handle_msg"),
    "logglue": ("glue_remark", "add_time", "update_time"),
    "user": ("role", "permission"),
    "registry": ("update_time",),
    "triggers": ("next_fire_time", "prev_fire_time"),
    "cron_triggers": ("time_zone_id",),
}
_USUAL_SINCE_2_1 = ("glue_remark", "glue_updatetime")


async def check_tables(
    survey: Survey, tables: Mapping[str, Table], *, is_old: bool, text_groups: bool
) -> None:
    """All that the installation must have, and nothing left behind in the other set."""
    for kind in _expected(tables, is_old=is_old, text_groups=text_groups):
        if kind in tables:
            continue
        stock = (QUARTZ.get(kind) or OLD[kind]) if is_old else NEW[kind]
        if name := await survey.hidden(stock):
            raise await no_right(
                survey.connection,
                name,
                f"{survey.database} has no table {name}, or this account has no right to see it",
            )
        spelled = name_here(stock, survey.table_map)
        spelled = spelled.upper() if is_old else spelled
        other = (survey.new if is_old else survey.old).get(kind)
        if other is not None:
            raise _half(
                survey,
                f"{tables['info'].name} goes with a table {spelled}, but only {other.name} of another release is there",
            )
        if kind in {"group", "triggers", "cron_triggers"}:
            raise SourceError(f"{survey.database} has no table {spelled}: {_WHY_NEEDED[kind]}")
        seen = await no_right(
            survey.connection,
            spelled,
            f"there is no table {spelled}: {_WITHOUT[kind]}; or this account has no right to see it, of which SHOW GRANTS "
            "would tell",
        )
        survey.notes.append(str(seen))


_WHY_NEEDED = {
    "group": "without it nobody knows which executors run the jobs",
    "triggers": "without it nobody knows which jobs are running",
    "cron_triggers": "without it nobody knows by which schedules the jobs are running",
}
_WITHOUT = {
    "log": "no logs, no signs of its last runs",
    "logglue": "no earlier versions of GLUE sources",
    "user": "no users",
    "registry": "no live executors",
    "log_report": "no daily counts",
    "scheduler_state": "no sign of the scheduler's life",
}


def _expected(tables: Mapping[str, Table], *, is_old: bool, text_groups: bool) -> tuple[str, ...]:
    info = tables["info"]
    if is_old:
        quartz = ("triggers", "cron_triggers", "scheduler_state")
        if text_groups:
            return ("log", *(("logglue",) if info.has("glue_switch") else ()), *quartz)
        return ("group", "log", "logglue", "registry", *quartz)
    registry = tables.get("registry")
    beat = registry.columns.get("update_time") if registry is not None else None
    # 2.1.0 has none, and is the last in which a beat is a TIMESTAMP.
    report = () if beat is not None and beat.type == "timestamp" else ("log_report",)
    return ("group", "log", "logglue", "registry", "user", *report)


async def check_columns(survey: Survey, kind: str, table: Table, *, is_old: bool) -> None:
    """Columns that must be there, and columns that may be hidden."""
    if unreadable := [column.name for column in table.columns.values() if not column.readable]:
        some = f"this account may not read {', '.join(unreadable)} of the table {table.name}"
        raise await no_right(
            survey.connection, table.name, some if len(unreadable) < len(table.columns) else ""
        )
    needed = (*_NEEDED[kind], *_needed_to_run(kind, table, is_old=is_old))
    if missing := [" or ".join(some) for some in needed if not any(name in table.columns for name in some)]:
        for column in missing:
            await _refuse_hidden(survey, table, column.partition(" ")[0])
        raise SourceError(
            f"the table {table.name} has no column {', '.join(missing)}: it is one of a fork, or an upgrade of "
            f"this database has not been finished; {_way_out(kind, table, missing, is_old=is_old)}"
        )
    usual = _USUAL.get(kind, ())
    usual = (*usual, *(_USUAL_SINCE_2_1 if kind == "info" and not is_old else ()))
    lacking = [column for column in usual if column not in table.columns]
    for column in lacking:
        await _refuse_hidden(survey, table, column)
    if lacking:
        survey.notes.append(f"{table.name} has no {', '.join(lacking)}, as all releases have")


def _needed_to_run(kind: str, table: Table, *, is_old: bool) -> tuple[tuple[str, ...], ...]:
    """What says which job runs when, where and how; columns that one release only has go by others of that release."""
    if kind == "group" and not is_old:
        return tuple((column,) for column in _GROUPS_SINCE_2_1)
    if kind != "info":
        return ()
    scheduled = (
        (("schedule_type",), ("schedule_conf",), ("misfire_strategy",))
        if table.has("schedule_type")
        else (("job_cron",),)
    )
    if not is_old:
        return (*scheduled, ("trigger_status",), *((column,) for column in _JOBS_SINCE_2_1))
    return (*scheduled, ("executor_handler", "job_data"), ("executor_param", "job_data"), *_by_era(table))


def _by_era(info: Table) -> Iterator[tuple[str, ...]]:
    """Of 1.2 to 2.0, whose columns came one by one."""

    def has_any(*names: str) -> bool:
        return any(map(info.has, names))

    is_glue = has_any("glue_source", "glue_type", "glue_switch", "glue_updatetime")
    from_1_7_2 = has_any(
        "executor_block_strategy", "executor_fail_strategy", "executor_fail_retry_count", "executor_timeout"
    )
    if is_glue:
        yield ("glue_source",)
        yield ("glue_type", "glue_switch")
    if has_any("executor_handler") and not has_any("job_class", "job_data"):  # from 1.4 on
        yield ("child_jobkey", "child_jobid")
    if has_any("glue_updatetime"):  # from 1.6 on
        yield ("executor_route_strategy",)
    if from_1_7_2:
        yield ("executor_block_strategy",)
        yield ("executor_fail_strategy", "executor_fail_retry_count")
    if has_any("executor_fail_retry_count"):  # from 1.9.2 on
        yield ("executor_timeout",)


def _way_out(kind: str, table: Table, missing: Sequence[str], *, is_old: bool) -> str:
    """A view has columns that its table has not."""
    stock = (QUARTZ.get(kind) or OLD[kind]) if is_old else NEW[kind]
    column = missing[0].partition(" ")[0]
    view = f"{table.name}_as_usual"
    return (
        f"where such a column has another name, or one value will do for all rows: CREATE VIEW {quoted(view)} AS SELECT t.*, "
        f"VALUE AS {column} FROM {table.sql} t, then --table-map {stock}={view}; or add it to the table"
    )


async def _refuse_hidden(survey: Survey, table: Table, column: str) -> None:
    if await survey.is_hidden_column(table, column):
        raise await no_right(
            survey.connection,
            table.name,
            f"the table {table.name} has no column {column}, or this account has no right to see it",
        )


async def check_fit(
    survey: Survey, tables: Mapping[str, Table], *, is_old: bool, by_name: bool, text_groups: bool
) -> None:
    """Tables of different releases do not go together."""
    info = tables["info"]
    for kind in ("log", "logglue"):
        table = tables.get(kind)
        if table is None:
            continue
        key = ("job_group", "job_name") if by_name else ("job_id",)
        if not table.has(*key):
            raise _half(survey, f"{info.name} goes with a {table.name} that has {' and '.join(key)}")
    if not is_old and info.has("job_cron") and info.has("schedule_type"):
        await _check_both_schedules(survey, info)
    group, before = tables.get("group"), survey.old.get("group")
    if (
        not is_old
        and group is not None
        and before is not None
        and await survey.has_rows(info)
        and await survey.has_rows(before)
        and not await survey.has_rows(group)
    ):
        raise _half(survey, f"{info.name} has rows, but the groups still stand in {before.name}")
    if text_groups and group is not None and await survey.has_rows(group):
        raise _half(
            survey, f"{group.name} has rows, but {info.column('job_group')} of {info.name} is still a text"
        )


async def _check_both_schedules(survey: Survey, info: Table) -> None:
    """2.3 put the schedule into new columns: were they filled?"""
    filled = await survey.connection.rows(
        f"SELECT 1 FROM {info.sql} WHERE {info.column('schedule_type')} <> 'NONE' LIMIT 1"
    )
    before = await survey.connection.rows(
        f"SELECT 1 FROM {info.sql} WHERE {info.column('job_cron')} <> '' LIMIT 1"
    )
    if before and not filled:
        raise _half(
            survey, f"schedule_type of {info.name} is not filled, the schedules still stand in job_cron"
        )
    survey.notes.append(
        f"{info.name} still has the column job_cron of 2.2: schedule_type and schedule_conf count"
    )


def _half(survey: Survey, why: str) -> SourceError:
    return SourceError(
        f"{survey.database} is in the middle of an upgrade: {why}; finish it, or take it back, and try again"
    )

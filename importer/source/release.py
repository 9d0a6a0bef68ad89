"""Which releases have these columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from importer.source.catalog import Table

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Release:
    first: Version
    last: Version

    def __str__(self) -> str:
        first, last = (".".join(map(str, version)) for version in (self.first, self.last))
        return first if first == last else f"{first} – {last}"


def recognise(tables: Mapping[str, Table], *, is_old: bool) -> Release:
    """By logical table (`info`, `group`, …); `is_old`: they are those of 1.2 to 2.0."""
    return _of_quartz(tables) if is_old else _without_quartz(tables)


def _without_quartz(tables: Mapping[str, Table]) -> Release:
    info, group, user = tables["info"], tables["group"], tables.get("user")
    if (info.has("name") and not info.has("job_desc")) or group.has("access_token"):
        return Release((3, 5, 0), (3, 5, 0))
    if user is not None and user.has("token"):
        if info.has("executor_param") and info.columns["executor_param"].type != "varchar":
            return Release((3, 4, 0), (3, 4, 2))
        return Release((3, 2, 0), (3, 3, 2))
    if info.has("schedule_type"):
        registry = tables.get("registry")
        if registry is not None and any("registry_key" in columns for columns in registry.unique):
            return Release((2, 5, 0), (3, 1, 1))
        return Release((2, 3, 0), (3, 1, 1) if registry is None else (2, 4, 2))
    if "log_report" not in tables:
        return Release((2, 1, 0), (2, 1, 0))
    return Release((2, 1, 1), (2, 1, 2)) if group.has("order") else Release((2, 2, 0), (2, 2, 0))


def _of_quartz(tables: Mapping[str, Table]) -> Release:
    info, log = tables["info"], tables.get("log")
    if log is not None and log.has("alarm_status"):
        return Release((2, 0, 2), (2, 0, 2))
    if info.has("executor_timeout"):
        return Release((1, 9, 2), (2, 0, 1) if log is not None else (2, 0, 2))
    if info.has("child_jobid"):
        return Release((1, 9, 0), (1, 9, 1))
    if info.has("executor_block_strategy"):
        if log is None:
            return Release((1, 7, 2), (1, 8, 2))
        code = log.columns.get("trigger_code")
        is_later = code is not None and not code.nullable
        return Release((1, 8, 0), (1, 8, 2)) if is_later else Release((1, 7, 2), (1, 7, 2))
    if info.has("glue_type"):
        return Release((1, 7, 0), (1, 7, 1))
    if info.has("glue_updatetime"):
        return Release((1, 6, 0), (1, 6, 2))
    if "group" in tables:
        return Release((1, 5, 0), (1, 5, 2))
    if info.has("child_jobkey"):
        return Release((1, 4, 0), (1, 4, 2))
    if info.has("executor_handler"):
        return Release((1, 3, 2), (1, 3, 2))
    if info.has("glue_switch"):
        return Release((1, 3, 0), (1, 3, 1))
    return Release((1, 2, 0), (1, 2, 0))

"""Rows of an xxl-job database as they will stand there, and what decides how they can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.core.zones import Zone
from importer.plan.values import Finding

Answer = Mapping[str, Any]
"""What the API tells of an app or a job."""


class Existing(StrEnum):
    """What to do with rows that are there."""

    FAIL = "fail"
    SKIP = "skip"
    UPDATE = "update"


class Doing(StrEnum):
    INSERT = "insert"
    UPDATE = "update"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Shape:
    """`room`: characters (of a text without a limit: bytes) by table and column. `zone`: the old admin's clock."""

    first: tuple[int, ...]
    last: tuple[int, ...]
    room: Mapping[tuple[str, str], int]
    zone: Zone
    now_ms: int
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class GroupRow:
    """`id` is 0 where the database is to choose one. `columns` are all but the id.

    `is_other`: another id of an app; its jobs are of the group with the app's own.
    """

    id: int
    appname: str
    columns: Mapping[str, object]
    doing: Doing = Doing.INSERT
    is_other: bool = False


@dataclass(frozen=True, slots=True)
class GlueRow:
    """An earlier or the present version of a GLUE source. `at`: wall-clock time of the old admin."""

    glue_type: str
    source: str
    remark: str
    at: str


@dataclass(frozen=True, slots=True)
class JobRow:
    """`columns` are all but id and group. `glue`, oldest first."""

    id: int
    appname: str
    columns: Mapping[str, object]
    glue: tuple[GlueRow, ...] = ()
    doing: Doing = Doing.INSERT

    @property
    def name(self) -> str:
        return str(self.columns["job_desc"])


@dataclass(frozen=True, slots=True)
class There:
    """What the database holds: groups by id (their appnames), jobs by id (group, name)."""

    groups: Mapping[int, str]
    jobs: Mapping[int, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class WritePlan:
    """`group_ids`: from appnames to ids there; an appname that is missing gets one when its row is inserted.

    `signs`: what speaks for an admin that runs there.
    """

    database: str
    release: str
    timezone: str
    groups: tuple[GroupRow, ...]
    jobs: tuple[JobRow, ...]
    there: There
    group_ids: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    signs: tuple[str, ...] = ()

    @property
    def started(self) -> tuple[int, ...]:
        """The jobs that are started there; all of them are enabled here."""
        return tuple(
            one.id for one in self.jobs if one.doing is not Doing.SKIP and one.columns["trigger_status"]
        )

    def count(self, doing: Doing) -> tuple[int, int]:
        """Groups and jobs."""
        return sum(one.doing is doing for one in self.groups), sum(one.doing is doing for one in self.jobs)

"""What an import would do, as values that reports show and `apply` carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.model import App, Job
from gateway.core.users import User


class Action(StrEnum):
    """What becomes of an app, a job or a user in the target."""

    CREATE = "create"
    UPDATE = "update"
    SKIP = "skip"
    # An app of that appname is there: its jobs come to it.
    MERGE = "merge"


class Existing(StrEnum):
    """What to do with those that an earlier import from the same source has made."""

    SKIP = "skip"
    UPDATE = "update"
    FAIL = "fail"


class Verdict(StrEnum):
    """How a job here compares with the one there."""

    IDENTICAL = "identical"
    # Other words or mechanisms, the same runs.
    EQUIVALENT = "equivalent"
    CHANGED = "changed"


class Level(StrEnum):
    """`note`: taken over in another form. `repaired`: another value was taken. `dropped`: not taken over."""

    NOTE = "note"
    REPAIRED = "repaired"
    DROPPED = "dropped"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was not simply taken over. `where`: e.g. `job 7`, `app 2`, `user admin`; `value` as it stood."""

    level: Level
    where: str
    field: str
    value: str
    became: str
    why: str


@dataclass(frozen=True, slots=True)
class Fires:
    """The next fire times, side by side, in ms. `differ_at` is the first place where they differ, None if nowhere.

    `theirs` is None where the old admin would not fire the job at all (it cannot read the schedule). `unsure`, part of
    `why`: what depends on which of several releases the old admin is.
    """

    ours: tuple[int, ...]
    theirs: tuple[int, ...] | None
    differ_at: int | None = None
    why: str = ""
    unsure: str = ""


@dataclass(frozen=True, slots=True)
class PlannedApp:
    """`keys`: those of the groups that become this app. `aliases`: the ids among them under which scripts will find it
    as well; an id that another app has here is none. `digests`: of the groups' rows, by key.
    """

    action: Action
    app: App
    keys: tuple[str, ...]
    access_token: str | None = field(repr=False, default=None)
    changes: tuple[str, ...] = ()
    aliases: tuple[int, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """`job` is what will stand here: with its id, disabled; `wants_enabled` says what `cutover` makes of it.

    `history` are earlier versions of it, oldest first, each with another GLUE source. `digest` is of the source's row.
    """

    action: Action
    job: Job
    old_id: int
    wants_enabled: bool
    verdict: Verdict
    reasons: tuple[str, ...]
    fires: Fires
    digest: str
    history: tuple[Job, ...] = ()
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OldPassword:
    """`scheme` is `md5` or `sha256`; `digest` the lower-case hex of it."""

    scheme: str
    digest: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PlannedUser:
    """`password` is None where the source has none that can be verified: the user is made, but cannot log in."""

    action: Action
    user: User
    old_id: int
    password: OldPassword | None = field(repr=False, default=None)
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Firsts:
    """The first id that each sequence of the target may give out after the import."""

    job: int
    app: int
    user: int
    run_int: int


@dataclass(frozen=True, slots=True)
class Plan:
    """`source` is the name under which the target remembers the installation. `security` is for the report's section.

    `app_ids`, `job_ids`, `user_ids`: from what the source calls each to what it is called here. `withdrawn`: ids there of
    imported jobs that are there no more, so that no cutover enables them.
    """

    source: str
    timezone: str
    timezone_from: str
    apps: tuple[PlannedApp, ...]
    jobs: tuple[PlannedJob, ...]
    users: tuple[PlannedUser, ...]
    firsts: Firsts
    app_ids: Mapping[str, int]
    job_ids: Mapping[int, int]
    user_ids: Mapping[int, int]
    withdrawn: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()
    security: tuple[Finding, ...] = ()

"""What an xxl-job database says, column by column; nothing is interpreted yet.

None stands for NULL and for a column that this database does not have; `Installation.columns` tells which. A `datetime`
without a zone is wall-clock time of the old admin (DATETIME columns), one in UTC an instant (TIMESTAMP columns).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

FIRING_STATES = frozenset({"WAITING", "ACQUIRED", "EXECUTING", "BLOCKED"})


@dataclass(frozen=True, slots=True)
class SourceGroup:
    """A row of `xxl_job_group`; before 1.5 one text in the jobs, which is then key and appname alike."""

    key: str
    appname: str | None
    title: str | None = None
    address_type: int | None = None
    address_list: str | None = None
    order: int | None = None
    access_token: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QuartzState:
    """The trigger of a job in the Quartz tables of 1.2 to 2.0. `state` is Quartz's own word, e.g. `WAITING`."""

    state: str
    cron: str | None = None
    timezone: str | None = None
    next_ms: int | None = None
    previous_ms: int | None = None
    scheduler: str = ""

    @property
    def is_firing(self) -> bool:
        return self.state in FIRING_STATES


@dataclass(frozen=True, slots=True)
class SourceJob:
    """A row of `xxl_job_info`, or of `xxl_job_qrtz_trigger_info`.

    `name` is the `job_name` of 1.2 to 1.5, `description` the `job_desc` (from 3.5: `name`). `cron` is `job_cron` (up to
    2.2); from 2.3 `schedule_type` and `schedule_conf` stand instead. `extra` holds what other columns say, by their names.
    """

    id: int
    group: str | None
    name: str | None = None
    description: str | None = None
    author: str | None = None
    alarm_email: str | None = None
    alarm_threshold: int | None = None
    cron: str | None = None
    schedule_type: str | None = None
    schedule_conf: str | None = None
    misfire: str | None = None
    route: str | None = None
    handler: str | None = None
    param: str | None = None
    block: str | None = None
    timeout_s: int | None = None
    retries: int | None = None
    fail_strategy: str | None = None
    glue_type: str | None = None
    glue_switch: int | None = None
    glue_source: str | None = None
    glue_remark: str | None = None
    glue_updated: datetime | None = None
    child_ids: str | None = None
    child_keys: str | None = None
    trigger_status: int | None = None
    last_ms: int | None = None
    next_ms: int | None = None
    added: datetime | None = None
    updated: datetime | None = None
    executor_address: str | None = None
    job_class: str | None = None
    job_data: str | None = None
    quartz: QuartzState | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceGlue:
    """A row of the GLUE history. Up to 1.5 it names its job by group and name, from 1.6 by id."""

    id: int
    job_id: int | None = None
    group: str | None = None
    name: str | None = None
    glue_type: str | None = None
    source: str | None = None
    remark: str | None = None
    added: datetime | None = None
    updated: datetime | None = None


@dataclass(frozen=True, slots=True)
class SourceUser:
    """`password` is the hash as it stands: 32 hex digits are an MD5, 64 a SHA-256."""

    id: int
    username: str
    password: str | None = field(repr=False, default=None)
    role: int | None = None
    permission: str | None = None
    has_session: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceExecutor:
    """A row of the registry: read for the report only, executors register anew."""

    appname: str
    address: str
    beat: datetime | None


@dataclass(frozen=True, slots=True)
class SourceDay:
    """A row of the daily report: counts of one calendar day of the old admin."""

    day: date
    running: int
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class LogBeginning:
    """When the first row of the log since some time was triggered.

    `strays`: rows since then whose ids are smaller than those of the rows that were triggered first, from `smallest_id`
    on. `is_searched`: whether they were looked for, which only an index on the time makes bearable.
    """

    triggered: datetime | None
    smallest_id: int = 0
    strays: int = 0
    is_searched: bool = True


@dataclass(frozen=True, slots=True)
class SourceLog:
    """A row of the log: one attempt to trigger a job.

    Codes are numbers, also where the database keeps words or digits as text; 0 in `handle_code`: no result yet.
    """

    id: int
    job_id: int | None
    group: str | None = None
    name: str | None = None
    address: str | None = None
    handler: str | None = None
    param: str | None = None
    sharding: str | None = None
    retries_left: int | None = None
    triggered: datetime | None = None
    trigger_code: int = 0
    trigger_message: str | None = None
    handled: datetime | None = None
    handle_code: int = 0
    handle_message: str | None = None
    alarm_status: int | None = None


@dataclass(frozen=True, slots=True)
class LogHead:
    """A row of the log as far as it tells what was triggered when and why; `message` is the beginning of its text."""

    id: int
    triggered: datetime | None
    job_id: int | None
    group: str | None = None
    name: str | None = None
    sharding: str | None = None
    retries_left: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class SourceSign:
    """What the old admin's scheduler keeps in a job's row. `cron`: of its trigger, in the releases with Quartz's tables."""

    job_id: int
    is_running: bool
    last_ms: int = 0
    next_ms: int = 0
    updated: datetime | None = None
    cron: str = ""


@dataclass(frozen=True, slots=True)
class SourceMoment:
    """One look at a source, by its database's clock. The ids of its log are 0 where that is empty."""

    now_ms: int
    last_log_id: int
    signs: tuple[SourceSign, ...]
    first_log_id: int = 0


@dataclass(frozen=True, slots=True)
class Oddity:
    """A value that could not be read as it stands, and what was taken instead. `where`: e.g. `job 7`."""

    where: str
    column: str
    value: str
    taken: str


@dataclass(frozen=True, slots=True)
class Counters:
    """What the next row of each kind would get as its id: above every id that was ever used. 0 where unknown."""

    next_job: int = 0
    next_group: int = 0
    next_user: int = 0
    next_log: int = 0


@dataclass(frozen=True, slots=True)
class SignsOfLife:
    """What tells whether an old admin is at work, by the database's clock. Instants in ms; 0: never seen.

    `last_fire_ms`, `next_due_ms` and `last_checkin_ms` are instants in the database as well. `last_log_ms` and
    `last_beat_ms` depend on the zone that its wall clock is taken for; `last_log` and `last_beat` are as they stand.
    """

    database_now_ms: int = 0
    last_log_ms: int = 0
    last_beat_ms: int = 0
    last_checkin_ms: int = 0
    next_due_ms: int = 0
    # Connections of others to this database, where this account may see them; None where not.
    connections: int | None = None
    last_fire_ms: int = 0
    last_log_id: int = 0
    last_log: datetime | None = None
    last_beat: datetime | None = None
    # The server takes no writes: it may be a replica, which shows an old admin's work late or never.
    read_only: bool = False
    # Whose those connections are: `USER@HOST (3)`; and whether one of them waits for a lock of the whole server or a table.
    others: tuple[str, ...] = ()
    waits_for_lock: bool = False


@dataclass(frozen=True, slots=True)
class Installation:
    """A whole xxl-job database, but for its log.

    `release` is the range of releases that have these columns, e.g. `2.3.0 – 3.1.1`; `first` and `last` are its ends as
    tuples. `columns` are those found, by logical table (`info`, `group`, `log`, `logglue`, `user`, `registry`,
    `log_report`), all in lower case. `timezones` are the zones found in Quartz's tables.
    """

    name: str
    server: str
    release: str
    first: tuple[int, ...]
    last: tuple[int, ...]
    read_ms: int
    columns: Mapping[str, frozenset[str]]
    groups: tuple[SourceGroup, ...] = ()
    jobs: tuple[SourceJob, ...] = ()
    glue: tuple[SourceGlue, ...] = ()
    users: tuple[SourceUser, ...] = ()
    executors: tuple[SourceExecutor, ...] = ()
    counters: Counters = Counters()
    signs: SignsOfLife = SignsOfLife()
    timezones: tuple[str, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    # What a person should know about the reading itself: tables of two eras side by side, columns of a fork …
    notes: tuple[str, ...] = ()
    # The server's estimate where they are many.
    log_rows: int = 0
    day_rows: int = 0

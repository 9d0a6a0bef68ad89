"""Values that stages, store and surfaces hand to each other. Times are milliseconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from gateway.core.calendar_days import Days
from gateway.core.children import Child, Join
from gateway.core.contact import UNSIGNED, Contact
from gateway.core.deadlines import LOST_AFTER_S, OnDeadline
from gateway.core.envs import Envs, with_envs
from gateway.core.misfire import DAY_OF_100, MisfireLimits
from gateway.core.named_shards import NamedShard
from gateway.core.overlap import UNLIMITED, Concurrency
from gateway.core.placement import ANYWHERE, Placement
from gateway.core.retry import AT_ONCE, Retry
from gateway.core.states import RunState
from gateway.core.timing import PLAIN, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = 128
MOST_NAME = 255
"""Characters of a job's name: as many as XXL-JOB's descriptions have."""
DEFAULT_NAMESPACE = 1
FIRST_LONG_ID = 1 << 32
BROADCAST_PARENT = -1


class Route(StrEnum):
    """XXL-JOB's ten routing strategies, by its own names, and one more."""

    FIRST = "FIRST"
    LAST = "LAST"
    ROUND = "ROUND"
    RANDOM = "RANDOM"
    CONSISTENT_HASH = "CONSISTENT_HASH"
    LEAST_FREQUENTLY_USED = "LEAST_FREQUENTLY_USED"
    LEAST_RECENTLY_USED = "LEAST_RECENTLY_USED"
    FAILOVER = "FAILOVER"
    BUSYOVER = "BUSYOVER"
    SHARDING_BROADCAST = "SHARDING_BROADCAST"
    WEIGHTED = "WEIGHTED"


class BlockStrategy(StrEnum):
    """What an executor does with a run of a job that it is already running; decided there, per executor."""

    SERIAL_EXECUTION = "SERIAL_EXECUTION"
    DISCARD_LATER = "DISCARD_LATER"
    COVER_EARLY = "COVER_EARLY"


class Misfire(StrEnum):
    SKIP = "skip"
    FIRE_ONCE = "fire_once"
    FIRE_ALL = "fire_all"


class Guarantee(StrEnum):
    """What to do with a doubtful send when the executor cannot be asked."""

    AT_MOST_ONCE = "at_most_once"
    AT_LEAST_ONCE = "at_least_once"


class TriggerKind(IntEnum):
    """Why a run exists. Stored as these numbers."""

    SCHEDULE = 1
    MANUAL = 2
    API = 3
    RETRY = 4
    MISFIRE = 5
    CHILD = 6
    SHARD = 7
    BACKFILL = 8
    # Another scheduler's: a row of its log, whose end is known or never will be.
    IMPORTED = 9


class AddressMode(StrEnum):
    AUTO = "auto"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class App:
    id: int
    namespace_id: int
    appname: str
    title: str
    address_mode: AddressMode
    addresses: tuple[str, ...]
    created_ms: int
    updated_ms: int
    max_running: int | None = None
    starts_per_second: float | None = None
    # What old executors need: log ids of 32 bits, their generation where they are entered by hand, and from where
    # calls without a token are let in.
    int_ids: bool = False
    dialect: str = ""
    tokenless_from: tuple[str, ...] = ()

    @property
    def limited(self) -> bool:
        return self.max_running is not None or self.starts_per_second is not None


@dataclass(frozen=True, slots=True)
class Executor:
    """One live process. `dialect` is the protocol generation it speaks, e.g. `rest`, `rest35`.

    `token_mark` tells which of the valid access tokens it has come with.
    """

    app_id: int
    address: str
    dialect: str
    client: str
    registered_ms: int
    last_beat_ms: int
    token_mark: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What an executor is told to run."""

    handler: str
    params: str = ""
    glue_type: str = "BEAN"
    glue_source: str = ""
    glue_updated_ms: int = 0
    envs: Envs = ()

    @property
    def parameter(self) -> str:
        """What an executor gets where a run has no params of its own."""
        return with_envs(self.params, self.envs)


@dataclass(frozen=True, slots=True)
class Job:
    """One version of a job. `schedule` is the JSON object that `core.schedule.parse_schedule` reads."""

    id: int
    namespace_id: int
    app_id: int
    part: int
    version: int
    name: str
    enabled: bool
    schedule: Mapping[str, object] | tuple[Mapping[str, object], ...]
    task: Task
    misfire: Misfire = Misfire.SKIP
    misfire_after_s: int = 60
    route: Route = Route.ROUND
    placement: Placement = ANYWHERE
    block_strategy: BlockStrategy = BlockStrategy.SERIAL_EXECUTION
    timeout_s: int = 0
    max_attempts: int = 1
    retry: Retry = AT_ONCE
    misfire_limits: MisfireLimits = DAY_OF_100
    guarantee: Guarantee = Guarantee.AT_MOST_ONCE
    priority: int = 5
    concurrency: Concurrency = UNLIMITED
    ttl_s: int = 0
    anchor_ms: int = 0
    next_fire_at: int | None = None
    description: str = ""
    # How long its finished runs are kept; 0 for as long as the server's setting says.
    retention_days: int = 0
    created_ms: int = 0
    updated_ms: int = 0
    children: tuple[Child, ...] = ()
    join: Join = Join.ANY
    timing: Timing = PLAIN
    # Slots planned so far, for a job with a maximum.
    fired: int = 0
    # The open run of a second_delay, whose end sets the next fire (`core.chain`).
    chain_run_id: int = 0
    # How often its calendars have changed, and the days of each; None where they are not known.
    edition: int = 0
    days: tuple[Days, ...] | None = None
    deadline_s: int = 0
    on_deadline: OnDeadline = OnDeadline.ALERT
    lost_after_s: int = LOST_AFTER_S
    hold_limit_on_lost: bool = False
    shards: tuple[NamedShard, ...] = ()
    contact: Contact = UNSIGNED


@dataclass(slots=True, eq=False)
class NewRun:
    """A row to be inserted, and its seed for later attempts; `id` comes from a block, so it is known before.

    Not frozen because thousands are made a second and a frozen dataclass costs four times as much to make;
    nobody changes one after it was handed on.
    """

    id: int
    namespace_id: int
    job_id: int
    app_id: int
    part: int
    slot_key: int
    due_ms: int
    created_ms: int
    trigger_kind: TriggerKind
    state: RunState
    root_id: int
    shard: int = 0
    shard_total: int = 1
    attempt: int = 1
    priority: int = 5
    params: str | None = None
    addresses: tuple[str, ...] | None = None
    reason: str | None = None
    last_slot_ms: int = 0
    slot_count: int = 1
    finished_ms: int = 0
    # The log time of an earlier send of this very row, which a later one must repeat.
    trigger_ms: int = 0
    # The business time, where it is not the slot plus the job's offset.
    data_ms: int = 0
    expires_ms: int = 0
    parent_id: int = 0
    queue_rank: int = 0
    bypass: bool = False
    # Since when it has waited for a place, 0 if it has not; such a run is not late, whatever the time.
    waiting_ms: int = 0
    shard_name: str = ""
    author: str = ""
    starts_children: bool = True
    # Attempts before this one that were none of its job's policy.
    uncounted: int = 0
    # Its `shard` is not, or may not be, what its row says: the claim writes it.
    reshaped: bool = False
    # The pause that has held it up, for the row of its claim.
    paused_by: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One row as surfaces show it. Zero in a time means that the step has not happened."""

    id: int
    namespace_id: int
    job_id: int
    app_id: int
    part: int
    slot_key: int
    shard: int
    shard_total: int
    attempt: int
    root_id: int
    trigger_kind: TriggerKind
    state: RunState
    outcome: RunState | None
    priority: int
    due_ms: int
    created_ms: int
    job_version: int
    address: str
    dialect: str
    trigger_ms: int
    claimed_ms: int
    sent_ms: int
    answered_ms: int
    finished_ms: int
    result_code: int
    message: str | None
    reason: str | None
    params: str | None
    addresses: tuple[str, ...] | None
    last_slot_ms: int
    slot_count: int
    claim_token: int = 0
    send_deadline_ms: int = 0
    data_ms: int = 0
    expires_ms: int = 0
    parent_id: int = 0
    queue_rank: int = 0
    bypass: int = 0
    waiting_ms: int = 0
    shard_name: str = ""
    stop_asked_ms: int = 0
    author: str = ""
    starts_children: int = 1
    rerun_id: int = 0
    uncounted: int = 0
    sequel: int = 0

    @property
    def slot_ms(self) -> int | None:
        """The slot, or None for a run that no schedule asked for."""
        return self.slot_key if self.slot_key > 0 else None

    @property
    def log_id(self) -> int:
        """What its executor calls it: for a run of the old admin, whatever id it has here, the id that it had there."""
        return self.claim_token if self.trigger_kind is TriggerKind.IMPORTED else self.id


@dataclass(frozen=True, slots=True)
class ExecutorResult:
    """One result as an executor reported it (one element of a callback)."""

    run_id: int
    code: int
    message: str | None
    log_time_ms: int | None
    received_ms: int
    strict_time: bool = False


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines of an executor's log from `from_line` (counted from 1) to `to_line`."""

    from_line: int
    to_line: int
    content: str
    is_end: bool


@dataclass(frozen=True, slots=True)
class Beat:
    """A registration as a dialect understood it."""

    appname: str
    address: str
    dialect: str
    client: str
    received_ms: int
    token_mark: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    id: int
    name: str
    created_ms: int


@dataclass(slots=True)
class Counters:
    """What the node has done since its start."""

    values: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, by: int = 1) -> None:
        self.values[name] = self.values.get(name, 0) + by

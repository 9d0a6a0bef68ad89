"""What a shadow is told, and what it finds: values of the pure core. Instants are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.confine import Slots

SECOND_MS = 1000
# The old admin reads jobs that are due within this, and takes an edit for what is due after it.
PRE_READ_MS = 5000


class Kind(StrEnum):
    """Why a row of the log exists, as far as its text tells."""

    SCHEDULE = "schedule"
    MISFIRE = "misfire"
    MANUAL = "manual"
    API = "api"
    PARENT = "parent"
    RETRY = "retry"
    UNTOLD = "untold"

    @property
    def may_be_slot(self) -> bool:
        return self in {Kind.SCHEDULE, Kind.UNTOLD}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the old admin's log. `shard`: its index in a broadcast, -1 outside of one."""

    id: int
    job_id: int
    at_ms: int
    kind: Kind
    shard: int = -1


@dataclass(frozen=True, slots=True)
class Reading:
    """How one generation of the old admin reads an expression. `why` says what is special about it at an instant."""

    next_after: Callable[[int], int | None]
    why: Callable[[int], str]

    def is_slot(self, at_ms: int) -> bool:
        return self.next_after(at_ms - 1) == at_ms


@dataclass(frozen=True, slots=True)
class Version:
    """A job as this scheduler would have it. `key` changes whenever what decides its slots does.

    `slots` is None for a job that has none, `why_none` says why. A fixed rate has `rate_ms`: its phase is where the old
    admin has it. `readings`: how releases of the old admin read the expression, as far as that is known.
    """

    key: tuple[object, ...]
    text: str
    slots: Slots | None = None
    rate_ms: int = 0
    why_none: str = ""
    fires_once: bool = False
    misfire_after_ms: int = PRE_READ_MS
    readings: tuple[Reading, ...] = ()
    # Whether people who stop a job leave a mark in its row, so that the old admin's own stops can be told from theirs.
    stops_marked: bool = True


@dataclass(frozen=True, slots=True)
class Sign:
    """The state of a job at a look: what the old admin's scheduler keeps in its row."""

    running: bool
    last_ms: int = 0
    next_ms: int = 0
    updated_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SeenJob:
    """A job that is new, or whose row has changed since the last look."""

    id: int
    name: str
    app: str
    version: Version
    sign: Sign


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the old database, by its clock.

    `signs`: of all jobs that are there. `complete_ms`: whatever the log says of instants before it is in the rows so far.
    """

    at_ms: int
    signs: Mapping[int, Sign]
    jobs: Sequence[SeenJob] = ()
    rows: Sequence[Row] = ()
    complete_ms: int = 0


class Outcome(StrEnum):
    AGREED = "agreed"
    MISSING = "missing"
    DUPLICATE = "duplicate"
    EXTRA = "extra"
    # One run of the old admin for what it had found too late.
    MADE_UP = "made_up"
    # The phase of a fixed rate has moved, by `off_ms`.
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a slot, or of a row that has none."""

    outcome: Outcome
    at_ms: int
    row: Row | None = None
    off_ms: int = 0
    count: int = 1
    # Of several that are missing in a row, the last.
    to_ms: int = 0


class Missing(StrEnum):
    """Why there is no run of a slot."""

    MISFIRE_SKIPPED = "misfire_skipped"
    MISFIRE_MADE_UP = "misfire_made_up"
    STOPPED = "stopped_by_old_admin"
    OLD_READING = "old_reading"
    HOLE = "hole"


class Extra(StrEnum):
    """Why there is a run without a slot."""

    OLD_READING = "old_reading"
    MISFIRE_RUN = "misfire_run"
    OFF_SLOT = "off_slot"
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True)
class Grey:
    """A stretch in which disagreement cannot be judged, and why."""

    start_ms: int
    end_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch in which the old admin started nothing although something was due."""

    start_ms: int
    end_ms: int
    slots: int


@dataclass(slots=True)
class Facts:
    """What was seen of a job's row beside its slots, newest last: evidence for why something is missing."""

    # Next times that had passed without being taken up.
    overdue: list[int] = field(default_factory=list)
    # From which slot to which the old admin went on, passing others over.
    jumps: list[tuple[int, int]] = field(default_factory=list)

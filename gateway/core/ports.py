"""What the stages ask of the world: the store, the executors, the people who call in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from gateway.core.access import Reach
from gateway.core.cluster import Farewell, Grant, Holder, Identity, Member, Roster
from gateway.core.model import (
    App,
    Beat,
    Executor,
    ExecutorResult,
    Job,
    LogPage,
    Run,
)
from gateway.core.placement import ExecutorSetting
from gateway.core.places import Place, Scope
from gateway.core.states import RunState
from gateway.core.work import Lease, Work, Written

# ---------------------------------------------------------------- executors


class Outcome(IntEnum):
    """How a `/run` ended for the sender."""

    ACCEPTED = 1
    REFUSED = 2
    NOT_SENT = 3  # certainly not one byte left
    DOUBTFUL = 4  # bytes left, no usable answer came


@dataclass(slots=True, eq=False)
class RunOrder:
    """A claimed run on its way to an executor.

    `send_before` is a monotonic instant in seconds, checked last before the bytes leave, as is `wall_before_ms` by
    the wall clock, which goes on while a virtual machine is suspended. `request` is
    filled by `ExecutorLink.prepare`. `sent_ms` is filled when the bytes have been handed over. `call` is the link's
    own while it has the order.
    """

    run_id: int
    job: Job
    appname: str
    address: str
    dialect: str
    params: str | None
    shard: int
    shard_total: int
    trigger_ms: int
    due_ms: int
    send_before: float
    wall_before_ms: int
    data_ms: int = 0
    request: bytes = b""
    sent_ms: int = 0
    call: object = None


CANNOT_SAY = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an executor said: `ok` means code 200; code `CANNOT_SAY` that there is no such question to it."""

    ok: bool
    code: int
    message: str


OnOutcome = Callable[[RunOrder, Outcome, str], None]


class ExecutorLink(Protocol):
    """Calls to executors, whatever dialect they speak. Implemented by `compat`."""

    def prepare(self, order: RunOrder) -> None:
        """Build the bytes of the request ahead of time."""
        ...

    def run(self, order: RunOrder, on_outcome: OnOutcome) -> None:
        """Send a prepared order now; `on_outcome` is called once, with the executor's or the failure's text."""
        ...

    def recall(self, order: RunOrder) -> bool:
        """Keep an order that waits for a connection from leaving. False if bytes of it have left, or may have."""
        ...

    async def beat(self, address: str, dialect: str, appname: str) -> Answer:
        """Ask whether the executor is there. Raises `Unreachable`."""
        ...

    async def idle(self, address: str, dialect: str, appname: str, job_id: int) -> Answer:
        """Ask whether nothing of this job runs or waits there (`ok`). Raises `Unreachable`."""
        ...

    async def kill(self, address: str, dialect: str, appname: str, job_id: int) -> Answer:
        """Stop all of this job on that executor. Raises `Unreachable`."""
        ...

    async def log(
        self, address: str, dialect: str, appname: str, run_id: int, log_time_ms: int, from_line: int
    ) -> LogPage | None:
        """Lines from `from_line` on, or None when the executor has no log of this run. Raises `Unreachable`."""
        ...

    def log_is_real(self, dialect: str, client: str) -> bool:
        """Whether this client's `/log` tells a run it received from one it never saw."""
        ...


class ExecutorDesk(Protocol):
    """What executors ask of the gateway. Implemented by the scheduler, called by `compat`."""

    async def register(self, beat: Beat) -> None:
        """Take a registration or a beat. Raises `NotFound` for an unknown app, `InvalidValue` for a bad address."""
        ...

    async def remove(self, appname: str, address: str) -> None:
        """Take an executor out at once."""
        ...

    async def report(self, results: Sequence[ExecutorResult], client: str, reach: Reach) -> bool:
        """True once the results are durable (committed or in the spool), False when neither succeeded.

        `reach` is that of the caller's token. Raises `Refused` for results beyond it; those within it are durable then.
        """
        ...


# ---------------------------------------------------------------- store


OnWritten = Callable[[Written | Exception], None]
LazySource = Callable[[], Work | None]


class Writer(Protocol):
    """Group commit: everything submitted while a transaction runs goes into the next one."""

    @property
    def healthy(self) -> bool:
        """False while the database does not take what it is given."""
        ...

    @property
    def renewed_at(self) -> float:
        """The monotonic instant of the last renewal of the lease that was committed."""
        ...

    def submit(self, work: Work, on_written: OnWritten) -> None: ...

    def add_lazy(self, source: LazySource) -> None:
        """A source of work that nobody waits for, asked when a transaction begins and at least every 200 ms."""
        ...

    async def write(self, work: Work) -> Written:
        """Submit and wait. Raises what `on_written` would have been given."""
        ...


@dataclass(frozen=True, slots=True)
class DueJob:
    job_id: int
    version: int
    next_fire_at: int
    fired: int = 0


class RunReader(Protocol):
    """Queries of the flow on runs."""

    async def get_many(self, run_ids: Collection[int]) -> dict[int, Run]: ...

    async def open_runs(
        self, after: Run | None, limit: int, states: Collection[RunState], parts: Collection[int]
    ) -> list[Run]:
        """Open runs in these states by part, due time and id; `after` is the last run of the page before."""
        ...

    async def overdue(
        self, before_ms: int, limit: int, states: Collection[RunState], parts: Collection[int]
    ) -> list[Run]:
        """Open runs in these states that were due before that instant, earliest first."""
        ...

    async def forget_requests(self, run_ids: Collection[int]) -> None:
        """The owner has taken these rows up, or they need nobody any more."""
        ...

    async def open_runs_of_job(self, job_id: int, part: int, after_id: int, limit: int) -> list[Run]:
        """Open runs of one job with a larger id, in the order of ids."""
        ...

    async def under_way(self, scope: Scope) -> list[Place]:
        """The places that rows of a job or an app hold, claimed and running ones and held ones, the oldest first."""
        ...

    async def states(self, run_ids: Collection[int]) -> dict[int, RunState]: ...

    async def keep_places(self, run_ids: Collection[int]) -> set[int]:
        """Those that are open, or over and keep their place."""
        ...

    async def family(self, job_id: int, slot_key: int) -> list[Run]:
        """All rows of one slot: the parent, its shards and their attempts."""
        ...

    async def slots_with_rows(self, spans: Sequence[tuple[int, int, int]]) -> dict[int, set[int]]:
        """Of spans (job, first slot, last slot), the slots that have a row, by job; jobs without any are left out."""
        ...


class JobReader(Protocol):
    async def due(self, before_ms: int, limit: int, parts: Collection[int]) -> list[DueJob]:
        """Enabled jobs of these parts with a next fire before that instant, earliest first."""
        ...

    async def load(self, job_ids: Collection[int]) -> dict[int, Job]: ...

    async def mend_chains(self, parts: Collection[int]) -> list[int]:
        """Let chains go on whose run has ended without a word of it; the jobs."""
        ...


class AppReader(Protocol):
    async def all_apps(self) -> list[App]: ...

    async def executor_settings(self) -> list[ExecutorSetting]:
        """What people have set for executors, of all apps."""
        ...

    async def executors_since(self, revision: int) -> tuple[list[Executor], list[Executor]]:
        """Executors that are there, and those that are gone, as changed after that revision (-1: all)."""
        ...


class ExecutorWriter(Protocol):
    async def use_int_ids(self, app_id: int) -> None:
        """From now on runs of this app get ids of 32 bits."""
        ...

    async def save_executors(self, changed: Sequence[Executor], removed: Sequence[Executor]) -> None:
        """`removed` as they were last seen: one that has beaten elsewhere since then stays."""
        ...


class NodeStore(Protocol):
    """Nodes and the parts they own, in the database that all of them share."""

    async def join(self, me: Identity, *, again: bool = False) -> Grant:
        """A lease under a new epoch, `again` after one that was lost. Raises `Refused` while a live node objects."""
        ...

    async def look(self, held: Collection[int]) -> Roster:
        """What all nodes share now. `held`: the parts whose requests are wanted."""
        ...

    async def fence(self, name: str, epoch: int, beat: int) -> bool:
        """End the lease of a node whose beat stands still; True if it is over, whoever ended it."""
        ...

    async def take(self, lease: Lease, wanted: Mapping[int, Holder]) -> None:
        """Take parts from holders that have lost them, where nobody was faster. Raises `LeaseLost`."""
        ...

    async def give(self, lease: Lease, gifts: Farewell) -> None:
        """Hand parts over. Raises `LeaseLost`."""
        ...

    async def leave(self, lease: Lease, gifts: Farewell) -> None:
        """Hand parts over or free them, and be live no more."""
        ...

    async def note_clock(self, lease: Lease, offset_ms: int, *, fit: bool) -> None: ...

    async def touch(self, name: str) -> None:
        """Count a change of `app`, `executor` or `job` that the others have to look at."""
        ...


class Peers(Protocol):
    """Calls to the other nodes. None of them is needed for safety: they save time."""

    def nudge(self, member: Member) -> None:
        """Have it look at the database soon."""
        ...

    def tell_ended(self, member: Member, run_ids: Sequence[int]) -> None:
        """These runs of its parts have ended here."""
        ...

    def pass_beat(self, member: Member, beat: Beat) -> None:
        """A sign of life that this node cannot write down."""
        ...

    async def pass_results(self, member: Member, results: Sequence[ExecutorResult], client: str) -> bool:
        """Have it take results that this node cannot write down; True once they are durable. Raises `Unreachable`."""
        ...

    async def is_gone(self, member: Member) -> bool:
        """Whether its machine answers that nobody listens there any more; False if that cannot be told."""
        ...

    async def jobs_changed(self, member: Member, job_ids: Collection[int]) -> None:
        """Returns when it follows the change. Raises `Unreachable`."""
        ...

    async def app_changed(self, member: Member, app_id: int) -> None:
        """Returns when it follows the app's limits. Raises `Unreachable`."""
        ...

    async def pauses_changed(self, member: Member) -> None:
        """Returns when it follows them. Raises `Unreachable`."""
        ...

    async def stop(self, member: Member, run_id: int) -> StopReport:
        """Raises `Unreachable`, and what stopping a run raises."""
        ...


class Spool(Protocol):
    """Results kept in files of the node until the database takes them."""

    async def append(self, results: Sequence[ExecutorResult], client: str) -> None:
        """Return once they are on disk. Raises `StoreError` when the spool is full or broken."""
        ...

    async def oldest(self) -> tuple[str, list[tuple[ExecutorResult, str]]] | None:
        """A closed file's name and what is in it, in the order it came; None when nothing is spooled.

        The same until it is forgotten. Its name may be given to another file then.
        """
        ...

    async def forget(self, name: str) -> None:
        """Delete a file whose results are in the database."""
        ...


class ForeignResults(Protocol):
    """Results for runs that were never sent from here."""

    async def keep(self, results: Sequence[tuple[ExecutorResult, str]], client: str) -> None:
        """Store each result with why it is foreign."""
        ...


class IdSource(Protocol):
    """Ids handed out from blocks, so that rows have ids before they are inserted."""

    def take(self, count: int) -> range | list[int]:
        """That many ids at once; raises `StoreError` when the reserve is used up."""
        ...

    async def draw(self, count: int) -> range | list[int]:
        """As `take`, but gets what is missing first."""
        ...

    async def refill(self) -> None: ...

    def used(self) -> float:
        """How much of all that there will ever be has been given out, from 0 to 1."""
        ...


class Signals(Protocol):
    """Named points of the flow that tests can wait for or crash at; nothing in production."""

    def reached(self, point: str, ids: Collection[int]) -> None: ...


# ---------------------------------------------------------------- surfaces


@dataclass(frozen=True, slots=True)
class StopReport:
    """What a stop has done: the run's state now, and the runs of the same job that went with it."""

    run_id: int
    state: RunState
    also_stopped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """The node as probes and metrics show it; it is ready when there are no problems."""

    problems: tuple[str, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)

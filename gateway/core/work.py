"""What stages want written, as values: the vocabulary between the flow and the store's writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gateway.core.chain import ChainEnd
from gateway.core.children import ParentEnd
from gateway.core.model import NewRun
from gateway.core.sequel import Sequel
from gateway.core.states import RunState


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to schedule: a node's name and the epoch it was granted under."""

    node: str
    epoch: int


@dataclass(slots=True, eq=False)
class JobFire:
    """A compare-and-set of a job's next fire, and the rows that exist only if it succeeds.

    `chain_run_id` names the run among them whose end sets the next fire after it (`core.chain`). `fired` counts the
    slots planned by then, for a job with a maximum. `edition` is that of its calendar.
    """

    job_id: int
    part: int
    version: int
    expected: int
    next_fire_at: int | None
    rows: tuple[NewRun, ...]
    chain_run_id: int = 0
    fired: int = 0
    edition: int = 0


@dataclass(frozen=True, slots=True)
class TaskName:
    """A client's name for a submission: the run is inserted only if the name is free.

    One that another run has had since before `free_before_ms` is free again. The name counts from `created_ms`, which
    for a run that waits for its instant is that instant.
    """

    namespace_id: int
    task_id: str
    run_id: int
    created_ms: int
    free_before_ms: int = 0


@dataclass(frozen=True, slots=True)
class KeyedCall:
    """A client's name for a whole call (an idempotency key): what depends on it is written only if it is free.

    That are the names and inserts of `run_ids`. `record` is what an answer is made of when the call is repeated.
    """

    namespace_id: int
    key: str
    run_id: int
    created_ms: int
    free_before_ms: int
    request_hash: str
    record: str
    run_ids: frozenset[int]


class After(NamedTuple):
    """A time as so many milliseconds after another column of the row.

    Most runs of a batch share a few such distances, though hardly two share an instant; equal values make
    short statements.
    """

    column: str
    ms: int


Value = int | str | None | After


@dataclass(slots=True, eq=False)
class Move:
    """A guarded change of one run: applied only if its state is one of `sources` (and its claim is `claim`).

    `values` names further columns to set. `then` are rows that exist only if the move succeeds.
    A `job_version` makes the move depend on the job still being at that version. Nobody asks what became of
    an `optional` one. The values of a `belated` one are written even where the state has moved on, as long as the
    claim is the same; the state is left alone then. With `chain`, the job goes on after this end.
    With `sequels` the row must say one of them (`core.sequel`); where it says something else, `otherwise` is tried instead.
    A `pair` is made together with the other move, or neither of them is.
    """

    run_id: int
    to: RunState
    sources: frozenset[RunState]
    values: Mapping[str, Value] = field(default_factory=dict)
    claim: int | None = None
    then: tuple[NewRun, ...] = ()
    job_id: int = 0
    job_version: int = 0
    optional: bool = False
    belated: bool = False
    chain: ChainEnd | None = None
    sequels: frozenset[Sequel] | None = None
    otherwise: Move | None = None
    pair: Move | None = None


@dataclass(slots=True, eq=False)
class JoinEnd:
    """An end that counts for a child which joins its parents, if `move` is applied. `row` exists if it is the last.

    `is_foreign`: another node must take the row up. `instead`: the move is what another one does otherwise.
    """

    move: Move
    end: ParentEnd
    row: NewRun
    is_foreign: bool
    instead: bool = False


@dataclass(slots=True)
class JudgedBy:
    """The limits of an app that claims of these jobs were judged by; they are lost if it has been changed since."""

    app_id: int
    updated_ms: int
    job_ids: set[int] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Work:
    """What one stage wants written in one transaction. Lists are applied in the order of the fields.

    `lease`: the transaction must first renew it (`LeaseLost` otherwise). `parts`: what must be this node's until
    the transaction has ended. `requests` are (run id, part) of inserted rows that another node must take up.
    `judged`, `pauses`: on what claims depend besides their jobs, limits of apps and the revision of all pauses.
    """

    fires: Sequence[JobFire] = ()
    keyed: Sequence[KeyedCall] = ()
    names: Sequence[TaskName] = ()
    inserts: Sequence[NewRun] = ()
    moves: Sequence[Move] = ()
    lease: Lease | None = None
    parts: frozenset[int] = frozenset()
    requests: Sequence[tuple[int, int]] = ()
    joins: Sequence[JoinEnd] = ()
    judged: Sequence[JudgedBy] = ()
    pauses: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a work: the jobs and runs whose guard did not match, and were left as they are.

    `lost_fires`, `lost_moves` are those of the work alone, though `stale_jobs` and the names speak of all that shared
    its commit. `losers` are the fires and moves behind them: of two moves of one run, one may be lost.

    `taken_names` maps a run that was not inserted, because its name was not free, to the run that has it; and so do
    `taken_keys` for the first run of a call. `joined` are the runs of children whose last parent has ended. `otherwise`
    are the moves that were made instead of others.

    `pauses_changed`: all claims were lost, since their pauses are not the present ones.
    """

    lost_fires: frozenset[int] = frozenset()
    lost_moves: frozenset[int] = frozenset()
    stale_jobs: frozenset[int] = frozenset()
    taken_names: Mapping[int, int] = field(default_factory=dict)
    taken_keys: Mapping[int, int] = field(default_factory=dict)
    losers: frozenset[JobFire | Move] = frozenset()
    joined: frozenset[int] = frozenset()
    pauses_changed: bool = False
    otherwise: frozenset[Move] = frozenset()

    def of(self, work: Work) -> Written:
        """What became of one of the works that shared the commit."""
        if not self.losers:
            return self
        return replace(
            self,
            lost_fires=frozenset(fire.job_id for fire in work.fires if fire in self.losers),
            lost_moves=frozenset(move.run_id for move in work.moves if move in self.losers),
            losers=frozenset(),
        )


NOTHING_LOST = Written()

"""What the rows of one slot, or of one triggered run, say: what became of it, where its time went, which attempts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.core.daily import LATE_MS
from gateway.core.facts import Fact, span, when
from gateway.core.kills import kill_state
from gateway.core.model import BROADCAST_PARENT, Job, Run, TriggerKind
from gateway.core.pauses import PAUSED_BY
from gateway.core.shards import tally
from gateway.core.states import IN_FLIGHT, WAITING, RunState, rank
from gateway.core.zones import Zone

_WAITS = "waits: "
_MARKED = "marked as succeeded"
_S = RunState
_ENDED = {_S.SUCCEEDED: "succeeded", _S.TIMED_OUT: "was ended by its time-out", _S.STOPPED: "was stopped"}
_CAUSES = {
    TriggerKind.MANUAL: "It was started by hand",
    TriggerKind.API: "It was started through the API",
    TriggerKind.CHILD: "It was started by the end of another run",
    TriggerKind.BACKFILL: "It belongs to a backfill",
    TriggerKind.IMPORTED: "It was the old admin's and came with an import; its executor may still have its log",
    TriggerKind.MISFIRE: "It makes up for slots that were missed",
}


@dataclass(frozen=True, slots=True)
class Story:
    """`rows`: all attempts and shards of it; none are left out. `waits` is what is known now of one that waits."""

    rows: Sequence[Run]
    job: Job
    zone: Zone
    now_ms: int
    waits: str = ""

    @property
    def first(self) -> Run:
        """The first attempt; of a broadcast the parent."""
        return min(self.rows, key=lambda run: (run.shard, run.attempt))

    @property
    def last(self) -> Run:
        """The attempt that speaks for it."""
        shard = self.first.shard
        return max(
            (run for run in self.rows if run.shard == shard), key=lambda run: rank(run.attempt, run.state)
        )

    # ------------------------------------------------------------ the answer

    @property
    def verdict(self) -> str:
        """One word for programs."""
        run = self.last
        if run.state in WAITING:
            return "waiting" if run.due_ms <= self.now_ms else "planned"
        if run.state in IN_FLIGHT:
            return "starting" if run.state is _S.DISPATCHING else "running"
        if not run.sent_ms:
            return "did_not_run" if run.state not in (_S.SKIPPED, _S.EXPIRED) else run.state.word
        return "ran" if run.state is _S.SUCCEEDED else run.state.word

    @property
    def sentence(self) -> str:
        run = self.last
        if run.state in WAITING:
            return self._waiting(run)
        if run.state is _S.DISPATCHING:
            return f"Run {run.id} is on its way to {run.address}."
        if run.state in IN_FLIGHT:
            how = "is being stopped" if run.state is _S.STOPPING else "is running"
            return f"Run {run.id} started {self._lateness()}{self._where(run)} and {how}, since {span(self._since(run))}."
        if not run.sent_ms:
            return f"It did not run: {self._reason(run) or run.state.word}."
        if run.state is _S.SUCCEEDED and (run.reason or "").startswith(_MARKED):
            return f"Run {run.id} started {self._lateness()}{self._where(run)} and was {self._reason(run)}."
        ended = _ENDED.get(run.state) or (
            "got lost" if run.state is _S.LOST else f"failed{self._result(run)}"
        )
        most = self.job.max_attempts + run.uncounted
        tries = f", at attempt {run.attempt} of {most}," if run.attempt > 1 else ""
        took = span(max(run.finished_ms - run.sent_ms, 0))
        return f"Run {run.id} started {self._lateness()}{self._where(run)} and {ended}{tries} after {took}."

    def _waiting(self, run: Run) -> str:
        which = f"Attempt {run.attempt} of it" if run.attempt > 1 else f"Run {run.id}"
        if run.due_ms > self.now_ms:
            return f"{which} is planned: it is due in {span(run.due_ms - self.now_ms)}."
        why = self.waits or self._reason(run) or "it is about to start"
        return f"{which} has waited for {span(self.now_ms - run.due_ms)}: {why}."

    def _since(self, run: Run) -> int:
        return max(self.now_ms - run.sent_ms, 0)

    def _where(self, run: Run) -> str:
        return f" at {run.address}" if run.address else ""

    def _lateness(self) -> str:
        first = self.first
        if not first.sent_ms:
            return "late"
        late_ms = first.sent_ms - first.due_ms
        if late_ms <= LATE_MS:
            return f"on time ({span(max(late_ms, 0))} after it was due)"
        return f"{span(late_ms)} late ({self._why_late(first)})"

    def _why_late(self, run: Run) -> str:
        if run.waiting_ms:
            why = self._waited(run)
            return f"it waited for {_what(why)}: {why}" if why else "it waited for a place"
        if run.trigger_kind is TriggerKind.MISFIRE:
            return f"it makes up for what was missed, misfire {self.job.misfire.value}"
        if run.slot_key > 0 and run.created_ms > run.due_ms + LATE_MS:
            return f"nobody had planned it before {when(run.created_ms, self.zone)}"
        if run.claimed_ms > run.due_ms + LATE_MS:
            return f"it was claimed at {when(run.claimed_ms, self.zone)} only"
        return "it was claimed in time and sent late"

    @staticmethod
    def _waited(run: Run) -> str:
        return (run.reason or "").removeprefix(_WAITS) if (run.reason or "").startswith(_WAITS) else ""

    @staticmethod
    def _reason(run: Run) -> str:
        return (run.reason or "").removeprefix(_WAITS).rstrip(".")

    @staticmethod
    def _result(run: Run) -> str:
        message = " ".join((run.message or "").split())[:200]
        code = f"code {run.result_code}" if run.result_code else ""
        told = ": ".join(part for part in (code, message or (run.reason or "")) if part)
        return f" ({told})" if told else ""

    # ------------------------------------------------------------ the facts

    def facts(self) -> Iterator[Fact]:
        """In the order in which it went."""
        yield from self._cause()
        yield from self._limits()
        run = self.last
        if run.job_version:
            text = f"It was claimed with version {run.job_version} of the job."
            yield Fact("run_version", text, fields={"version": run.job_version})
        if run.address:
            how = "It was pinned" if run.addresses else f"Route {self.job.route.value} sent it"
            yield Fact(
                "route",
                f"{how} to {run.address}.",
                fields={"route": self.job.route.value, "address": run.address},
            )
        yield self._row(run)
        yield from self._steps(self.first)
        yield from self._attempts()
        yield from self._shards()
        if (kill := kill_state(run, self.now_ms)) is not None:
            text = f"Its executor was asked to stop it; {kill.value}."
            yield Fact("kill", text, {"asked": run.stop_asked_ms}, {"kill": kill.value})

    def _cause(self) -> Iterator[Fact]:
        run = self.first
        cause = _CAUSES.get(run.trigger_kind)
        if cause is not None:
            by = f" by {run.author}" if run.author else ""
            of = ""
            if run.parent_id:
                is_child = run.trigger_kind is TriggerKind.CHILD
                of = f" (run {run.parent_id})" if is_child else f", to run run {run.parent_id} again"
            yield Fact(
                "cause",
                f"{cause}{by}{of}.",
                fields={"trigger": run.trigger_kind.name.lower(), "author": run.author or None},
            )
        if (again := self.last.rerun_id) != 0:
            yield Fact("rerun", f"It was run again, as run {again}.", fields={"rerun_id": again})
        if run.slot_count > 1:
            text = (
                f"Its row stands for {run.slot_count} slots, from {when(run.slot_key, self.zone)} to "
                f"{when(run.last_slot_ms, self.zone)}."
            )
            times = {"first_slot": run.slot_key, "last_slot": run.last_slot_ms}
            yield Fact("slots", text, times, {"slots": run.slot_count})

    def _limits(self) -> Iterator[Fact]:
        run = self.first
        if run.waiting_ms and run.claimed_ms:
            waited_ms = max(run.claimed_ms - run.waiting_ms, 0)
            why = f": {self._waited(run)}" if self._waited(run) else ""
            text = f"It waited for {_what(why)} for {span(waited_ms)}{why}."
            yield Fact("waited", text, {"since": run.waiting_ms}, {"waited_ms": waited_ms})
        if run.bypass:
            yield Fact("bypass", "It was let past the limits.")
        if run.expires_ms:
            yield Fact(
                "ttl", f"It could wait until {when(run.expires_ms, self.zone)}.", {"expires": run.expires_ms}
            )

    def _row(self, run: Run) -> Fact:
        reason = f": {run.reason}" if run.reason else ""
        return Fact(
            "state",
            f"Run {run.id} is {run.state.word}{reason}.".replace("..", "."),
            fields={"run_id": run.id, "state": run.state.word, "reason": run.reason},
        )

    def _steps(self, run: Run) -> Iterator[Fact]:
        """Each step by how long after the one before it, so that it shows where the time went."""
        named = (
            ("claimed", run.claimed_ms),
            ("sent", run.sent_ms),
            ("answered", run.answered_ms),
            ("finished", run.finished_ms),
        )
        happened = [(name, ms) for name, ms in named if ms]
        if not happened:
            return
        told: list[str] = []
        before = run.due_ms
        for name, ms in happened:
            later = ms - before
            told.append(f"{name} {span(abs(later))} {'later' if later >= 0 else 'before that'}")
            # A claim comes a moment before the instant at which the run is due.
            before = max(ms, run.due_ms)
        text = f"Due at {when(run.due_ms, self.zone)}, {', '.join(told)}."
        late = {"lateness_ms": run.sent_ms - run.due_ms} if run.sent_ms else {}
        yield Fact("steps", text, {"due": run.due_ms, "created": run.created_ms, **dict(happened)}, late)

    def _attempts(self) -> Iterator[Fact]:
        shard = self.first.shard
        tries = sorted((run for run in self.rows if run.shard == shard), key=lambda run: run.attempt)
        most = self.job.max_attempts + tries[-1].uncounted
        if len(tries) < 2:
            return
        told = [
            f"{run.attempt}: {(run.outcome or run.state).word}{self._result(run) if run.result_code else ''}"
            for run in tries
        ]
        text = f"{len(tries)} of at most {most} attempts: {'; '.join(told)}."
        rows = [{"attempt": run.attempt, "run_id": run.id, "state": run.state.word} for run in tries]
        yield Fact("attempts", text, fields={"attempts": rows, "max_attempts": most})

    def _shards(self) -> Iterator[Fact]:
        if self.first.shard != BROADCAST_PARENT:
            return
        found = tally((run.shard, run.attempt, run.state) for run in self.rows)
        text = (
            f"{found.total} shards: {found.succeeded} succeeded, {found.failed} failed, {found.stopped} stopped, "
            f"{found.pending} pending."
        )
        counts = {
            name: getattr(found, name) for name in ("total", "succeeded", "failed", "stopped", "pending")
        }
        yield Fact("shards", text, fields=counts)


def _what(waited: str) -> str:
    return "the end of a pause" if PAUSED_BY in waited else "a place"

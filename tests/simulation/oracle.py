"""What must be true after a simulated life, from arithmetic, the executors' own counts, and the rows as they are.

P1 once, P2 none vanishes, P3 never early, P6 no result lost, P7 only the owner sends, P8 edits hold with their answer.
P9 one chain a job, counted from the end. P4 limits of the app and of jobs, P5 priority under them (where nothing is late).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gateway.core.late import TRIED_AGAIN
from gateway.core.model import PARTS, Guarantee, Job, Run, TriggerKind
from gateway.core.overlap import Overlap
from gateway.core.pauses import Scope
from gateway.core.states import OPEN, RunState
from gateway.flow.complete import NO_SEQUEL
from gateway.store import tables
from tests.simulation.simulation import Simulation

OF_SCHEDULE = (TriggerKind.SCHEDULE, TriggerKind.MISFIRE)
MEANINGS = {200: RunState.SUCCEEDED, 500: RunState.FAILED, 502: RunState.TIMED_OUT}
UNSUCCESSFUL = (RunState.FAILED, RunState.TIMED_OUT, RunState.LOST)
FOREVER = 1 << 62
SUDDEN = {"crash", "crash_at", "freeze", "freeze_at"}
LATE_MS = 1500


@dataclass(frozen=True)
class Period:
    """A version of a job: slots after `from_ms`, up to and with `to_ms`. What is due until `sure_to_ms` surely was."""

    every_ms: int
    anchor_ms: int
    from_ms: int
    to_ms: int
    sure_to_ms: int
    sent_until_ms: int

    def slots(self, to_ms: int) -> range:
        first = self.anchor_ms + ((self.from_ms - self.anchor_ms) // self.every_ms + 1) * self.every_ms
        return range(max(first, self.anchor_ms), to_ms + 1, self.every_ms)


class Oracle:
    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.people = simulation.people
        self.runs: list[Run] = []
        self.by_id: dict[int, Run] = {}

    async def judge(self) -> None:
        self.runs = await self.world.rows()
        self.by_id = {run.id: run for run in self.runs}
        assert not self.people.errors, self.people.errors
        self.judge_once()
        self.judge_complete(await self.world.table(tables.job_version), await self.world.table(tables.job))
        self.judge_never_early()
        self.judge_limits()
        self.judge_priority()
        self.judge_results()
        self.judge_ended()
        self.judge_owners()
        self.judge_edits()
        self.judge_pauses()
        self.judge_stops()
        self.judge_in_time()
        self.judge_triggers(await self.world.table(tables.task))
        await self.judge_nodes()

    # ------------------------------------------------------------ P1

    def judge_once(self) -> None:
        """No run is executed twice, unless its job wants that rather than a loss, and its row says so."""
        for run_id, count in self.world.executions.items():
            run = self.by_id[run_id]
            if count > 1:
                job = self.people.jobs[run.job_id]
                assert job.guarantee is Guarantee.AT_LEAST_ONCE, f"executed {count} times: {run}"
                assert "at_least_once" in (run.reason or ""), f"executed {count} times: {run}"
        keys = Counter((run.job_id, run.slot_key, run.shard, run.attempt) for run in self.runs)
        assert max(keys.values(), default=1) == 1

    # ------------------------------------------------------------ P2

    def judge_complete(self, versions: list[dict[str, Any]], present: list[dict[str, Any]]) -> None:
        """Every slot that was due while its job was enabled has exactly one first row."""
        first_rows: dict[int, list[Run]] = defaultdict(list)
        for run in self.runs:
            if run.attempt == 1 and run.shard <= 0 and run.trigger_kind in OF_SCHEDULE:
                first_rows[run.job_id].append(run)
        there = {row["id"] for row in present}
        for job_id, job in self.people.jobs.items():
            mine = [row for row in versions if row["job_id"] == job_id]
            if job.schedule["kind"] == "second_delay":
                self._judge_chain(job, sorted(first_rows[job_id], key=lambda run: run.slot_key))
                continue
            periods = self._periods(job, mine, gone=job_id not in there)
            self._judge_job(job, periods, first_rows[job_id])

    def _periods(self, job: Job, versions: list[dict[str, Any]], *, gone: bool) -> list[Period]:
        versions = sorted(versions, key=lambda row: row["version"])
        assert [row["version"] for row in versions] == list(range(1, len(versions) + 1))
        deletions = [edit for edit in self.people.edits if (edit.job_id, edit.kind) == (job.id, "delete")]
        assert bool(deletions) or not gone
        ends = [(row["created_ms"], row["created_ms"]) for row in versions[1:]]
        now_ms = self.world.clock.now_ms()
        ends.append((deletions[0].asked_ms, deletions[-1].over_ms) if gone else (now_ms, now_ms))
        periods: list[Period] = []
        anchor_ms, last_rate = job.anchor_ms, None
        for row, (sure_to_ms, to_ms) in zip(versions, ends, strict=True):
            definition = json.loads(row["definition"])
            rate = definition["schedule"]["expression"]
            if last_rate not in (None, rate):
                anchor_ms = row["created_ms"]
            last_rate = rate
            if definition["enabled"]:
                period = Period(
                    every_ms=int(rate.removesuffix("s")) * 1000,
                    anchor_ms=anchor_ms,
                    from_ms=row["created_ms"],
                    to_ms=to_ms,
                    sure_to_ms=sure_to_ms,
                    sent_until_ms=self._over_ms(job.id, row["version"] + 1, to_ms),
                )
                periods.append(period)
        return periods

    def _over_ms(self, job_id: int, version: int, at_ms: int) -> int:
        """When the edit that made this version was answered, or given up by who had asked for it."""
        over = [
            edit.over_ms for edit in self.people.edits if (edit.job_id, edit.version) == (job_id, version)
        ]
        return max(over, default=at_ms) if over else at_ms + 2000

    def _judge_job(self, job: Job, periods: list[Period], rows: list[Run]) -> None:
        sure = {slot for period in periods for slot in period.slots(period.sure_to_ms)}
        possible = {slot for period in periods for slot in period.slots(period.to_ms)}
        single = {run.slot_key for run in rows if run.slot_count == 1}
        covered: Counter[int] = Counter(run.slot_key for run in rows if run.slot_count == 1)
        for run in rows:
            if run.slot_count > 1:
                within = [slot for slot in sorted(possible) if run.slot_key <= slot <= run.last_slot_ms]
                if len(within) != run.slot_count:
                    within = [slot for slot in within if slot not in single]
                assert len(within) == run.slot_count, (run, within)
                assert run.state is RunState.SKIPPED, run
                covered.update(within)
        wrong = {slot: covered[slot] for slot in sure if covered[slot] != 1}
        assert not wrong, f"slots with other than one row: {sorted(wrong.items())} of {job}, {periods}"
        assert max(covered.values(), default=1) == 1
        sent = {self.by_id[one.run_id].root_id for one in self.simulation.sent}
        for run in rows:
            assert run.state is not RunState.SKIPPED or run.reason, run
            if run.slot_count == 1 and run.slot_key not in possible and run.id in sent:
                in_time = any(
                    period.to_ms < run.slot_key <= period.sent_until_ms
                    and run.slot_key in period.slots(period.sent_until_ms)
                    for period in periods
                )
                assert in_time, f"not a slot of its job: {run}, {periods}"

    # ------------------------------------------------------------ P9

    def _judge_chain(self, job: Job, rows: list[Run]) -> None:
        """One run at a time, each so long after the end of the one before; and none is the last while it may go on."""
        delay_ms = int(job.schedule["expression"].removesuffix("s")) * 1000
        switched = [
            edit for edit in self.people.edits if edit.job_id == job.id and edit.kind.endswith("able")
        ]
        for one, other in pairwise(rows):
            ended_ms = self._chain_end_ms(one)
            if ended_ms is None:
                continue  # a late result has taken the place of the end that counted
            assert other.created_ms >= ended_ms, (one, other)
            if not any(edit.asked_ms <= other.slot_key and edit.over_ms >= one.slot_key for edit in switched):
                assert other.slot_key == ended_ms + delay_ms, (ended_ms, one, other)
        if self._was_deleted(job.id) or not rows:
            return
        over = max(edit.asked_ms for edit in switched)  # when the simulation let nothing more begin
        was_on = [edit for edit in switched if edit.asked_ms < over]
        if all(edit.kind == "enable" and edit.answered for edit in was_on[-1:]):
            ended_ms = self._chain_end_ms(rows[-1])
            assert ended_ms is None or ended_ms + delay_ms + 2 * LATE_MS >= over, (over, rows[-1])

    def _chain_end_ms(self, first: Run) -> int | None:
        """When the last attempt ended, or the whole of a broadcast; None where that was corrected later."""
        family = [run for run in self.runs if run.root_id == first.root_id and run.job_id == first.job_id]
        if any("late" in (run.reason or "") and run.state is not RunState.SKIPPED for run in family):
            return None
        return max(run.finished_ms for run in family if run.shard == first.shard)

    # ------------------------------------------------------------ P3

    def judge_never_early(self) -> None:
        for executor in self.world.executors.values():
            for request in executor.received:
                run = self.by_id[request.run_id]
                assert request.at_ms >= max(run.slot_key, run.due_ms), (request, run)
        assert [run_id for life in self.world.lives for run_id in life.link.early] == []

    # ------------------------------------------------------------ P4, P5

    def judge_limits(self) -> None:
        """Whenever a run leaves, those that executors have and whose rows have not ended are fewer than may be."""
        arrived: dict[int, int] = {}
        for executor in self.world.executors.values():
            for request in executor.received:
                arrived[request.run_id] = min(request.at_ms, arrived.get(request.run_id, FOREVER))
        for sent in self.simulation.sent:
            run = self.by_id[sent.run_id]
            others = [
                one
                for one, at_ms in arrived.items()
                if one != run.id and at_ms <= sent.at_ms < self.by_id[one].finished_ms
            ]
            most = self._most(sent.number)
            assert len(others) < most, f"{len(others)} others of at most {most}: {sent}, {others}"
            job = self.people.jobs[run.job_id]
            if job.concurrency.limited:
                # Of a broadcast the parent counts, until it has ended.
                roots = {self._whole(self.by_id[one], sent.at_ms) for one in others if self._is_of(one, job)}
                roots -= {self._whole(run, sent.at_ms), 0}
                assert len(roots) < job.concurrency.places, f"{roots} as well: {sent}, {job}"

    def _is_of(self, run_id: int, job: Job) -> bool:
        return self.by_id[run_id].job_id == job.id

    def _whole(self, run: Run, at_ms: int) -> int:
        """The run that counts for its job with this one, 0 if that has ended."""
        parent = self.by_id[run.root_id]
        if parent.shard >= 0:
            return run.id
        return parent.id if parent.finished_ms > at_ms else 0

    def _most(self, number: int) -> float:
        """The largest limit that may have been in force at this event; edits that failed may have come true."""
        possible: list[int | None] = [None]
        for edit in self.people.limits:
            if edit.asked > number:
                break
            if edit.answered and edit.answered < number:
                possible = [edit.most]
            else:
                possible.append(edit.most)
        return float("inf") if None in possible else max(filter(None, possible))

    def judge_priority(self) -> None:
        """No run is claimed while one of a higher priority waits for the app, which has done so for a while."""
        if not self.simulation.is_calm or "limits" not in self.simulation.kinds:
            return
        free = [
            run
            for run in self.runs
            if not self.people.jobs[run.job_id].concurrency.limited
            and run.shard >= 0
            # Of several claims its row has the last, and the log time of the first.
            and not 0 < run.trigger_ms < run.claimed_ms
            and "again" not in (run.reason or "")
        ]
        for run in free:
            for other in free:
                waited = other.due_ms + LATE_MS < run.claimed_ms < min(other.claimed_ms, other.finished_ms)
                assert not (waited and other.priority > run.priority), (run, other)

    # ------------------------------------------------------------ P6

    def judge_results(self) -> None:
        """Each result that was acknowledged is in its row, the first one of several."""
        first: dict[int, int] = {}
        for result in self.world.acknowledged:
            first.setdefault(result.run_id, result.code)
        for run_id, code in first.items():
            run = self.by_id[run_id]
            wanted = {MEANINGS[code], RunState.STOPPED} if self._may_be_stopped(run) else {MEANINGS[code]}
            assert run.outcome in wanted, run
            assert run.result_code == code, run

    def _may_be_stopped(self, run: Run) -> bool:
        replaced = self.people.jobs[run.job_id].concurrency.overlap is Overlap.REPLACE
        return replaced or run.job_id in self.people.stopped_jobs

    def judge_ended(self) -> None:
        """What was due has ended; an attempt that failed and may be repeated was repeated, once."""
        left = [run for run in self.runs if run.state in OPEN]
        assert not left, "open: " + "\n".join(map(str, left))
        keys = {(run.job_id, run.slot_key, run.shard, run.attempt) for run in self.runs}
        for run in self.runs:
            again = (run.job_id, run.slot_key, run.shard, run.attempt + 1)
            is_late = run.state is RunState.SUCCEEDED and (run.reason or "").startswith(TRIED_AGAIN)
            assert (run.state is RunState.RETRYING or is_late) == (again in keys), run
            job = self.people.jobs[run.job_id]
            if (
                run.state in UNSUCCESSFUL
                and run.shard >= 0
                and not self._was_deleted(job.id)
                and (run.reason or "").find(NO_SEQUEL) < 0
            ):
                assert run.attempt - run.uncounted == job.max_attempts, f"not tried again: {run}"

    def _was_deleted(self, job_id: int) -> bool:
        return any((edit.job_id, edit.kind) == (job_id, "delete") for edit in self.people.edits)

    # ------------------------------------------------------------ P7

    def judge_owners(self) -> None:
        """Whoever sent a run owned its part in the database at that moment, by a lease that nobody had ended."""
        wrong = [sent for sent in self.simulation.sent if sent.owner != sent.node]
        assert not wrong, wrong

    # ------------------------------------------------------------ P8

    def judge_edits(self) -> None:
        for job_id in self.people.jobs:
            edits = [edit for edit in self.people.edits if edit.job_id == job_id]
            sent = [one for one in self.simulation.sent if one.job_id == job_id]
            for edit in edits:
                if not edit.answered:
                    continue
                later = [one for one in sent if one.number > edit.answered]
                assert edit.kind != "delete" or not later, (edit, later)
                if edit.kind != "delete":
                    assert all(one.version >= edit.version for one in later), (edit, later)
                if edit.kind == "disable":
                    until = min((one.asked for one in edits if one.asked > edit.asked), default=FOREVER)
                    wrong = [
                        one
                        for one in later
                        if one.number < until and self.by_id[one.run_id].trigger_kind in OF_SCHEDULE
                    ]
                    assert not wrong, (edit, wrong)

    def judge_pauses(self) -> None:
        """Nothing that a pause covers leaves after its answer, until its end is asked for."""
        for pause in self.people.pauses:
            if not pause.answered:
                continue
            for one in self.simulation.sent:
                job = self.people.jobs[one.job_id]
                covered = {Scope.ALL: 0, Scope.APP: job.app_id, Scope.JOB: job.id}[pause.scope]
                is_within = pause.answered < one.number < pause.until
                assert not (is_within and covered == pause.scope_id), (pause, one)

    # ------------------------------------------------------------ triggers

    def judge_triggers(self, names: list[dict[str, Any]]) -> None:
        """Each trigger that was answered has its run; a task id names one run, whoever was asked."""
        named = {row["task_id"]: row["run_id"] for row in names}
        for trigger in self.people.triggers:
            assert trigger.run_id in self.by_id, trigger
            assert trigger.task_id is None or named[trigger.task_id] == trigger.run_id, trigger
        firsts = Counter(one.task_id for one in self.people.triggers if one.task_id and one.is_first)
        assert max(firsts.values(), default=1) == 1, firsts

    # ------------------------------------------------------------ stops, and being on time

    def judge_stops(self) -> None:
        """What was stopped before it was sent stays so."""
        for run_id, answered in self.people.stopped.items():
            assert self.by_id[run_id].state is RunState.STOPPED, self.by_id[run_id]
            late = [one for one in self.simulation.sent if one.run_id == run_id and one.number > answered]
            assert not late, late

    def judge_in_time(self) -> None:
        """While nodes come and go in order no run is late; and no row is ever forgotten by all of them."""
        if not self.simulation.kinds & SUDDEN:
            strays = {life.name: life.counters.values.get("strays", 0) for life in self.world.lives}
            assert not any(strays.values()), strays
        if not self.simulation.is_calm or "limits" in self.simulation.kinds:
            return
        first: dict[int, int] = {}
        for sent in self.simulation.sent:
            first.setdefault(sent.run_id, sent.at_ms)
        late = [
            self.by_id[run_id] for run_id, at in first.items() if at - self.by_id[run_id].due_ms > LATE_MS
        ]
        assert not late, late

    # ------------------------------------------------------------ afterwards

    async def judge_nodes(self) -> None:
        """Equal shares, each part held by the node whose row says so; nothing is left in any memory."""
        nodes = {row["name"]: row for row in await self.world.table(tables.node)}
        held: dict[str, set[int]] = defaultdict(set)
        for row in await self.world.table(tables.part):
            assert row["node"] in self.world.nodes, row
            assert row["epoch"] == nodes[row["node"]]["epoch"], (row, nodes[row["node"]])
            held[row["node"]].add(row["id"])
        shares = [len(held[name]) for name in self.world.nodes]
        assert sum(shares) == PARTS
        assert max(shares) - min(shares) <= 1, shares
        for name, life in self.world.nodes.items():
            assert set(life.context.held) == held[name]
            left = [(flight, self.by_id[flight.seed.id]) for flight in life.context.flights]
            assert not left, (name, left)
            assert len(life.flow.settler) == 0
            assert life.flow.admitter.waiting == 0
            assert life.flow.health().problems == ()
        assert not [name for name in self.simulation.names if self.world.has_spooled(name)]
        assert await self.world.table(tables.request) == []

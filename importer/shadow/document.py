"""A shadow's report for people: sections that become lines of a terminal, Markdown or HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from importer.report.document import Column, Document, Section, Table
from importer.report.text import Cleaner, count

Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs and disagreements are shown, and of these of one job; `all`: also jobs of which nothing is to be said."""

    jobs: int
    examples: int
    of_job: int
    all: bool


TERMINAL = Limits(jobs=20, examples=12, of_job=3, all=False)
PAGE = Limits(jobs=2000, examples=2000, of_job=100, all=True)

_NUMBERS = (
    ("agreed", "agreed"),
    ("missing", "missing"),
    ("extra", "extra"),
    ("twice", "duplicates"),
    ("unclear", "unclear"),
)


def document_of(found: Found, limits: Limits) -> Document:
    return _Writer(found, limits).document()


def one_line(found: Found) -> str:
    """The state of a watch, for a terminal."""
    total = found["total"]
    parts = [f"{total['agreed']:,} agreed"]
    parts += [f"{total[name]:,} {shown}" for shown, name in _NUMBERS[1:] if total[name]]
    late = total["lateness_s"]
    if late["p99"] is not None:
        parts.append(f"late p99 {late['p99']} s, max {late['max']} s")
    waiting = found["not_judged_yet"]
    return f"judged to {found['judged_to'][11:19]}: {', '.join(parts)}; {waiting:,} not judged yet"


class _Writer:
    def __init__(self, found: Found, limits: Limits) -> None:
        self._found = found
        self._limits = limits
        self._clean = Cleaner()

    def document(self) -> Document:
        found = self._found
        sections = [
            self._verdict(),
            *self._next_times(),
            *self._jobs(),
            *self._examples(),
            *self._stopped(),
            *self._silences(),
            *self._meanings(),
        ]
        if found["notes"]:
            sections.append(Section("Notes", tuple(map(self._clean, found["notes"]))))
        facts = (
            ("source", self._clean(found["source"])),
            ("release", f"{found['release']} by its tables"),
            ("clock", f"{found['timezone']} ({found['timezone_from']})"),
            ("judged", f"{found['from']} to {found['judged_to']}"),
            ("read", f"{count(found['looks'], 'look')}, {count(found['log_rows'], 'row')} of the log"),
        )
        return Document(
            "Shadow: what this scheduler would have fired beside what the old admin fired",
            facts,
            tuple(sections),
        )

    def _verdict(self) -> Section:
        total = self._found["total"]
        late = total["lateness_s"]
        differ = total["jobs_that_differ"]
        told = ", ".join(f"{total[name]:,} {shown}" for shown, name in _NUMBERS)
        lines = [told + "."]
        if late["p50"] is not None:
            lines.append(
                f"The old admin started its runs {late['p50']} s (half), {late['p99']} s (99 of 100), {late['max']} s (all) "
                f"after their slots at most; {total['late']:,} more than 5 s late."
            )
        lines.append(
            f"{count(differ, 'job')} of {total['jobs']:,} {'differs' if differ == 1 else 'differ'}."
            if differ
            else f"None of {count(total['jobs'], 'job')} differs."
        )
        without = ", ".join(f"{number:,} {why}" for why, number in total["jobs_without_slots"].items())
        if without:
            lines.append(f"Jobs without slots: {without}.")
        others = ", ".join(f"{number:,} {kind}" for kind, number in total["not_slots"].items())
        if others:
            lines.append(f"Runs that are no slots: {others}.")
        if total["drifts"]:
            moved = f"{count(total['drifts'], 'time')}, by {total['drift_s']:g} s in all"
            lines.append(f"Fixed rates of the old admin moved their phase {moved}; here they would not.")
        if self._found["not_judged_yet"]:
            waiting = count(self._found["not_judged_yet"], "slot")
            lines.append(
                f"{waiting} of the last {self._found['settle_s']:g} s not judged: rows may still come."
            )
        return Section("What was found", tuple(lines))

    def _jobs(self) -> list[Section]:
        jobs = [job for job in self._found["jobs"] if self._limits.all or _is_of_interest(job)]
        if not jobs:
            return []
        columns = (
            Column("job", is_number=True),
            Column("name", is_value=True),
            Column("schedule", is_value=True),
            *(Column(title, is_number=True) for title, _ in _NUMBERS),
            Column("late s", is_number=True),
        )
        rows = tuple(self._row(job) for job in jobs[: self._limits.jobs])
        title = "Jobs" if self._limits.all else "Jobs that differ, or of which something is unclear"
        return [Section(title, table=Table(columns, rows, len(jobs) - len(rows), "jobs"))]

    def _row(self, job: Found) -> tuple[str, ...]:
        late = job["lateness_s"]
        return (
            str(job["job_id"]),
            self._clean(job["name"], 40),
            self._clean(job["schedule"], 40),
            *(f"{job[name]:,}" for _, name in _NUMBERS),
            "-" if late["p50"] is None else f"{late['p50']}/{late['p99']}/{late['max']}",
        )

    def _examples(self) -> list[Section]:
        told = [
            (job, [one for one in job["examples"] if self._limits.all or one["what"] != "drift"])
            for job in self._found["jobs"]
        ]
        shown = [(job, one) for job, examples in told for one in examples[: self._limits.of_job]]
        shown = shown[: self._limits.examples]
        if not shown:
            return []
        number = sum(len(examples) for _, examples in told)
        columns = (
            Column("job", is_number=True),
            Column("what"),
            Column("slot"),
            Column("why"),
            Column("log ids"),
        )
        rows = tuple(self._example(job, example) for job, example in shown)
        return [Section("Where they differ", table=Table(columns, rows, number - len(rows), "examples"))]

    def _example(self, job: Found, example: Found) -> tuple[str, ...]:
        until = f" to {example['to']}" if example.get("count", 1) > 1 else ""
        ids = ", ".join(map(str, example["log_ids"]))
        return (str(job["job_id"]), example["what"], example["at"] + until, self._clean(example["why"]), ids)

    def _stopped(self) -> list[Section]:
        lines = [
            f"job {one['job_id']} ({self._clean(one['name'], 60)}): {one['why']}"
            for one in self._found["stopped_by_old_admin"]
        ]
        return [Section("Stopped by the old admin itself", tuple(lines))] if lines else []

    def _silences(self) -> list[Section]:
        lines = [
            f"from {one['from']} to {one['to']}: {count(one['slots'], 'slot')} due, nothing started"
            for one in self._found["silences"]
        ]
        if self._found["more_silences"]:
            lines.append(f"and {self._found['more_silences']:,} more")
        return [Section("When the old admin started nothing", tuple(lines))] if lines else []

    def _next_times(self) -> list[Section]:
        told = self._found["next_times"]
        if not told["differ"]:
            return []
        stored = f"Of {count(told['compared'], 'next time')} that the old admin has stored"
        lines = [f"{stored}, {told['differ']:,} are no slots here: what differs before it happens."]
        if told["hint"]:
            lines.append(told["hint"][0].upper() + told["hint"][1:] + ".")
        columns = (
            Column("job", is_number=True),
            Column("name", is_value=True),
            Column("schedule", is_value=True),
            Column("theirs"),
            Column("ours"),
            Column("why"),
        )
        rows = tuple(
            (
                str(one["job_id"]),
                self._clean(one["name"], 40),
                self._clean(one["schedule"], 40),
                one["theirs"],
                one["ours"] or "never",
                one["why"],
            )
            for one in told["jobs"]
        )
        table = Table(columns, rows, told["differ"] - len(rows), "jobs")
        return [Section("Next times that differ", tuple(lines), table)]

    def _meanings(self) -> list[Section]:
        total, meanings = self._found["total"], self._found["meanings"]
        lines = _why("missing", total["missing_why"], meanings)
        lines += _why("extra", total["extra_why"], meanings)
        lines += [f"unclear: {number:,}, {why}" for why, number in total["unclear_why"].items()]
        return [Section("Why", tuple(lines))] if lines else []


def _why(what: str, counts: Mapping[str, int], meanings: Mapping[str, str]) -> list[str]:
    most: Sequence[tuple[str, int]] = sorted(counts.items(), key=lambda one: -one[1])
    return [f"{what}: {number:,}, {meanings[why]}" for why, number in most]


def _is_of_interest(job: Found) -> bool:
    return bool(job["missing"] or job["extra"] or job["duplicates"] or job["unclear"])

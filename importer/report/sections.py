"""What a report for people says, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from importer.plan.values import Action, Finding, Level, PlannedJob, Verdict
from importer.report.counts import table_counts
from importer.report.document import Column, Document, Section, Table
from importer.report.life import signs_of_life
from importer.report.text import Cleaner, count, places, ranges
from importer.report.times import Times, differences
from importer.report.values import Report

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is shown: rows of a table, kinds of differing fire times, instants of each, ids in a list, and what did
    not matter.
    """

    rows: int
    kinds: int
    instants: int
    ids: int
    all: bool = True


TERMINAL = Limits(rows=12, kinds=5, instants=4, ids=8, all=False)
PAGE = Limits(rows=500, kinds=50, instants=10, ids=40)


def document_of(report: Report, limits: Limits, next_steps: Sequence[str] = ()) -> Document:
    return _Writer(report, limits).document(next_steps)


class _Writer:
    def __init__(self, report: Report, limits: Limits) -> None:
        self._report = report
        self._plan = report.plan
        self._limits = limits
        self._clean = Cleaner(report.secrets)
        self._times = Times(report.plan.timezone)

    def document(self, next_steps: Sequence[str]) -> Document:
        sections: list[Section] = [self._counts(), *self._attention()]
        sections += self._changed()
        sections += self._fires()
        sections += self._findings(Level.DROPPED, "Not taken over")
        sections += self._findings(Level.REPAIRED, "Repaired")
        if self._limits.all:
            sections += self._findings(Level.NOTE, "Taken over in another form")
        sections += self._equivalent()
        sections += self._there_already()
        sections += self._ids()
        sections += self._security()
        if self._limits.all:
            sections += self._all_jobs()
        if next_steps:
            sections.append(Section("What comes next", tuple(next_steps), are_steps=True))
        clean = self._clean
        title = f"Import of {clean(self._report.source)}"
        return Document(
            title, tuple((name, clean(text, 600)) for name, text in self._facts()), tuple(sections)
        )

    def _facts(self) -> Iterator[tuple[str, str]]:
        report, plan, installation = self._report, self._plan, self._report.installation
        iso = self._times.iso
        yield "Source", f"{report.source} ({installation.server}), xxl-job {installation.release}"
        yield "Read", iso(installation.read_ms)
        yield "Target", report.target
        yield "Time zone", f"{plan.timezone} ({plan.timezone_from})"
        yield "Outcome", "carried out" if report.written else "a plan: nothing has been written"
        verdicts = Counter(job.verdict for job in plan.jobs)
        words = ", ".join(f"{verdicts[one]:,} {one.value}" for one in Verdict if verdicts[one])
        yield "Jobs", f"{len(plan.jobs):,}" + (f": {words}" if words else "")
        wanting = sum(job.wants_enabled for job in plan.jobs)
        yield "To be enabled", f"{wanting:,}, by cutover; until then all jobs stay disabled here"

    def _counts(self) -> Section:
        rows = tuple(
            (one.table, one.becomes, f"{one.read:,}", f"{one.taken:,}", self._clean(one.others))
            for one in table_counts(self._report)
        )
        columns = (
            Column("There"),
            Column("Here"),
            Column("Read", is_number=True),
            Column("Taken over", is_number=True),
            Column("The others"),
        )
        return Section("What was read, and what is taken over", table=Table(columns, rows))

    def _attention(self) -> Iterator[Section]:
        lines = [self._clean(note, 600) for note in self._report.installation.notes]
        signs = signs_of_life(self._report.installation.signs)
        if signs:
            lines.append(
                f"An old admin seems to be running: {'; '.join(signs)}. It may go on: imported jobs stay disabled "
                "until cutover, which is for when it has stopped."
            )
        groups = _grouped(one for one in self._plan.findings if one.level is Level.WARNING)
        shown = groups[: self._limits.rows]
        lines += [self._in_a_line(wheres, finding) for wheres, finding in shown]
        if len(groups) > len(shown):
            lines.append(f"and {len(groups) - len(shown):,} more")
        if lines:
            yield Section("To be looked at", tuple(lines))

    def _in_a_line(self, wheres: Sequence[str], finding: Finding) -> str:
        value = f" {self._clean(finding.value, 80)}" if finding.value else ""
        became = f" → {self._clean(finding.became, 80)}" if finding.became else ""
        subject = f"{self._clean(places(wheres, self._limits.ids), 2000)}, {finding.field}{value}{became}"
        return f"{subject}: {self._clean(finding.why)}"

    def _changed(self) -> Iterator[Section]:
        yield from self._by_reason(Verdict.CHANGED, "Jobs that change")

    def _equivalent(self) -> Iterator[Section]:
        yield from self._by_reason(Verdict.EQUIVALENT, "Jobs that are equivalent")

    def _by_reason(self, verdict: Verdict, title: str) -> Iterator[Section]:
        """What many jobs share is said once."""
        by_reason: dict[str, list[PlannedJob]] = {}
        for job in self._plan.jobs:
            if job.verdict is verdict:
                by_reason.setdefault("; ".join(job.reasons), []).append(job)
        columns = (Column("Jobs"), Column("Number", is_number=True), Column("Because"))
        yield from self._table(
            title,
            columns,
            list(by_reason.items()),
            lambda item: (self._named(item[1]), f"{len(item[1]):,}", self._clean(item[0], 600)),
            sum(map(len, by_reason.values())),
        )

    def _named(self, jobs: Sequence[PlannedJob]) -> str:
        """Their ids there; of one, its name as well."""
        if len(jobs) == 1:
            return f"{jobs[0].old_id} {self._clean(jobs[0].job.name, 60)}"
        return ranges((job.old_id for job in jobs), self._limits.ids)

    def _fires(self) -> Iterator[Section]:
        kinds: dict[tuple[object, ...], list[PlannedJob]] = {}
        for job in self._plan.jobs:
            fires = job.fires
            if fires.differ_at is not None or (fires.theirs is None and fires.ours):
                kinds.setdefault((fires.why, *differences(fires)), []).append(job)
        rows: list[tuple[str, ...]] = []
        for jobs in list(kinds.values())[: self._limits.kinds]:
            rows += self._differing(jobs)
        if rows:
            columns = (Column("Jobs"), Column("At"), Column("Here"), Column("Old admin"), Column("Because"))
            left_out = max(len(kinds) - self._limits.kinds, 0)
            differing = count(sum(map(len, kinds.values())), "job")
            told = f"{differing} of {len(self._plan.jobs):,}, looking at the next fire times of each."
            table = Table(columns, tuple(rows), left_out, "jobs or groups of jobs")
            yield Section("Fire times that differ", (told,), table)

    def _differing(self, jobs: Sequence[PlannedJob]) -> Iterator[tuple[str, ...]]:
        """Of jobs that differ in the same way."""
        fires, iso = jobs[0].fires, self._times.iso
        named, why = self._named(jobs), self._clean(fires.why)
        only = differences(fires)
        for ms, here in only[: self._limits.instants]:
            yield named, iso(ms), "fires" if here else "–", "–" if here else "fires", why
            named = why = ""
        if not only:
            theirs = "never" if fires.theirs is None else "–"
            yield (
                named,
                iso(fires.ours[0]) if fires.ours else "",
                "fires" if fires.ours else "never",
                theirs,
                why,
            )
        elif len(only) > self._limits.instants:
            yield "", f"and {len(only) - self._limits.instants} more", "", "", ""

    def _findings(self, level: Level, title: str) -> Iterator[Section]:
        told = self._report.installation.notes  # under "To be looked at"
        found = [one for one in self._plan.findings if one.level is level and one.why not in told]
        columns = (
            Column("Where"),
            Column("Field"),
            Column("Stood there", is_value=True),
            Column("Became", is_value=True),
            Column("Because"),
        )
        clean = self._clean
        yield from self._table(
            title,
            columns,
            list(_grouped(found)),
            lambda group: (
                clean(places(group[0], self._limits.ids), 2000),
                clean(group[1].field),
                clean(group[1].value, 120),
                clean(group[1].became, 120),
                clean(group[1].why),
            ),
        )

    def _there_already(self) -> Iterator[Section]:
        touched = (
            [(f"job {job.old_id}", job.action, job.changes) for job in self._plan.jobs]
            + [(f"app {app.app.appname}", app.action, app.changes) for app in self._plan.apps]
            + [(f"user {user.user.username}", user.action, user.changes) for user in self._plan.users]
        )
        by_change: dict[tuple[Action, str], list[str]] = {}
        for where, action, changes in touched:
            if action is not Action.CREATE:
                by_change.setdefault((action, "; ".join(changes)), []).append(where)
        words = {Action.UPDATE: "updated", Action.SKIP: "left as it is here", Action.MERGE: "joined"}
        yield from self._table(
            "What is here already",
            (Column("What"), Column("Number", is_number=True), Column("Becomes"), Column("Differences")),
            list(by_change.items()),
            lambda item: (
                self._clean(places(item[1], self._limits.ids), 2000),
                f"{len(item[1]):,}",
                words[item[0][0]],
                self._clean(item[0][1], 600),
            ),
        )

    def _ids(self) -> Iterator[Section]:
        plan = self._plan
        mapped = (
            [("app", str(old), str(new)) for old, new in plan.app_ids.items() if str(old) != str(new)]
            + [("job", str(old), str(new)) for old, new in plan.job_ids.items() if old != new]
            + [("user", str(old), str(new)) for old, new in plan.user_ids.items() if old != new]
        )
        columns = (Column("What"), Column("There", is_value=True), Column("Here", is_number=True))
        yield from self._table(
            "Ids that are not kept", columns, mapped, lambda row: (row[0], self._clean(row[1]), row[2])
        )

    def _security(self) -> Iterator[Section]:
        lines = [self._in_a_line(wheres, finding) for wheres, finding in _grouped(self._plan.security)]
        if lines:
            shown = lines[: self._limits.rows]
            if len(lines) > len(shown):
                shown.append(f"and {len(lines) - len(shown):,} more")
            yield Section("Security", tuple(shown))

    def _all_jobs(self) -> Iterator[Section]:
        columns = (
            Column("Job", is_number=True),
            Column("Here", is_number=True),
            Column("Name", is_value=True),
            Column("Verdict"),
            Column("To be enabled"),
            Column("Next fire"),
            Column("Because"),
        )
        rows = tuple(
            (
                str(job.old_id),
                str(job.job.id),
                self._clean(job.job.name, 80),
                job.verdict.value,
                "yes" if job.wants_enabled else "no",
                self._times.iso(job.fires.ours[0]) if job.fires.ours else "–",
                self._clean("; ".join(job.reasons)),
            )
            for job in self._plan.jobs
        )
        if rows:
            title = f"All jobs ({len(rows):,})"
            yield Section(title, table=Table(columns, rows), folded=True)

    def _table(
        self,
        title: str,
        columns: tuple[Column, ...],
        items: Sequence[T],
        row: Callable[[T], tuple[str, ...]],
        number: int | None = None,
    ) -> Iterator[Section]:
        if items:
            shown = tuple(row(item) for item in items[: self._limits.rows])
            told = len(items) if number is None else number
            yield Section(f"{title} ({told:,})", table=Table(columns, shown, len(items) - len(shown)))


def _grouped(findings: Iterable[Finding]) -> list[tuple[list[str], Finding]]:
    """Those that say the same of several places together, by how many these are."""
    groups: dict[tuple[str, ...], tuple[list[str], Finding]] = {}
    for one in findings:
        key = (one.field, one.value, one.became, one.why)
        groups.setdefault(key, ([], one))[0].append(one.where)
    return list(groups.values())

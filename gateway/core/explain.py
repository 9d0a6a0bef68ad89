"""Explain: why a job ran, runs late, waits or does not run at an instant, from what is known of both.

Pure: `Known` holds all that was read, the answer is made of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.core.calendar_facts import changed_since, not_kept
from gateway.core.chain import is_chained
from gateway.core.chain_facts import ahead_facts, chain_fact
from gateway.core.errors import InvalidValue
from gateway.core.events import Event
from gateway.core.facts import Fact, when
from gateway.core.gate import expiry_ms, is_limited
from gateway.core.holding import held_words
from gateway.core.model import App, Job, Run
from gateway.core.overlap import Overlap
from gateway.core.pauses import Pause
from gateway.core.placement import Fallback
from gateway.core.policy import seed_of
from gateway.core.reachable import NOBODY, Reachable
from gateway.core.run_facts import Story
from gateway.core.schedule import is_timed
from gateway.core.slot_search import (
    NOWHERE,
    Look,
    Member,
    jitter_facts,
    look_at,
    match_facts,
    members_of,
    obstacles,
)
from gateway.core.upcoming import fires_before
from gateway.core.versions import JobVersion
from gateway.core.zones import Zone

PLANNING_MS = 5000
"""A slot that is over for less may not have its row yet."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was read of a job around an instant.

    `job` is None for one that was deleted; `version` is the one in force at the instant, None before the first. `rows`
    are those of the slot, or of the run of that instant; `before` those of the slot before. `disabled`, `removed`: the
    last event that disabled the job, or removed runs of it by hand. `kept_from_ms`: runs that ended earlier may have
    been removed. `calendar_ms`: when a calendar that the version uses was changed after the instant; unless
    `calendar_known`, only its present days are. `gap`: the instant was given as a local time that did not exist.
    """

    at_ms: int
    now_ms: int
    zone: Zone
    job: Job | None
    version: JobVersion | None
    look: Look
    rows: Sequence[Run] = ()
    before: Sequence[Run] = ()
    app: App | None = None
    executors: Reachable = NOBODY
    running_app: int | None = None
    running_job: int | None = None
    held_app: Collection[int] = ()
    held_job: Collection[int] = ()
    waits: str = ""
    pause: Pause | None = None
    disabled: Event | None = None
    removed: Event | None = None
    deleted: str = ""
    deleted_ms: int = 0
    calendar_ms: int = 0
    calendar_known: bool = True
    kept_from_ms: int = 0
    gap: Fact | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    verdict: str
    answer: str
    facts: tuple[Fact, ...]
    slot_ms: int | None = None
    run_id: int | None = None


class Explainer(Protocol):
    """Called by the API."""

    async def explain(self, job_id: int, at: str | None) -> tuple[int, Explanation]:
        """The instant, and the answer. Raises `NotFound`, `InvalidValue`."""
        ...


def zone_for(job: Job) -> Zone:
    """On whose clock a job's instants are told."""
    try:
        members: list[Member] = members_of(job)
    except InvalidValue:
        members = []
    return members[0].zone if members else Zone("UTC", 0)


def look(job: Job, at_ms: int, version_ms: int) -> Look:
    """Slots around an instant by a version that is in force since `version_ms`."""
    if is_chained(job):
        return NOWHERE
    try:
        found = look_at(job, at_ms)
    except InvalidValue:
        return NOWHERE
    slot_ms, before_ms = (
        None if at is not None and at <= version_ms else at for at in (found.slot_ms, found.before_ms)
    )
    return replace(found, slot_ms=slot_ms, before_ms=before_ms)


def explain(known: Known) -> Explanation:
    facts: list[Fact] = list(_version(known))
    if known.gap is not None:
        facts.append(known.gap)
    if known.version is not None and known.calendar_ms and known.calendar_known:
        facts.append(changed_since(known.version.job, known.calendar_ms, known.zone))
    if known.rows:
        return _of_rows(known, facts)
    slot_ms = known.look.slot_ms
    if known.version is None or slot_ms is None:
        return _of_no_slot(known, facts)
    facts += match_facts(known.version.job, slot_ms, known.zone)
    if known.version.job.timing.due_ms(known.version.job.id, slot_ms) > known.now_ms:
        return _of_future(known, known.version.job, slot_ms, facts)
    return _of_missing(known, known.version.job, slot_ms, facts)


# ------------------------------------------------------------ a row


def _of_rows(known: Known, facts: list[Fact]) -> Explanation:
    job = known.version.job if known.version is not None else known.job
    if job is None:
        raise AssertionError
    story = Story(known.rows, job, known.zone, known.now_ms, known.waits)
    first = story.first
    if first.slot_key > 0 and not is_chained(job):
        facts += match_facts(job, known.look.slot_ms or first.slot_key, known.zone)
    if is_chained(job):
        facts.append(chain_fact(job))
        facts += jitter_facts(job, first.slot_key, known.zone)
    if story.verdict in ("waiting", "planned"):
        facts += _now(known, job)
    facts += story.facts()
    if known.look.slot_ms is None and first.slot_key > 0 and not is_chained(job):
        facts += [fact for fact in _neighbours(known) if fact.times["slot"] != first.slot_key]
    slot_ms = first.slot_ms if known.look.slot_ms is None else known.look.slot_ms
    return Explanation(story.verdict, story.sentence, tuple(facts), slot_ms, story.last.id)


# ------------------------------------------------------------ no row


def _of_no_slot(known: Known, facts: list[Fact]) -> Explanation:
    at = when(known.at_ms, known.zone)
    if known.version is None:
        return Explanation("no_job", f"The job did not exist at {at}.", tuple(facts))
    job = known.version.job
    blocks: list[Fact] = []
    try:
        blocks = list(obstacles(job, known.at_ms))
    except InvalidValue as error:
        text = f"Its schedule cannot be read, so it has no slots: {error}."
        return Explanation("unreadable", text, (*facts, Fact("schedule", text)))
    facts += blocks
    if blocks or known.gap is not None:
        why = blocks[0].text if blocks else known.gap.text if known.gap is not None else ""
        facts += ahead_facts(job, known.job, known.zone) if is_chained(job) else _neighbours(known)
        return Explanation("no_slot", f"Nothing is due at {at}: {why}", tuple(facts))
    if not is_timed(job.schedule) and not is_chained(job):
        text = "Its schedule has no instants of its own: it runs when it is triggered."
        facts.append(Fact("schedule", text))
        if known.before:
            before = Story(known.before, job, known.zone, known.now_ms)
            text = f"The run before was due at {when(before.first.due_ms, known.zone)}. {before.sentence}"
            facts.append(Fact("run_before", text, {"due": before.first.due_ms}, {"run_id": before.last.id}))
        return Explanation(
            "no_slot", f"No run of it was found at {at}: it runs when it is triggered.", tuple(facts)
        )
    if not job.enabled:
        facts.append(_disabled(known, job))
        return Explanation("disabled", f"Nothing is due at {at}: the job is disabled.", tuple(facts))
    if is_chained(job):
        return _of_chain(known, job, facts)
    facts += _neighbours(known)
    return Explanation("no_slot", f"Nothing is due at {at}: {_nearest(known)}", tuple(facts))


def _of_chain(known: Known, job: Job, facts: list[Fact]) -> Explanation:
    facts += ahead_facts(job, known.job, known.zone)
    at = when(known.at_ms, known.zone)
    if known.before:
        story = Story(known.before, job, known.zone, known.now_ms)
        facts += story.facts()
        text = f"No run of it is due at {at} that is known now. The one before: {story.sentence}"
        return Explanation("no_slot", text, tuple(facts), run_id=story.last.id)
    return Explanation("no_slot", f"No run of it is due at {at} that is known now.", tuple(facts))


def _nearest(known: Known) -> str:
    before_ms, after_ms = known.look.before_ms, known.look.after_ms
    told = [
        f"the slot {word} is {when(ms, known.zone)}"
        for word, ms in (("before", before_ms), ("after", after_ms))
        if ms is not None
    ]
    return f"{', '.join(told)}." if told else "its schedule has no slots there."


def _neighbours(known: Known) -> Iterator[Fact]:
    before_ms, after_ms = known.look.before_ms, known.look.after_ms
    if before_ms is not None:
        became = ""
        if known.before and known.version is not None:
            story = Story(known.before, known.version.job, known.zone, known.now_ms)
            became = f" {story.sentence}"
        yield Fact(
            "slot_before", f"The slot before is {when(before_ms, known.zone)}.{became}", {"slot": before_ms}
        )
    if after_ms is not None:
        yield Fact("slot_after", f"The slot after is {when(after_ms, known.zone)}.", {"slot": after_ms})


def _of_future(known: Known, job: Job, slot_ms: int, facts: list[Fact]) -> Explanation:
    at = when(job.timing.due_ms(job.id, slot_ms), known.zone)
    if known.job is None:
        return Explanation("deleted", f"It will not run: {known.deleted}.", tuple(facts), slot_ms)
    if not job.enabled:
        facts.append(_disabled(known, job))
        text = "It will not run unless the job is enabled before: it is disabled."
        return Explanation("disabled", text, tuple(facts), slot_ms)
    most = job.timing.window.max_fires
    if most:
        text = f"{known.job.fired} of at most {most} fires are planned."
        facts.append(Fact("maximum", text, fields={"fired": known.job.fired, "max_fires": most}))
        if known.job.fired + fires_before(known.job, slot_ms) >= most:
            text = f"It will not run: its maximum of {most} fires is reached before."
            return Explanation("maximum", text, tuple(facts), slot_ms)
    facts += _now(known, job)
    if known.pause is not None:
        text = f"It will be skipped unless the pause ends before: {known.pause.words}."
        return Explanation("paused", text, tuple(facts), slot_ms)
    limits = " It may have to wait for a place." if is_limited(job, known.app) else ""
    if known.app is not None and known.executors.why_none:
        limits += f" It would fail as things are: {known.executors.why_none}."
    text = f"It will run at {at}, as far as is known now.{limits}"
    facts.append(Fact("may_change", "Edits, pauses, calendars and limits may change until then, and count."))
    return Explanation("will_run", text, tuple(facts), slot_ms)


def _of_missing(known: Known, job: Job, slot_ms: int, facts: list[Fact]) -> Explanation:
    """A slot of the past that has no row."""
    if known.job is None and 0 < known.deleted_ms <= slot_ms:
        return Explanation("deleted", f"It did not run: {known.deleted}.", tuple(facts), slot_ms)
    if not job.enabled:
        facts.append(_disabled(known, job))
        text = f"It did not run: the job was disabled{_by(known.disabled)}."
        return Explanation("disabled", text, tuple(facts), slot_ms)
    planned_ms = known.job.next_fire_at if known.job is not None else None
    if known.job is not None and planned_ms is not None and planned_ms <= slot_ms:
        text = f"The slot has no run yet: planning has come to {when(planned_ms, known.zone)} only."
        return Explanation("not_planned_yet", text, tuple(facts), slot_ms)
    if slot_ms < known.kept_from_ms:
        text = f"Nothing is known of it any more: runs that ended before {when(known.kept_from_ms, known.zone)} are removed."
        return Explanation("not_kept", text, tuple(facts), slot_ms)
    if known.removed is not None and known.removed.at_ms >= slot_ms:
        text = f"Nothing is known of it any more: runs of this job were removed{_by(known.removed)}."
        return Explanation("not_kept", text, tuple(facts), slot_ms)
    if not known.calendar_known and known.calendar_ms > slot_ms:
        text = not_kept(job, known.calendar_ms, known.zone)
        return Explanation("not_kept", text, tuple(facts), slot_ms)
    most = job.timing.window.max_fires
    if most and (known.job is None or (planned_ms is None and known.job.fired >= most)):
        text = f"It did not run: the maximum of {most} fires was reached."
        return Explanation(
            "maximum", text, (*facts, Fact("maximum", text, fields={"max_fires": most})), slot_ms
        )
    if known.now_ms - slot_ms < PLANNING_MS:
        return Explanation(
            "not_planned_yet", "The slot has no run yet: it is due just now.", tuple(facts), slot_ms
        )
    text = (
        f"There is no run for this slot, though version {job.version}, in force then, has it: it is missing. "
        "This should not be."
    )
    return Explanation("missing", text, (*facts, Fact("missing", text)), slot_ms)


# ------------------------------------------------------------ pieces


def _version(known: Known) -> Iterator[Fact]:
    version = known.version
    if version is None:
        return
    made = f"made by {version.author or 'system'} at {when(version.created_ms, known.zone)}"
    if known.at_ms > known.now_ms:
        text = f"Version {version.number} is in force, {made}; a change until then would count."
    else:
        text = f"Version {version.number} was in force, {made}."
        if known.changed and known.job is not None:
            text += f" It is version {known.job.version} by now."
    fields = {"version": version.number, "author": version.author}
    yield Fact("version", text, {"created": version.created_ms}, fields)
    if known.deleted:
        yield Fact("deleted", f"{known.deleted[0].upper()}{known.deleted[1:]}.")


def _disabled(known: Known, job: Job) -> Fact:
    event = known.disabled
    text = f"The job is disabled in version {job.version}{f': since {_at(known, event)}' if event else ''}{_by(event)}."
    times = {"disabled": event.at_ms} if event else {}
    return Fact("disabled", text, times, {"author": event.author if event else None})


def _at(known: Known, event: Event) -> str:
    return when(event.at_ms, known.zone)


def _by(event: Event | None) -> str:
    return f" by {event.author}" if event is not None else ""


def _now(known: Known, job: Job) -> Iterator[Fact]:
    """What admission will look at, as it is now, in its order."""
    if known.pause is not None:
        pause = known.pause
        yield Fact(
            "pause",
            f"{pause.words[0].upper()}{pause.words[1:]}.",
            {"since": pause.created_ms, "until": pause.until_ms},
            {"scope": pause.scope.value, "author": pause.author, "reason": pause.reason},
        )
    if known.rows:
        expires_ms = expiry_ms(seed_of(known.rows[0]), job)
        if expires_ms:
            text = f"If it has not started by {when(expires_ms, known.zone)}, it expires."
            yield Fact("ttl", text, {"expires": expires_ms})
    elif job.ttl_s:
        yield Fact(
            "ttl", f"It expires if it has to wait for more than {job.ttl_s} s.", fields={"ttl_s": job.ttl_s}
        )
    limit = job.concurrency
    if limit.limited and known.running_job is not None:
        text = f"{known.running_job} of {limit.places} runs of this job are under way now{held_words(known.held_job)}; overlap {limit.overlap.value}."
        yield Fact(
            "overlap",
            text,
            fields={
                "overlap": limit.overlap.value,
                "running": known.running_job,
                "max_concurrency": limit.places,
                "queue_limit": limit.queue_limit if limit.overlap is Overlap.QUEUE else None,
            },
        )
    app = known.app
    if app is not None and app.max_running is not None and known.running_app is not None:
        held = held_words(known.held_app)
        text = (
            f"{known.running_app} of {app.max_running} runs of app {app.appname!r} are under way now{held}."
        )
        yield Fact(
            "app_limit",
            text,
            fields={"app": app.appname, "running": known.running_app, "max_running": app.max_running},
        )
    if app is not None and app.starts_per_second is not None:
        text = f"App {app.appname!r} starts at most {app.starts_per_second:g} runs a second."
        yield Fact(
            "start_rate", text, fields={"app": app.appname, "starts_per_second": app.starts_per_second}
        )
    if app is not None:
        there, placement = known.executors, job.placement
        label = f" with the label {placement.label!r}" if placement.label else ""
        if placement.label and placement.fallback is Fallback.ANY:
            label = f" (those with the label {placement.label!r} if there are any)"
        text = (
            f"Route {job.route.value}, but {there.why_none}."
            if there.why_none
            else f"Route {job.route.value} over {there.usable} executors of app {app.appname!r}{label} that are there now."
        )
        fields = {"route": job.route.value, "executors": there.usable, "present": there.present}
        yield Fact("route", text, fields=fields | {"app": app.appname, "label": placement.label or None})
    if job.max_attempts > 1 and not known.rows:
        text = f"Up to {job.max_attempts} attempts."
        yield Fact("attempts", text, fields={"max_attempts": job.max_attempts})

"""The plan of an import, from what was read and what is here: a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.core.model import DEFAULT_NAMESPACE, Job
from gateway.core.users import User
from importer.plan.again import app_again, app_changes, gone_there, job_again, refuse, refuse_another
from importer.plan.apps import DraftApp, app_of, drafts_of, group_digest, id_of
from importer.plan.around import Around, jobs_by_key
from importer.plan.children import cycles
from importer.plan.ids import Ids
from importer.plan.jobs import MappedJob, digest_of, job_of_source
from importer.plan.leftovers import leftovers
from importer.plan.notes import Notes
from importer.plan.old_executors import help_old_executors
from importer.plan.security import security_of
from importer.plan.target import Target
from importer.plan.tasks import glue_by_job
from importer.plan.users import IF_CHANGED, password_of, user_of, username_of
from importer.plan.values import (
    Action,
    Existing,
    Finding,
    Firsts,
    Plan,
    PlannedApp,
    PlannedJob,
    PlannedUser,
)
from importer.plan.zones import choose_zone
from importer.source.values import Installation, SourceUser

_MAX_RUN_ID = (1 << 31) - 1
_RENAMED = (3, 5)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """`source`: the name under which the target remembers the installation. `release`: the old admin's, where somebody
    knows it better than its columns tell. `access_token`: the old admin's, which no database holds before 3.5.
    """

    source: str
    timezone: str | None = None
    existing: Existing = Existing.SKIP
    merge: bool = False
    access_token: str | None = field(repr=False, default=None)
    release: tuple[int, ...] | None = None
    namespace_id: int = DEFAULT_NAMESPACE


def make_plan(installation: Installation, target: Target, options: PlanOptions, now_ms: int) -> Plan:
    """Raises `Conflict` for a target that must not be touched, `InvalidValue` for a time zone that there is not."""
    refuse(target, options.source, options.existing, merge=options.merge)
    general = Notes("installation")
    chosen = choose_zone(installation, options.timezone, general)
    if options.release is not None:
        installation = _of_release(installation, options.release, general)
    drafts = drafts_of(installation)
    refuse_another(installation.jobs, drafts.apps, target, options.source)
    help_old_executors(drafts.apps, installation, general)
    app_space = Ids([*target.apps, *target.aliases, *target.taken_app_ids], installation.counters.next_group)
    app_space.reserve(int(one.key) for one in installation.groups if _is_id(one.key))
    apps, id_by_draft = _apps(drafts.apps, app_space, installation, target, options, now_ms)
    by_key = jobs_by_key(installation.jobs)
    glue, lost_glue = glue_by_job(installation.glue, by_key)
    job_space = Ids({*target.jobs, *target.taken_job_ids}, installation.counters.next_job)
    around = Around(
        first=installation.first,
        last=installation.last,
        zone=chosen.zone,
        now_ms=now_ms,
        columns=installation.columns.get("info", frozenset()),
        zone_given=options.timezone is not None,
        app_ids={key: id_by_draft[id(one)] for one in drafts.apps for key in one.keys},
        app_of={job_id: id_by_draft[id(one)] for job_id, one in drafts.own.items()},
        stopped_apps=frozenset(id_by_draft[id(one)] for one in drafts.apps if one.gone),
        job_ids=_job_ids(installation, target, job_space, general),
        by_key=by_key,
        glue={job_id: tuple(rows) for job_id, rows in glue.items()},
        namespace_id=options.namespace_id,
    )
    jobs, of_jobs = _jobs(installation, target, around, options)
    users, user_ids, of_users, first_user = _users(installation, target, around, options)
    known = {one.id for one in installation.jobs}
    withdrawn, of_gone = gone_there(known, target, options.existing)
    lost_glue += [row for job_id, rows in glue.items() if job_id not in known for row in rows]
    return Plan(
        source=options.source,
        timezone=chosen.zone.name,
        timezone_from=chosen.origin,
        apps=apps,
        jobs=jobs,
        users=users,
        firsts=Firsts(
            job=job_space.first_free(),
            app=app_space.first_free(),
            user=first_user,
            run_int=min(max(installation.counters.next_log, 1), _MAX_RUN_ID),
        ),
        app_ids=around.app_ids,
        job_ids=around.job_ids,
        user_ids=user_ids,
        withdrawn=withdrawn,
        findings=_by_columns(
            installation,
            [
                *general.findings,
                *leftovers(installation, lost_glue, around),
                *drafts.findings,
                *of_jobs,
                *of_gone,
                *of_users,
            ],
        ),
        security=security_of(installation, options.access_token, apps, jobs, users),
    )


def _of_release(installation: Installation, release: tuple[int, ...], general: Notes) -> Installation:
    """Databases that were upgraded by hand may lack what their release would have, so people are believed."""
    if not installation.first <= (*release, 0, 0)[:3] <= installation.last:
        found, told = installation.release, ".".join(map(str, release))
        general.warn("release", found, told, "the columns are those of other releases; what was given counts")
    return replace(installation, first=release, last=release)


def _by_columns(installation: Installation, findings: list[Finding]) -> tuple[Finding, ...]:
    """From 3.5 on two columns have another name."""
    if installation.first < _RENAMED:
        return tuple(findings)
    return tuple(
        replace(one, field="name") if one.field in ("job_desc", "title") else one for one in findings
    )


def _is_id(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) < 11


# ---------------------------------------------------------------- apps


def _apps(
    drafts: list[DraftApp],
    ids: Ids,
    installation: Installation,
    target: Target,
    options: PlanOptions,
    now_ms: int,
) -> tuple[tuple[PlannedApp, ...], dict[int, int]]:
    by_name = {one.appname: one for one in target.apps.values() if one.namespace_id == options.namespace_id}
    by_key = {one.key: group_digest(one) for one in installation.groups}
    planned: list[PlannedApp] = []
    id_by_draft: dict[int, int] = {}
    for draft in drafts:
        wanted = app_of(draft, 0, installation, now_ms, options.namespace_id)
        earlier = [target.imported_apps[key] for key in draft.keys if key in target.imported_apps]
        there = next((target.apps[one] for one in earlier if one in target.apps), None)
        changes: tuple[str, ...] = ()
        digests = {key: by_key[key] for key in draft.keys if key in by_key}
        known = {key: target.group_digests.get(key) or digest for key, digest in digests.items()}
        if there is not None and draft.gone:  # which says nothing of it
            action, app = Action.SKIP, there
        elif there is not None:
            action, app, changes = app_again(
                there, wanted, options.existing, draft.notes, source_changed=known != digests
            )
        elif draft.appname in by_name:
            action, app = Action.MERGE, by_name[draft.appname]
            changes = app_changes(app, wanted)
            why = "an app of this name is here: its jobs come to it, and it stays as it is"
            draft.notes.warn("app_name", draft.appname, f"app {app.id}", why)
        else:
            action, app = Action.CREATE, replace(wanted, id=id_of(draft, ids))
        id_by_draft[id(draft)] = app.id
        token = draft.token or options.access_token or None
        kept = known if action is Action.SKIP else digests
        planned.append(PlannedApp(action, app, tuple(draft.keys), token, changes, digests=kept))
    taken = {*target.apps, *(one.app.id for one in planned)}
    return tuple(replace(one, aliases=_aliases(one, taken, target)) for one in planned), id_by_draft


def _aliases(app: PlannedApp, taken: set[int], target: Target) -> tuple[int, ...]:
    numbers = [int(key) for key in app.keys if _is_id(key)]
    return tuple(
        one for one in numbers if one not in taken and target.aliases.get(one, app.app.id) == app.app.id
    )


# ---------------------------------------------------------------- jobs


def _job_ids(installation: Installation, target: Target, ids: Ids, general: Notes) -> dict[int, int]:
    ids.reserve(one.id for one in installation.jobs)
    found: dict[int, int] = {}
    for job in sorted(installation.jobs, key=lambda job: job.id):
        known = target.imported_jobs.get(job.id)
        if known is None:
            found[job.id] = ids.keep(job.id)
        elif known.new_id in target.jobs:
            found[job.id] = known.new_id
        else:
            why = "it was imported before, and somebody has deleted it here since"
            general.dropped(f"job {job.id}", job.description or job.name or "", why, became="not made again")
    return found


def _jobs(
    installation: Installation, target: Target, around: Around, options: PlanOptions
) -> tuple[tuple[PlannedJob, ...], list[Finding]]:
    mapped: list[MappedJob] = []
    jobs = [one for one in sorted(installation.jobs, key=lambda job: job.id) if one.id in around.job_ids]
    mapped = [job_of_source(one, around) for one in jobs]
    _warn_of_cycles(mapped)
    planned: list[PlannedJob] = []
    findings: list[Finding] = []
    for job, one in zip(jobs, mapped, strict=True):
        action, made, changes = Action.CREATE, replace(one.job, version=len(one.history) + 1), ()
        digest = digest_of(job, around)
        wants = one.wants_enabled
        told: tuple[str, ...] = changes
        known = target.imported_jobs.get(job.id)
        if known is not None:
            there = target.jobs[known.new_id]
            action, made, told = job_again(there, one.job, known, digest, options.existing, one.notes)
            if action is Action.SKIP:
                wants, digest = known.wants_enabled, known.digest
            else:
                _tell_of_sources_between(one, there)
        planned.append(
            PlannedJob(
                action=action,
                job=made,
                old_id=job.id,
                wants_enabled=wants,
                verdict=one.notes.verdict,
                reasons=tuple(one.notes.reasons),
                fires=one.fires,
                digest=digest,
                history=one.history if action is Action.CREATE else (),
                changes=told,
            )
        )
        findings += one.notes.findings
    return tuple(planned), findings


def _tell_of_sources_between(one: MappedJob, there: Job) -> None:
    """What was saved between two imports: an update brings the newest."""
    since_ms = there.task.glue_updated_ms
    if missed := [old for old in one.history if old.task.glue_updated_ms > since_ms]:
        versions = "1 version" if len(missed) == 1 else f"{len(missed)} versions"
        why = "saved in the source since the import before: an update brings the newest alone"
        one.notes.dropped("logglue", f"{versions} before the newest", why)


def _warn_of_cycles(mapped: list[MappedJob]) -> None:
    by_id: Mapping[int, MappedJob] = {one.job.id: one for one in mapped}
    links: Mapping[int, list[int]] = {
        one.job.id: [child.job_id for child in one.job.children] for one in mapped
    }
    for group in cycles(links):
        way = ", ".join(map(str, group[:10])) + (" …" if len(group) > 10 else "")
        who = f"jobs {way} start each other in a circle" if len(group) > 1 else f"job {way} starts itself"
        kept = "They are kept" if len(group) > 1 else "It is kept"
        why = (
            f"{who}: one success goes round without end, here as there. {kept}; "
            "a change that adds a child within a circle is refused here"
        )
        for job_id in group:
            by_id[job_id].notes.warn("child_jobid", ", ".join(map(str, links[job_id])), "kept", why)


# ---------------------------------------------------------------- users


def _users(
    installation: Installation, target: Target, around: Around, options: PlanOptions
) -> tuple[tuple[PlannedUser, ...], dict[int, int], list[Finding], int]:
    ids = Ids(target.users, installation.counters.next_user)
    ids.reserve(one.id for one in installation.users)
    by_name = {one.username: one for one in target.users.values()}
    taken: set[str] = set()
    planned: list[PlannedUser] = []
    user_ids: dict[int, int] = {}
    findings: list[Finding] = []
    for user in sorted(installation.users, key=lambda user: user.id):
        notes = Notes(f"user {user.username}")
        one = _user(user, ids, by_name, taken, target, around, options, notes)
        planned.append(one)
        user_ids[user.id] = one.user.id
        findings += notes.findings
    return tuple(planned), user_ids, findings, ids.first_free()


def _user(
    user: SourceUser,
    ids: Ids,
    by_name: Mapping[str, User],
    taken: set[str],
    target: Target,
    around: Around,
    options: PlanOptions,
    notes: Notes,
) -> PlannedUser:
    password = password_of(user, notes)
    earlier = target.users.get(target.imported_users.get(user.id, 0))
    name = earlier.username if earlier is not None else username_of(user, taken, notes)
    taken.add(name)
    there = earlier or by_name.get(name)
    user_id = there.id if there is not None else ids.keep(user.id)
    wanted = user_of(user, user_id, name, around.app_ids, around.now_ms, notes)
    if there is None:
        return PlannedUser(Action.CREATE, wanted, user.id, password)
    told = tuple(
        f"{field_name}: {old} → {new}"
        for field_name, old, new in (
            ("role", there.role.word, wanted.role.word),
            ("apps", sorted(there.app_ids), sorted(wanted.app_ids)),
        )
        if old != new
    )
    if earlier is None:
        why = "a user of this name is here, and stays as it is: password, role and apps"
        notes.warn("username", name, f"user {there.id}", why)
        return PlannedUser(Action.SKIP, there, user.id, password, told)
    if options.existing is Existing.UPDATE and (told or password is not None):
        told += (IF_CHANGED,) if password is not None else ()
        updated = replace(there, role=wanted.role, app_ids=wanted.app_ids)
        return PlannedUser(Action.UPDATE, updated, user.id, password, told)
    return PlannedUser(Action.SKIP, there, user.id, password, told)

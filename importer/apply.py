"""Carries out a plan: what the target holds before, and the plan's apps, jobs and users as one transaction."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.core.acting import SYSTEM, acting_for, author
from gateway.core.clock import Clock
from gateway.core.errors import StoreError
from gateway.core.users import User
from gateway.store.engine import Database, is_full
from gateway.store.held_ids import APP, JOB, USER
from gateway.store.import_apps import AppImport
from gateway.store.import_jobs import JobImport
from gateway.store.import_users import UserImport
from gateway.store.imports import Import, ImportStore
from gateway.store.passwords import Passwords
from gateway.store.users import UserStore
from importer.errors import TargetFull
from importer.plan.target import ImportedJob, Target
from importer.plan.values import Action, OldPassword, Plan, PlannedApp, PlannedJob, PlannedUser

NAME = "import"
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def quiet(_what: str, _done: int, _total: int) -> None:
    return


@dataclass(frozen=True, slots=True)
class Applied:
    """Ids of what was made and changed here. `notes`: what the plan asks for and no edit can do."""

    apps_made: tuple[int, ...] = ()
    apps_changed: tuple[int, ...] = ()
    jobs_made: tuple[int, ...] = ()
    jobs_changed: tuple[int, ...] = ()
    users_made: tuple[int, ...] = ()
    users_changed: tuple[int, ...] = ()
    anything: bool = False
    notes: tuple[str, ...] = ()


async def read_target(db: Database, clock: Clock, source: str) -> Target:
    """Raises `StoreError`."""
    found = await ImportStore(db, clock).holdings(source)
    return Target(
        apps=found.apps,
        aliases=found.aliases,
        taken_app_ids=found.taken_app_ids,
        jobs=found.jobs,
        taken_job_ids=found.taken_job_ids,
        users=found.users,
        imported_apps={one.old_key: one.new_id for one in found.items if one.kind == APP},
        group_digests={one.old_key: one.digest for one in found.items if one.kind == APP},
        imported_jobs={
            int(one.old_key): ImportedJob(one.new_id, one.version, one.digest, one.wants_enabled, one.live)
            for one in found.items
            if one.kind == JOB
        },
        imported_users={int(one.old_key): one.new_id for one in found.items if one.kind == USER},
    )


async def apply_plan(
    db: Database,
    clock: Clock,
    plan: Plan,
    *,
    release: str = "",
    passwords: Passwords | None = None,
    progress: Progress = quiet,
) -> Applied:
    """All of it or nothing. Raises `Conflict` where the target has changed since it was read, and `TargetFull`."""
    with acting_for(NAME if author() == SYSTEM else author()):
        users = await _users(db, clock, plan, passwords or Passwords(at_once=os.cpu_count() or 1), progress)
        progress("writing", 0, 1)
        wanted = Import(
            source=plan.source,
            release=release,
            timezone=plan.timezone,
            apps=[_app(one) for one in plan.apps],
            jobs=[_job(one) for one in plan.jobs],
            users=users,
            withdrawn=plan.withdrawn,
            firsts={
                "job": plan.firsts.job,
                "app": plan.firsts.app,
                "run_int": plan.firsts.run_int,
            },
            first_user=plan.firsts.user,
        )
        async with full_disks_told():
            written = await ImportStore(db, clock).write(wanted)
        progress("writing", 1, 1)
    return Applied(
        apps_made=tuple(written.apps_made),
        apps_changed=tuple(written.apps_changed),
        jobs_made=tuple(written.jobs_made),
        jobs_changed=tuple(written.jobs_changed),
        users_made=tuple(written.users_made),
        users_changed=tuple(written.users_changed),
        anything=written.anything,
        notes=tuple(written.notes),
    )


@asynccontextmanager
async def full_disks_told() -> AsyncIterator[None]:
    """A full disk is said as what it is, whichever database says it."""
    try:
        yield
    except StoreError as error:
        if error.__cause__ is not None and is_full(error.__cause__):
            raise TargetFull(
                f"the gateway's own database has no room left ({error}): make some, and give the same command again"
            ) from error
        raise


def _app(one: PlannedApp) -> AppImport:
    return AppImport(
        app=one.app,
        keys=one.keys,
        digests=one.digests,
        aliases=one.aliases,
        is_new=one.action is Action.CREATE,
        changes=one.action is Action.UPDATE,
        access_token=None if one.action is Action.SKIP else one.access_token,
    )


def _job(one: PlannedJob) -> JobImport:
    return JobImport(
        job=one.job,
        old_id=one.old_id,
        digest=one.digest,
        wants_enabled=one.wants_enabled,
        is_new=one.action is Action.CREATE,
        changes=one.action is Action.UPDATE,
        history=one.history,
    )


async def _users(
    db: Database, clock: Clock, plan: Plan, passwords: Passwords, progress: Progress
) -> list[UserImport]:
    """With their passwords hashed once more, a few at a time: each takes some twenty milliseconds of a core."""
    store = UserStore(db, clock, passwords)
    done = 0
    total = sum(one.action in {Action.CREATE, Action.UPDATE} for one in plan.users)

    async def one_user(one: PlannedUser) -> UserImport:
        nonlocal done
        is_new, changes = one.action is Action.CREATE, one.action is Action.UPDATE
        if not (is_new or changes):
            return UserImport(one.user, one.old_id)
        kept = None if is_new else await _changed_hash(store, passwords, one.user, one.password)
        made = await _hash(passwords, one.password) if is_new else kept
        done += 1
        progress("passwords", done, total)
        scheme = one.password.scheme if one.password is not None else ""
        return UserImport(one.user, one.old_id, is_new, changes, scheme, made)

    return list(await asyncio.gather(*(one_user(one) for one in plan.users)))


async def _hash(passwords: Passwords, old: OldPassword | None) -> str:
    """Of a user without a usable password, of something that nobody knows: a login takes as long, and fails."""
    return await passwords.hashed(secrets.token_urlsafe(32) if old is None else old.digest)


async def _changed_hash(
    store: UserStore, passwords: Passwords, user: User, old: OldPassword | None
) -> str | None:
    """None where the password is the same as before, or is one that was set here."""
    if old is None or not await store.has_old_password(user.id):
        return None
    if await store.has_old_password(user.id, old.scheme, old.digest):
        return None
    return await passwords.hashed(old.digest)

"""A job as rows of the tables that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.acting import author
from gateway.core.chain import delay_of
from gateway.core.model import Job
from gateway.core.schedule import phases
from gateway.store.app_parts import part_for
from gateway.store.definitions import texts_of
from gateway.store.held_ids import JOB, held
from gateway.store.ids import IdsTaken
from gateway.store.job_calendars import first_name
from gateway.store.next_fires import scheduled
from gateway.store.tables import job, job_next_fire, job_version


def new_job(one: Job, job_id: int, now_ms: int, *, limited: bool) -> Job:
    """As it is made now. Raises `InvalidValue` for a wrong schedule, or one that has ended."""
    return scheduled(
        replace(
            one,
            id=job_id,
            part=part_for(job_id, one.app_id, limited=limited),
            version=1,
            anchor_ms=one.anchor_ms or now_ms,
            created_ms=now_ms,
            updated_ms=now_ms,
        ),
        now_ms,
    )


def next_version(old: Job, changed: Job, now_ms: int) -> Job:
    """What a change makes of a job, but for its slots: where it belongs and when it was made stay as they are."""
    return replace(
        changed,
        namespace_id=old.namespace_id,
        app_id=old.app_id,
        part=old.part,
        version=old.version + 1,
        anchor_ms=old.anchor_ms if phases(old.schedule) == phases(changed.schedule) else now_ms,
        created_ms=old.created_ms,
        updated_ms=now_ms,
        edition=old.edition,
    )


def version_row(one: Job) -> dict[str, Any]:
    return job_and_version(one)[1]


def job_and_version(one: Job, open_run: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its row, and that of its version: what takes time is the definition, which both hold.

    `open_run`: the run of its chain that is open at this change.
    """
    definition, version = texts_of(one)
    row = {
        "id": one.id,
        "namespace_id": one.namespace_id,
        "app_id": one.app_id,
        "part": one.part,
        "version": one.version,
        "name": one.name,
        "enabled": one.enabled,
        "definition": definition,
        "anchor_ms": one.anchor_ms,
        "created_ms": one.created_ms,
        "updated_ms": one.updated_ms,
        "calendar": first_name(one),
    }
    its_version = {
        "job_id": one.id,
        "version": one.version,
        "definition": version,
        "author": author()[:64],
        "created_ms": one.updated_ms,
        "anchor_ms": one.anchor_ms,
        "chain_run_id": open_run,
    }
    return row, its_version


def fire_row(one: Job) -> dict[str, Any]:
    return {
        "job_id": one.id,
        "part": one.part,
        "version": one.version,
        "enabled": int(one.enabled),
        "next_fire_at": one.next_fire_at,
        "fired": one.fired,
        "chain_delay_ms": delay_of(one),
    }


async def insert_jobs(
    conn: AsyncConnection,
    jobs: Sequence[dict[str, Any]],
    versions: Sequence[dict[str, Any]],
    fires: Sequence[dict[str, Any]],
) -> None:
    """New jobs as rows. Raises `IdsTaken`: an import brings ids of its own, which may be those of a block.

    It holds them also when its jobs are gone.
    """
    if await held(conn, JOB, [one["id"] for one in jobs]):
        raise IdsTaken
    try:
        await conn.execute(insert(job), jobs)
        await conn.execute(insert(job_version), versions)
        await conn.execute(insert(job_next_fire), fires)
    except IntegrityError:
        raise IdsTaken from None

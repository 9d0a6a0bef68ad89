"""The jobs of an app that has a limit are all in one part, so that one node counts; without a limit they are spread.

A move is an edit of each job: claims made before it lose against the new version, and none is under way while it is
made, because it first waits for every node's present transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.model import PARTS
from gateway.core.parts import part_of, part_of_app
from gateway.core.states import WAITING
from gateway.store.revisions import bump
from gateway.store.tables import job, job_next_fire, job_version, node, request, run

_CHUNK = 500


def part_for(job_id: int, app_id: int, *, limited: bool) -> int:
    return part_of_app(app_id) if limited else part_of(job_id)


async def hold_all_nodes(conn: AsyncConnection) -> None:
    """Wait for every claim that is being committed, and keep others waiting until this transaction has ended.

    Each claim writes its node's beat first. One beat more lets a dead node live for one lease longer at most.
    """
    names = (await conn.execute(select(node.c.name).where(node.c.live == 1).order_by(node.c.name))).scalars()
    for name in list(names):
        await conn.execute(update(node).where(node.c.name == name).values(beat=node.c.beat + 1))


async def move_jobs(conn: AsyncConnection, clock: Clock, app_id: int, *, limited: bool) -> list[int]:
    """Give all jobs of an app their parts, with a new version each. The app's row is locked; returns the jobs."""
    mine = select(job.c.id).where(job.c.app_id == app_id).order_by(job.c.id).with_for_update()
    ids = list((await conn.execute(mine)).scalars())
    now_ms = clock.now_ms()  # with the locks: a version is never older than the one before it
    for part, some in _by_part(ids, app_id, limited=limited):
        there = job.c.id.in_(some)
        changed = {"part": part, "version": job.c.version + 1, "updated_ms": now_ms}
        await conn.execute(update(job).where(there).values(changed))
    for part, some in _by_part(ids, app_id, limited=limited):
        there = job_next_fire.c.job_id.in_(some)
        changed = {"part": part, "version": job_next_fire.c.version + 1}
        await conn.execute(update(job_next_fire).where(there).values(changed))
    for start in range(0, len(ids), _CHUNK):
        await _copy_versions(conn, ids[start : start + _CHUNK], now_ms)
    await _move_runs(conn, app_id, limited=limited)
    await bump(conn, "job")
    return ids


def _by_part(ids: Sequence[int], app_id: int, *, limited: bool) -> Iterator[tuple[int, list[int]]]:
    groups: dict[int, list[int]] = {}
    for job_id in ids:
        groups.setdefault(part_for(job_id, app_id, limited=limited), []).append(job_id)
    for part, some in groups.items():
        for start in range(0, len(some), _CHUNK):
            yield part, some[start : start + _CHUNK]


async def _copy_versions(conn: AsyncConnection, ids: Collection[int], now_ms: int) -> None:
    """The new version says what the one before said."""
    before = (
        select(
            job_version.c.job_id,
            job_version.c.version + 1,
            job_version.c.definition,
            literal("system").label("author"),
            literal(now_ms).label("created_ms"),
            job_version.c.anchor_ms,
        )
        .join(job, (job.c.id == job_version.c.job_id) & (job.c.version == job_version.c.version + 1))
        .where(job.c.id.in_(ids))
    )
    names = ["job_id", "version", "definition", "author", "created_ms", "anchor_ms"]
    await conn.execute(insert(job_version).from_select(names, before))


async def _move_runs(conn: AsyncConnection, app_id: int, *, limited: bool) -> None:
    """Open runs go with their jobs; those that wait are left for the owner of the new part."""
    open_ones = run.c.open_part.in_(range(PARTS))
    query = select(run.c.id, run.c.job_id, run.c.state).where(open_ones, run.c.app_id == app_id)
    rows: list[Any] = sorted((await conn.execute(query)).all())
    groups: dict[int, list[int]] = {}
    for row in rows:
        groups.setdefault(part_for(row.job_id, app_id, limited=limited), []).append(row.id)
    for part, ids in groups.items():
        for start in range(0, len(ids), _CHUNK):
            there = run.c.id.in_(ids[start : start + _CHUNK])
            moved = {"part": part, "open_part": part}
            await conn.execute(update(run).where(there, run.c.open_part.is_not(None)).values(moved))
    waiting = [
        {"run_id": row.id, "part": part_for(row.job_id, app_id, limited=limited)}
        for row in rows
        if row.state in WAITING
    ]
    for start in range(0, len(waiting), _CHUNK):
        some = waiting[start : start + _CHUNK]
        known = select(request.c.run_id).where(request.c.run_id.in_([one["run_id"] for one in some]))
        present = set((await conn.execute(known)).scalars())
        new = [one for one in some if one["run_id"] not in present]
        if new:
            await conn.execute(insert(request), new)

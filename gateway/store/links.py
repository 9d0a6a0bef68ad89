"""Links between jobs: which starts which. Kept beside the definitions, so that cycles and joins can be found."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.children import path_back
from gateway.core.errors import InvalidValue
from gateway.core.model import Job
from gateway.store.tables import job, job_link, join_mark, revision


async def lock_links(conn: AsyncConnection) -> None:
    """Before anything else is locked: two changes that do not see each other could make a cycle together."""
    await conn.execute(select(revision.c.n).where(revision.c.name == "job").with_for_update())


async def store_links(conn: AsyncConnection, old: Job | None, new: Job, within: str = "") -> None:
    """Follow a change of a job's children. Raises `InvalidValue` for one that does not exist, and for a cycle.

    A child that was deleted since it was linked stays in the definition, without a link.
    """
    added = _added(old, new)
    if added:
        await _check_exist(conn, new, added, within)
        if old is not None:
            await _check_no_cycle(conn, new, added, within)
    await follow_links(conn, old, new)


def _added(old: Job | None, new: Job) -> list[int]:
    before = {child.job_id for child in old.children} if old is not None else set()
    return [child.job_id for child in new.children if child.job_id not in before]


async def follow_links(conn: AsyncConnection, old: Job | None, new: Job) -> None:
    """As `store_links`, of children that are known to exist."""
    after = {child.job_id for child in new.children}
    gone = sorted({child.job_id for child in old.children}.difference(after)) if old is not None else []
    if gone:
        await conn.execute(
            delete(job_link).where(job_link.c.parent_id == new.id, job_link.c.child_id.in_(gone))
        )
        await conn.execute(
            delete(join_mark).where(join_mark.c.parent_id == new.id, join_mark.c.child_id.in_(gone))
        )
    added = sorted(_added(old, new))
    if added:
        await conn.execute(insert(job_link), [{"parent_id": new.id, "child_id": one} for one in added])


async def drop_links(conn: AsyncConnection, job_id: int) -> None:
    """The job was deleted: nothing starts it any more, and it starts nothing."""
    for table in (job_link, join_mark):
        await conn.execute(delete(table).where(or_(table.c.parent_id == job_id, table.c.child_id == job_id)))


async def _check_exist(conn: AsyncConnection, new: Job, added: Collection[int], within: str) -> None:
    wanted = select(job.c.id).where(job.c.id.in_(sorted(added)), job.c.namespace_id == new.namespace_id)
    found = {row.id for row in await conn.execute(wanted.order_by(job.c.id).with_for_update())}
    for job_id in added:
        if job_id not in found:
            raise InvalidValue(_field(new, job_id, within), job_id, "the id of a job that exists")


async def _check_no_cycle(conn: AsyncConnection, new: Job, added: Collection[int], within: str) -> None:
    links: dict[int, set[int]] = {new.id: set(added)}
    frontier = set(added)
    while frontier and new.id not in frontier:
        query = select(job_link.c.parent_id, job_link.c.child_id)
        reached: set[int] = set()
        for row in await conn.execute(query.where(job_link.c.parent_id.in_(sorted(frontier)))):
            links.setdefault(row.parent_id, set()).add(row.child_id)
            reached.add(row.child_id)
        frontier = {one for one in reached if one not in links or one == new.id}
    path = path_back(new.id, links)
    if path is not None:
        way = " → ".join(map(str, path))
        expected = f"a job that does not lead back here: this would make a cycle of jobs, {way}"
        raise InvalidValue(_field(new, path[1], within), path[1], expected)


def _field(new: Job, job_id: int, within: str) -> str:
    place = [child.job_id for child in new.children].index(job_id)
    return f"{within}children[{place}].job"

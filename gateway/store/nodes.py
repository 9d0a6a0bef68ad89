"""Nodes, their leases, and the parts of the jobs they own.

A lease is a row a node: name, epoch, beat. Ownership is always checked by writing: every claim's transaction
first raises the beat at the epoch the node was granted, and one row must match. Who takes a node's parts
raises that node's epoch first, so the old owner's next write matches nothing. A part belongs to its node as long
as it names the node's present epoch. Locks are taken in the order node (by name) → part (by id).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.clock import Clock
from gateway.core.cluster import Farewell, Grant, Holder, Identity, Member, NodeRecord, Roster
from gateway.core.errors import Conflict, LeaseLost, NotFound, Refused
from gateway.core.events import Source
from gateway.core.model import PARTS
from gateway.core.work import Lease
from gateway.store.engine import Database
from gateway.store.events import note
from gateway.store.revisions import bump
from gateway.store.sqltext import in_list
from gateway.store.tables import node, part, setting
from gateway.store.time import offset_ms
from gateway.store.transact import reading, transact, upsert

log = structlog.get_logger(__name__)

FORGOTTEN_MS = 7 * 86_400_000
REQUESTS_AT_ONCE = 1000
# Of `node.live`: ended in order, running as far as is known, ended by another node because it was silent.
STOPPED, LIVE, FENCED = 0, 1, 2
# Names of rows.
_SECRET = "control_secret"  # noqa: S105
_FORGOTTEN_EPOCH = "forgotten_epoch"


class Nodes:
    """Implements `core.ports.NodeStore`."""

    def __init__(self, db: Database, clock: Clock, lease_ms: int) -> None:
        self._db = db
        self._clock = clock
        self._lease_ms = lease_ms

    # ------------------------------------------------------------ coming and going

    async def join(self, me: Identity, *, again: bool = False) -> Grant:
        """A lease under a new epoch; what this node's last life owned is its own again at once.

        The caller holds the lock of the data directory that the first half of `me.instance` stands for. Raises
        `Refused` while another node of this name is alive, or one that was set up differently. `again`: the same
        process has lost its lease.
        """
        objections = _objections(await self._rows(), me, again=again)
        if objections:
            log.info("waiting_for_lease", nodes=sorted(objections), seconds=self._lease_ms / 1000)
            await self._clock.sleep(self._lease_ms / 1000)
            for name, row in (await self._rows()).items():
                if name in objections and (row.epoch, row.beat) != objections[name][0]:
                    raise Refused(objections[name][1])

        async def enter(conn: AsyncConnection) -> Grant:
            return await self._enter(conn, me, set(objections), again=again)

        return await transact(self._db, self._clock, enter)

    async def _enter(self, conn: AsyncConnection, me: Identity, silent: set[str], *, again: bool) -> Grant:
        # One at a time from here on: of two that start at once, the second finds the first.
        secret = await self._secret(conn)
        rows = {row.name: row for row in await conn.execute(select(node))}
        for name, (_, words) in _objections(rows, me, again=again).items():
            if name not in silent:
                raise Refused(words)
        now_ms = self._clock.now_ms()
        mine = node.c.name == me.name
        old = (await conn.execute(select(node).where(mine).with_for_update())).first()
        seen_ms = (await conn.execute(select(func.max(node.c.seen_ms)))).scalar() or 0
        epoch = (old.epoch if old else await _forgotten_epoch(conn)) + 1
        values: dict[str, Any] = {
            "epoch": epoch,
            "control_address": me.address,
            "started_ms": now_ms,
            "seen_ms": now_ms,
            "instance": me.instance,
            "version": me.version[:32],
            "live": LIVE,
            "draining": 0,
            "fit": int(me.fit),
            "agreed": json.dumps(me.agreed, sort_keys=True),
        }
        if old is None:
            await conn.execute(insert(node).values(name=me.name, beat=1, **values))
        else:
            await conn.execute(update(node).where(mine).values(beat=node.c.beat + 1, **values))
        await self._forget(conn, now_ms)
        if me.alone:
            # Nobody else can have this database open: what its rows say of other nodes is the past.
            await conn.execute(
                update(node).where(node.c.name != me.name).values(live=STOPPED, epoch=node.c.epoch + 1)
            )
        elif old is not None and me.fit:
            held = and_(part.c.node == me.name, part.c.epoch == old.epoch)
            await conn.execute(update(part).where(held).values(epoch=epoch))
        return Grant(Lease(me.name, epoch), seen_ms, secret)

    async def _forget(self, conn: AsyncConnection, now_ms: int) -> None:
        """A process of one that stands still for longer must not find its lease again in a later node's of that name."""
        gone = and_(node.c.live != LIVE, node.c.seen_ms < now_ms - FORGOTTEN_MS)
        highest: int | None = (await conn.execute(select(func.max(node.c.epoch)).where(gone))).scalar()
        if highest is not None:
            row = {"name": _FORGOTTEN_EPOCH, "value": str(max(highest, await _forgotten_epoch(conn)))}
            await conn.execute(upsert(self._db, setting, update=("value",)).values(row))
            await conn.execute(delete(node).where(gone))

    @staticmethod
    async def _secret(conn: AsyncConnection) -> str:
        """What the nodes of this database prove themselves with to each other; made by the first."""
        query = select(setting.c.value).where(setting.c.name == _SECRET).with_for_update()
        found: str | None = (await conn.execute(query)).scalar()
        if found is None:
            found = secrets.token_urlsafe(32)
            try:
                await conn.execute(insert(setting).values(name=_SECRET, value=found))
            except IntegrityError:  # another node was faster
                found = str((await conn.execute(query)).scalar_one())
        return found

    async def leave(self, lease: Lease, gifts: Farewell) -> None:
        """The end in order: parts to their heirs, the others free, the row no longer live."""

        async def body(conn: AsyncConnection) -> None:
            await _own(conn, lease)
            await self._assign(conn, lease, gifts)
            await conn.execute(update(part).where(_held_by(lease)).values(node="", epoch=0))
            mine = node.c.name == lease.node
            await conn.execute(update(node).where(mine).values(live=STOPPED, epoch=node.c.epoch + 1))

        await transact(self._db, self._clock, body)

    # ------------------------------------------------------------ looking

    async def look(self, held: Collection[int]) -> Roster:
        """All that a node must know of the others, in one statement. `held`: whose requests are wanted."""
        requests = (
            "SELECT 'request', '', run_id, part, 0, '' FROM (SELECT run_id, part FROM request "
            f"WHERE part IN ({in_list(held)}) ORDER BY run_id LIMIT {REQUESTS_AT_ONCE}) waiting"
            if held
            else "SELECT 'request', '', 0, 0, 0, '' FROM revision WHERE 1=0"
        )
        query = text(
            "SELECT 'node', name, epoch, beat, live + 4 * draining + 8 * fit, control_address FROM node "
            "UNION ALL SELECT 'part', node, epoch, 0, 0, GROUP_CONCAT(id) FROM part GROUP BY node, epoch "
            "UNION ALL SELECT 'revision', name, n, 0, 0, '' FROM revision "
            f"UNION ALL {requests}"
        )
        members: dict[str, Member] = {}
        holders: dict[int, Holder] = {}
        revisions: dict[str, int] = {}
        waiting: list[tuple[int, int]] = []
        async with reading(self._db) as conn:
            for kind, name, first, second, flags, rest in await conn.execute(query):
                if kind == "node":
                    members[name] = Member(
                        name,
                        first,
                        second,
                        live=flags & 3 == LIVE,
                        draining=bool(flags & 4),
                        fit=bool(flags & 8),
                        address=rest,
                    )
                elif kind == "part":
                    ids = str(rest.decode() if isinstance(rest, bytes) else rest)
                    holders.update((int(one), (name, first)) for one in ids.split(","))
                elif kind == "revision":
                    revisions[name] = first
                else:
                    waiting.append((first, second))
        return Roster(members, holders, revisions, waiting)

    async def all_nodes(self) -> list[NodeRecord]:
        """By name, with the number of parts each rightly holds."""
        parts = (
            select(part.c.node, part.c.epoch, func.count().label("parts"))
            .group_by(part.c.node, part.c.epoch)
            .subquery()
        )
        query = (
            select(node, func.coalesce(parts.c.parts, 0).label("parts"))
            .outerjoin(parts, and_(parts.c.node == node.c.name, parts.c.epoch == node.c.epoch))
            .order_by(node.c.name)
        )
        now_ms = self._clock.now_ms()
        async with reading(self._db) as conn:
            return [_record(row, now_ms, self._lease_ms) for row in await conn.execute(query)]

    async def offset_ms(self) -> float:
        """How far the database's clock is ahead of ours (MySQL only)."""
        return await offset_ms(self._db, self._clock)

    # ------------------------------------------------------------ parts

    async def fence(self, name: str, epoch: int, beat: int) -> bool:
        """End that lease, if it has not moved since; whoever did it, True if it is over."""
        unmoved = and_(node.c.name == name, node.c.epoch == epoch, node.c.beat == beat)

        async def body(conn: AsyncConnection) -> bool:
            fenced = update(node).where(unmoved).values(epoch=epoch + 1, live=FENCED)
            if (await conn.execute(fenced)).rowcount == 1:
                return True
            return (await conn.execute(select(node.c.epoch).where(node.c.name == name))).scalar() != epoch

        return await transact(self._db, self._clock, body)

    async def take(self, lease: Lease, wanted: Mapping[int, Holder]) -> None:
        """Take these parts from holders that have lost them, where nobody was faster. Raises `LeaseLost`."""
        by_holder: dict[Holder, list[int]] = {}
        for number, holder in sorted(wanted.items()):
            by_holder.setdefault(holder, []).append(number)

        async def body(conn: AsyncConnection) -> None:
            await _own(conn, lease)
            for (name, epoch), numbers in sorted(by_holder.items(), key=lambda item: item[1]):
                unmoved = and_(part.c.id.in_(numbers), part.c.node == name, part.c.epoch == epoch)
                await conn.execute(update(part).where(unmoved).values(node=lease.node, epoch=lease.epoch))

        await transact(self._db, self._clock, body)

    async def give(self, lease: Lease, gifts: Farewell) -> None:
        """Hand parts over to nodes that are there. Raises `LeaseLost`."""

        async def body(conn: AsyncConnection) -> None:
            await _own(conn, lease)
            await self._assign(conn, lease, gifts)

        await transact(self._db, self._clock, body)

    @staticmethod
    async def _assign(conn: AsyncConnection, lease: Lease, gifts: Farewell) -> None:
        for (name, epoch), numbers in sorted(gifts.items(), key=lambda item: sorted(item[1])):
            given = and_(part.c.id.in_(sorted(numbers)), _held_by(lease))
            await conn.execute(update(part).where(given).values(node=name, epoch=epoch))

    # ------------------------------------------------------------ notes

    async def drain(self, name: str, *, draining: bool) -> None:
        """Raises `NotFound`, and `Conflict` when nobody else could take its parts."""

        async def body(conn: AsyncConnection) -> None:
            rows = {row.name: row for row in await conn.execute(select(node).order_by(node.c.name))}
            mine = rows.get(name)
            if mine is None:
                raise NotFound("node", name)
            if mine.live != LIVE:
                raise Conflict(f"node {name!r} is not running")
            heirs = [
                one for one in rows.values() if one.live == LIVE and not one.draining and one.name != name
            ]
            if draining and not heirs:
                raise Conflict(f"node {name!r} cannot be drained: there is no other node to take its parts")
            await conn.execute(update(node).where(node.c.name == name).values(draining=int(draining)))
            reason = "drained" if draining else "resumed"
            await note(conn, self._clock.now_ms(), Source.NODE, reason, [(name, "", "")])

        await transact(self._db, self._clock, body)

    async def note_clock(self, lease: Lease, offset_ms: int, *, fit: bool) -> None:
        """Keep how far this machine's clock is from the database's, and whether the node may own parts."""

        async def body(conn: AsyncConnection) -> None:
            mine = and_(node.c.name == lease.node, node.c.epoch == lease.epoch)
            values = {"clock_offset_ms": offset_ms, "fit": int(fit)}
            await conn.execute(update(node).where(mine).values(**values))

        await transact(self._db, self._clock, body)

    async def secret(self) -> str:
        """What the nodes of this database prove themselves with to each other."""
        return await transact(self._db, self._clock, self._secret)

    async def touch(self, name: str) -> None:
        async def body(conn: AsyncConnection) -> None:
            await bump(conn, name)

        await transact(self._db, self._clock, body)

    async def _rows(self) -> dict[str, Any]:
        async with reading(self._db) as conn:
            return {row.name: row for row in await conn.execute(select(node))}


def _objections(
    rows: Mapping[str, Any], me: Identity, *, again: bool
) -> dict[str, tuple[tuple[int, int], str]]:
    """What speaks against joining, by the node that does if it is alive: its (epoch, beat), and the words."""
    found: dict[str, tuple[tuple[int, int], str]] = {}
    for name, row in rows.items():
        if row.live != LIVE:
            continue
        where = row.control_address or "address unknown"
        if name == me.name:
            # A copied data directory tells itself apart only by the process.
            part_of_it = len(me.instance) if again else len(me.instance) // 2
            if row.instance and row.instance[:part_of_it] != me.instance[:part_of_it]:
                words = (
                    f"a node named {name!r} ({where}) is alive on this database: give this one another name"
                )
                found[name] = (row.epoch, row.beat), f"{words} (node_name) and a data directory of its own"
        elif row.agreed and (differs := _disagreement(me.agreed, json.loads(row.agreed))):
            words = f"{differs}, as node {name!r} ({where}) of this database has it: all nodes must agree"
            found[name] = (row.epoch, row.beat), words
    return found


async def _forgotten_epoch(conn: AsyncConnection) -> int:
    """The highest of all nodes that were forgotten: where those begin that nothing is known of."""
    query = select(setting.c.value).where(setting.c.name == _FORGOTTEN_EPOCH)
    return int((await conn.execute(query)).scalar() or 0)


def _held_by(lease: Lease) -> ColumnElement[bool]:
    return and_(part.c.node == lease.node, part.c.epoch == lease.epoch)


async def _own(conn: AsyncConnection, lease: Lease) -> None:
    """Prove ownership by writing, first of all. Raises `LeaseLost`."""
    mine = and_(node.c.name == lease.node, node.c.epoch == lease.epoch)
    if (await conn.execute(update(node).where(mine).values(beat=node.c.beat + 1))).rowcount != 1:
        raise LeaseLost


def _disagreement(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """The first setting that must be equal and is not, in words. Tokens agree when one is known to both."""
    for name, value in sorted(ours.items()):
        other = theirs.get(name, value)
        if name == "access_token":
            if bool(value) != bool(other) or (value and not set(value) & set(other)):
                return "access_token: must share a token with the other nodes"
        elif other != value:
            return f"{name}: {value!r} is not valid: {other!r}"
    return None


def _record(row: Any, now_ms: int, lease_ms: int) -> NodeRecord:
    if row.live == STOPPED:
        state = "stopped"
    elif row.live == FENCED or now_ms - row.seen_ms > 2 * lease_ms:
        state = "dead"
    else:
        state = "draining" if row.draining else "live"
    return NodeRecord(
        name=row.name,
        state=state,
        parts=row.parts,
        address=row.control_address,
        version=row.version,
        epoch=row.epoch,
        clock_offset_ms=row.clock_offset_ms,
        fit=bool(row.fit),
        started_ms=row.started_ms,
        seen_ms=row.seen_ms,
    )


def part_rows() -> Sequence[dict[str, int]]:
    """The rows of an empty `part` table."""
    return [{"id": number} for number in range(PARTS)]

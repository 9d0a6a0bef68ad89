"""What tells whether an old admin is at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.core.errors import InvalidValue
from gateway.core.zones import DAY_S, Zone, resolve_zone
from importer.source.catalog import Table
from importer.source.cells import Cell, Cells
from importer.source.connection import Connection, NoRight
from importer.source.fetch import select
from importer.source.layout import Layout
from importer.source.quartz import FIRING
from importer.source.values import SignsOfLife

DEFAULT_ZONE = "Asia/Shanghai"
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def zone_of(timezone: str | None, found: Sequence[str] = ()) -> Zone:
    """The zone of the old admin's clock: given, found in its tables, or the one that its images are set to."""
    if timezone is not None:
        return resolve_zone(timezone, field="--timezone")
    for name in found:
        try:
            return resolve_zone(name)
        except InvalidValue:
            continue
    return resolve_zone(DEFAULT_ZONE)


def instant_ms(moment: datetime | None, zone: Zone, *, earliest: bool = False) -> int:
    """Wall-clock time of that zone as an instant; 0 for none. One that came twice is the later, or the `earliest`."""
    if moment is None:
        return 0
    if moment.tzinfo is not None:
        return int((moment - _NEVER) / timedelta(milliseconds=1))
    local = moment.replace(tzinfo=UTC) - _NEVER
    seconds = local // timedelta(seconds=1)
    found = zone.instants(seconds)
    # A time that the zone skips is taken as if the clock had not been set yet.
    at = found[0 if earliest else -1] if found else seconds - zone.offset_s(seconds - DAY_S)
    return at * 1000 + local.microseconds // 1000


async def read_signs(connection: Connection, layout: Layout, cells: Cells, zone: Zone) -> SignsOfLife:
    tables = layout.tables
    info, log, registry = tables["info"], tables.get("log"), tables.get("registry")
    ((now,),) = await connection.rows("SELECT UNIX_TIMESTAMP(NOW(3)) * 1000")
    last_log_id, last_log = 0, None
    if log is not None:
        time = log.column("trigger_time")
        rows = await select(connection, log, f"SELECT id, {time} FROM {log.sql} ORDER BY id DESC LIMIT 1")
        for log_id, at in rows:
            last_log_id = int(log_id)
            last_log = _moment(cells, log, "trigger_time", at)
    last_beat = None
    if registry is not None and registry.has("update_time"):
        column = registry.column("update_time")
        ((beat,),) = await select(connection, registry, f"SELECT MAX({column}) FROM {registry.sql}")
        last_beat = _moment(cells, registry, "update_time", beat)
    if layout.is_old:
        last_fire, next_due, checkin = await _of_quartz(connection, layout)
    else:
        checkin = 0
        last_fire = await _extreme(connection, info, "MAX", "trigger_last_time", "")
        next_due = await _extreme(
            connection,
            info,
            "MIN",
            "trigger_next_time",
            f"WHERE {info.column('trigger_status')} = 1 AND "
            + (f"{info.column('trigger_next_time')} > 0" if info.has("trigger_next_time") else "1"),
        )
    sessions = await _sessions(connection)
    return SignsOfLife(
        database_now_ms=int(now),
        last_log_ms=instant_ms(last_log, zone),
        last_beat_ms=instant_ms(last_beat, zone),
        last_checkin_ms=checkin,
        next_due_ms=next_due,
        connections=None if sessions is None else sum(one.count for one in sessions),
        others=tuple(f"{one.user}@{one.host} ({one.count})" for one in sessions or ()),
        waits_for_lock=any(one.waits for one in sessions or ()),
        last_fire_ms=last_fire,
        last_log_id=last_log_id,
        last_log=last_log,
        last_beat=last_beat,
        read_only=await _is_read_only(connection),
    )


async def _of_quartz(connection: Connection, layout: Layout) -> tuple[int, int, int]:
    triggers, state = layout.tables["triggers"], layout.tables.get("scheduler_state")
    last_fire = await _extreme(connection, triggers, "MAX", "prev_fire_time", "")
    next_due = await _extreme(
        connection,
        triggers,
        "MIN",
        "next_fire_time",
        f"WHERE {triggers.column('trigger_state')} IN ({FIRING})"
        + (f" AND {triggers.column('next_fire_time')} > 0" if triggers.has("next_fire_time") else ""),
    )
    checkin = 0 if state is None else await _extreme(connection, state, "MAX", "last_checkin_time", "")
    return last_fire, next_due, checkin


async def _extreme(connection: Connection, table: Table, function: str, column: str, where: str) -> int:
    if not table.has(column):
        return 0
    sql = f"SELECT {function}({table.column(column)}) FROM {table.sql} {where}"
    ((value,),) = await select(connection, table, sql)
    return max(int(value or 0), 0)


@dataclass(frozen=True, slots=True)
class _Sessions:
    """Of others, in this database. `waits`: one of them for a lock that is not a row's."""

    user: str
    host: str
    count: int
    waits: bool


async def _sessions(connection: Connection) -> list[_Sessions] | None:
    """Without the right PROCESS only those of the same account are seen: then none is no news."""
    try:
        rows = await connection.rows(
            "SELECT user, host, state FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        ((may_see,),) = await connection.rows(
            "SELECT COUNT(*) FROM information_schema.user_privileges WHERE privilege_type = 'PROCESS' "
            """AND grantee = CONCAT("'", REPLACE(CURRENT_USER(), "@", "'@'"), "'")"""
        )
    except NoRight:
        return None
    if not rows and not may_see:
        return None
    found: dict[tuple[str, str], _Sessions] = {}
    for user, place, state in rows:
        name = str(user), _host(str(place))
        before = found.get(name, _Sessions(*name, 0, waits=False))
        found[name] = replace(before, count=before.count + 1, waits=before.waits or _waits(str(state or "")))
    return [found[name] for name in sorted(found)]


def _host(place: str) -> str:
    """Without the port, which is another for each."""
    host, colon, port = place.rpartition(":")
    return host if colon and port.isdigit() else place


def _waits(state: str) -> bool:
    return state.startswith("Waiting for") and state.endswith("lock")


async def _is_read_only(connection: Connection) -> bool:
    """As replicas are. On the readers of some clouds only the second one says so."""
    found = await connection.rows(
        "SHOW GLOBAL VARIABLES WHERE variable_name IN ('read_only', 'innodb_read_only')"
    )
    return any(str(value).upper() not in {"0", "OFF"} for _, value in found)


def _moment(cells: Cells, table: Table, column: str, value: Cell) -> datetime | None:
    return cells.moment("signs of life", column, value, is_instant=table.columns[column].type == "timestamp")

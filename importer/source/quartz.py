"""Up to 2.0 a job runs if Quartz has a trigger for it: which trigger is whose, and in what state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from importer.source.cells import Cell, Cells
from importer.source.values import FIRING_STATES, QuartzState, SourceJob

# As SQL has them.
FIRING = ", ".join(f"'{state}'" for state in sorted(FIRING_STATES))
_Row = Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Triggers:
    """`states` by job id. `timezones`: the most frequent first. `last_checkin_ms`: 0 if no scheduler ever did."""

    states: Mapping[int, QuartzState]
    timezones: tuple[str, ...]
    last_checkin_ms: int
    notes: tuple[str, ...]


def read_triggers(
    triggers: Sequence[_Row],
    crons: Sequence[_Row],
    schedulers: Sequence[_Row],
    jobs: Sequence[SourceJob],
    cells: Cells,
    *,
    by_name: bool,
) -> Triggers:
    """Those of the scheduler that was seen last. `by_name`: a trigger is called after its job's name, not its id."""
    triggers, crons = ([_named(row, cells) for row in rows] for rows in (triggers, crons))
    checkins = [
        (cells.number("Quartz", "last_checkin_time", row["last_checkin_time"]) or 0, str(row["sched_name"]))
        for row in schedulers
    ]
    chosen = _chosen(checkins, triggers)
    notes = _notes(triggers, chosen)
    cron_of = {_key(row): row for row in crons if str(row["sched_name"]) == chosen}
    by_trigger: dict[str, list[_Row]] = {}
    for row in triggers:
        if str(row["sched_name"]) == chosen:
            by_trigger.setdefault(str(row["trigger_name"]), []).append(row)
    states = {}
    for job in jobs:
        candidates = by_trigger.get(job.name or "" if by_name else str(job.id), [])
        if by_name:  # a name is only one's own within its group
            candidates = [row for row in candidates if str(row["trigger_group"]) == job.group]
        if not candidates:
            continue
        found = [_state(row, cron_of.get(_key(row)), cells, chosen) for row in candidates]
        states[job.id] = next((state for state in found if state.is_firing), found[0])
        if len(found) > 1:
            groups = ", ".join(sorted(str(row["trigger_group"]) for row in candidates))
            notes.append(f"job {job.id} has {len(found)} triggers in Quartz (of the groups {groups})")
    zones = Counter(zone for row in cron_of.values() if (zone := str(row.get("time_zone_id") or "").strip()))
    return Triggers(
        states,
        tuple(zone for zone, _ in zones.most_common()),
        max((at for at, _ in checkins), default=0),
        tuple(notes),
    )


def _chosen(checkins: Sequence[tuple[int, str]], triggers: Sequence[_Row]) -> str:
    """The scheduler that checked in last and has triggers; if none ever did, the one with the most."""
    counts = Counter(str(row["sched_name"]) for row in triggers)
    seen = [name for _, name in sorted(checkins, reverse=True)]
    if not counts:
        return seen[0] if seen else ""
    return seen[0] if seen else counts.most_common(1)[0][0]


def _notes(triggers: Sequence[_Row], chosen: str) -> list[str]:
    others = Counter(str(row["sched_name"]) for row in triggers if str(row["sched_name"]) != chosen)
    return [
        f"{count} triggers of Quartz's scheduler {name} are of an older release and do not fire: {chosen} was seen last"
        for name, count in sorted(others.items())
    ]


def _named(row: _Row, cells: Cells) -> dict[str, Cell]:
    """With the names as the jobs have them."""
    columns = ("trigger_name", "trigger_group")
    return {**row} | {column: cells.text("Quartz", column, row[column]) for column in columns}


def _key(row: _Row) -> tuple[str, str]:
    return str(row["trigger_name"]), str(row["trigger_group"])


def _state(row: _Row, cron: _Row | None, cells: Cells, scheduler: str) -> QuartzState:
    where = f"Quartz trigger {row['trigger_name']}"
    next_ms = cells.number(where, "next_fire_time", row.get("next_fire_time"))
    previous_ms = cells.number(where, "prev_fire_time", row.get("prev_fire_time"))
    zone = None if cron is None else cells.text(where, "time_zone_id", cron.get("time_zone_id"))
    return QuartzState(
        state=str(row["trigger_state"]).strip().upper(),
        cron=None if cron is None else cells.text(where, "cron_expression", cron["cron_expression"]),
        timezone=zone,
        next_ms=None if next_ms is None or next_ms < 0 else next_ms,
        previous_ms=None if previous_ms is None or previous_ms < 0 else previous_ms,
        scheduler=scheduler,
    )

"""What a shadow has found, as plain data: for JSON as it is, for people through `markdown` and the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.clock import at_offset
from gateway.core.zones import Zone
from importer.shadow import words
from importer.shadow.tally import Example, Kept, Tally
from importer.shadow.track import Track
from importer.shadow.watch import Watch
from importer.shadow.zone_hint import zone_hint

MOST_FORETOLD = 20


@dataclass(frozen=True, slots=True)
class About:
    """What was watched, and how."""

    source: str
    release: str
    zone: Zone
    zone_from: str
    notes: tuple[str, ...] = ()


def report_of(watch: Watch, about: About) -> dict[str, Any]:
    """Up to what is judged so far; the watch may go on."""
    show = _Show(about.zone)
    tracks = [watch.tracks[job_id] for job_id in sorted(watch.tracks)]
    tallies = {track.id: track.result(watch.judged_ms) for track in tracks}
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    told = [track for track in tracks if _is_told(track, tallies[track.id])]
    told.sort(key=lambda track: (-_weight(tallies[track.id]), track.id))
    silences = watch.pulse.current()
    return {
        "source": about.source,
        "release": about.release,
        "timezone": about.zone.name,
        "timezone_from": about.zone_from,
        "from": show.at(watch.start_ms),
        "from_ms": watch.start_ms,
        "judged_to": show.at(watch.judged_ms),
        "judged_to_ms": watch.judged_ms,
        "settle_s": watch.settle_ms / 1000,
        "looks": watch.looks,
        "log_rows": watch.rows,
        "not_judged_yet": watch.waiting(),
        "total": {
            "jobs": len(tracks),
            "jobs_without_slots": dict(_without_slots(tracks)),
            "jobs_that_differ": sum(tally.differs for tally in tallies.values()),
            **_counts(total),
        },
        "meanings": _meanings(total),
        "jobs": [_job(track, tallies[track.id], show) for track in told],
        "stopped_by_old_admin": [
            {"job_id": track.id, "name": track.name, "why": track.stopped}
            for track in tracks
            if track.stopped
        ],
        "silences": [
            {"from": show.at(one.start_ms), "to": show.at(one.end_ms), "slots": one.slots} for one in silences
        ],
        "more_silences": watch.pulse.more,
        "next_times": _foretold(tracks, show),
        "notes": list(about.notes),
    }


class _Show:
    """Instants on the clock that the schedules are read by."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def at(self, ms: int) -> str:
        return at_offset(ms, self._zone.offset_s(ms // 1000)).isoformat(timespec="seconds")


def _is_told(track: Track, tally: Tally) -> bool:
    return bool(tally.agreed or tally.differs or tally.unclear or tally.others or track.stopped)


def _weight(tally: Tally) -> int:
    return tally.missing.total() + tally.extra.total() + tally.duplicates


def _counts(tally: Tally) -> dict[str, Any]:
    return {
        "agreed": tally.agreed,
        "missing": tally.missing.total(),
        "extra": tally.extra.total(),
        "duplicates": tally.duplicates,
        "unclear": tally.unclear.total(),
        "late": tally.late,
        "lateness_s": {"p50": tally.late_s(0.5), "p99": tally.late_s(0.99), "max": tally.late_s(1)},
        "missing_why": dict(tally.missing),
        "extra_why": dict(tally.extra),
        "unclear_why": dict(tally.unclear),
        "not_slots": dict(tally.others),
        "drifts": tally.drifts,
        "drift_s": tally.drift_ms / 1000,
    }


def _meanings(total: Tally) -> dict[str, str]:
    found = {why: words.OF_MISSING[why] for why in total.missing}
    return found | {why: words.OF_EXTRA[why] for why in total.extra}


def _job(track: Track, tally: Tally, show: _Show) -> dict[str, Any]:
    examples = [
        _example(example, show) for kept in tally.examples.values() for example in (*kept.first, *kept.last)
    ]
    return {
        "job_id": track.id,
        "name": track.name,
        "app": track.app,
        "schedule": track.version.text,
        "enabled": track.sign.running,
        **_counts(tally),
        "examples": sorted(examples, key=lambda one: one["at_ms"]),
        "more_examples": sum(_left_out(kept) for kept in tally.examples.values()),
    }


def _left_out(kept: Kept) -> int:
    return kept.count - len(kept.first) - len(kept.last)


def _example(example: Example, show: _Show) -> dict[str, Any]:
    found: dict[str, Any] = {"what": example.what, "at": show.at(example.at_ms), "at_ms": example.at_ms}
    if example.count > 1:
        found |= {"to": show.at(example.to_ms), "count": example.count}
    return found | {"why": example.words, "log_ids": list(example.log_ids)}


def _without_slots(tracks: Sequence[Track]) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for track in tracks:
        if not track.sign.running:
            found["stopped"] += 1
        elif track.version.why_none:
            found[track.version.why_none] += 1
    return found


def _foretold(tracks: Sequence[Track], show: _Show) -> dict[str, Any]:
    """The next times that the old admin has stored, beside ours: what will differ before it happens."""
    asked = [track for track in tracks if track.sign.running and track.sign.next_ms and track.version.slots]
    wrong = [track for track in asked if not track.foretold]
    return {
        "compared": len(asked),
        "differ": len(wrong),
        "hint": zone_hint([(track.version.slots, track.sign.next_ms) for track in wrong], len(asked)),
        "jobs": [_next_of(track, show) for track in wrong[:MOST_FORETOLD]],
    }


def _next_of(track: Track, show: _Show) -> dict[str, Any]:
    assert track.version.slots is not None  # those without are not compared
    theirs_ms = track.sign.next_ms
    ours_ms = track.version.slots.next_after(theirs_ms - 1)
    return {
        "job_id": track.id,
        "name": track.name,
        "schedule": track.version.text,
        "theirs": show.at(theirs_ms),
        "ours": None if ours_ms is None else show.at(ours_ms),
        # A release explains only what it has itself: the clock that is taken may be another one than the old admin's.
        "why": next((one.why(theirs_ms) for one in track.version.readings if one.is_slot(theirs_ms)), ""),
    }

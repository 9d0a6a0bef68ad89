"""What the shadow says about a disagreement."""

from __future__ import annotations

from collections.abc import Mapping

from importer.shadow.gap import Gap
from importer.shadow.values import Extra, Facts, Judged, Missing, Version

_PASSED = "its next time went past it"
DUPLICATE = "a second run of the same slot: two admins that do not share a lock, or a slot fired again after a restart"
MISFIRE_RUN = "made up by the old admin for a slot before the watch began, or as the job was started"
UNTOLD = "no slot is near; the log does not tell whether it was by hand"
OFF_SLOT = "the old admin's schedule has started it where this scheduler has no slot"
EDITED = "the job was edited: which version was in force is not known"
STARTED = "the job was started or stopped: from which instant on is not known to the second"
MADE = "the job was made between two looks"
DELETED = "the job was deleted between two looks, and its log with it"
STOPPED_NOW = "the job is stopped now: whether it was in that time is not known"
DOUBLED = "the clocks were set back: which of both passes the log means is not known"
NO_PHASE = "a fixed rate without a row in the log: its phase then is not known"
LOST_LOG = "rows of the log were deleted before they could be read"

OF_MISSING: Mapping[str, str] = {
    Missing.MISFIRE_SKIPPED: "found late by the old admin, and skipped: its policy is DO_NOTHING",
    Missing.MISFIRE_MADE_UP: "found late by the old admin: one run for all of them, by its policy FIRE_ONCE_NOW",
    Missing.STOPPED: "the old admin has stopped the job by itself",
    Missing.OLD_READING: "no slot for the old admin's release, which reads the expression in another way",
    Missing.HOLE: "a hole of the old admin: nothing tells why it did not fire",
}
OF_EXTRA: Mapping[str, str] = {
    Extra.OLD_READING: "a slot for the old admin's release only, which reads the expression in another way",
    Extra.MISFIRE_RUN: MISFIRE_RUN,
    Extra.OFF_SLOT: OFF_SLOT,
    Extra.UNTOLD: UNTOLD,
}


def drift(off_ms: int, version: Version) -> str:
    return (
        f"the phase has moved by {_seconds(off_ms)}: a run came late, and the old admin counts its "
        f"{_seconds(version.rate_ms)} from then on; here the phase stays"
    )


def stopped(between_ms: int) -> str:
    return (
        f"the old admin has stopped the job by itself, within {_seconds(between_ms)} before it was seen: it found no next "
        "time (a schedule that it cannot read, or that has come to its end there)"
    )


def missing(
    gap: Gap, made_up: Judged | None, version: Version, facts: Facts, stopped_words: str
) -> tuple[Missing, str]:
    """Why the slots of a gap have no run."""
    many = f"{gap.count} slots in a row" if gap.count > 1 else "the slot"
    late = f"more than {_seconds(version.misfire_after_ms)} late"
    if made_up is not None:
        after = _seconds(made_up.at_ms - gap.first_ms)
        return Missing.MISFIRE_MADE_UP, f"{many} found {late}; one run made up for it after {after}"
    if stopped_words:
        return Missing.STOPPED, f"{many}: {stopped_words}"
    evidence = _evidence(gap, facts)
    if not evidence:
        # A misfire of one slot leaves as little behind as a slot that was lost, unless the policy is to fire, or the phase
        # of a fixed rate tells: after a misfire it is another one.
        tells = version.fires_once or version.rate_ms
        skipped = "" if tells else f", or found {late} and skipped by its policy (DO_NOTHING)"
        lost = "lost between being read ahead and the start (a crash, a full trigger queue)"
        return Missing.HOLE, f"{many} without a row in the log: {lost}{skipped}"
    if version.fires_once:
        return (
            Missing.HOLE,
            f"{many} found {late} ({evidence}), and no run made up, against its policy FIRE_ONCE_NOW",
        )
    if evidence == _PASSED and gap.last_ms - gap.first_ms < version.misfire_after_ms:
        once = "it came late, and fires once for what is due together"
        return Missing.MISFIRE_SKIPPED, f"{many} passed over by the old admin: {once}"
    return Missing.MISFIRE_SKIPPED, f"{many} found {late} ({evidence}) and skipped by its policy (DO_NOTHING)"


def _evidence(gap: Gap, facts: Facts) -> str:
    if any(last_ms <= gap.first_ms and gap.last_ms < next_ms for last_ms, next_ms in facts.jumps):
        return _PASSED
    if gap.moved:
        return "the phase is another one after it: the interval was counted anew"
    if any(gap.first_ms <= at_ms <= gap.last_ms for at_ms in facts.overdue):
        return "its next time was seen overdue"
    if gap.silent * 2 >= gap.count:  # the last of them were due as it was about to go on
        return "the old admin started nothing of any job then"
    return ""


def _seconds(ms: int) -> str:
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

"""Whether an old admin is at work, as far as its database tells."""

from __future__ import annotations

from importer.source.values import SignsOfLife

_LOG_MS = 10 * 60_000
_BEAT_MS = 90_000
_CHECKIN_MS = 60_000


def signs_of_life(signs: SignsOfLife) -> tuple[str, ...]:
    """What speaks for an admin that runs, in words; empty when nothing does."""
    now = signs.database_now_ms
    seen = (
        (signs.last_log_ms, _LOG_MS, "it has triggered a job"),
        (signs.last_beat_ms, _BEAT_MS, "an executor has registered with it"),
        (signs.last_checkin_ms, _CHECKIN_MS, "its Quartz has checked in"),
    )
    told = [f"{what} {_ago(now - at)} ago" for at, within, what in seen if at and now - at <= within]
    if signs.connections:
        told.append(f"{signs.connections} other connection(s) to its database")
    return tuple(told)


def _ago(ms: int) -> str:
    seconds = max(ms, 0) // 1000
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"

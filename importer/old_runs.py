"""A row of the old admin's log as a run: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape

from compat.dialects import normal_address
from gateway.core.errors import InvalidValue
from gateway.core.policy import SUCCESS_CODE, TIMED_OUT_CODE, clip
from gateway.core.states import RunState
from gateway.store.import_logs import OldRun
from importer.source.values import SourceLog
from importer.wall import WallClock

SETTLED_MS = 600_000
"""A row that is older and has no result will not get one that this import could wait for."""
_YOUNG_MS = 10_000
_MOST_ADDRESS = 255
_MOST_KNOWN = 10_000
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,200}>")
_SHARDING = re.compile(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", re.ASCII)


class OldRuns:
    """`job_ids`: what the source's jobs are called here; `by_name` for releases whose log names them by group and name.

    `attempts`: by id here, how many attempts a run of each job has at most.
    """

    def __init__(
        self,
        source: str,
        wall: WallClock,
        job_ids: Mapping[int, int],
        by_name: Mapping[tuple[str | None, str | None], int],
        attempts: Mapping[int, int],
    ) -> None:
        self._source = source
        self._wall = wall
        self._job_ids = job_ids
        self._by_name = by_name
        self._attempts = attempts
        self._addresses: dict[str, str] = {}

    def old_job(self, log: SourceLog) -> int | None:
        return log.job_id if log.job_id is not None else self._by_name.get((log.group, log.name))

    def is_settled(self, log: SourceLog, now_ms: int) -> bool:
        """Whether nothing more is to come of this row, nor, as far as anyone can know, before it.

        Old releases write the time of a row after they have made it.
        """
        if log.triggered is None:
            return False
        age_ms = now_ms - self._wall.ms(log.triggered)
        has_ended = bool(log.handle_code) or log.trigger_code not in (0, SUCCESS_CODE)
        return age_ms >= (_YOUNG_MS if has_ended else SETTLED_MS)

    def run(self, log: SourceLog) -> OldRun | None:
        """None for a row of a job that is not here, or without any time."""
        old_job = self.old_job(log)
        job_id = None if old_job is None else self._job_ids.get(old_job)
        triggered = log.triggered or log.handled
        if job_id is None or triggered is None:
            return None
        trigger_ms = self._wall.ms(triggered)
        state, reason = self._end(log)
        was_sent = log.trigger_code == SUCCESS_CODE or log.handle_code != 0
        handled_ms = self._wall.ms(log.handled) if log.handled is not None and log.handle_code else 0
        shard, total = _shard(log.sharding)
        return OldRun(
            old_id=log.id,
            job_id=job_id,
            state=state,
            trigger_ms=trigger_ms,
            sent_ms=trigger_ms if was_sent else 0,
            finished_ms=max(handled_ms, trigger_ms),
            result_code=log.handle_code,
            address=self._address(log.address),
            shard=shard,
            shard_total=total,
            attempt=self._attempt(log, job_id),
            params=_text(log.param),
            message=_text(log.handle_message) or None,
            reason=reason,
        )

    def _end(self, log: SourceLog) -> tuple[RunState, str | None]:
        if log.handle_code == SUCCESS_CODE:
            return RunState.SUCCEEDED, None
        if log.handle_code:
            return (RunState.TIMED_OUT if log.handle_code == TIMED_OUT_CODE else RunState.FAILED), None
        if log.trigger_code not in (0, SUCCESS_CODE):
            return RunState.FAILED, _plain(log.trigger_message) or "the old admin could not send it"
        return RunState.LOST, f"no result had come to {self._source} when it was imported"

    def _attempt(self, log: SourceLog, job_id: int) -> int:
        most = self._attempts.get(job_id, 1)
        return max(most - log.retries_left, 1) if log.retries_left is not None else 1

    def _address(self, text: str | None) -> str:
        if not text:
            return ""
        found = self._addresses.get(text)
        if found is None:
            try:
                found = normal_address(text)
            except InvalidValue:
                found = _clean(text)[:_MOST_ADDRESS]
            if len(self._addresses) >= _MOST_KNOWN:
                self._addresses.clear()
            self._addresses[text] = found
        return found


def _shard(text: str | None) -> tuple[int, int]:
    match = _SHARDING.fullmatch(text or "")
    if match is None:
        return 0, 1
    return int(match[1]), max(int(match[2]), 1)


def _plain(html: str | None) -> str:
    """What the old admin shows as HTML, as lines."""
    text = unescape(_TAG.sub("", _BREAK.sub("\n", html or "")))
    return clip(_clean("\n".join(filter(None, map(str.strip, text.splitlines()))))) or ""


def _text(text: str | None) -> str | None:
    return None if text is None else clip(_clean(text))


def _clean(text: str) -> str:
    """Half a surrogate pair has no UTF-8 form, and SQLite's text ends at a NUL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")

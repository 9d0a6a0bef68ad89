"""One job in the shadow: its versions as lines, what is seen of its row, and its tally."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from importer.shadow import words
from importer.shadow.gap import Gap
from importer.shadow.rated import RatedLine
from importer.shadow.slotted import FOREVER_MS, SlottedLine
from importer.shadow.tally import Example, Tally
from importer.shadow.values import (
    PRE_READ_MS,
    Extra,
    Facts,
    Grey,
    Judged,
    Kind,
    Missing,
    Outcome,
    Row,
    SeenJob,
    Sign,
)

Line = SlottedLine | RatedLine
# Around an edit: rows that were on their way carry slots of the version before.
EDIT_MS = 30_000
_MOST_FACTS = 8


class Track:
    """`is_silent` tells whether the old admin started nothing at all around an instant."""

    def __init__(self, job: SeenJob, reach_ms: int, is_silent: Callable[[int], bool]) -> None:
        self.id = job.id
        self.name = job.name
        self.app = job.app
        self.version = job.version
        self.sign = job.sign
        self.tally = Tally()
        self.facts = Facts()
        self.stopped = ""
        # Whether the next time that the old admin has stored is a slot here as well.
        self.foretold = True
        # Looks one after another at which the row was saved, and its schedule was the same; the last of them.
        self.touches = 0
        self.touched_ms = 0
        self.lines: deque[Line] = deque()
        self._reach_ms = reach_ms
        self._is_silent = is_silent
        self._greys: list[Grey] = []
        self._gap: Gap | None = None

    # What is seen of the job.

    def begin(self, start_ms: int, *, phase_known: bool = True, fresh: bool = False) -> None:
        """Slots from that instant on are judged, by the present version.

        `phase_known`: a fixed rate had the phase then that its row tells now; `fresh`: it was started just then.
        """
        version = self.version
        if not self.sign.running:
            return
        if version.rate_ms:
            due_ms = (self.sign.next_ms or None) if phase_known else None
            self.lines.append(RatedLine(version.rate_ms, due_ms, start_ms, self._reach_ms, fresh=fresh))
        elif version.slots is not None:
            self.lines.append(SlottedLine(version.slots, start_ms, self._reach_ms))

    def end(self, end_ms: int) -> None:
        """Slots from that instant on are none of the present version's."""
        if self.lines and self.lines[-1].end_ms == FOREVER_MS:
            self.lines[-1].end_ms = max(end_ms, self.lines[-1].start_ms)

    def grey(self, start_ms: int, end_ms: int, why: str) -> None:
        """What disagrees in that stretch is unclear."""
        self._greys.append(Grey(start_ms, end_ms, why))

    def see(self, sign: Sign, at_ms: int) -> None:
        """The row as a look has found it, unchanged but for what the scheduler itself writes."""
        before, self.sign = self.sign, sign
        slots = self.version.slots
        if not sign.running or slots is None or self.version.rate_ms or not sign.next_ms:
            self.foretold = True
            return
        if sign.next_ms != before.next_ms or before is sign:
            self.foretold = slots.next_after(sign.next_ms - 1) == sign.next_ms
        late_ms = at_ms - sign.next_ms
        if late_ms > self.version.misfire_after_ms and self.facts.overdue[-1:] != [sign.next_ms]:
            self.facts.overdue = [*self.facts.overdue[1 - _MOST_FACTS :], sign.next_ms]
        moved = sign.last_ms and (sign.last_ms, sign.next_ms) != (before.last_ms, before.next_ms)
        if moved and sign.last_ms < sign.next_ms and slots.next_after(sign.last_ms) != sign.next_ms:
            self.facts.jumps = [*self.facts.jumps[1 - _MOST_FACTS :], (sign.last_ms, sign.next_ms)]

    # What becomes of its slots.

    @property
    def next_ms(self) -> int | None:
        return min((at for line in self.lines if (at := line.next_ms) is not None), default=None)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be judged by time alone."""
        return all(line.is_idle and line.end_ms == FOREVER_MS for line in self.lines)

    def extend(self, upto_ms: int) -> Iterable[int]:
        for line in self.lines:
            yield from line.extend(upto_ms)

    def feed(self, row: Row) -> bool:
        """Whether the row is one that the schedule has started."""
        if not (row.kind.may_be_slot or row.kind is Kind.MISFIRE):
            self.tally.others[row.kind] += 1
            return False
        line = next((line for line in self.lines if row.at_ms < line.end_ms), None)
        if line is None or row.at_ms < line.start_ms:
            if line is None or row.kind is not Kind.UNTOLD:
                self._judge(Judged(Outcome.EXTRA, row.at_ms, row))
            return False
        judged = line.feed(row)
        for one in judged:
            self._judge(one)
        return not any(one.outcome is Outcome.EXTRA for one in judged)

    def settle(self, upto_ms: int) -> None:
        """Slots before that instant are judged, and versions that are over are forgotten."""
        for line in self.lines:
            for judged in line.settle(upto_ms):
                self._judge(judged)
        while self.lines and self.lines[0].end_ms < upto_ms and self.lines[0].is_idle:
            over = self.lines.popleft()
            missed = over.overdue(upto_ms) if isinstance(over, RatedLine) else None
            if missed is not None:
                self._judge(missed)
        self._greys = [grey for grey in self._greys if grey.end_ms >= upto_ms - self._reach_ms]
        if not self.lines and self._gap is not None:
            self._close(None)

    def finish(self) -> None:
        """No more rows will come."""
        if any(isinstance(line, RatedLine) and line.has_no_phase for line in self.lines):
            self.tally.unclear[words.NO_PHASE] += 1

    def waiting(self) -> int:
        return sum(line.waiting() for line in self.lines)

    def result(self, upto_ms: int) -> Tally:
        """The tally as it stands, with what is missing at this moment; nothing is closed by asking."""
        found = Tally(examples={what: kept.copy() for what, kept in self.tally.examples.items()})
        found.add(self.tally)
        gap = self._gap.copy() if self._gap is not None else None
        for line in self.lines:
            missed = line.overdue(upto_ms) if isinstance(line, RatedLine) else None
            if missed is not None and self._grey_at(missed.at_ms) is None:
                gap = gap or Gap()
                gap.add(missed, silent=False)
        if gap is not None:
            self._tell(gap, None, found)
        return found

    def _judge(self, judged: Judged) -> None:
        match judged.outcome:
            case Outcome.AGREED:
                self._close(None)
                self.tally.agree(judged.off_ms)
            case Outcome.MISSING:
                self._miss(judged)
            case Outcome.MADE_UP:
                self._made_up(judged)
            case Outcome.DUPLICATE:
                self._double(judged)
            case Outcome.DRIFT:
                self.tally.drifts += 1
                self.tally.drift_ms += judged.off_ms
                if self._gap is not None:
                    self._gap.moved = True
                self._keep("drift", judged, words.drift(judged.off_ms, self.version))
            case Outcome.EXTRA:
                self._extra(judged)

    def _miss(self, judged: Judged) -> None:
        grey = self._grey_at(judged.at_ms)
        if grey is not None:
            self._unclear(grey, judged, judged.count)
            return
        for reading in self.version.readings:
            if not reading.is_slot(judged.at_ms):
                self.tally.missing[Missing.OLD_READING] += judged.count
                self._keep("missing", judged, reading.why(judged.at_ms))
                return
        if self._gap is None:
            self._gap = Gap()
        self._gap.add(judged, silent=self._is_silent(judged.at_ms))

    def _made_up(self, judged: Judged) -> None:
        if self._gap is not None:
            self._close(judged)
            return
        grey = self._grey_at(judged.at_ms)
        if grey is not None:
            self._unclear(grey, judged)
            return
        self.tally.extra[Extra.MISFIRE_RUN] += 1
        self._keep("extra", judged, words.MISFIRE_RUN)

    def _double(self, judged: Judged) -> None:
        grey = self._grey_at(judged.at_ms)
        if grey is not None:
            self._unclear(grey, judged)
            return
        self.tally.duplicates += 1
        self._keep("duplicate", judged, words.DUPLICATE)

    def _extra(self, judged: Judged) -> None:
        assert judged.row is not None  # an extra is a row
        grey = self._grey_at(judged.at_ms)
        if grey is not None:
            self._unclear(grey, judged)
            return
        for reading in self.version.readings:
            slot_ms = reading.next_after(judged.at_ms - PRE_READ_MS)
            if slot_ms is not None and slot_ms <= judged.at_ms:
                self.tally.extra[Extra.OLD_READING] += 1
                self._keep("extra", judged, reading.why(slot_ms))
                return
        untold = judged.row.kind is Kind.UNTOLD
        self.tally.extra[Extra.UNTOLD if untold else Extra.OFF_SLOT] += 1
        self._keep("extra", judged, words.UNTOLD if untold else words.OFF_SLOT)

    def _unclear(self, grey: Grey, judged: Judged, count: int = 1) -> None:
        self.tally.unclear[grey.why] += count
        self._keep("unclear", judged, grey.why)

    def _grey_at(self, at_ms: int) -> Grey | None:
        return next((grey for grey in self._greys if grey.start_ms <= at_ms <= grey.end_ms), None)

    def _close(self, made_up: Judged | None) -> None:
        """What was missing in a row is over: now it can be said why."""
        gap, self._gap = self._gap, None
        if gap is not None:
            self._tell(gap, made_up, self.tally)

    def _tell(self, gap: Gap, made_up: Judged | None, tally: Tally) -> None:
        why, told = words.missing(gap, made_up, self.version, self.facts, self.stopped)
        tally.missing[why] += gap.count
        row = made_up.row if made_up is not None else None
        tally.keep(Example("missing", gap.first_ms, told, (row.id,) if row else (), gap.last_ms, gap.count))

    def _keep(self, what: str, judged: Judged, told: str) -> None:
        ids = (judged.row.id,) if judged.row is not None else ()
        self.tally.keep(Example(what, judged.at_ms, told, ids, judged.to_ms or judged.at_ms, judged.count))

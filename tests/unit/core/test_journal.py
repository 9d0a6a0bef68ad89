"""Events on their way: bounded, at a bounded rate, and nothing that is left out goes uncounted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.events import Event, Level, Source
from gateway.core.journal import A_MINUTE, MINUTE_MS, MOST_WAITING, Journal
from gateway.core.model import Counters


def note(journal: Journal, at_ms: int, source: object = 1, reason: str = "lost") -> None:
    journal.note(at_ms, Level.WARN, Source.JOB, source, reason, "text")


def test_five_a_minute_of_one_kind_and_the_next_says_how_many_more() -> None:
    journal = Journal(Counters())
    for n in range(A_MINUTE + 7):
        note(journal, n)
    note(journal, 8, source=2)
    note(journal, 8, reason="dead")
    assert len(journal.take(100, 9)) == A_MINUTE + 2
    note(journal, MINUTE_MS)
    (event,) = journal.take(100, MINUTE_MS)
    assert event.text == "text (and 7 more like it since the last one)"


def test_a_full_queue_says_how_many_it_lost() -> None:
    counters = Counters()
    journal = Journal(counters)
    for n in range(MOST_WAITING + 30):
        note(journal, 0, source=n)
    taken: list[Event] = []
    while some := journal.take(700, 5):
        assert len(some) <= 701
        taken += some
    assert len(taken) == MOST_WAITING + 1
    assert (taken[-1].reason, taken[-1].text[:14], taken[-1].at_ms) == ("lost", "30 events were", 5)
    assert counters.values["events_lost"] == 30


def test_what_could_not_be_written_comes_first_next_time() -> None:
    journal = Journal(Counters())
    for n in range(4):
        note(journal, n, source=n)
    some = journal.take(2, 0)
    journal.put_back(some)
    assert [event.at_ms for event in journal.take(9, 0)] == [0, 1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 3), st.booleans()), max_size=120))
def test_each_event_is_told_held_back_or_lost(steps: list[tuple[int, int, bool]]) -> None:
    """Against a count: what was noted is what was taken, plus what the counters say, whatever is put back."""
    counters = Counters()
    journal = Journal(counters)
    noted = taken = now_ms = 0
    for pause_ms, source, write in steps:
        now_ms += pause_ms
        note(journal, now_ms, source)
        noted += 1
        if write:
            some = journal.take(3, now_ms)
            if source == 3:
                journal.put_back(some)
            else:
                taken += len(some)
    taken += len(journal.take(10_000, now_ms))
    assert noted == taken + counters.values.get("events_held_back", 0)

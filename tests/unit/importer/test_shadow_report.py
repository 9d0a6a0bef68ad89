"""The report of a shadow: for programs, for people, and with names that mean harm."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from gateway.core.zones import resolve_zone
from importer.plan.around import Around
from importer.report.markdown import markdown_of
from importer.report.terminal import lines_of
from importer.shadow.document import PAGE, TERMINAL, document_of, one_line
from importer.shadow.files import pieces_of, write_shadow
from importer.shadow.reading import Reader
from importer.shadow.report import About, report_of
from importer.shadow.values import Kind, Look, SeenJob, Sign
from importer.shadow.watch import START_MS, Watch
from importer.source.values import SourceJob
from tests.kit.model_admin import T0, ModelJob, ends_at, multiples, rated, slots_between, version, watched

FOR_MS = 900_000
EVIL = "\x1b[31mpay`|<b>\u202e"


@pytest.fixture(scope="module")
def found():
    jobs = [ModelJob(n, version(60), multiples(60)) for n in range(1, 4)]
    for job in jobs:
        for n, slot in enumerate(slots_between(job.next_after, T0 + START_MS, ends_at(FOR_MS) + 200_000)):
            if job.id != 2 or n not in (3, 4, 8):
                job.logged.append((slot + job.id * 1000, Kind.SCHEDULE, -1))
    jobs[2].logged.append((T0 + 300_000, Kind.MANUAL, -1))
    jobs.append(ModelJob(9, rated(60), multiples(60), running=False))
    watch = watched(jobs, FOR_MS)
    watch.tracks[2].name = EVIL
    about = About("old@db:3306", "2.3.0 – 2.4.2", resolve_zone("Asia/Shanghai"), "given", ("a note",))
    return report_of(watch, about)


def test_counts_and_examples_of_each_job(found):
    total = found["total"]
    assert (total["jobs"], total["jobs_that_differ"]) == (4, 1)
    assert (total["agreed"], total["missing"], total["duplicates"], total["extra"]) == (42, 3, 0, 0)
    assert total["lateness_s"] == {"p50": 2, "p99": 3, "max": 3}
    assert total["jobs_without_slots"] == {"stopped": 1}
    worst = found["jobs"][0]
    assert (worst["job_id"], worst["missing"]) == (2, 3)
    assert [example.get("count", 1) for example in worst["examples"]] == [2, 1]
    assert worst["examples"][0]["at"].endswith("+08:00")
    assert sum(job[name] for job in found["jobs"] for name in ("agreed", "missing")) == 45
    assert json.loads("".join(pieces_of("-", found))) == found


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_a_terminal_gets_lines_that_fit_and_nothing_that_steers_it(found, columns):
    lines = list(lines_of(document_of(found, TERMINAL), columns))
    text = "\n".join(lines)
    assert max(map(len, lines)) <= columns
    assert not any(character in text for character in "\x1b\u202e")
    assert "42 agreed, 3 missing, 0 extra, 0 twice, 0 unclear." in text
    assert "1 job of 4 differs." in text
    assert "pay`|<b>" in text


def test_markdown_has_all_jobs_and_no_markup_of_theirs(found):
    text = "".join(pieces_of("out.md", found))
    assert text.startswith("# Shadow")
    assert text.count("`job 1`") == 1
    assert "<b>" not in text.replace("``pay`\\|<b>``", "")
    assert text == "".join(markdown_of(document_of(found, PAGE)))


def test_a_file_is_replaced_as_a_whole(found, tmp_path):
    path = tmp_path / "out.json"
    path.write_text("old")
    write_shadow(str(path), found)
    assert json.loads(path.read_text("utf-8"))["total"] == found["total"]
    assert [one.name for one in tmp_path.iterdir()] == ["out.json"]


def test_one_line_says_how_it_goes(found):
    line = one_line(found)
    assert "42 agreed, 3 missing, late p99 3 s, max 3 s" in line


def test_a_watch_that_has_seen_nothing_yet_can_be_reported():
    watch = Watch(T0, 120_000)
    about = About("old@db:3306", "3.4.0", resolve_zone("UTC"), "given")
    empty = report_of(watch, about)
    assert "None of 0 jobs differs." in "\n".join(lines_of(document_of(empty, TERMINAL), 100))
    assert "0 agreed" in one_line(empty)


def test_a_release_explains_only_next_times_of_its_own():
    """On a wrong clock none of them is a slot of any release: that is said once, and blames no expression."""
    night = int(datetime(2026, 10, 24, 21, tzinfo=UTC).timestamp() * 1000)

    def next_times(there, here, *expressions):
        zones, seen = [resolve_zone(there), resolve_zone(here)], []
        old, ours = [Reader(Around((2, 3, 0), (2, 4, 2), zone, night)) for zone in zones]
        for number, text in enumerate(expressions, 1):
            row = SourceJob(number, "1", schedule_type="CRON", schedule_conf=text, trigger_status=1)
            (reading,) = old.version(row).readings
            sign = Sign(running=True, last_ms=0, next_ms=reading.next_after(night), updated_ms=1)
            seen.append(SeenJob(number, "a", "app", ours.version(row), sign))
        watch = Watch(night, 2000)
        watch.observe(Look(night, {one.id: one.sign for one in seen}, seen, [], night))
        return report_of(watch, About("old", "2.4", zones[1], "given"))["next_times"]

    found = next_times("Asia/Shanghai", "UTC", "0 30 2 * * ?", "0 30 4 * * ?")
    assert [one["why"] for one in found["jobs"]] == ["", ""]
    assert "--timezone" in found["hint"]
    (one,) = next_times("Europe/Berlin", "Europe/Berlin", "0 30 2 * * ?")["jobs"]
    assert "the clocks change" in one["why"]

"""A report in each of its forms, from plans that are made up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gateway.core.errors import InvalidValue
from importer.plan.values import Action, Finding, Fires, Level, Verdict
from importer.report.as_json import json_of
from importer.report.counts import table_counts
from importer.report.files import pieces_of, require_report, write_report
from importer.report.markdown import markdown_of
from importer.report.page import page_of
from importer.report.sections import PAGE, TERMINAL, document_of
from importer.report.terminal import lines_of
from importer.report.text import Cleaner, width
from importer.report.values import Copied, Report
from tests.kit.made_up_plans import DIGEST, GROUP_TOKEN, SAME, hourly, planned_job, report_of

STEPS = ("1. Look at it.", "2. xxljob-gateway cutover --source mysql://…")
NASTY = "<script>alert(1)</script> | `a` **b** [c](http://evil) \x1b[2J &amp; @all"


def terminal(report: Report, columns: int = 80) -> str:
    return "\n".join(lines_of(document_of(report, TERMINAL, STEPS), columns))


def markdown(report: Report) -> str:
    return "".join(markdown_of(document_of(report, PAGE, STEPS)))


def page(report: Report) -> str:
    return "".join(page_of(document_of(report, PAGE, STEPS)))


def as_json(report: Report) -> dict:
    return json.loads("".join(json_of(report, STEPS)))


TAGS_OF_MARKDOWN = frozenset(
    (
        "h1",
        "h2",
        "ul",
        "ol",
        "li",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "code",
        "details",
        "summary",
    )
)
FORMS = (terminal, markdown, page, lambda report: "".join(json_of(report, STEPS)))


class Page(HTMLParser):
    """What a browser would make of it: elements, and the texts of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self.items: list[str] = []
        self._in: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "li":
            self.items.append("")
        self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & {*self._in}:
            self.rows[-1][-1] += data
        elif "li" in self._in:
            self.items[-1] += data


def rendered(text: str) -> Page:
    """Markdown as a renderer of others reads it, with tables and with HTML let through."""
    return Page(MarkdownIt("js-default", {"html": True}).render(text))


def test_the_terminal_shows_what_differs_and_no_more():
    text = terminal(report_of(), 200)
    assert "6: 3 identical, 1 equivalent, 2 changed" in text
    assert re.search(r"^  3 job number 3 +1  fires at L too", text, re.MULTILINE)
    assert re.search(r"2026-09-21T23:00:00\+08:00 +fires +– +the old admin", text)
    assert "Asia/Shanghai (XXL-JOB's default, nothing else is known)" in text
    assert "An old admin seems to be running: an executor has registered with it 5 s ago" in text
    assert "All jobs" not in text
    assert text.endswith("  2. xxljob-gateway cutover --source mysql://…")


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(columns: int):
    lines = list(lines_of(document_of(report_of(), TERMINAL, STEPS), columns))
    assert max(map(width, lines)) <= columns
    assert not any(line != line.rstrip() for line in lines)


def test_columns_stay_aligned_beside_chinese():
    jobs = tuple(
        planned_job(number, name=name, verdict=Verdict.CHANGED, reasons=(f"{number} BECAUSE",))
        for number, name in enumerate(("每日对账", "plain", "混合 mixed 名称"), 1)
    )
    lines = [line for line in terminal(report_of(jobs)).splitlines() if line.endswith("BECAUSE")]
    assert len(lines) == 3
    assert len({width(line) for line in lines}) == 1


@pytest.mark.parametrize("form", FORMS)
def test_no_secret_is_in_any_form(form):
    leaks = Finding(Level.WARNING, f"app {GROUP_TOKEN}", "x", DIGEST, GROUP_TOKEN, f"because {DIGEST}")
    jobs = (planned_job(1, name=GROUP_TOKEN, verdict=Verdict.CHANGED, reasons=(DIGEST,)),)
    text = form(report_of(jobs, (leaks, replace(leaks, level=Level.DROPPED))))
    assert "***" in text
    assert GROUP_TOKEN not in text
    assert DIGEST not in text


@pytest.mark.parametrize("form", FORMS)
def test_no_form_steers_a_terminal(form):
    jobs = (planned_job(1, name=NASTY, verdict=Verdict.CHANGED, reasons=(NASTY,)),)
    assert "\x1b" not in form(report_of(jobs, (Finding(Level.DROPPED, NASTY, NASTY, NASTY, NASTY, NASTY),)))


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60) | st.just(NASTY))
def test_values_are_no_markup_in_html(name: str):
    plain = Page(page(report_of((planned_job(1, verdict=Verdict.CHANGED, reasons=("x",)),))))
    jobs = (planned_job(1, name=name, verdict=Verdict.CHANGED, reasons=(name,)),)
    found = Page(page(report_of(jobs, (Finding(Level.DROPPED, name, name, name, name, name),))))
    assert found.tags == plain.tags | {"code", "tbody"}
    assert found.attributes == plain.attributes
    assert not found.tags & {"script", "img", "a", "b"}


def test_values_are_seen_as_they_are_in_html():
    jobs = (planned_job(1, name="<b>&amp;", verdict=Verdict.CHANGED, reasons=('a "quoted" <i>',)),)
    shown = Page(page(report_of(jobs))).rows
    assert ["1 <b>&amp;", "1", 'a "quoted" <i>'] in shown
    assert ["<b>&amp;", 'a "quoted" <i>'] in [row[2::4] for row in shown]


def test_commands_can_be_copied_from_markdown():
    command = "xxljob-gateway shadow --source 'mysql://who%40here@[::1]/a_b?ssl=true&x=`y`'"
    text = "".join(markdown_of(document_of(report_of(), PAGE, (f"1. Try *it*: {command}",))))
    (step,) = [one for one in MarkdownIt().parse(text) if one.type == "inline" and "shadow" in one.content]
    assert [one.content for one in step.children if one.type == "code_inline"] == [command]
    assert "\\*it\\*" in text


@settings(deadline=None, max_examples=60)
@given(
    st.text(min_size=1, max_size=60) | st.text("|`\\*<[_~ a&#1.\n", min_size=1, max_size=12) | st.just(NASTY)
)
def test_values_are_no_markup_in_markdown(name: str):
    shown = Cleaner()(name)
    jobs = (planned_job(1, name=name, verdict=Verdict.CHANGED, reasons=(name, "end")),)
    found = rendered(
        markdown(report_of(jobs, (Finding(Level.DROPPED, "x", "y", name, name, f"{name} end"),)))
    )
    assert found.tags == TAGS_OF_MARKDOWN
    rows = [[cell.strip() for cell in row] for row in found.rows]
    assert [shown.strip(), Cleaner()(f"{name}; end").strip()] in [row[2::4] for row in rows]
    assert ["x", "y", shown.strip(), shown.strip(), Cleaner()(f"{name} end").strip()] in rows


@settings(deadline=None, max_examples=60)
@given(st.text("#-+=1.) >|", min_size=1, max_size=5))
def test_a_line_of_a_list_begins_no_block(beginning: str):
    finding = Finding(Level.WARNING, f"{beginning} x", "f", "", "", "y")
    found = rendered(markdown(report_of(findings=(finding,))))
    assert found.tags - TAGS_OF_MARKDOWN == set()
    assert any(item.endswith("x, f: y") for item in found.items)


def test_json_holds_all_of_it():
    found = as_json(report_of(logs=Copied(10, 8, "2 of jobs that are not here"), written=True))
    assert (found["format"], found["report"], found["written"]) == (1, "import", True)
    assert found["made_at"] == "2026-09-21T22:14:20+08:00"
    assert found["source"]["release"] == "2.3.0 – 3.1.1"
    assert found["summary"]["verdicts"] == {"identical": 3, "equivalent": 1, "changed": 2}
    assert found["ids"] == {"apps": {"2": 1, "3": 7}, "jobs": {"5": 905}, "users": {}}
    assert [job["old_id"] for job in found["jobs"]] == [1, 2, 3, 4, 5, 6]
    same, other, unread = found["jobs"][0]["fires"], found["jobs"][2]["fires"], found["jobs"][3]["fires"]
    assert (same["same"], len(same["both"]), same["both"][0]) == (True, 100, "2026-09-21T23:00:00+08:00")
    assert (len(other["here"]), len(other["old_admin"]), other["differ_at"]) == (100, 100, 0)
    assert (unread["here"], unread["old_admin"], unread["because"]) == ([], None, "no expression")
    assert {one["level"] for one in found["findings"]} == {"note", "repaired", "dropped", "warning"}
    assert found["users"][0]["password"] == "md5"
    assert found["next_steps"] == list(STEPS)
    assert [one for one in found["counts"] if one["table"] == "log"] == [
        {
            "table": "log",
            "becomes": "runs",
            "read": 120_000,
            "taken": 8,
            "others": "2 of jobs that are not here",
        }
    ]


def test_every_row_that_was_read_is_accounted_for():
    counts = {one.table: one for one in table_counts(report_of())}
    assert (counts["groups"].read, counts["groups"].taken) == (3, 3)
    assert counts["groups"].others == "2 new, 1 joined to what is there; 1 under another's appname: its alias"
    assert (counts["jobs"].read, counts["jobs"].taken, counts["jobs"].others) == (
        6,
        5,
        "5 new, 1 left as here",
    )
    assert (counts["registry"].taken, counts["registry"].others) == (0, "executors register anew")


def test_days_are_read_before_they_are_taken_over():
    """As rows of the log are: what is there is no question of what was asked for."""
    rows = {one.table: one for one in table_counts(replace(report_of(), days=Copied()))}
    assert (rows["daily report"].read, rows["daily report"].taken) == (365, 0)
    assert rows["daily report"].others == "not asked for"


def test_a_row_that_the_plan_forgot_is_named():
    report = report_of()
    shorter = replace(report.plan, jobs=report.plan.jobs[:-2], apps=report.plan.apps[:1], users=())
    counts = {one.table: one.others for one in table_counts(replace(report, plan=shorter))}
    assert counts["jobs"].endswith("jobs 5, 6: listed below")
    assert counts["groups"].endswith("1 group listed below")
    assert counts["users"] == "2 users listed below"


def test_what_many_places_share_is_said_once():
    findings = tuple(
        Finding(Level.REPAIRED, f"job {number}", "route", "NULL", "FIRST", "as there")
        for number in range(1, 2001)
    )
    for form in (terminal, markdown, page):
        assert form(report_of(findings=findings)).count("as there") == 1
        assert "jobs 1–2000" in form(report_of(findings=findings))
    assert len(as_json(report_of(findings=findings))["findings"]) == 2000


def test_what_is_left_out_is_counted():
    findings = tuple(
        Finding(Level.DROPPED, f"job {n}", "x", str(n), "", "no place for it") for n in range(700)
    )
    assert "and 688 more rows: see the report (--report FILE)" in terminal(report_of(findings=findings))
    assert "and 200 more rows: the report in JSON has all of them." in markdown(report_of(findings=findings))
    assert "and 200 more rows: the report in JSON has all of them." in page(report_of(findings=findings))


def test_a_second_import_says_what_is_here_already():
    jobs = (
        planned_job(1, action=Action.SKIP),
        planned_job(2, action=Action.SKIP),
        planned_job(3, action=Action.UPDATE, changes=("name",)),
    )
    text = terminal(report_of(jobs))
    assert re.search(r"jobs 1, 2 +2 +left as it is here", text)
    assert re.search(r"job 3 +1 +updated +name", text)


def test_thousands_of_jobs_are_readable_and_quick(tmp_path: Path):
    import time

    other = Fires(hourly(), (*hourly()[1:], hourly()[-1] + 3_600_000), 0, "why")
    jobs = tuple(
        planned_job(
            number,
            verdict=Verdict.CHANGED if number % 2 else Verdict.IDENTICAL,
            reasons=("reason",) * (number % 2),
            fires=other if number % 2 else SAME,
        )
        for number in range(1, 3_001)
    )
    report = report_of(jobs)
    started = time.process_time()
    for name in ("r.json", "r.md", "r.html"):
        write_report(str(tmp_path / name), report, STEPS)
    assert len(terminal(report).splitlines()) < 120
    assert time.process_time() - started < 10  # a tenth of that is usual
    assert len(json.loads((tmp_path / "r.json").read_text())["jobs"]) == 3_000
    assert (tmp_path / "r.md").read_text().count("`job number 2999`") == 1  # among all jobs
    assert "1, 3, 5, 7, 9, 11, 13, 15 and 1,492 more" in terminal(report)
    assert "1,500 jobs of 3,000" in (tmp_path / "r.md").read_text()


@pytest.mark.parametrize("path", ["report.txt", "report", "report.pdf", "", "report.json.gz"])
def test_other_endings_are_refused(path: str):
    with pytest.raises(InvalidValue, match=r"--report: .* ends in \.json, \.md or \.html"):
        require_report(path)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path):
    with pytest.raises(InvalidValue, match="a directory that exists"):
        require_report(str(tmp_path / "no" / "r.json"))
    (tmp_path / "d.json").mkdir()
    with pytest.raises(InvalidValue, match="that this user can write"):
        require_report(str(tmp_path / "d.json"))
    require_report(str(tmp_path / "R.JSON"))
    require_report("-")


def test_a_report_is_replaced_as_a_whole(tmp_path: Path):
    path = tmp_path / "r.json"
    path.write_text("old")
    broken = replace(report_of(), made_ms="not a number")
    with pytest.raises(TypeError):
        write_report(str(path), broken, STEPS)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["r.json"]
    write_report(str(path), report_of(), STEPS)
    assert json.loads(path.read_text())["report"] == "import"
    assert "".join(pieces_of("-", report_of(), STEPS)) == path.read_text()

"""A plan as people read it."""

from __future__ import annotations

from gateway.core.versions import Change
from importer.manifests.fires import FireChange
from importer.manifests.show import as_json, lines_of
from importer.manifests.steps import Kind, Plan, Step, What

AT_MS = 1_795_028_400_000


def lines(**fields):
    step = Step(Kind.JOB, What.CHANGE, "每天", app="billing", job_id=7, **fields)
    return list(lines_of(Plan((step,), unlooked=2)))


def test_changes():
    found = lines(
        document_id=9,
        notes=("look at it",),
        changes=(
            Change("priority", None, 9),
            Change("task.glue_source", "a\nb\n", "a\nc\nd\n"),
            Change("days.2027", ["01-01", "01-02"], ["01-01", "01-03"]),
            Change("task.params", "x" * 200, ""),
        ),
    )
    assert found == [
        "~ job 7 billing/每天: change",
        "    it is 9 in its document, and 7 here",
        "    note: look at it",
        "    priority: (default) -> 9",
        "    task.glue_source: 1 lines go, 2 come",
        '    days.2027: without ["01-02"], with ["01-03"]',
        f'    task.params: "{"x" * 89}… -> ""',
        "The fire times of 2 more jobs were not looked at: a plan looks at so many and no more.",
        "Plan: 0 to create, 1 to change, 0 to remove, 0 unchanged.",
    ]


def test_fire_times_and_how_far_they_were_looked_at():
    fires = FireChange(3000, 300, AT_MS, True, (AT_MS - 1000,), (), "Asia/Shanghai")
    assert lines(fires=fires)[1:3] == [
        "    fires, up to 2026-11-19T03:00:00+08:00, which is as far as 3000 fire times go: 3000 before, 300 after",
        "      - 2026-11-19T02:59:59+08:00",
    ]


def test_a_name_steers_no_terminal():
    step = Step(Kind.JOB, What.REMOVE, "a\x1b[2Jb\nc", app="billing", job_id=7)
    assert next(lines_of(Plan((step,)))) == "- job 7 billing/ab c: remove"


def test_whatever_else_a_document_says_steers_no_terminal():
    """And two values that differ look different."""
    change = Change("task.params", "a\u202e", "a\x9b2J")
    step = Step(
        Kind.JOB, What.CHANGE, "x", app="shop\x1b[2J\u202e", job_id=7, changes=(change,), notes=("b\x07c",)
    )
    lines = list(lines_of(Plan((step,))))
    assert all(line.isprintable() for line in lines)
    assert lines[:3] == [
        "~ job 7 shop/x: change",
        "    note: bc",
        r'    task.params: "a\u202e" -> "a\u009b2J"',
    ]


def test_programs_get_all_of_it():
    step = Step(Kind.APP, What.CREATE, "billing", body={"appname": "billing"})
    found = as_json(Plan((step,)))
    assert (found["create"], found["steps"][0]["kind"], found["steps"][0]["action"]) == (1, "app", "create")

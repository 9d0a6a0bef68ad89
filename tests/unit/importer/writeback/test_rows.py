"""Jobs and apps as rows: whatever a job says is in its row, or in the list of what has no place there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from gateway.api.apps import app_of
from gateway.api.drafts import job_of
from gateway.api.intake import checked
from gateway.api.models.apps import AppAnswer, AppBody
from gateway.api.models.jobs import JobAnswer, JobBody
from gateway.api.render import app_answer, job_answer
from gateway.core.pauses import Pauses
from gateway.core.zones import resolve_zone
from importer.errors import SourceError
from importer.manifests.shapes import APP_FACTS, JOB_FACTS
from importer.writeback.jobs import job_row
from importer.writeback.plan import plan_writing
from importer.writeback.values import Doing, Existing, Shape, There
from tests.unit.importer.manifests.test_shapes import bodies

NOW_MS = 1_795_000_000_000  # 2026-11-18
ROOM = {
    ("info", "schedule_conf"): 128,
    ("info", "executor_param"): 512,
    ("info", "author"): 64,
    ("info", "alarm_email"): 255,
    ("info", "child_jobid"): 255,
    ("info", "glue_remark"): 128,
    ("group", "title"): 12,
}
SHAPE = Shape((3, 2, 0), (3, 3, 2), ROOM, resolve_zone("Asia/Shanghai"), NOW_MS, enabled=True)
CRON = {"kind": "cron", "expression": "0 0 3 * * ?", "timezone": "Asia/Shanghai"}
PLAIN = {"app": "billing", "name": "每天", "schedule": CRON, "task": {"handler": "h"}, "misfire_after_s": 5}


def answer(**fields):
    return answer_of({**PLAIN, **fields})


def answer_of(body):
    made = job_of(checked(body, JobBody), 3, now_ms=NOW_MS, default_timezone="UTC")
    made = replace(made, id=7, version=1, created_ms=NOW_MS, updated_ms=NOW_MS, anchor_ms=1_790_000_000_000)
    found = job_answer(made, "billing", NOW_MS, Pauses())
    return found.model_dump(mode="json", by_alias=True)


def row_of(shape=SHAPE, **fields):
    row, findings = job_row(answer(**fields), (), frozenset({7, 8, 9}), shape)
    return row.columns, findings


def test_a_plain_job_is_simply_written():
    columns, findings = row_of()
    assert findings == []
    assert columns == {
        "job_desc": "每天",
        "author": "",
        "alarm_email": "",
        "schedule_type": "CRON",
        "schedule_conf": "0 0 3 * * ?",
        "misfire_strategy": "DO_NOTHING",
        "executor_route_strategy": "ROUND",
        "executor_handler": "h",
        "executor_param": "",
        "executor_block_strategy": "SERIAL_EXECUTION",
        "executor_timeout": 0,
        "executor_fail_retry_count": 0,
        "glue_type": "BEAN",
        "glue_source": "",
        "glue_remark": "",
        "glue_updatetime": None,
        "child_jobid": "",
        "trigger_status": 1,
        "trigger_last_time": 0,
        # 3 o'clock in Shanghai.
        "trigger_next_time": 1_795_028_400_000,
        "add_time": "2026-11-18 19:06:40",
        "update_time": "2026-11-18 19:06:40",
    }


WINDOW = {"start": "2027-01-01T00:00:00Z"}
VALUES = {
    "name": "另一个",
    "description": "each day",
    "enabled": False,
    "window": WINDOW,
    "exclusions": [{"from": "22:00", "to": "23:00"}],
    "jitter_s": 5,
    "calendar": {"name": "cn", "mode": "exclude"},
    "data_offset_s": 3600,
    "schedule": {"kind": "cron", "expression": "0 0 4 * * ?", "timezone": "Asia/Shanghai"},
    "task": {"handler": "other"},
    "route": "WEIGHTED",
    "label": "gpu",
    "block_strategy": "COVER_EARLY",
    "overlap": "skip",
    "ttl_s": 60,
    "priority": 9,
    "timeout_s": 60,
    "retry": {"max_attempts": 3},
    "shards": [{"name": "eu"}],
    "children": [{"job": 8}],
    "join": "all",
    "deadline_s": 60,
    "lost_after_s": 90,
    "hold_limit_on_lost": True,
    "guarantee": "at_least_once",
    "misfire_after_s": 60,
    "retention_days": 3,
    "contact": {"author": "a"},
}
# What says nothing without another field, which is told of.
WITH_ANOTHER = {
    "max_concurrency": {"max_concurrency": 2},
    "queue_limit": {"overlap": "queue", "queue_limit": 5},
    "label_fallback": {"label": "gpu", "label_fallback": "any"},
    "on_deadline": {"deadline_s": 60, "on_deadline": "kill"},
    "misfire_window_s": {"misfire_window_s": 60, "schedule": {**CRON, "misfire": "fire_all"}},
    "misfire_max": {"misfire_max": 6, "schedule": {**CRON, "misfire": "fire_all"}},
}


@pytest.mark.parametrize(
    "fields", [*({name: value} for name, value in VALUES.items()), *WITH_ANOTHER.values()], ids=str
)
def test_each_field_is_written_or_told_of(fields):
    columns, findings = row_of(**fields)
    plain, _ = row_of()
    assert findings or columns != plain


def test_no_field_is_forgotten():
    answered = {field.serialization_alias or name for name, field in JobAnswer.model_fields.items()}
    assert {*VALUES, *WITH_ANOTHER} == answered - JOB_FACTS - {"app"}


TASKS = [
    ({"handler": "h", "params": "x" * 513}, "task.params", ("executor_param", ""), 0),
    ({"handler": "h", "envs": [{"name": "A", "value": "1"}]}, "task.envs", None, 1),
    ({"handler": "h", "params": "${data_time}"}, "task.params", ("executor_param", "${data_time}"), 1),
]


@pytest.mark.parametrize(("task", "field", "column", "started"), TASKS)
def test_tasks(task, field, column, started):
    columns, findings = row_of(task=task)
    assert [one.field for one in findings if one.field != "enabled"] == [field]
    assert columns["trigger_status"] == started
    assert column is None or columns[column[0]] == column[1]


def test_params_with_values_are_what_executors_get():
    columns, _ = row_of(task={"handler": "h", "params": "x", "envs": [{"name": "A", "value": "值"}]})
    assert columns["executor_param"] == '{"params":"x","Envs":[{"name":"A","value":"值"}]}'


def cron(expression, timezone="Asia/Shanghai", **more):
    return {"kind": "cron", "expression": expression, "timezone": timezone, **more}


@pytest.mark.parametrize(
    ("schedule", "kind", "conf", "started"),
    [
        (cron("0 0 3 * * ?"), "CRON", "0 0 3 * * ?", 1),
        # Another name of the same clock; another clock.
        (cron("0 0 3 * * ?", "GMT+8"), "CRON", "0 0 3 * * ?", 1),
        (cron("0 0 3 * * ?", "UTC"), "CRON", "0 0 3 * * ?", 0),
        (cron("0 * * * * ?", "UTC"), "CRON", "0 * * * * ?", 1),
        (cron("*/5 3 * * *"), "CRON", "0 */5 3 * * ?", 1),
        (cron("0 3 1 * *"), "CRON", "0 0 3 1 * ?", 1),
        (cron("0 3 * * 1-5"), "CRON", "0 0 3 ? * MON-FRI", 1),
        (cron("0 3 * * 0,6"), "CRON", "0 0 3 ? * SUN,SAT", 1),
        (cron("0 3 * * 7"), "CRON", "0 0 3 ? * SUN", 1),
        (cron("0 3 1 * 1"), "NONE", "", 0),
        # This release reads L- wrongly or not at all: what it does shows in the fire times.
        ({"kind": "fixed_rate", "expression": "90s"}, "FIX_RATE", "90", 1),
        ({"kind": "fixed_rate", "expression": 90, "anchor": "2026-01-01T00:00:00Z"}, "FIX_RATE", "90", 1),
        ({"kind": "fixed_rate", "expression": "1500ms"}, "NONE", "", 0),
        ({"kind": "second_delay", "expression": 30}, "FIX_DELAY", "30", 0),
        ({"kind": "interval", "expression": "1h"}, "NONE", "", 0),
        ({"kind": "one_time", "expression": "2030-01-01 00:00:00", "timezone": "UTC"}, "NONE", "", 0),
        ({"kind": "calendar", "expression": {"hour": 3}, "timezone": "UTC"}, "NONE", "", 0),
        ({"kind": "api"}, "NONE", "", 0),
        ({"kind": "none"}, "NONE", "", 0),
        ([cron("0 0 3 * * ?")], "CRON", "0 0 3 * * ?", 1),
        ([cron("0 0 3 * * ?"), cron("0 0 4 * * ?")], "NONE", "", 0),
        (cron("0 " + ",".join(map(str, range(60))) + " 0-12 * * ?"), "NONE", "", 0),
    ],
    ids=str,
)
def test_schedules(schedule, kind, conf, started):
    columns, findings = row_of(schedule=schedule)
    assert (columns["schedule_type"], columns["schedule_conf"], columns["trigger_status"]) == (
        kind,
        conf,
        started,
    )
    told = {one.field for one in findings}
    if not started and schedule != {"kind": "none"}:
        assert told & {"schedule", "schedule.kind", "schedule.expression"}


def test_the_old_releases_own_errors_are_seen():
    """L in 3.2.0 is another day than it is here (its calendar arithmetic): whatever that release fires is compared."""
    here = answer(schedule=cron("0 0 3 L * ?"))
    fires = {}
    for release in ((2, 3, 0), (3, 2, 0)):
        row, findings = job_row(here, (), frozenset(), replace(SHAPE, first=release, last=release))
        fires[release] = (row.columns["trigger_status"], [one.field for one in findings])
    assert fires[2, 3, 0] == (1, [])
    assert fires[3, 2, 0] == (0, ["schedule.expression", "enabled"])


def test_what_an_import_could_not_read_goes_back_as_it_was():
    for text, kind, conf in (
        ("Schedule in XXL-JOB: CRON '0 0 25 * * ?'", "CRON", "0 0 25 * * ?"),
        ('Schedule in XXL-JOB: LUNAR "it\'s odd"', "LUNAR", "it's odd"),
        ("Schedule in XXL-JOB: CRON ''", "CRON", ""),
        ("Schedule in XXL-JOB: CRON", "CRON", None),
    ):
        columns, findings = row_of(schedule={"kind": "none"}, description=text)
        assert (columns["schedule_type"], columns["schedule_conf"], columns["trigger_status"]) == (
            kind,
            conf,
            0,
        )
        assert [one.field for one in findings] == ["enabled"]


def test_children():
    children = [{"job": 8}, {"job": 9, "on": "end"}, {"job": 7, "on": "failure"}, {"job": 12}]
    columns, findings = row_of(children=children)
    assert columns["child_jobid"] == "8,9"
    assert [(one.field, one.value) for one in findings] == [
        ("children", "9 on end"),
        ("children", "7 on failure"),
        ("children", "12"),
    ]
    many = [{"job": number} for number in range(10_000, 10_060)]
    row, findings = job_row(answer(children=many), (), frozenset(range(20_000)), SHAPE)
    assert len(row.columns["child_jobid"]) <= 255
    assert len(findings) == 60 - len(row.columns["child_jobid"].split(","))


def test_addresses_are_left_out_whole():
    mails = ",".join(f"someone.{number}@example.com" for number in range(12))[:255].rpartition(",")[0]
    columns, findings = row_of(contact={"alarm_email": mails})
    assert (columns["alarm_email"], findings) == (mails, [])
    row, findings = job_row(
        {**answer(), "contact": {"author": "", "remark": "", "alarm_email": f"{mails},{mails}"}},
        (),
        frozenset(),
        SHAPE,
    )
    assert all(mail.endswith("@example.com") for mail in row.columns["alarm_email"].split(","))
    assert findings


@settings(deadline=None, max_examples=30)
@given(bodies())
def test_any_job_can_be_written(body):
    row, _ = job_row(answer_of(body), (), frozenset({7}), SHAPE)
    for (table, column), room in ROOM.items():
        if table == "info":
            assert len(row.columns[column] or "") <= room
    assert all(value is None or isinstance(value, str | int) for value in row.columns.values())


# ------------------------------------------------------------ groups, and what is there


def app(app_id=3, **fields):
    found = app_of(checked({"appname": "billing", "title": "结算", **fields}, AppBody))
    return app_answer(replace(found, id=app_id, created_ms=NOW_MS, updated_ms=NOW_MS)).model_dump(mode="json")


def plan(apps=(), jobs=(), there=None, existing=Existing.FAIL):
    return plan_writing(
        apps or [app()],
        jobs,
        {},
        there or There({}, {}),
        SHAPE,
        existing=existing,
        database="d",
        release="3.2.0",
    )


def test_no_field_of_an_app_is_forgotten():
    values = {
        "appname": "other",
        "title": "a title that is too long",
        "address_mode": "manual",
        "addresses": ["http://h:1/"],
        "max_running": 5,
        "starts_per_second": 1,
        "int_log_ids": True,
        "dialect": "netcom16",
        "tokenless_from": ["10.0.0.0/8"],
    }
    assert set(values) == set(AppAnswer.model_fields) - APP_FACTS
    plain = plan()
    for name, value in values.items():
        more = (
            {"address_mode": "manual", "addresses": ["http://h:2/"]}
            if name in ("dialect", "addresses", "address_mode")
            else {}
        )
        before = plan([app(**more)]) if name in ("dialect", "addresses") else plain
        found = plan([app(**{**more, name: value})])
        assert found.findings or found.groups != before.groups, name


def test_titles():
    (row,) = plan([app(title="一二三四五六七八九十一二三")]).groups
    assert row.columns["title"] == "一二三四五六七八九十一二"
    (row,) = plan([app(appname="a-long-appname", title="a-long-appname")]).groups
    assert row.columns["title"] == ""


def test_what_an_import_makes_of_an_app():
    """Written as it is, it comes back a little different: that is told."""
    fields = {"address_mode": "manual", "addresses": ["http://h:1/", "http://h:2"]}
    found = plan([app(title="", **fields)])
    assert found.groups[0].columns["address_list"] == "http://h:1/,http://h:2"
    assert found.groups[0].columns["title"] == ""
    assert [(one.field, one.became) for one in found.findings] == [
        ("title", "as it is"),
        ("addresses", "as it is"),
    ]
    assert plan([app(title="t", address_mode="manual", addresses=["http://h:1/"])]).findings == ()


def test_rows_that_are_there():
    there = There({3: "billing"}, {7: (3, "old")})
    with pytest.raises(SourceError, match="job 7 'old'"):
        plan(jobs=[answer()], there=there)
    with pytest.raises(SourceError, match="group 3 'billing'"):
        plan(there=there)
    for existing, doing in ((Existing.SKIP, Doing.SKIP), (Existing.UPDATE, Doing.UPDATE)):
        found = plan(jobs=[answer()], there=there, existing=existing)
        assert [one.doing for one in (*found.groups, *found.jobs)] == [doing, doing]


def test_another_groups_job_is_never_overwritten():
    there = There({3: "billing", 4: "theirs"}, {7: (4, "their job")})
    with pytest.raises(SourceError, match="7 \\('每天' here, 'their job' of group 4 there\\)"):
        plan(jobs=[answer()], there=there, existing=Existing.UPDATE)
    assert plan(jobs=[answer()], there=there, existing=Existing.SKIP).jobs[0].doing is Doing.SKIP


def test_other_ids_of_an_app_are_groups_of_its_name():
    both = {**app(), "other_ids": [8, 9]}
    found = plan([both], there=There({9: "theirs"}, {}))
    assert [(one.id, one.is_other) for one in found.groups] == [(3, False), (8, True)]
    assert found.group_ids == {"billing": 3}
    assert [(one.field, one.value) for one in found.findings] == [("other_ids", "9")]
    there = There({3: "billing", 8: "billing", 9: "theirs"}, {})
    found = plan([both], there=there, existing=Existing.UPDATE)
    assert [(one.id, one.doing) for one in found.groups] == [(3, Doing.UPDATE), (8, Doing.UPDATE)]


def test_a_group_by_another_id_and_an_id_of_another_group():
    found = plan(there=There({9: "billing"}, {}), existing=Existing.SKIP)
    assert (found.groups[0].id, found.group_ids) == (9, {"billing": 9})
    found = plan(there=There({3: "theirs"}, {}))
    assert (found.groups[0].id, found.group_ids) == (0, {})
    assert [one.field for one in found.findings] == ["id"]

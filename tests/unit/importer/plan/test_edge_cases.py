"""The odd things that old databases hold, and what a plan makes of each.

| case | where |
| --- | --- |
| 1 NULL wherever a column allows it | `test_null_in_every_nullable_column` |
| 2 cron: empty, wrong, over, five fields, lower case, blanks | `test_cron_*` |
| 3 no schedule_conf; odd seconds | `test_cron_without_an_expression`, `test_seconds_*` |
| 4 FIX_DELAY, unknown schedule types | `test_fix_delay`, `test_an_unknown_schedule_type` |
| 5 enabled without a schedule | `test_enabled_without_a_schedule` |
| 6 lists of children | `test_children_*`, `test_circles_of_children` |
| 7 no such group | `test_a_group_that_is_gone` |
| 8 one appname twice | `test_one_appname_twice_*` |
| 9 lengths, markup | `test_names_that_are_too_long`, `test_markup_in_titles` |
| 10 ids and counters | `test_make.py`: taken ids are mapped |
| 11, 12 logs, daily reports | not planned: read and written in batches (`importer/history.py`) |
| 13, 14, 17, 18, 23, 24 charset, zero dates, spellings, snapshot, rights, metadata | the reading (`tests/contract`) |
| 15, 16 wall clocks and instants | `test_wall_clocks_and_instants` |
| 19 GLUE | `test_glue_*` |
| 20 long parameters | `test_a_long_parameter` |
| 21 retry chains | `test_a_chain_of_retries_is_no_matter_of_the_job` |
| 22 a second import | `test_make.py`: a second import changes nothing |
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.core.model import AddressMode, BlockStrategy, Misfire, Route
from importer.plan.values import Action, Existing, Level, PlannedJob, Verdict
from importer.source.values import QuartzState, SourceExecutor, SourceGlue, SourceGroup, SourceJob, SourceUser
from tests.kit.source_rows import NOW_MS, after, installation, job, one_job, plan, told

E3 = {"first": (2, 3, 0), "last": (2, 4, 2)}
E2 = {"first": (2, 2, 0), "last": (2, 2, 0)}
E1 = {"first": (1, 9, 2), "last": (2, 0, 1)}


def spec(made: PlannedJob) -> dict[str, object]:
    assert isinstance(made.job.schedule, dict)
    return made.job.schedule


# ---------------------------------------------------------------- 1


def test_null_in_every_nullable_column() -> None:
    source = SourceJob(
        7,
        "1",
        description="bare",
        schedule_type="CRON",
        schedule_conf="0 0 2 * * ?",
        handler="h",
        trigger_status=1,
    )
    made = plan(installation(source))
    (one,) = made.jobs
    assert (one.job.contact.author, one.job.contact.alarm_email, one.job.task.params) == ("", "", "")
    assert (one.job.route, one.job.block_strategy) == (Route.FIRST, BlockStrategy.SERIAL_EXECUTION)
    assert (one.job.timeout_s, one.job.max_attempts, one.job.children) == (0, 1, ())
    assert (one.job.task.glue_type, one.job.task.glue_updated_ms) == ("BEAN", 0)
    assert one.job.created_ms == one.job.updated_ms == NOW_MS
    assert one.wants_enabled
    (route,) = told(made, "job 7", "executor_route_strategy")
    assert (route.level, route.became) == (Level.REPAIRED, "FIRST")
    assert route.why == "none is set there, so that its runs fail"


def test_times_that_are_not_there_or_yet_to_come() -> None:
    made = plan(
        installation(
            job(1, added=None, updated=None),
            job(2, added=datetime(2030, 1, 1), updated=datetime(2030, 1, 1)),
            job(3),
            first=(2, 3, 0),
        ),
        timezone="UTC",
    )
    assert [one.job.created_ms for one in made.jobs] == [NOW_MS, NOW_MS, 1_709_528_767_000]
    assert [one.job.updated_ms for one in made.jobs] == [NOW_MS, NOW_MS, 1_743_833_228_000]
    for column, became in (("add_time", "the time of the import"), ("update_time", "that of add_time")):
        (one,) = told(made, "jobs", column)
        assert (one.level, one.value, one.became) == (Level.REPAIRED, "2 jobs: 1, 2", became)


def test_blanks_around_names() -> None:
    made = plan(installation(job(1, description=" nightly\t"), job(2, author="ann "), job(3)))
    assert [one.job.name for one in made.jobs] == ["nightly", "job 2", "job 3"]
    found = {one.field: one.value for one in made.findings if one.became == "without blanks around it"}
    assert found == {"job_desc": "1 job: 1", "author": "1 job: 2"}


# ---------------------------------------------------------------- 2


@pytest.mark.parametrize(
    "text", ["每天两点", "0 0 25 * * ?", "* * * * * *", "0 0 2 32 * ?", "@daily", "0 0 2"]
)
def test_cron_that_cannot_be_read_is_kept_as_text(text: str) -> None:
    for source, release in (
        (job(schedule_conf=text), E3),
        (job(schedule_type=None, schedule_conf=None, cron=text), E2),
    ):
        one = one_job(source, **release)
        assert spec(one)["kind"] == "none"
        assert repr(text) in one.job.description
        assert not one.wants_enabled
        assert one.verdict is Verdict.CHANGED
        assert any("disabled here" in reason and text in reason for reason in one.reasons)
        assert one.fires.ours == ()


@pytest.mark.parametrize("text", ["", "   ", None])
def test_cron_without_an_expression(text: str | None) -> None:
    """Also 3: no schedule_conf."""
    one = one_job(job(schedule_conf=text))
    assert (spec(one)["kind"], one.wants_enabled, one.fires.theirs) == ("none", False, None)


@pytest.mark.parametrize("text", ["0 0 2 1 1 ? 2019", "0 0 2 30 2 ?", "0 30 9 14 3 ? 2024"])
def test_cron_that_never_fires_again_is_kept_disabled(text: str) -> None:
    """What people write for one time only is over then."""
    made = plan(installation(job(schedule_conf=text)))
    (one,) = made.jobs
    assert (spec(one)["kind"], spec(one)["expression"], one.wants_enabled) == ("cron", text, False)
    (finding,) = told(made, "job 7", "schedule_conf")
    assert (finding.level, finding.became) == (Level.WARNING, "kept, disabled")
    assert (one.fires.ours, one.fires.theirs) == ((), ())


def test_cron_of_five_fields_is_kept_disabled() -> None:
    made = plan(installation(job(schedule_conf="*/5 * * * *")))
    (one,) = made.jobs
    assert (spec(one)["expression"], one.wants_enabled, one.fires.theirs) == ("*/5 * * * *", False, None)
    (finding,) = told(made, "job 7", "schedule_conf")
    assert "Unix cron" in finding.why


def test_cron_in_lower_case_and_with_blanks_around() -> None:
    made = plan(installation(job(schedule_conf="\t0 0 2 ? * mon-fri ")))
    (one,) = made.jobs
    assert (spec(one)["expression"], one.wants_enabled) == ("0 0 2 ? * mon-fri", True)
    assert one.fires.ours == one.fires.theirs
    assert len(one.fires.ours) == 100
    assert told(made, "job 7", "schedule_conf")[0].level is Level.NOTE


def test_cron_with_more_than_seven_fields_was_read_before_3_1() -> None:
    one = one_job(job(schedule_conf="0 0 2 * * ? * extra"), **E3)
    assert (spec(one)["expression"], one.wants_enabled, one.verdict) == (
        "0 0 2 * * ? *",
        True,
        Verdict.EQUIVALENT,
    )
    assert one.fires.ours == one.fires.theirs


def test_cron_that_only_this_scheduler_reads_is_kept_disabled() -> None:
    """A list with L, before 3.1: the old admin stops such a job when it looks at it."""
    one = one_job(job(schedule_conf="0 0 2 1,L * ?"), **E3)
    assert (spec(one)["expression"], one.wants_enabled) == ("0 0 2 1,L * ?", False)
    assert one.fires.theirs is None
    assert one.fires.ours != ()
    assert one_job(job(schedule_conf="0 0 2 1,L * ?")).wants_enabled  # of 3.4


def test_the_expression_of_the_trigger_counts_in_old_releases() -> None:
    source = job(schedule_type=None, schedule_conf=None, cron="0 0 1 * * ?", trigger_status=None)
    source = replace(source, quartz=QuartzState("WAITING", "0 0 3 * * ?", "Asia/Shanghai"))
    made = plan(installation(source, **E1))
    (one,) = made.jobs
    assert (spec(one)["expression"], one.wants_enabled, one.job.misfire_after_s) == ("0 0 3 * * ?", True, 60)
    (finding,) = told(made, "job 7", "job_cron")
    assert (finding.value, finding.became) == ("0 0 1 * * ?", "0 0 3 * * ?")


@pytest.mark.parametrize(
    ("state", "is_enabled"),
    [
        ("WAITING", True),
        ("ACQUIRED", True),
        ("EXECUTING", True),
        ("BLOCKED", True),
        ("PAUSED", False),
        ("PAUSED_BLOCKED", False),
        ("ERROR", False),
        ("COMPLETE", False),
        (None, False),
    ],
)
def test_triggers_tell_which_jobs_of_old_releases_run(state: str | None, is_enabled: bool) -> None:
    quartz = None if state is None else QuartzState(state, "0 0 1 * * ?", "Asia/Shanghai")
    source = job(
        schedule_type=None, schedule_conf=None, cron="0 0 1 * * ?", trigger_status=None, quartz=quartz
    )
    assert one_job(source, **E1).wants_enabled is is_enabled


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ("0 0 1 L * ?", "if the old admin is of 3.1.0 to 3.3.2: it skips every month without 31 days"),
        ("0 0 1 15W * ?", "3.1.0 to 3.3.2 misplace W days"),
    ],
)
def test_what_depends_on_the_release_is_to_be_looked_at(conf: str, says: str) -> None:
    """The columns of 2.3.0 to 3.1.1 are the same."""
    made = plan(installation(job(7, schedule_conf=conf), job(8), first=(2, 3, 0), last=(3, 1, 1)))
    (warned,) = told(made, "job 7", "schedule_conf")
    assert (warned.level, warned.value) == (Level.WARNING, conf)
    assert not told(made, "job 8", "schedule_conf")
    assert says in warned.why
    assert warned.why.endswith("--source-release says which it is")


# ---------------------------------------------------------------- 3


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "abc", "", None, "99999999999"])
def test_seconds_that_nobody_can_read(text: str | None) -> None:
    one = one_job(job(schedule_type="FIX_RATE", schedule_conf=text))
    assert (spec(one)["kind"], one.wants_enabled, one.verdict) == ("none", False, Verdict.CHANGED)
    assert text is None or repr(text) in one.job.description


@pytest.mark.parametrize(("text", "seconds"), [(" 30", 30), ("2147483648", 2_147_483_648), ("30 ", 30)])
def test_seconds_that_only_this_scheduler_can_read(text: str, seconds: int) -> None:
    one = one_job(job(schedule_type="FIX_RATE", schedule_conf=text))
    assert (spec(one)["kind"], spec(one)["expression"], one.wants_enabled) == ("fixed_rate", seconds, False)


def test_seconds_go_on_in_the_phase_of_the_old_admin() -> None:
    next_ms = NOW_MS + 17_350
    one = one_job(job(schedule_type="FIX_RATE", schedule_conf="60", next_ms=next_ms, misfire="FIRE_ONCE_NOW"))
    assert (spec(one)["kind"], spec(one)["expression"], one.job.misfire) == (
        "fixed_rate",
        60,
        Misfire.FIRE_ONCE,
    )
    assert one.job.anchor_ms == next_ms // 1000 * 1000
    assert one.fires.ours == one.fires.theirs
    assert one.fires.ours[:2] == (one.job.anchor_ms, one.job.anchor_ms + 60_000)
    assert (one.verdict, one.wants_enabled, one.job.misfire_after_s) == (Verdict.EQUIVALENT, True, 5)


def test_seconds_of_25_days_and_more_overflow_up_to_3_0() -> None:
    month = str(30 * 86_400)
    old = one_job(job(schedule_type="FIX_RATE", schedule_conf=month, next_ms=NOW_MS + 5000), **E3)
    new = one_job(job(schedule_type="FIX_RATE", schedule_conf=month, next_ms=NOW_MS + 5000))
    assert (old.verdict, old.fires.differ_at) == (Verdict.CHANGED, 0)
    assert "32 bits" in old.fires.why
    assert new.fires.differ_at is None


# ---------------------------------------------------------------- 4, 5


def test_fix_delay() -> None:
    made = plan(installation(job(schedule_type="FIX_DELAY", schedule_conf="45")))
    (one,) = made.jobs
    assert (spec(one)["kind"], spec(one)["expression"], one.wants_enabled) == ("second_delay", 45, True)
    assert told(made, "job 7", "schedule_type")[0].level is Level.WARNING


def test_an_unknown_schedule_type() -> None:
    one = one_job(job(schedule_type="WEEKLY", schedule_conf="MON 02:00"))
    assert (spec(one)["kind"], one.wants_enabled) == ("none", False)
    assert "WEEKLY 'MON 02:00'" in one.job.description


def test_enabled_without_a_schedule() -> None:
    made = plan(installation(job(schedule_type="NONE", schedule_conf="")))
    (one,) = made.jobs
    assert (spec(one)["kind"], one.wants_enabled, one.verdict) == ("none", False, Verdict.EQUIVALENT)
    assert told(made, "job 7", "trigger_status")[0].became == "disabled"


# ---------------------------------------------------------------- 6


@pytest.mark.parametrize(
    ("text", "kept", "findings"),
    [
        ("", [], 0),
        (",", [], 1),
        ("1,,2", [1, 2], 0),
        (" 1, 2", [1, 2], 2),
        ("1,x,2", [1, 2], 1),
        ("99", [], 1),
        ("1,1", [1], 1),
        ("-1,0,1.0", [], 3),
        ("99999999999999999999", [], 1),
    ],
)
def test_children_by_id(text: str, kept: list[int], findings: int) -> None:
    made = plan(installation(job(1), job(2), job(7, child_ids=text)))
    assert [child.job_id for child in made.jobs[2].job.children] == kept
    assert len(told(made, "job 7", "child_jobid")) == findings


def test_children_by_group_and_id() -> None:
    """1.6 to 1.8."""
    made = plan(
        installation(job(1), job(2), job(7, child_keys="1_2,1_99,3_1"), first=(1, 7, 0), last=(1, 7, 1))
    )
    assert [child.job_id for child in made.jobs[2].job.children] == [2, 1]
    assert len(told(made, "job 7", "child_jobkey")) == 1


def test_children_by_group_and_name() -> None:
    """1.4 and 1.5; names may hold the sign that separates them."""
    jobs = (job(1, group="my_group", name="a_b"), job(2, group="my_group", name="c"))
    parent = job(7, group="my_group", name="p", child_keys="my_group_c,my_group_a_b,my_group_none")
    made = plan(
        installation(
            *jobs, parent, groups=(SourceGroup("my_group", "my_group"),), first=(1, 4, 0), last=(1, 4, 2)
        )
    )
    assert [child.job_id for child in made.jobs[2].job.children] == [2, 1]
    assert len(told(made, "job 7", "child_jobkey")) == 1


def test_children_that_are_the_job_itself() -> None:
    """Up to 2.4 a job may start itself, for ever; from 2.5 on that is passed over."""
    made = plan(installation(job(7, child_ids="7")))
    assert made.jobs[0].job.children == ()
    assert made.jobs[0].verdict is Verdict.IDENTICAL
    old = plan(installation(job(7, child_ids="7"), **E3))
    assert [child.job_id for child in old.jobs[0].job.children] == [7]
    (warned,) = told(old, "job 7", "child_jobid")
    assert warned.why.startswith(
        "job 7 starts itself: one success goes round without end, here as there. It is kept"
    )


def test_circles_of_children() -> None:
    made = plan(installation(job(1, child_ids="2"), job(2, child_ids="3"), job(3, child_ids="1,4"), job(4)))
    assert [[child.job_id for child in one.job.children] for one in made.jobs] == [[2], [3], [1, 4], []]
    warned = [one.where for one in made.findings if "circle" in one.why]
    assert warned == ["job 1", "job 2", "job 3"]


# ---------------------------------------------------------------- 7, 8, 9


def test_a_group_that_is_gone() -> None:
    made = plan(installation(job(7, group="99"), job(8)))
    assert [(one.app.id, one.app.appname, one.keys) for one in made.apps] == [
        (1, "orders", ("1",)),
        (99, "group-99", ("99",)),
    ]
    assert [(one.job.app_id, one.wants_enabled) for one in made.jobs] == [(99, False), (1, True)]
    assert "disabled here: its group is gone, so it has no executors" in made.jobs[0].reasons


def test_one_appname_twice_becomes_one_app_under_both_ids() -> None:
    groups = (
        SourceGroup("4", "orders", "Old", 0),
        SourceGroup("2", "orders", "New", 0),
        SourceGroup("9", "billing"),
    )
    user = SourceUser(1, "ann", None, 0, "4,9,77")
    made = plan(installation(job(7, group="4"), job(8, group="2"), groups=groups, users=(user,)))
    assert [(one.app.id, one.keys, one.aliases) for one in made.apps] == [
        (2, ("2", "4"), (4,)),
        (9, ("9",), ()),
    ]
    assert [one.job.app_id for one in made.jobs] == [2, 2]
    assert made.users[0].user.app_ids == {2, 9}
    assert [one.value for one in told(made, "user ann", "permission")] == ["77"]
    assert made.app_ids == {"2": 2, "4": 2, "9": 9}


def test_one_appname_twice_with_other_addresses_stays_two_apps() -> None:
    """The jobs of a group with a list of addresses must not run elsewhere."""
    groups = (
        SourceGroup("1", "orders", "A", 0),
        SourceGroup("2", "orders", "B", 1, "10.0.0.1:9999, https://b/x"),
    )
    made = plan(installation(job(7, group="1"), job(8, group="2"), groups=groups))
    first, second = (one.app for one in made.apps)
    assert (first.appname, first.address_mode) == ("orders", AddressMode.AUTO)
    assert (second.appname, second.address_mode) == ("orders-2", AddressMode.MANUAL)
    assert second.addresses == ("http://10.0.0.1:9999/", "https://b/x/")
    assert [one.job.app_id for one in made.jobs] == [1, 2]


def test_names_that_are_too_long() -> None:
    group = SourceGroup("1", "a" * 70, "t" * 200)
    made = plan(installation(job(7, description="d" * 300, author="u" * 90), groups=(group,)))
    assert (len(made.apps[0].app.appname), len(made.apps[0].app.title)) == (64, 128)
    assert (len(made.jobs[0].job.name), len(made.jobs[0].job.contact.author)) == (255, 64)
    assert "d" * 300 in made.jobs[0].job.description
    for where, field in (
        ("app 1", "app_name"),
        ("app 1", "title"),
        ("job 7", "job_desc"),
        ("job 7", "author"),
    ):
        assert told(made, where, field) != []


def test_an_appname_that_no_app_can_have() -> None:
    made = plan(
        installation(groups=(SourceGroup("3", "订单服务"), SourceGroup("4", "a b"), SourceGroup("5", None)))
    )
    assert [one.app.appname for one in made.apps] == ["app-3", "a-b", "app-5"]
    assert told(made, "app 3", "app_name")[0].level is Level.WARNING


def test_markup_in_titles() -> None:
    made = plan(installation(groups=(SourceGroup("1", "orders", "<b>Orders</b>"),)))
    assert made.apps[0].app.title == "<b>Orders</b>"
    assert told(made, "app 1", "title")[0].level is Level.NOTE


# ---------------------------------------------------------------- 15, 16


def test_wall_clocks_and_instants() -> None:
    """DATETIME columns are on the clock of the old admin, TIMESTAMP columns and trigger times are instants."""
    at = datetime(2024, 5, 1, 8, 30, 15)
    source = job(
        added=at,
        updated=at.replace(tzinfo=UTC),
        next_ms=NOW_MS + 1000,
        glue_updated=at.replace(microsecond=250_000),
    )
    for zone, hours in (("Asia/Shanghai", 8), ("America/New_York", -4)):
        (one,) = plan(installation(source), timezone=zone).jobs
        utc_ms = int(at.replace(tzinfo=UTC).timestamp()) * 1000
        assert one.job.created_ms == utc_ms - hours * 3_600_000
        assert one.job.updated_ms == utc_ms
        assert one.job.task.glue_updated_ms == utc_ms - hours * 3_600_000 + 250


# ---------------------------------------------------------------- 19, 20, 21


def test_glue_history_becomes_earlier_versions() -> None:
    now = job(
        glue_type="GLUE_SHELL",
        handler="",
        glue_source="echo 3\r\n",
        glue_remark="third",
        glue_updated=datetime(2024, 1, 3),
    )
    rows = [
        SourceGlue(
            n,
            7,
            None,
            None,
            "GLUE_SHELL",
            f"echo {n}\r\n",
            f"no. {n}",
            datetime(2024, 1, n),
            datetime(2024, 1, n),
        )
        for n in (1, 2, 3)
    ]
    made = plan(installation(now, glue=(*reversed(rows), SourceGlue(9, 1000, source="x"))))
    (one,) = made.jobs
    assert (one.job.task.glue_source, one.job.contact.remark, one.job.version) == ("echo 3\n", "third", 3)
    assert [(old.version, old.task.glue_source, old.contact.remark) for old in one.history] == [
        (1, "echo 1\n", "no. 1"),
        (2, "echo 2\n", "no. 2"),
    ]
    assert [old.task.glue_updated_ms < one.job.task.glue_updated_ms for old in one.history] == [True, True]
    assert told(made, "job 7", "glue_source")[0].became == "without carriage returns"
    first = plan(
        installation(replace(now, glue_source="echo 1\r\n", glue_updated=rows[0].updated), glue=(rows[0],))
    )
    later = plan(installation(now, glue=tuple(rows)), after(first), existing=Existing.UPDATE)
    assert [one.value for one in told(later, "job 7", "logglue")] == ["1 version before the newest"]
    assert told(made, "job 7", "logglue") == []
    assert [one.value for one in told(made, "logglue", "glue_source")] == ["1 row, of jobs 1000"]


def test_glue_history_of_jobs_by_name_and_only_the_newest_thirty() -> None:
    source = job(name="a", group="g", glue_type=None, glue_switch=1, glue_source="now")
    rows = tuple(SourceGlue(n, None, "g", "a", None, f"v{n}") for n in range(1, 41))
    made = plan(
        installation(source, groups=(SourceGroup("g", "g"),), glue=rows, first=(1, 5, 0), last=(1, 5, 2))
    )
    (one,) = made.jobs
    assert (one.job.task.glue_type, len(one.history)) == ("GLUE_GROOVY", 30)
    assert (one.history[0].task.glue_source, one.history[-1].task.glue_source) == ("v11", "v40")
    assert "10 older versions" in told(made, "job 7", "logglue")[0].value


@pytest.mark.parametrize(
    "name", ["GLUE_PYTHON", "GLUE_PYTHON2", "GLUE_NODEJS", "GLUE_PHP", "GLUE_POWERSHELL", "GLUE_RUBY"]
)
def test_glue_types_keep_their_names(name: str) -> None:
    one = one_job(job(glue_type=name, glue_source="print(1)\r\n", handler=""))
    assert (one.job.task.glue_type, one.job.task.glue_source) == (name, "print(1)\r\n")
    assert one.wants_enabled


def test_glue_sources_of_many_megabytes_are_kept() -> None:
    made = plan(installation(job(glue_type="GLUE_GROOVY", glue_source="x" * 5_000_000)))
    assert len(made.jobs[0].job.task.glue_source) == 5_000_000
    assert told(made, "job 7", "glue_source")[0].level is Level.WARNING


def test_what_no_executor_can_run_stays_disabled() -> None:
    for source in (job(handler=" "), job(glue_type="GLUE_SHELL", glue_source=""), job(glue_type="groovy!")):
        one = one_job(source)
        assert not one.wants_enabled
        assert one.verdict is Verdict.CHANGED


def test_a_long_parameter() -> None:
    made = plan(installation(job(param="p" * 60_000)))
    assert made.jobs[0].job.task.params == "p" * 60_000
    assert told(made, "job 7", "executor_param") == []


def test_a_chain_of_retries_is_no_matter_of_the_job() -> None:
    one = one_job(job(retries=3))
    assert (one.job.max_attempts, one.verdict) == (4, Verdict.EQUIVALENT)


# ---------------------------------------------------------------- what else the first releases held


def test_addresses_of_jobs_become_apps() -> None:
    """1.3.2 and 1.4: an app for each list of a group, the first under the group's own name."""
    jobs = (
        job(1, group="shop", executor_address="10.0.0.1:8888"),
        job(2, group="shop", executor_address="10.0.0.1:8888"),
        job(3, group="shop", executor_address="10.0.0.2:8888,10.0.0.3:8888"),
        job(4, group="shop"),
    )
    made = plan(installation(*jobs, groups=(SourceGroup("shop", "shop"),), first=(1, 4, 0), last=(1, 4, 2)))
    first, second = (one.app for one in made.apps)
    assert (first.appname, first.addresses, first.dialect) == ("shop", ("http://10.0.0.1:8888/",), "form14")
    assert (second.appname, second.addresses) == (
        "shop-2",
        ("http://10.0.0.2:8888/", "http://10.0.0.3:8888/"),
    )
    assert first.int_ids
    assert [one.job.app_id for one in made.jobs] == [first.id, first.id, second.id, first.id]
    assert made.app_ids["shop"] == first.id


def test_job_data_holds_handler_parameter_and_addresses() -> None:
    """1.2 to 1.3.1."""
    data = '{"handler_address":"10.0.0.1:8888","handler_name":"demo","handler_params":"a,b"}'
    source = job(
        group="g",
        handler=None,
        param=None,
        job_class="com.xxl.job.service.job.dynamic.RemoteHttpJobBean",
        job_data=data,
    )
    made = plan(installation(source, groups=(SourceGroup("g", "g"),), first=(1, 2, 0), last=(1, 2, 0)))
    (one,) = made.jobs
    assert (one.job.task.handler, one.job.task.params) == ("demo", "a,b")
    assert made.apps[0].app.addresses == ("http://10.0.0.1:8888/",)
    assert one.wants_enabled


def test_code_inside_the_old_admin_cannot_move() -> None:
    one = one_job(job(job_class="com.acme.NightlyJob"), first=(1, 3, 0), last=(1, 3, 1))
    assert not one.wants_enabled
    assert "disabled here: its code runs inside the old admin" in one.reasons


def test_strategies_of_the_releases_between() -> None:
    old = one_job(job(route=None, block=None, fail_strategy=None), first=(1, 5, 0), last=(1, 5, 2))
    assert (old.job.route, old.verdict) == (Route.FAILOVER, Verdict.EQUIVALENT)
    again = one_job(job(retries=None, fail_strategy="FAIL_RETRY"), first=(1, 8, 0), last=(1, 9, 1))
    assert (again.job.max_attempts, again.verdict) == (2, Verdict.CHANGED)
    alarm = one_job(job(retries=None, fail_strategy="FAIL_ALARM"), first=(1, 8, 0), last=(1, 9, 1))
    assert (alarm.job.max_attempts, alarm.verdict) == (1, Verdict.IDENTICAL)


@pytest.mark.parametrize(
    ("release", "dialect", "int_ids"),
    [
        ((1, 5, 2), "form15", True),
        ((1, 7, 1), "netcom16", True),
        ((2, 0, 2), "", True),
        ((2, 1, 2), "", False),
    ],
)
def test_what_executors_of_old_releases_need(release: tuple[int, ...], dialect: str, int_ids: bool) -> None:
    groups = (SourceGroup("1", "a", None, 1, "10.0.0.1:9999"), SourceGroup("2", "b"))
    made = plan(installation(groups=groups, first=release, last=release))
    assert [(one.app.dialect, one.app.int_ids) for one in made.apps] == [(dialect, int_ids), ("", int_ids)]


def test_a_job_that_is_the_same_is_identical() -> None:
    made = plan(installation(job(7), first=(3, 4, 0), last=(3, 4, 2)), timezone="Asia/Shanghai")
    (one,) = made.jobs
    assert (one.verdict, one.reasons, one.fires.differ_at, one.action) == (
        Verdict.IDENTICAL,
        (),
        None,
        Action.CREATE,
    )
    assert made.findings == ()


def test_executors_that_do_not_register_are_entered_by_hand() -> None:
    """Up to 1.7.1 they write to the old admin's database."""
    groups = (SourceGroup("1", "orders", None, 0), SourceGroup("2", "idle", None, 0))
    executors = (
        SourceExecutor("orders", "10.0.0.1:9999", None),
        SourceExecutor("other", "10.0.0.9:9999", None),
    )
    made = plan(installation(groups=groups, executors=executors, first=(1, 7, 0), last=(1, 7, 1)))
    first, second = (one.app for one in made.apps)
    assert (first.address_mode, first.addresses) == (AddressMode.MANUAL, ("http://10.0.0.1:9999/",))
    assert (first.dialect, first.int_ids) == ("netcom16", True)
    assert (second.address_mode, second.addresses, second.dialect) == (AddressMode.AUTO, (), "")
    assert "enter theirs" in told(made, "app 2", "registry_value")[0].why
    assert "--advertise" in told(made, "installation", "executors")[0].why


def test_executors_that_send_no_token_are_let_in_from_where_they_are() -> None:
    groups = (
        SourceGroup("1", "orders", None, 0),
        SourceGroup("2", "named", None, 1, "host7:9999,10.0.0.2:9999"),
    )
    executors = (
        SourceExecutor("orders", "10.0.0.1:9999", None),
        SourceExecutor("orders", "[fd00::1]:9999", None),
    )
    made = plan(installation(groups=groups, executors=executors, first=(1, 7, 2), last=(1, 7, 2)))
    first, second = (one.app for one in made.apps)
    assert (first.address_mode, first.tokenless_from) == (AddressMode.AUTO, ("10.0.0.1/32", "fd00::1/128"))
    assert second.tokenless_from == ("10.0.0.2/32",)
    assert [one.value for one in told(made, "app 2", "tokenless_from")] == ["", "host7"]
    perhaps = plan(installation(groups=groups, executors=executors, first=(1, 8, 0), last=(1, 8, 2)))
    assert perhaps.apps[0].app.tokenless_from == ()
    assert "tokenless_from" in told(perhaps, "installation", "executors")[0].why
    assert told(plan(installation(first=(1, 9, 0), last=(1, 9, 1))), "installation", "executors") == []


def test_what_is_not_worked_out_of_w_days_is_said() -> None:
    one = one_job(job(schedule_conf="0 0 2 10W * ?"), first=(3, 2, 0), last=(3, 3, 2))
    assert (one.verdict, one.fires.differ_at) == (Verdict.EQUIVALENT, None)
    assert "misplace W days" in one.reasons[0]
    assert one_job(job(schedule_conf="0 0 2 10W * ?")).verdict is Verdict.IDENTICAL


def test_columns_are_called_as_in_the_release() -> None:
    groups = (SourceGroup("1", "orders", "<b>x</b>"),)
    made = plan(installation(job(7, description="d" * 300), groups=groups, first=(3, 5, 0), last=(3, 5, 0)))
    assert told(made, "job 7", "name") != []
    assert told(made, "app 1", "name") != []

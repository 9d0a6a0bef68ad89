"""Each value of a source is taken over or told of, whatever a database holds; plans never fail and come out the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings

from gateway.core.model import MOST_NAME
from gateway.core.schedule import parse_schedule
from importer.plan.make import PlanOptions, make_plan
from importer.plan.old_fires import COUNT
from importer.plan.target import Target
from importer.plan.values import Plan, PlannedJob
from importer.source.values import Installation, SourceGroup, SourceJob, SourceUser
from tests.kit.odd_rows import NOW_MS, installations, jobs, releases, source_groups, users


def planned(source: Installation, **options: object) -> Plan:
    return make_plan(source, Target(), PlanOptions("db@h:3306", **options), NOW_MS)  # type: ignore[arg-type]


many = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@many
@given(installations())
def test_any_database_has_a_plan_and_always_the_same(source: Installation) -> None:
    made = planned(source)
    assert made == planned(source)
    assert [one.old_id for one in made.jobs] == sorted(one.id for one in source.jobs)
    app_ids = {one.app.id for one in made.apps}
    assert len(app_ids) == len(made.apps) == len({one.app.appname for one in made.apps})
    assert len({one.job.id for one in made.jobs}) == len(made.jobs)
    assert len({one.user.username for one in made.users}) == len(made.users)
    assert len({one.user.id for one in made.users}) == len(made.users)
    aliases = [alias for one in made.apps for alias in one.aliases]
    assert len(set(aliases)) == len(aliases)
    assert not app_ids.intersection(aliases)
    for one in made.jobs:
        parse_schedule(one.job.schedule, anchor_ms=one.job.anchor_ms)
        assert one.job.app_id in app_ids
        assert not one.job.enabled
        assert one.job.version == len(one.history) + 1
        assert {child.job_id for child in one.job.children} <= {other.job.id for other in made.jobs}
        assert len(one.fires.ours) <= COUNT
        assert 0 < len(one.job.name) <= MOST_NAME
        assert "\0" not in one.job.name + one.job.description + one.job.task.params
        assert (one.verdict.value == "identical") == (one.reasons == ())


# What a job's row says → the columns that a finding would name, and whether the planned job shows the value.
Shows = Callable[[PlannedJob, Plan], bool]


def text_in(value: str | None, *places: str) -> bool:
    return (value or "").strip() in places or any((value or "").strip() in one for one in places if value)


def shows(source: SourceJob, release: tuple[int, ...]) -> dict[str, tuple[tuple[str, ...], Shows]]:
    """By field."""

    def spec(one: PlannedJob) -> str:
        return str(one.job.schedule)

    def instant(moment: datetime | None, found_ms: int) -> bool:
        if moment is None:
            return True
        utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        off = abs(found_ms - utc.timestamp() * 1000)
        # As far as zones differ; what lies before 1970 is as old as can be told.
        return off < timedelta(hours=15).total_seconds() * 1000 or (utc.year < 1971 and found_ms >= 0)

    return {
        "id": ((), lambda one, _: one.old_id == source.id),
        "group": (
            ("job_group",),
            lambda one, plan: (
                any(one.job.app_id == app.app.id for app in plan.apps if source.group in app.keys)
                or any("#" in key for app in plan.apps if app.app.id == one.job.app_id for key in app.keys)
            ),
        ),
        "name": (
            ("job_name", "description"),
            lambda one, _: text_in(source.name, one.job.name, one.job.description),
        ),
        "description": (
            ("job_desc", "name"),
            lambda one, _: one.job.name == source.description,
        ),
        "author": (("author",), lambda one, _: one.job.contact.author == source.author),
        "alarm_email": (("alarm_email",), lambda one, _: one.job.contact.alarm_email == source.alarm_email),
        "alarm_threshold": (("alarm_threshold",), lambda *_: source.alarm_threshold == 0),
        "cron": (
            ("job_cron",),
            lambda one, _: (source.cron or "") in spec(one) or source.cron == source.schedule_conf,
        ),
        "schedule_type": (
            ("schedule_type", "schedule_conf"),
            lambda one, _: (
                {"CRON": "cron", "FIX_RATE": "fixed_rate", "NONE": "none"}.get(source.schedule_type or "")
                == one.job.schedule["kind"]
            ),  # type: ignore[call-overload]
        ),
        "schedule_conf": (
            ("schedule_conf", "schedule_type"),
            lambda one, _: (
                not (source.schedule_conf or "").strip()
                or str(one.job.schedule.get("expression")).strip() == source.schedule_conf
            ),  # type: ignore[union-attr]
        ),
        "misfire": (
            ("misfire_strategy",),
            lambda one, _: (
                {"DO_NOTHING": "skip", "FIRE_ONCE_NOW": "fire_once"}.get(source.misfire or "")
                == one.job.misfire.value
            ),
        ),
        "route": (
            ("executor_route_strategy",),
            lambda one, _: one.job.route.value == source.route,
        ),
        "handler": (
            ("executor_handler",),
            lambda one, _: one.job.task.handler == (source.handler or "").strip(),
        ),
        "param": (("executor_param",), lambda one, _: one.job.task.params == source.param),
        "block": (
            ("executor_block_strategy",),
            lambda one, _: one.job.block_strategy.value == source.block,
        ),
        "timeout_s": (("executor_timeout",), lambda one, _: one.job.timeout_s == source.timeout_s),
        "retries": (
            ("executor_fail_retry_count",),
            lambda one, _: one.job.max_attempts == (source.retries or 0) + 1,
        ),
        "fail_strategy": (
            ("executor_fail_strategy",),
            lambda one, _: (source.fail_strategy or "").strip() in ("", "FAIL_ALARM"),
        ),
        "glue_type": (
            ("glue_type",),
            lambda one, _: one.job.task.glue_type == (source.glue_type or "").strip(),
        ),
        "glue_switch": (
            ("glue_switch",),
            lambda one, _: (
                (one.job.task.glue_type == "GLUE_GROOVY") == (source.glue_switch == 1)
                or source.glue_switch == 0
            ),
        ),
        "glue_source": (("glue_source",), lambda one, _: one.job.task.glue_source == source.glue_source),
        "glue_remark": (("glue_remark",), lambda one, _: one.job.contact.remark == source.glue_remark),
        "glue_updated": (
            ("glue_updatetime",),
            lambda one, _: instant(source.glue_updated, one.job.task.glue_updated_ms),
        ),
        "child_ids": (
            ("child_jobid",),
            lambda one, _: (
                (source.child_ids or "").strip(",")
                == ",".join(str(child.job_id) for child in one.job.children)
            ),
        ),
        "child_keys": (("child_jobkey",), lambda one, _: one.job.children != ()),
        "trigger_status": (
            ("trigger_status",),
            lambda one, _: (
                one.wants_enabled == (source.trigger_status == 1)
                or any("disabled" in reason for reason in one.reasons)
            ),
        ),
        "last_ms": (("trigger_last_time",), lambda *_: False),
        "next_ms": (("trigger_next_time",), lambda *_: False),
        "added": (
            ("add_time",),
            lambda one, _: instant(source.added, one.job.created_ms),
        ),
        "updated": (
            ("update_time",),
            lambda one, _: instant(source.updated, one.job.updated_ms),
        ),
        "executor_address": (("executor_address",), lambda *_: False),
        "job_class": (("job_class",), lambda *_: False),
        "job_data": (("job_data",), lambda *_: False),
        "quartz": (("TRIGGER_STATE",), lambda *_: False),
    }


@many
@given(jobs, releases)
def test_each_value_of_a_job_is_taken_over_or_told_of(
    source: SourceJob, release: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    installation = Installation(
        *("db", "", "", *release, NOW_MS, {}),
        groups=(SourceGroup("1", "orders"),),
        jobs=(source, SourceJob(2**30, "1", description="other", name="a")),
    )
    made = planned(installation)
    one = next(one for one in made.jobs if one.old_id == source.id)
    told = {finding.field for finding in made.findings if "other" not in finding.value}
    table = shows(source, release[1])
    assert table.keys() == {one.name for one in fields(source)} - {"extra"}
    for name, (columns, is_shown) in table.items():
        value = getattr(source, name)
        if value in (None, "", 0) or (isinstance(value, str) and not value.strip()):
            continue
        assert is_shown(one, made) or told.intersection(columns), (name, value, sorted(told))
    for column, value in source.extra.items():
        assert not value or column in told


def test_what_the_test_looks_for_is_missed_when_it_is_lost() -> None:
    """The table above would notice: a planned job that is another one shows next to nothing."""
    source = SourceJob(
        3,
        "1",
        author="ann",
        param="p",
        route="LAST",
        timeout_s=5,
        retries=2,
        handler="h",
        schedule_type="NONE",
    )
    other = replace(source, author="bob", param="q", route="FIRST", timeout_s=6, retries=3, handler="i")
    made = planned(
        Installation("db", "", "", (3, 4, 0), (3, 4, 2), NOW_MS, {}, (SourceGroup("1", "a"),), (other,))
    )
    missed = [
        name for name, (_, is_shown) in shows(source, (3, 4, 2)).items() if not is_shown(made.jobs[0], made)
    ]
    assert {"author", "param", "route", "timeout_s", "retries", "handler"} <= set(missed)


@many
@given(source_groups, releases)
def test_each_value_of_a_group_is_taken_over_or_told_of(
    source: SourceGroup, release: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    made = planned(Installation(*("db", "", "", *release, NOW_MS, {}), groups=(source,)))
    (one,) = made.apps
    told = {finding.field for finding in (*made.findings, *made.security)}
    app = one.app
    assert one.keys == (source.key,)
    assert app.appname == source.appname or "app_name" in told
    assert (
        app.title == (source.title or "").strip()
        or told & {"title", "name"}
        or not (source.title or "").strip()
    )
    mode = {None: "auto", 0: "auto", 1: "manual"}.get(source.address_type)
    assert app.address_mode.value == mode or told & {"address_type", "address_list"}
    assert not (source.address_list or "").strip() or "address_list" in told
    assert (
        not (source.access_token or "").strip()
        or one.access_token == source.access_token
        or "access_token" in told
    )
    assert source.order is None or "order" in told
    assert {name for name, value in source.extra.items() if value} <= told


@many
@given(users)
def test_each_value_of_a_user_is_taken_over_or_told_of(source: SourceUser) -> None:
    groups = (SourceGroup("1", "a"), SourceGroup("2", "b"))
    made = planned(
        Installation(*("db", "", "", (3, 4, 0), (3, 4, 2), NOW_MS, {}), groups=groups, users=(source,))
    )
    (one,) = made.users
    told = {finding.field for finding in made.findings}
    assert one.old_id == source.id
    assert one.user.id == source.id or "id" in told
    assert one.user.username == source.username or "username" in told
    assert int(one.user.role) == source.role or "role" in told
    known = {key for key in ("1", "2") if int(key) in one.user.app_ids}
    wanted = {key.strip().lstrip("0") for key in (source.permission or "").split(",") if key.strip()}
    assert known == wanted or "permission" in told
    assert (
        one.password is not None and one.password.digest == (source.password or "").lower()
    ) or "password" in told
    assert not source.has_session or "token" in told
    assert {name for name, value in source.extra.items() if value} <= told

"""Documents carry every field of a job: as one is written and read again, it is the same job."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.drafts import body_of, job_of
from gateway.api.intake import checked
from gateway.api.models.apps import AppAnswer, AppBody
from gateway.api.models.jobs import JobAnswer, JobBody
from gateway.core.model import Job
from importer.manifests.files import Entry, as_text
from importer.manifests.shapes import APP_FACTS, JOB_FACTS, job_document, shape_of_app, shape_of_job
from importer.manifests.wanted import app, job
from importer.manifests.yaml_text import documents_in

NOW_MS = 1_795_000_000_000
# What only chooses defaults, or can only be null.
NOT_KEPT = {"template", "xxl_style", "alert"}
# Of a job in the store: what the gateway gives it.
ITS_OWN = {
    *(
        "id",
        "namespace_id",
        "app_id",
        "part",
        "version",
        "anchor_ms",
        "next_fire_at",
        "created_ms",
        "updated_ms",
    ),
    *("fired", "chain_run_id", "edition", "days"),
}
CARRIED = {
    "schedule": "schedule",
    "misfire": "schedule",
    "timing": "window",
    "placement": "label",
    "max_attempts": "retry",
    "misfire_limits": "misfire_max",
    "concurrency": "overlap",
}

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
seconds = st.integers(1, 100_000)
misfire = st.sampled_from(["skip", "fire_once", "fire_all"])
zones = st.sampled_from(["Asia/Shanghai", "UTC", "Europe/Berlin", "GMT+8"])


def maybe(**kept):
    return st.fixed_dictionaries({}, optional=kept)


def schedules(how):
    cron = st.sampled_from(["0 0 3 * * ?", "*/5 * * * *", "0 0 0 L * ?", "0 15 10 ? * 6#3 2030"])
    own = {"misfire": st.just(how)}
    return st.one_of(
        st.fixed_dictionaries({"kind": st.just("cron"), "expression": cron, "timezone": zones, **own}),
        st.fixed_dictionaries(
            {"kind": st.just("fixed_rate"), "expression": seconds, **own},
            optional={"anchor": st.integers(1, 2_000_000_000_000)},
        ),
        st.fixed_dictionaries(
            {"kind": st.just("interval"), "expression": st.just("1h"), "offset": st.just("5m"), **own}
        ),
        st.fixed_dictionaries(
            {
                "kind": st.just("calendar"),
                "expression": st.just({"hour": 3, "dayOfWeek": "1-5"}),
                "timezone": zones,
                **own,
            }
        ),
        st.fixed_dictionaries(
            {
                "kind": st.just("one_time"),
                "expression": st.just("2030-01-31 22:00:00"),
                "timezone": zones,
                **own,
            }
        ),
        st.fixed_dictionaries({"kind": st.sampled_from(["api", "none"]), **own}),
    )


tasks = st.one_of(
    st.fixed_dictionaries({"handler": text.filter(str.strip)}, optional={"params": text}),
    st.fixed_dictionaries(
        {"glue_type": st.sampled_from(["GLUE_SHELL", "GLUE_GROOVY"]), "glue_source": text},
        optional={
            "handler": text,
            "envs": st.lists(
                st.fixed_dictionaries({"name": names, "value": text}),
                max_size=2,
                unique_by=lambda e: e["name"],
            ),
        },
    ),
)
retries = st.one_of(
    maybe(
        max_attempts=st.integers(1, 9),
        on=st.lists(st.sampled_from(["failed", "lost"]), min_size=1, unique=True),
    ),
    st.fixed_dictionaries(
        {"intervals_s": st.lists(st.sampled_from([0, 0.5, 1, 60]), min_size=1, max_size=3)},
        optional={"max_attempts": st.integers(1, 9), "jitter": st.sampled_from([0, 0.25, 1])},
    ),
    st.fixed_dictionaries(
        {"max_attempts": st.integers(1, 9), "initial_interval_s": st.sampled_from([0.5, 2, 30])},
        optional={
            "backoff_coefficient": st.sampled_from([1, 1.5, 2]),
            "maximum_interval_s": st.integers(30, 600),
            "jitter": st.sampled_from([0, 0.5]),
        },
    ),
)
overlaps = st.one_of(
    st.just({}),
    st.just({"overlap": "allow"}),
    st.fixed_dictionaries(
        {"overlap": st.sampled_from(["skip", "replace"]), "max_concurrency": st.integers(1, 9)}
    ),
    st.fixed_dictionaries({"overlap": st.just("queue")}, optional={"queue_limit": st.integers(1, 5000)}),
    st.fixed_dictionaries({"max_concurrency": st.integers(1, 9)}),
)
uses = st.fixed_dictionaries({"name": names}, optional={"mode": st.sampled_from(["include", "exclude"])})
windows = maybe(
    start=st.integers(1, NOW_MS), end=st.integers(NOW_MS * 2, NOW_MS * 3), max_fires=st.integers(1, 99)
)
exclusions = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"from": st.sampled_from(["22:00", "00:30:15"]), "to": st.just("06:00")},
            optional={"weekdays": st.just("SAT,SUN"), "comment": text},
        ),
        st.fixed_dictionaries({"from": st.integers(1, 10**12), "to": st.integers(2 * 10**12, 3 * 10**12)}),
    ),
    max_size=2,
)


@st.composite
def bodies(draw):
    how = draw(misfire)
    one = schedules(how)
    return {
        "app": "billing",
        "name": draw(text),
        "schedule": draw(one | st.lists(one, min_size=1, max_size=3)),
        "task": draw(tasks),
        "retry": draw(retries),
        **draw(overlaps),
        **draw(
            maybe(
                description=text,
                window=windows,
                exclusions=exclusions,
                calendar=uses | st.lists(uses, min_size=1, max_size=2, unique_by=lambda use: use["name"]),
                jitter_s=st.sampled_from([0, 1, 0.5]),
                data_offset_s=st.integers(-90_000, 90_000),
                label=names,
                label_fallback=st.sampled_from(["fail", "any"]),
                block_strategy=st.sampled_from(["DISCARD_LATER", "SERIAL_EXECUTION"]),
                ttl_s=seconds,
                priority=st.integers(1, 15),
                timeout_s=seconds,
                deadline_s=seconds,
                on_deadline=st.sampled_from(["alert", "kill"]),
                lost_after_s=st.integers(30, 900),
                hold_limit_on_lost=st.booleans(),
                join=st.sampled_from(["any", "all"]),
                guarantee=st.sampled_from(["at_least_once", "at_most_once"]),
                misfire_after_s=seconds,
                misfire_window_s=seconds,
                misfire_max=st.integers(1, 100),
                retention_days=st.integers(1, 99),
                enabled=st.booleans(),
                contact=maybe(author=text, alarm_email=text, remark=text),
            )
        ),
        **draw(
            st.one_of(
                st.fixed_dictionaries({"route": st.sampled_from(["FIRST", "ROUND", "SHARDING_BROADCAST"])}),
                st.fixed_dictionaries(
                    {
                        "shards": st.lists(
                            st.fixed_dictionaries({"name": names}, optional={"params": text}),
                            max_size=3,
                            unique_by=lambda s: s["name"],
                        )
                    }
                ),
            )
        ),
    }


@settings(deadline=None, max_examples=40)
@given(bodies())
def test_a_document_is_its_job(body):
    made = job_of(checked(body, JobBody), 0, now_ms=NOW_MS, default_timezone="UTC")
    document = job_document(7, shape_of_job(made, "billing"), [])
    text_ = as_text({"jobs": [document]})
    ((found,),) = ([*one.value["jobs"]] for one in documents_in(text_, "f"))
    again = job(Entry("f", found), base=None, now_ms=NOW_MS, timezone="Asia/Tokyo")
    assert body_of(again.job, "billing") == body_of(made, "billing")
    assert job_document(7, again.shape, []) == document


def test_no_field_of_a_job_is_left_behind():
    shape = shape_of_job(
        job_of(
            checked(
                {"app": "a", "name": "n", "schedule": {"kind": "none"}, "task": {"handler": "h"}}, JobBody
            ),
            0,
            now_ms=1,
            default_timezone="UTC",
        ),
        "a",
    )
    assert set(shape) == set(JobBody.model_fields) - NOT_KEPT
    answered = {field.serialization_alias or name for name, field in JobAnswer.model_fields.items()}
    assert set(shape) == answered - JOB_FACTS
    of_store = {one.name for one in fields(Job)} - ITS_OWN
    assert {CARRIED.get(name, name) for name in of_store} <= set(shape)


def test_no_field_of_an_app_is_left_behind():
    found = app(Entry("f", {"appname": "a"}))
    assert set(found.shape) == set(AppBody.model_fields) == set(AppAnswer.model_fields) - APP_FACTS
    assert shape_of_app(found.app) == found.shape

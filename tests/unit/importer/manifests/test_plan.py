"""Whatever a job is, the change that a plan sends makes it what its document says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from gateway.api.drafts import body_of, job_of
from gateway.api.intake import checked
from gateway.api.models.jobs import JobBody
from gateway.api.patching import changed_job
from gateway.api.render import job_answer
from gateway.core.pauses import Pauses
from importer.manifests.errors import ManifestError
from importer.manifests.files import Entries, Entry
from importer.manifests.plan import make_plan
from importer.manifests.present import Present, documents_of
from importer.manifests.shapes import job_document, shape_of_job
from importer.manifests.steps import What
from tests.unit.importer.manifests.test_shapes import NOW_MS, bodies

APP = {
    "id": 1,
    "appname": "billing",
    "title": "",
    "address_mode": "auto",
    "addresses": [],
    "max_running": None,
}
APP |= {
    "starts_per_second": None,
    "int_log_ids": False,
    "dialect": None,
    "tokenless_from": [],
    "updated_ms": 1,
}


def made(body):
    job = job_of(checked(body, JobBody), 1, now_ms=NOW_MS, default_timezone="UTC")
    return replace(job, id=7, version=3, created_ms=1, updated_ms=1, anchor_ms=1)


def present(job):
    calendars = {
        use.name: {"name": use.name, "description": "", "days": {}, "version": 1}
        for use in job.timing.calendars
    }
    # Days that it will never ask for: fire times are none of these tests' business.
    answer = job_answer(replace(job, timing=replace(job.timing, calendars=())), "billing", 0, Pauses())
    found = answer.model_dump(mode="json", by_alias=True)
    uses = [{"name": use.name, "mode": use.mode.value} for use in job.timing.calendars]
    found["calendar"] = (uses[0] if len(uses) == 1 else uses) if uses else None
    return Present({"billing": APP}, {7: found}, calendars, "UTC")


def planned(document, there):
    entries = Entries(jobs=(Entry("f", document),))
    (step,) = make_plan(entries, there, NOW_MS).steps
    return step


@settings(deadline=None, max_examples=25)
@given(bodies(), bodies())
def test_a_change_makes_it_so(before, after):
    """By the function with which the API lays a change over what is there."""
    old, new = made(before), made({**after, "name": before["name"]})
    there = present(old)
    for use in new.timing.calendars:
        there.calendars.setdefault(use.name, {"name": use.name, "description": "", "days": {}, "version": 1})
    step = planned(job_document(7, shape_of_job(new, "billing"), []), there)
    patched = checked(changed_job(body_of(old, "billing"), step.body or {}), JobBody)
    result = job_of(patched, 1, now_ms=NOW_MS, default_timezone="UTC", base=old)
    assert body_of(result, "billing") == body_of(new, "billing")
    assert (step.what is What.SAME) == (body_of(old, "billing") == body_of(new, "billing"))


@settings(deadline=None, max_examples=25)
@given(bodies())
def test_what_was_exported_is_unchanged(body):
    there = present(made(body))
    (document,) = documents_of(there)["jobs"]
    assert planned(document, there).what is What.SAME
    # Written by hand it may have another order, and say what is the default.
    again = {
        **dict(reversed(document.items())),
        "join": document.get("join", "any"),
        "retention_days": document.get("retention_days"),
    }
    assert planned(again, there).what is What.SAME


FULL = {
    "calendars": [{"name": "cn", "description": "d", "days": {2027: ["01-01"]}}],
    "apps": [{"appname": "new", "title": "t", "address_mode": "manual", "addresses": ["http://h:1/"]}],
    "jobs": [
        {
            "id": 5,
            "app": "billing",
            "name": "a",
            "description": "d",
            "schedule": {"kind": "cron", "expression": "0 0 3 * * ?", "timezone": "UTC", "misfire": "skip"},
            "task": {"handler": "h", "params": "p", "envs": [{"name": "A", "value": "1"}]},
            "calendar": [{"name": "cn", "mode": "exclude"}],
            "window": {"start": "2027-01-01 00:00:00", "max_fires": 3},
            "exclusions": [{"from": "22:00", "to": "06:00", "weekdays": "SAT,SUN"}],
            "retry": {"max_attempts": 3, "intervals_s": [10, 0.5], "on": ["failed", "lost"]},
            "shards": [{"name": "eu", "params": "1"}],
            "children": [{"job": 7, "app": "billing", "name": "b", "on": "end"}],
            "contact": {"author": "x"},
        },
        {"app": "billing", "name": "b", "schedule": [{"kind": "none"}], "task": {"handler": "h"}},
    ],
}
ODD = (["c"], [["c"]], {"c": 1}, {"c": ["c"]}, None, True, 7, -0.5, float("inf"), 1 << 70, "", "x", "a\0b")


def with_odd(value, odd):
    """With `odd` at each place of it, one after another."""
    yield odd
    if isinstance(value, dict):
        for key, one in value.items():
            yield from ({**value, key: changed} for changed in with_odd(one, odd))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from ([*value[:index], changed, *value[index + 1 :]] for changed in with_odd(one, odd))


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("section", list(FULL))
def test_whatever_stands_in_a_field_is_read_or_refused(section, odd):
    """By an error that is for people: never by one of Python's."""
    told = []
    for entry in with_odd(FULL[section][0], odd):
        if not isinstance(entry, dict):
            continue
        listed = {**FULL, section: [entry, *FULL[section][1:]]}
        entries = Entries(**{name: tuple(Entry("f", one) for one in some) for name, some in listed.items()})
        try:
            make_plan(entries, Present({"billing": APP}, {}, {}, "UTC"), NOW_MS)
        except ManifestError as error:
            told += error.problems
    assert told
    assert all(" is not valid: " in one for one in told)

"""Whatever a job is, the change that a plan sends makes it what its document says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from gateway.api.drafts import body_of, job_of
from gateway.api.intake import checked
from gateway.api.models.jobs import JobBody
from gateway.api.patching import changed_job
from gateway.api.render import job_answer
from gateway.core.pauses import Pauses
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

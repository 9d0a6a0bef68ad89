"""Plans of odd installations are carried out as they are: what no schedule fires any more is kept as well."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gateway.core.errors import InvalidValue
from gateway.store.ids import job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.passwords import Passwords
from importer.apply import apply_plan, read_target
from importer.plan.make import PlanOptions, make_plan
from importer.plan.values import Action, Existing
from importer.source.values import Counters, Installation, SourceGlue, SourceGroup, SourceJob, SourceUser
from tests.kit.odd_rows import installations

SOURCE = "xxl_job@10.0.0.5:3306"
ODD = (
    SourceJob(1, "1", description="past", schedule_type="CRON", schedule_conf="0 0 2 1 1 ? 2019", trigger_status=1),
    SourceJob(2, "1", description="unix", schedule_type="CRON", schedule_conf="*/5 * * * *", trigger_status=1),
    SourceJob(3, "1", description="bad", schedule_type="CRON", schedule_conf="每天", trigger_status=1),
    SourceJob(4, "9", description="orphan", schedule_type="FIX_RATE", schedule_conf="30", handler="h"),
    SourceJob(5, "2", description="chain", schedule_type="FIX_DELAY", schedule_conf="30", handler="h", trigger_status=1),
    SourceJob(6, "2", description="circle", schedule_type="NONE", child_ids="6,7,x", handler="h", trigger_status=1),
    SourceJob(7, "3", description="circle", schedule_type="NONE", child_ids="6", glue_type="GLUE_SHELL", glue_source="a"),
)  # fmt: skip
INSTALLATION = Installation(
    *(SOURCE, "MariaDB", "2.3.0 – 2.4.2", (2, 3, 0), (2, 4, 2), 0, {}),
    groups=(
        SourceGroup("1", "a"),
        SourceGroup("2", "a"),
        SourceGroup("3", "b", address_type=1, address_list="h:1"),
    ),
    jobs=ODD,
    glue=(
        SourceGlue(1, 7, glue_type="GLUE_SHELL", source="b"),
        SourceGlue(2, 7, glue_type="GLUE_SHELL", source="a"),
    ),
    users=(SourceUser(1, "admin", "e" * 32, 1), SourceUser(2, "x", None, 0, "1,2,3,4")),
    counters=Counters(50, 10, 7, 1000),
)


@pytest.fixture
def import_it(db, clock):
    async def done(installation=INSTALLATION, **options):
        target = await read_target(db, clock, SOURCE)
        made = make_plan(installation, target, PlanOptions(SOURCE, "UTC", **options), clock.now_ms())
        return made, await apply_plan(db, clock, made, passwords=Passwords(memory_kib=64))

    return done


async def test_all_of_an_odd_installation_is_stored(import_it, db, clock) -> None:
    made, applied = await import_it()
    assert applied.jobs_made == (1, 2, 3, 4, 5, 6, 7)
    store = JobStore(db, clock, job_ids(db, clock), run_ids(db, clock))
    stored = await store.load(range(1, 8))
    for one in made.jobs:
        kept = replace(stored[one.job.id], part=one.job.part, next_fire_at=None, created_ms=0, updated_ms=0)
        assert kept == replace(one.job, created_ms=0, updated_ms=0)
    assert [child.job_id for child in stored[6].children] == [6, 7]
    with pytest.raises(InvalidValue, match="fires again"):
        await store.set_enabled(1, enabled=True)


async def test_a_second_import_of_it_changes_nothing(import_it, db, clock) -> None:
    await import_it()
    for existing in (Existing.SKIP, Existing.UPDATE):
        made, applied = await import_it(existing=existing)
        assert {one.action for one in (*made.apps, *made.jobs)} == {Action.SKIP}
        assert not applied.anything


async def test_an_update_may_bring_a_schedule_that_is_over(import_it, db, clock) -> None:
    await import_it()
    later = replace(ODD[1], schedule_conf="0 0 0 1 1 ? 2018")
    _, applied = await import_it(
        replace(INSTALLATION, jobs=(ODD[0], later, *ODD[2:])), existing=Existing.UPDATE
    )
    assert applied.jobs_changed == (2,)


async def test_a_job_that_was_deleted_in_the_source_may_come_back(import_it, db, clock) -> None:
    """As it was, so that only what is remembered of it tells that it is to be enabled again."""
    orders = replace(ODD[0], id=8, schedule_conf="0 0 2 * * ?", handler="h")
    whole = replace(INSTALLATION, jobs=(*ODD, orders))
    await import_it(whole)

    async def remembered():
        return (await read_target(db, clock, SOURCE)).imported_jobs[8]

    first = await remembered()
    assert first.wants_enabled
    _, skipped = await import_it()
    assert not skipped.anything
    _, applied = await import_it(existing=Existing.UPDATE)
    assert (applied.anything, applied.jobs_changed) == (True, ())
    assert not (await remembered()).wants_enabled
    _, again = await import_it(existing=Existing.UPDATE)
    assert not again.anything
    await import_it(whole)
    assert not (await remembered()).wants_enabled
    await import_it(whole, existing=Existing.UPDATE)
    assert await remembered() == first


def some_databases(count: int) -> list[Installation]:
    """Always the same."""
    found: list[Installation] = []

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(installations())
    def collect(one: Installation) -> None:
        found.append(one)

    collect()
    return found


async def test_whatever_is_planned_can_be_carried_out(db, clock) -> None:
    """One source after the other into one target, each twice; they share apps, so tokens of their own are left out."""
    passwords = Passwords(memory_kib=64)
    for number, found in enumerate(some_databases(15)):
        source = f"source {number}"
        groups = tuple(replace(one, access_token=None) for one in found.groups)
        installation = replace(found, groups=groups)
        for existing in (Existing.SKIP, Existing.UPDATE):
            options = PlanOptions(source, "UTC", existing, merge=True)
            made = make_plan(installation, await read_target(db, clock, source), options, clock.now_ms())
            applied = await apply_plan(db, clock, made, passwords=passwords)
            assert len(made.jobs) == len(installation.jobs)
            if existing is Existing.UPDATE:
                done = (applied.apps_made, applied.jobs_made, applied.jobs_changed, applied.users_made)
                assert done == ((), (), (), ())

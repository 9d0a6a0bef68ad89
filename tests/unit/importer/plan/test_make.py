"""A whole plan: who gets which id, what an import that was made before means, what the target must not hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from gateway.core.children import Child, On
from gateway.core.errors import Conflict, InvalidValue
from gateway.core.model import AddressMode, App
from gateway.core.users import Role, User
from importer.plan.target import Target
from importer.plan.users import IF_CHANGED
from importer.plan.values import Action, Existing, Level
from importer.source.values import (
    Counters,
    Installation,
    QuartzState,
    SourceExecutor,
    SourceGroup,
    SourceUser,
)
from tests.kit.source_rows import MD5_OF_123456, after, installation, job, plan, told


def test_all_keep_their_ids_in_an_empty_target() -> None:
    source = installation(
        job(7),
        job(900),
        users=(SourceUser(5, "ann", MD5_OF_123456, 0, "1"),),
        counters=Counters(1200, 4, 9, 5000),
    )
    made = plan(source)
    assert [(one.app.id, one.action) for one in made.apps] == [(1, Action.CREATE)]
    assert [(one.job.id, one.job.app_id, one.action) for one in made.jobs] == [
        (7, 1, Action.CREATE),
        (900, 1, Action.CREATE),
    ]
    assert all(one.wants_enabled and not one.job.enabled for one in made.jobs)
    (user,) = made.users
    assert (user.user.id, user.user.role, user.user.app_ids) == (5, Role.NORMAL, frozenset({1}))
    assert user.password is not None
    assert (user.password.scheme, user.password.digest) == ("md5", MD5_OF_123456)
    assert (made.firsts.job, made.firsts.app, made.firsts.user, made.firsts.run_int) == (1200, 4, 9, 5000)


def test_taken_ids_are_mapped_above_all_that_were_used_and_children_follow() -> None:
    """Edge case 10."""
    there = plan(installation(job(7), job(8)))
    target = replace(after(there), imported_jobs={}, imported_apps={})
    source = installation(job(7, child_ids="8,9"), job(8), job(9), counters=Counters(next_job=100))
    made = plan(source, target, merge=True)
    assert made.job_ids == {7: 100, 8: 101, 9: 9}
    assert [child.job_id for child in made.jobs[0].job.children] == [101, 9]
    assert made.firsts.job == 102
    assert any(one.where == "job 7" and one.field == "id" and one.became == "100" for one in made.findings)
    assert any(
        one.where == "job 7" and one.field == "child_jobid" and "8 → 101" in one.why for one in made.findings
    )


def test_a_second_import_changes_nothing() -> None:
    """Edge case 22."""
    source = installation(job(7), job(8, child_ids="7"), users=(SourceUser(1, "admin", MD5_OF_123456, 1),))
    target = after(plan(source))
    for existing in (Existing.SKIP, Existing.UPDATE):
        again = plan(source, target, existing=existing)
        assert {one.action for one in again.apps} == {Action.SKIP}
        assert {one.action for one in again.jobs} == {Action.SKIP}
        assert all(one.changes == () for one in (*again.apps, *again.jobs))
        assert [one.changes for one in again.users] == [() if existing is Existing.SKIP else (IF_CHANGED,)]
        assert again.job_ids == {7: 7, 8: 8}


def test_only_what_has_changed_in_the_source_is_updated() -> None:
    target = after(plan(installation(job(7), job(8))))
    source = installation(job(7, schedule_conf="0 0 3 * * ?", next_ms=5), job(8, next_ms=9))
    skipped = plan(source, target)
    assert {one.action for one in skipped.jobs} == {Action.SKIP}
    assert "changed in the source since" in skipped.jobs[0].changes
    updated = plan(source, target, existing=Existing.UPDATE)
    assert [one.action for one in updated.jobs] == [Action.UPDATE, Action.SKIP]
    first = updated.jobs[0]
    assert first.job.schedule["expression"] == "0 0 3 * * ?"  # type: ignore[call-overload,index]
    assert any("0 0 2 * * ?" in one and "0 0 3 * * ?" in one for one in first.changes)


@pytest.mark.parametrize(
    ("state", "changed"), [("ACQUIRED", False), ("BLOCKED", False), ("EXECUTING", False), ("PAUSED", True)]
)
def test_what_quartz_does_by_itself_changes_no_job(state: str, changed: bool) -> None:
    """A trigger that is due is taken, and put back; nobody has done anything to it."""
    releases = {"first": (2, 0, 2), "last": (2, 0, 2)}
    waiting, moved = (
        job(
            7, schedule_type=None, cron="0 0 2 * * ?", trigger_status=None, quartz=QuartzState(one, next_ms=5)
        )
        for one in ("WAITING", state)
    )
    target = after(plan(installation(waiting, **releases)))
    (again,) = plan(installation(moved, **releases), target).jobs
    assert ("changed in the source since" in again.changes) == changed


def test_what_people_have_changed_here_is_told() -> None:
    made = plan(installation(job(7)))
    target = after(made)
    changed = replace(target.jobs[7], version=3, timeout_s=60)
    target = replace(target, jobs={7: changed})
    (kept,) = plan(installation(job(7)), target, existing=Existing.UPDATE).jobs
    assert (kept.action, kept.job) == (Action.SKIP, changed)
    assert kept.changes == ("changed here since: version 3, imported as version 1", "timeout_s: 60 → 0")
    (updated,) = plan(installation(job(7, author="bob")), target, existing=Existing.UPDATE).jobs
    assert (updated.action, updated.job.version, updated.job.timeout_s) == (Action.UPDATE, 3, 0)
    assert "changed here since: version 3, imported as version 1" in updated.changes


def test_a_job_that_was_cut_over_is_not_touched_again() -> None:
    target = after(plan(installation(job(7))))
    target = replace(target, imported_jobs={7: replace(target.imported_jobs[7], live=True)})
    made = plan(installation(job(7, author="bob")), target, existing=Existing.UPDATE)
    assert made.jobs[0].action is Action.SKIP
    assert any("cut over" in one.why for one in made.findings)


def test_a_job_that_was_deleted_here_is_not_made_again() -> None:
    target = after(plan(installation(job(7), job(8, child_ids="7"))))
    target = replace(target, jobs={8: target.jobs[8]})
    made = plan(installation(job(7), job(8, child_ids="7", author="bob")), target, existing=Existing.UPDATE)
    assert [one.old_id for one in made.jobs] == [8]
    assert made.jobs[0].job.children == ()
    assert any(one.field == "job 7" and one.became == "not made again" for one in made.findings)


def test_other_jobs_in_the_target_are_refused_unless_merge() -> None:
    target = replace(after(plan(installation(job(7)))), imported_jobs={})
    with pytest.raises(Conflict, match=r"--merge: there is 1 job here that does not come from .* \(ids 7\)"):
        plan(installation(job(7)), target)
    assert plan(installation(job(7)), target, merge=True).jobs[0].action is Action.CREATE


def test_existing_jobs_are_refused_when_asked_for() -> None:
    target = after(plan(installation(job(7))))
    with pytest.raises(Conflict, match=r"--existing fail: 1 job of .* has been imported before"):
        plan(installation(job(7)), target, existing=Existing.FAIL)


def test_an_app_of_that_name_takes_the_jobs_and_stays() -> None:
    mine = App(40, 1, "orders", "Mine", AddressMode.AUTO, (), 1, 1)
    made = plan(installation(job(7)), Target(apps={40: mine}))
    assert (made.apps[0].action, made.apps[0].app, made.jobs[0].job.app_id) == (Action.MERGE, mine, 40)
    assert made.apps[0].changes == ("title: 'Mine' → 'Orders'",)
    assert made.apps[0].aliases == (1,)


def test_an_id_of_another_app_is_no_alias() -> None:
    other = App(1, 1, "other", "", AddressMode.AUTO, (), 1, 1)
    made = plan(installation(job(7)), Target(apps={1: other}))
    assert (made.apps[0].app.id, made.apps[0].aliases) == (2, ())


def test_a_user_of_that_name_stays_as_it_is() -> None:
    mine = User(3, "admin", Role.ADMIN)
    source = installation(users=(SourceUser(1, "admin", MD5_OF_123456, 1), SourceUser(3, "bob", "x", 0)))
    made = plan(source, Target(users={3: mine}))
    assert [(one.action, one.user.id) for one in made.users] == [(Action.SKIP, 3), (Action.CREATE, 4)]
    assert made.users[1].password is None
    assert made.user_ids == {1: 3, 3: 4}


def test_a_time_zone_that_there_is_not() -> None:
    with pytest.raises(InvalidValue, match="--timezone"):
        plan(installation(), timezone="Mars/Olympus")


def test_an_update_leaves_what_the_source_has_no_word_for() -> None:
    target = after(plan(installation(job(7, child_ids="8"), job(8))))
    mine = replace(
        target.jobs[7],
        version=2,
        priority=10,
        deadline_s=60,
        max_attempts=5,
        children=(Child(8, On.END),),
        task=replace(target.jobs[7].task, envs=(("A", "b"),)),
    )
    target = replace(target, jobs={**target.jobs, 7: mine})
    source = installation(job(7, child_ids="8", handler="other"), job(8))
    (updated, _) = plan(source, target, existing=Existing.UPDATE).jobs
    assert updated.action is Action.UPDATE
    assert (updated.job.task.handler, updated.job.max_attempts, updated.job.version) == ("other", 1, 2)
    assert (updated.job.priority, updated.job.deadline_s) == (10, 60)
    assert (updated.job.children, updated.job.task.envs) == ((Child(8, On.END),), (("A", "b"),))


def test_an_update_moves_no_job_to_another_app() -> None:
    groups = (SourceGroup("1", "orders"), SourceGroup("2", "billing"))
    target = after(plan(installation(job(7), groups=groups)))
    made = plan(installation(job(7, group="2"), groups=groups), target, existing=Existing.UPDATE)
    assert (made.jobs[0].action, made.jobs[0].job.app_id) == (Action.UPDATE, 1)
    assert told(made, "job 7", "job_group")[0].became == "it stays in app 1"


def test_who_knows_the_release_is_believed_and_told_what_the_columns_say() -> None:
    source = installation(job(7, schedule_conf="0 0 2 L * ?"), first=(2, 5, 0), last=(3, 1, 1))
    fitting = plan(source, release=(3, 1))
    assert fitting.jobs[0].fires.differ_at == 0
    assert told(fitting, "installation", "release") == []
    other = plan(source, release=(3, 4, 2))
    assert other.jobs[0].fires.differ_at is None
    assert told(other, "installation", "release")[0].became == "3.4.2"


def test_addresses_that_the_old_registry_has_forgotten_stay() -> None:
    """Up to 1.7.1: once the old admin has stopped, its registry is empty."""
    old = {"first": (1, 7, 0), "last": (1, 7, 1)}
    executors = (SourceExecutor("orders", "10.0.0.1:9999", None),)
    target = after(plan(installation(job(7), executors=executors, **old)))
    again = plan(installation(job(7), **old), target, existing=Existing.UPDATE)
    assert (again.apps[0].action, again.apps[0].app) == (Action.SKIP, target.apps[1])


def test_an_update_of_an_app_takes_its_addresses_and_leaves_its_limits() -> None:
    groups = (SourceGroup("1", "orders", "Orders", 1, "10.0.0.1:9999"),)
    target = after(plan(installation(groups=groups)))
    mine = replace(target.apps[1], max_running=5, dialect="xxlrpc20", updated_ms=99)
    target = replace(target, apps={1: mine})
    moved = (SourceGroup("1", "orders", "Orders", 1, "10.0.0.2:9999"),)
    (kept,) = plan(installation(groups=moved), target).apps
    assert (kept.action, kept.app) == (Action.SKIP, mine)
    assert kept.changes != ()
    (updated,) = plan(installation(groups=moved), target, existing=Existing.UPDATE).apps
    assert updated.action is Action.UPDATE
    assert updated.app == replace(mine, addresses=("http://10.0.0.2:9999/",))


@pytest.mark.parametrize("existing", [Existing.SKIP, Existing.UPDATE])
def test_another_installation_under_the_same_name_is_refused(existing: Existing) -> None:
    """Through an ssh tunnel each has the same address. The job that XXL-JOB ships is in both."""
    sample = job(1, handler="demoJobHandler", added=datetime(2018, 11, 3, 22, 21, 31))
    target = after(plan(installation(sample, job(2), job(3))))
    other = {"added": datetime(2022, 1, 2, 3, 4, 5), "handler": "b"}
    source = installation(sample, job(2, description="another", **other))
    told = r"--name: under the name xxl_job@db:3306 another installation was imported: of 1 job .* \(ids 2\): give"
    with pytest.raises(Conflict, match=told):
        plan(source, target, existing=existing)


def test_the_same_installation_is_known_however_its_jobs_were_changed() -> None:
    target = after(plan(installation(job(1), job(2), job(3), job(4, added=None)), timezone="UTC"))
    changed = [job(number, description="new", handler="new") for number in (1, 2)]
    new_one = job(
        3, added=datetime(2022, 1, 2, 3, 4, 5), description="new"
    )  # an id that MySQL 5.7 gave out again
    source = installation(*changed, new_one, job(4, added=None, handler="new"))
    made = plan(source, target, existing=Existing.UPDATE, timezone="Asia/Kathmandu")
    assert [one.action for one in made.jobs] == [Action.UPDATE] * 4


def test_where_no_job_tells_groups_do() -> None:
    groups = (SourceGroup("1", "xxl-job-executor-sample"), SourceGroup("2", "orders"))
    target = after(plan(installation(job(7), groups=groups)))
    others = (groups[0], SourceGroup("2", "billing"))
    with pytest.raises(Conflict, match=r"of 1 group .* \(ids 2\): give"):
        plan(installation(job(8), groups=others), target)
    assert plan(installation(job(8), groups=groups), target).jobs[0].action is Action.CREATE
    assert plan(installation(job(8, group="2"), groups=groups[:1]), target).jobs[0].job.app_id == 2


def test_an_appname_that_has_changed_there_is_told_and_stays() -> None:
    target = after(plan(installation(job(7))))
    source = installation(job(7), groups=(SourceGroup("1", "billing", "Orders", 0),))
    for existing, action in ((Existing.SKIP, Action.SKIP), (Existing.UPDATE, Action.UPDATE)):
        made = plan(source, target, existing=existing)
        (app,) = made.apps
        assert (app.action, app.app) == (action, target.apps[1])
        assert app.changes == ("changed in the source since", "appname: 'orders' → 'billing'")
        (warned,) = told(made, "app 1", "app_name")
        assert warned.became == "app 'orders'"
        assert "import --undo" in warned.why


def test_an_app_whose_group_is_gone_stays_as_it_is() -> None:
    groups = (SourceGroup("1", "orders", "Orders", 1, "10.0.0.1:9999"),)
    target = after(plan(installation(job(7), groups=groups)))
    made = plan(installation(job(7), groups=()), target, existing=Existing.UPDATE)
    assert (made.apps[0].action, made.apps[0].app, made.apps[0].changes) == (Action.SKIP, target.apps[1], ())


def test_a_job_that_was_deleted_there_is_told_and_an_update_enables_it_no_more() -> None:
    target = after(plan(installation(job(7), job(8), job(9, trigger_status=0), job(10), job(11))))
    live = replace(target.imported_jobs[10], live=True)
    # Of 10 the source has nothing to say any more, and 11 was deleted here.
    target = replace(
        target,
        imported_jobs={**target.imported_jobs, 10: live},
        jobs={key: one for key, one in target.jobs.items() if key != 11},
    )
    source = installation(job(7))
    skipped, updated = plan(source, target), plan(source, target, existing=Existing.UPDATE)
    assert (skipped.withdrawn, updated.withdrawn) == ((), (8,))
    for made, became in ((skipped, "left as it is"), (updated, "it stays here, and is not to be enabled")):
        deleted = [one for one in made.findings if "deleted in the source" in one.why]
        assert [(one.where, one.level) for one in deleted] == [
            ("job 8", Level.WARNING),
            ("job 9", Level.NOTE),
        ]
        assert (deleted[0].value, deleted[0].became) == ("job 8", became)


def test_what_was_read_of_a_group_is_remembered_until_it_is_taken_over() -> None:
    def source(addresses: str, **fields: object) -> Installation:
        return installation(job(7), groups=(SourceGroup("1", "orders", "Orders", 1, addresses, **fields),))

    first = plan(source("10.0.0.1:9999"))
    target = after(first)
    skipped = plan(source("10.0.0.2:9999"), target)
    assert (skipped.apps[0].action, skipped.apps[0].digests) == (Action.SKIP, first.apps[0].digests)
    assert skipped.apps[0].changes[0] == "changed in the source since"
    taken = plan(source("10.0.0.2:9999"), target, existing=Existing.UPDATE)
    assert taken.apps[0].digests != first.apps[0].digests
    again = plan(source("10.0.0.2:9999"), after(taken), existing=Existing.UPDATE)
    assert (again.apps[0].action, again.apps[0].changes) == (Action.SKIP, ())
    with_token = plan(source("10.0.0.2:9999", access_token="new"), after(taken), existing=Existing.UPDATE)
    assert with_token.apps[0].action is Action.UPDATE


def test_the_addresses_of_executors_that_register_are_no_change_of_their_group() -> None:
    def source(addresses: str) -> Installation:
        return installation(job(7), groups=(SourceGroup("1", "orders", "Orders", 0, addresses),))

    target = after(plan(source("10.0.0.1:9999")))
    assert plan(source(""), target, existing=Existing.UPDATE).apps[0].action is Action.SKIP

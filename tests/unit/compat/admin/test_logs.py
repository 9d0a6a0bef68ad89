"""`/joblog/*` and `/chartInfo`."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select

from gateway.core.model import BROADCAST_PARENT, LogPage, Route
from gateway.core.states import RunState
from gateway.core.users import Role
from gateway.store.history import HistoryStore
from gateway.store.import_logs import LogImportStore, OldDay
from gateway.store.tables import import_source
from gateway.store.tables import run as run_table

OLD, NEW = "/xxl-job-admin/joblog", "/joblog"
DAY_MS = 86_400_000
SENT = {"sent_ms": 5, "trigger_ms": 1_795_000_000_123, "address": "http://h:1/"}


@pytest.fixture
async def admin(site):
    await site.user()
    await site.login()
    site.the_app = await site.app()
    site.the_job = await site.job(site.the_app)
    return site


async def rows(site, **fields):
    page = (await site.ask(f"{OLD}/pageList", {"start": 0, **fields})).json
    assert page["recordsTotal"] == page["recordsFiltered"]
    return page["recordsTotal"], page["data"]


async def left(site):
    async with site.db.read() as conn:
        return sorted((await conn.execute(select(run_table.c.id))).scalars())


async def test_a_row(admin):
    run_id = await admin.run(admin.the_job, message="all done", params="y=2", **SENT, attempt=2)
    (row,) = (await rows(admin))[1]
    assert row == {
        "id": run_id,
        "jobGroup": admin.the_app.id,
        "jobId": admin.the_job.id,
        "executorAddress": "http://h:1/",
        "executorHandler": "closeDay",
        "executorParam": "y=2",
        "executorShardingParam": None,
        "executorFailRetryCount": 1,
        "triggerTime": "2026-11-18T11:06:40.123+00:00",
        "triggerCode": 200,
        "triggerMsg": "trigger: manual<br>state: succeeded<br>attempt: 2<br>executor: http://h:1/",
        "handleTime": "2026-11-18T11:06:42.000+00:00",
        "handleCode": 200,
        "handleMsg": "all done",
        "alarmStatus": 0,
    }
    await admin.login("/auth/doLogin")
    page = (await admin.ask(f"{NEW}/pageList", {"offset": 0, "pagesize": 10})).json
    assert page["data"]["data"][0]["triggerTime"] == "2026-11-18 19:06:40"
    page = (await admin.ask(f"{OLD}/pageList", {"offset": 0, "pagesize": 10})).json
    assert page["data"]["data"][0]["triggerTime"] == "2026-11-18T11:06:40.123Z"


CODES = [
    (RunState.QUEUED, {}, (0, 0)),
    (RunState.DISPATCHING, {}, (0, 0)),
    (RunState.RUNNING, SENT, (200, 0)),
    (RunState.STOPPING, SENT, (200, 0)),
    (RunState.SUCCEEDED, SENT, (200, 200)),
    (RunState.FAILED, SENT | {"result_code": 500}, (200, 500)),
    (RunState.FAILED, SENT | {"result_code": 200}, (200, 500)),
    (RunState.FAILED, SENT, (500, 0)),
    (RunState.FAILED, {"reason": "no executor"}, (500, 0)),
    (RunState.TIMED_OUT, SENT | {"result_code": 502}, (200, 502)),
    (RunState.LOST, SENT, (200, 500)),
    (RunState.STOPPED, SENT, (200, 500)),
    (RunState.STOPPED, {}, (500, 0)),
    (RunState.EXPIRED, {}, (500, 0)),
    (RunState.INVALID, {}, (500, 0)),
    (RunState.RETRYING, SENT | {"outcome": int(RunState.FAILED), "result_code": 501}, (200, 501)),
    (RunState.RETRYING, SENT | {"outcome": int(RunState.TIMED_OUT)}, (200, 502)),
    (RunState.RETRYING, {"outcome": int(RunState.FAILED)}, (500, 0)),
]


async def test_codes(admin):
    wanted = {await admin.run(admin.the_job, state, **values): codes for state, values, codes in CODES}
    found = {row["id"]: row for row in (await rows(admin, length=100))[1]}
    assert {n: (row["triggerCode"], row["handleCode"]) for n, row in found.items()} == wanted
    assert {n for n, row in found.items() if row["handleTime"] is None} == {
        n for n, codes in wanted.items() if codes[1] == 0
    }
    for asked, is_it in (
        (1, lambda codes: codes == (200, 200)),
        (2, lambda codes: 500 in codes or codes[1] > 200),
        (3, lambda codes: codes == (200, 0)),
    ):
        listed = {row["id"] for row in (await rows(admin, logStatus=asked, length=100))[1]}
        assert listed == {n for n, codes in wanted.items() if is_it(codes)}, asked


async def test_what_is_no_row(admin):
    shard = {"shard_total": 2, "parent_id": 9, "root_id": 9}
    await admin.run(admin.the_job, RunState.PLANNED)
    await admin.run(admin.the_job, RunState.SKIPPED)
    await admin.run(admin.the_job, RunState.RUNNING, shard=BROADCAST_PARENT, claimed_ms=5)
    await admin.run(admin.the_job, RunState.FAILED, shard=BROADCAST_PARENT, claimed_ms=5)
    await admin.run(admin.the_job, RunState.QUEUED, shard=BROADCAST_PARENT)
    lonely = await admin.run(admin.the_job, RunState.FAILED, shard=BROADCAST_PARENT, reason="nobody <there>")
    shards = [await admin.run(admin.the_job, RunState.SUCCEEDED, shard=n, **shard) for n in (0, 1)]
    total, data = await rows(admin)
    assert (total, [row["id"] for row in data]) == (3, [*reversed(shards), lonely])
    assert [row["executorShardingParam"] for row in data] == ["1/2", "0/2", None]
    assert "nobody &lt;there&gt;" in data[2]["triggerMsg"]


async def test_a_broadcast_over_one_executor_is_a_shard(admin):
    job = await admin.job(admin.the_app, route=Route.SHARDING_BROADCAST)
    await admin.run(job, **SENT)
    await admin.run(job, RunState.FAILED, shard=BROADCAST_PARENT, reason="nobody there")
    assert [row["executorShardingParam"] for row in (await rows(admin))[1]] == ["0/1", None]


async def test_filters_and_pages(admin):
    other_job = await admin.job(admin.the_app)
    other_app = await admin.app("other")
    third_job = await admin.job(other_app)
    first = await admin.run(admin.the_job)
    second = await admin.run(other_job, due_ms=admin.clock.ms + 60_000)
    third = await admin.run(third_job, RunState.LOST, due_ms=admin.clock.ms + 120_000)

    async def found(**fields):
        total, data = await rows(admin, **fields)
        return total, [row["id"] for row in data]

    for fields in ({}, {"jobGroup": 0, "jobId": 0, "logStatus": -1, "filterTime": ""}, {"logStatus": 0}):
        assert await found(**fields) == (3, [third, second, first])
    assert await found(jobGroup=admin.the_app.id) == (2, [second, first])
    assert await found(jobId=admin.the_job.id) == (1, [first])
    assert await found(length=1) == (3, [third])
    assert await found(start=2, length=5) == (3, [first])
    span = "2026-11-18 19:07:00 - 2026-11-18 19:08:00"
    assert await found(filterTime=span) == (1, [second])
    bad = (await admin.ask(f"{OLD}/pageList", {"filterTime": "yesterday"})).json
    assert (bad["code"], "filterTime" in bad["msg"]) == (500, True)
    half = (await admin.ask(f"{OLD}/pageList", {"filterTime": "2026-11-18 19:07:00 - now"})).json
    assert half["msg"] == "filterTime: yyyy-MM-dd HH:mm:ss, on the clock of the server's zone"
    await admin.ports.jobs.delete(third_job.id, keep_history=True)
    (row,) = (await rows(admin, jobGroup=other_app.id))[1]
    assert (row["executorHandler"], row["executorParam"], row["handleCode"]) == (None, "", 500)


async def test_lines_of_a_log(admin):
    run_id = await admin.run(admin.the_job, **SENT)
    admin.operations.logs[run_id] = LogPage(1, 2, "a < b\n'c'", is_end=False)
    four = {"executorAddress": "http://h:1/", "triggerTime": 1, "logId": run_id, "fromLineNum": 1}
    for form in (four, {"logId": run_id, "fromLineNum": 1}, {"logId": run_id}):
        reply = await admin.ask(f"{OLD}/logDetailCat", form)
        assert reply.json["content"] == {
            "fromLineNum": 1,
            "toLineNum": 2,
            "logContent": "a &lt; b\n&#x27;c&#x27;",
            "end": False,
        }
    for form in ({}, {"logId": "x"}, {"logId": 5}, {"logId": 1 << 70}):
        assert (await admin.ask(f"{OLD}/logDetailCat", form)).json["code"] == 500


async def test_kill(admin):
    run_id = await admin.run(admin.the_job, RunState.RUNNING, **SENT)
    assert (await admin.ask(f"{OLD}/logKill", {"id": run_id})).json["code"] == 200
    assert admin.operations.stopped == [run_id]
    assert (await admin.ask(f"{OLD}/logKill", {"id": run_id + 1})).json["code"] == 500


async def test_clear_what_is_old(admin):
    ages = (10, 40, 100, 200, 400)
    old = [await admin.run(admin.the_job, due_ms=admin.clock.ms - age * DAY_MS) for age in ages]
    still = await admin.run(admin.the_job, RunState.RUNNING, due_ms=admin.clock.ms - 500 * DAY_MS)
    other = await admin.run(await admin.job(admin.the_app), due_ms=admin.clock.ms - 500 * DAY_MS)
    mine = {"jobGroup": admin.the_app.id, "jobId": admin.the_job.id}
    for kind, kept in ((4, old[:4]), (3, old[:3]), (2, old[:2]), (1, old[:1]), (9, [])):
        reply = await admin.ask(f"{OLD}/clearLog", {**mine, "type": kind})
        assert reply.json == {"code": 200, "msg": None, "content": None}
        assert await left(admin) == sorted([*kept, still, other])
    for kind in (0, 10, "x", ""):
        assert (await admin.ask(f"{OLD}/clearLog", {**mine, "type": kind})).json["code"] == 500


async def test_clear_all_but_the_newest(admin, monkeypatch):
    from compat.admin import logs

    monkeypatch.setattr(logs, "_AT_ONCE", 2)
    monkeypatch.setitem(logs._KEEP_NEWEST, 5, 3)
    ids = [await admin.run(admin.the_job) for _ in range(8)]
    reply = await admin.ask(f"{OLD}/clearLog", {"jobGroup": 0, "jobId": 0, "type": 5})
    assert reply.json["code"] == 200
    assert await left(admin) == ids[-3:]


async def test_clear_that_takes_too_long_says_so(admin, monkeypatch):
    from compat.admin import logs

    monkeypatch.setattr(logs, "_AT_ONCE", 2)
    monkeypatch.setattr(logs, "_LONGEST_S", 0.0)
    for _ in range(5):
        await admin.run(admin.the_job)
    says = [(await admin.ask(f"{OLD}/clearLog", {"type": 9})).json for _ in range(4)]
    assert [one["code"] for one in says] == [500, 500, 500, 200]
    assert says[0]["msg"] == "2 logs are removed and there are more: call again"
    assert await left(admin) == []


async def test_jobs_of_a_group(admin):
    other = await admin.app("other")
    await admin.job(other)
    reply = await admin.ask(f"{OLD}/getJobsByGroup", {"jobGroup": admin.the_app.id})
    assert [job["id"] for job in reply.json["content"]] == [admin.the_job.id]


async def test_charts(admin):
    noon = 1_795_000_000_000 - 1_795_000_000_000 % DAY_MS + DAY_MS // 2
    admin.clock.ms = noon
    for age, state in (
        (0, RunState.SUCCEEDED),
        (0, RunState.LOST),
        (1, RunState.FAILED),
        (9, RunState.FAILED),
    ):
        await admin.run(admin.the_job, state, finished_ms=noon - age * DAY_MS)
    await admin.run(admin.the_job, RunState.RUNNING)
    await admin.run(admin.the_job, RunState.SKIPPED)
    history = HistoryStore(admin.db, admin.clock)
    for kept in await history.kept(range(128), 0, 10, deleted=False):
        await history.count(kept)
    form = {"startDate": "2026-11-16 00:00:00", "endDate": "2026-11-18 23:59:59"}
    chart = (await admin.ask("/xxl-job-admin/chartInfo", form)).json["content"]
    assert chart == {
        "triggerDayList": ["2026-11-16", "2026-11-17", "2026-11-18"],
        "triggerDayCountRunningList": [0, 0, 1],
        "triggerDayCountSucList": [0, 0, 1],
        "triggerDayCountFailList": [0, 1, 1],
        "triggerCountRunningTotal": 1,
        "triggerCountSucTotal": 1,
        "triggerCountFailTotal": 2,
    }
    week = (await admin.ask("/xxl-job-admin/chartInfo", {})).json["content"]
    assert (len(week["triggerDayList"]), week["triggerDayList"][-1]) == (7, "2026-11-18")
    long = {"startDate": "1971-01-01 00:00:00", "endDate": ""}
    assert len((await admin.ask("/xxl-job-admin/chartInfo", long)).json["content"]["triggerDayList"]) == 400
    assert (await admin.ask("/xxl-job-admin/chartInfo", {"startDate": "x"})).json["code"] == 500


async def test_charts_have_the_daily_report_of_an_old_admin(admin):
    """Also of the last three days, which are counted by their runs; none of it is a normal user's."""
    noon = 1_795_000_000_000 - 1_795_000_000_000 % DAY_MS + DAY_MS // 2
    admin.clock.ms = noon
    await admin.run(admin.the_job, finished_ms=noon - 1)
    days = [OldDay(noon // DAY_MS - age, 100 + age, 10, 1) for age in range(5)]
    async with admin.db.write() as conn:
        await conn.execute(insert(import_source).values(id=4, name="xxl_job@10.0.0.5:3306"))
    await LogImportStore(admin.db, admin.clock).write_days(4, days)
    chart = (await admin.ask("/xxl-job-admin/chartInfo", {})).json["content"]
    assert chart["triggerDayCountSucList"] == [0, 0, 104, 103, 102, 101, 101]
    assert chart["triggerDayCountFailList"] == [0, 0, 11, 11, 11, 11, 11]
    await admin.user("eve", role=Role.NORMAL, app_ids=frozenset({admin.the_job.app_id}))
    await admin.login(username="eve")
    chart = (await admin.ask("/xxl-job-admin/chartInfo", {})).json["content"]
    assert (chart["triggerCountSucTotal"], chart["triggerCountFailTotal"]) == (1, 0)


async def test_a_run_of_an_old_admin_as_a_row(admin):
    """Its executor may still have its log."""
    sent = {"trigger_kind": 9, "address": "http://h:1/", "trigger_ms": 5, "sent_ms": 5, "claim_token": 77}
    run_id = await admin.run(admin.the_job, RunState.SUCCEEDED, result_code=200, **sent)
    (row,) = (await admin.ask("/xxl-job-admin/joblog/pageList", {})).json["data"]
    assert (row["triggerCode"], row["handleCode"]) == (200, 200)
    assert row["triggerMsg"].startswith("trigger: imported<br>state: succeeded")
    admin.operations.logs[run_id] = LogPage(1, 1, "a line\n", is_end=True)
    asked = {"logId": run_id, "fromLineNum": 1}
    found = (await admin.ask("/xxl-job-admin/joblog/logDetailCat", asked)).json["content"]
    assert found["logContent"] == "a line\n"


async def test_charts_know_what_happened_just_now(admin):
    """The last days are those of the server's zone; nobody has counted them before."""
    day = 1_795_000_000_000 - 1_795_000_000_000 % DAY_MS - 8 * 3_600_000  # 2026-11-18 00:00 in Shanghai
    admin.clock.ms = day + 3 * 3_600_000
    for at_ms, state in (
        (day - 1, RunState.SUCCEEDED),
        (day, RunState.SUCCEEDED),
        (day + 1, RunState.SUCCEEDED),
        (day + 2, RunState.LOST),
        (day - 2 * DAY_MS, RunState.FAILED),
        (day - 2 * DAY_MS - 1, RunState.FAILED),  # not among the last three days
    ):
        await admin.run(admin.the_job, state, finished_ms=at_ms)
    chart = (await admin.ask("/xxl-job-admin/chartInfo", {})).json["content"]
    assert chart["triggerDayList"][-4:] == ["2026-11-15", "2026-11-16", "2026-11-17", "2026-11-18"]
    assert chart["triggerDayCountSucList"][-4:] == [0, 0, 1, 2]
    assert chart["triggerDayCountFailList"][-4:] == [0, 1, 0, 1]
    past = {"startDate": "2026-11-10 00:00:00", "endDate": "2026-11-17 00:00:00"}
    chart = (await admin.ask("/xxl-job-admin/chartInfo", past)).json["content"]
    assert (chart["triggerCountSucTotal"], chart["triggerCountFailTotal"]) == (1, 1)
    await admin.user("eve", role=Role.NORMAL)
    await admin.login(username="eve")
    chart = (await admin.ask("/xxl-job-admin/chartInfo", {})).json["content"]
    assert (chart["triggerCountSucTotal"], chart["triggerCountFailTotal"]) == (0, 0)


async def test_normal_users_and_runs_of_others(admin):
    other = await admin.app("other")
    its_job = await admin.job(other)
    mine, its = await admin.run(admin.the_job, **SENT), await admin.run(its_job, **SENT)
    await admin.user("bob", role=Role.NORMAL, app_ids=frozenset({admin.the_app.id}))
    await admin.login(username="bob")
    for fields in ({}, {"jobGroup": 0, "jobId": its_job.id}):
        assert its not in [row["id"] for row in (await rows(admin, **fields))[1]]
    assert (await rows(admin))[0] == 1
    for path, form in (
        ("pageList", {"jobGroup": other.id}),
        ("logDetailCat", {"logId": its}),
        ("logKill", {"id": its}),
        ("clearLog", {"jobGroup": other.id, "type": 9}),
        ("getJobsByGroup", {"jobGroup": other.id}),
    ):
        reply = await admin.ask(f"{OLD}/{path}", form)
        says = "does not exist" if path in {"logDetailCat", "logKill"} else "permission"
        assert (reply.json["code"], says in reply.json["msg"]) == (500, True), path
    assert (await admin.ask(f"{OLD}/clearLog", {"jobGroup": 0, "jobId": its_job.id, "type": 9})).json[
        "code"
    ] == 200
    assert (await admin.ask(f"{OLD}/clearLog", {"type": 9})).json["code"] == 200
    assert await left(admin) == [its]
    assert mine not in await left(admin)
    assert admin.operations.stopped == []
    chart = (await admin.ask("/xxl-job-admin/chartInfo", {})).json
    assert chart["code"] == 200


async def test_the_latest_first_by_the_instant_of_the_send(admin):
    """Runs of a schedule get their ids some seconds before they are due."""
    planned = await admin.run(admin.the_job, due_ms=admin.clock.ms + 3000)
    by_hand = await admin.run(admin.the_job)
    assert [row["id"] for row in (await rows(admin))[1]] == [planned, by_hand]
    assert [row["id"] for row in (await rows(admin, start=1, length=1))[1]] == [by_hand]

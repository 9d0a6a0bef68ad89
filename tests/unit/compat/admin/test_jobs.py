"""`/jobinfo/*`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.children import Child, On
from gateway.core.contact import Contact
from gateway.core.model import Executor, Job, Misfire, Route, Task, TriggerKind
from gateway.core.overlap import Concurrency, Overlap
from gateway.core.placement import SettingChange
from gateway.core.states import RunState
from gateway.core.users import Role

OLD, NEW = "/xxl-job-admin/jobinfo", "/jobinfo"
COLUMNS = [
    "id",
    "jobGroup",
    "jobDesc",
    "addTime",
    "updateTime",
    "author",
    "alarmEmail",
    "scheduleType",
    "scheduleConf",
    "misfireStrategy",
    "executorRouteStrategy",
    "executorHandler",
    "executorParam",
    "executorBlockStrategy",
    "executorTimeout",
    "executorFailRetryCount",
    "glueType",
    "glueSource",
    "glueRemark",
    "glueUpdatetime",
    "childJobId",
    "triggerStatus",
    "triggerLastTime",
    "triggerNextTime",
]


def form(app_id, **fields):
    return {
        "jobGroup": app_id,
        "jobDesc": "close the day",
        "author": "alice",
        "alarmEmail": "a@example.com",
        "scheduleType": "CRON",
        "scheduleConf": "0 0 3 * * ?",
        "misfireStrategy": "DO_NOTHING",
        "executorRouteStrategy": "FIRST",
        "executorHandler": "closeDay",
        "executorParam": "x=1",
        "executorBlockStrategy": "SERIAL_EXECUTION",
        "executorTimeout": 30,
        "executorFailRetryCount": 2,
        "glueType": "BEAN",
        "childJobId": "",
        **fields,
    }


@pytest.fixture
async def admin(site):
    """With an app, logged in as a script of 2.x."""
    await site.user()
    await site.login()
    site.the_app = await site.app()
    return site


async def added(site, **fields) -> int:
    reply = await site.ask(f"{OLD}/add", form(site.the_app.id, **fields))
    assert reply.json["code"] == 200, reply.text
    assert isinstance(reply.json["content"], str)
    return int(reply.json["content"])


async def refused(site, path, fields, says):
    reply = await site.ask(path, fields)
    assert (reply.status, reply.json["code"]) == (200, 500), reply.text
    assert says in reply.json["msg"]


async def rows(site, **fields):
    page = (await site.ask(f"{OLD}/pageList", {"start": 0, **fields})).json
    assert page["recordsTotal"] == page["recordsFiltered"]
    return page["recordsTotal"], page["data"]


async def test_a_job_of_a_form(admin):
    job_id = await added(admin)
    job = await admin.ports.jobs.get(job_id)
    assert (job.name, job.contact, job.enabled) == (
        "close the day",
        Contact("alice", "a@example.com"),
        False,
    )
    assert job.schedule == {
        "kind": "cron",
        "expression": "0 0 3 * * ?",
        "timezone": "Asia/Shanghai",
        "misfire": "skip",
    }
    assert job.task == Task("closeDay", "x=1")
    assert (job.misfire, job.misfire_after_s, job.route) == (Misfire.SKIP, 5, Route.FIRST)
    assert (job.timeout_s, job.max_attempts) == (30, 3)
    assert admin.operations.changed_jobs == [job_id]
    (row,) = (await rows(admin))[1]
    assert list(row) == COLUMNS
    sent = form(admin.the_app.id)
    assert {name: row[name] for name in sent} == sent | {"jobGroup": admin.the_app.id}
    assert (row["triggerStatus"], row["triggerNextTime"], row["triggerLastTime"]) == (0, 0, 0)


async def test_a_job_that_starts_at_once(admin):
    job_id = await added(
        admin, triggerStatus=1, triggerLastTime=7, triggerNextTime=9, id=0, addTime="rubbish"
    )
    (row,) = (await rows(admin))[1]
    assert (row["id"], row["triggerStatus"]) == (job_id, 1)
    assert row["triggerNextTime"] > admin.clock.ms


async def test_a_form_of_2_2_and_before(admin):
    fields = form(admin.the_app.id, jobCron="0 0/5 * * * ?")
    for name in ("scheduleType", "scheduleConf", "misfireStrategy"):
        del fields[name]
    reply = await admin.ask(f"{OLD}/add", fields)
    assert reply.json["code"] == 200, reply.text
    (row,) = (await rows(admin))[1]
    assert (row["scheduleType"], row["scheduleConf"], row["misfireStrategy"]) == (
        "CRON",
        "0 0/5 * * * ?",
        "DO_NOTHING",
    )


@pytest.mark.parametrize(
    ("kind", "conf", "spec"),
    [
        ("NONE", "", {"kind": "none", "misfire": "fire_once"}),
        ("FIX_RATE", "30", {"kind": "fixed_rate", "expression": 30, "misfire": "fire_once"}),
        ("FIX_DELAY", "5", {"kind": "second_delay", "expression": 5, "misfire": "fire_once"}),
    ],
)
async def test_kinds_of_schedules(admin, kind, conf, spec):
    job_id = await added(admin, scheduleType=kind, scheduleConf=conf, misfireStrategy="FIRE_ONCE_NOW")
    assert (await admin.ports.jobs.get(job_id)).schedule == spec
    (row,) = (await rows(admin))[1]
    assert (row["scheduleType"], row["scheduleConf"], row["misfireStrategy"]) == (
        kind,
        conf,
        "FIRE_ONCE_NOW",
    )


BAD = [
    ({"jobGroup": 0}, "jobGroup"),
    ({"jobGroup": 99}, "jobGroup"),
    ({"jobGroup": "x"}, "jobGroup"),
    ({"jobDesc": " "}, "jobDesc"),
    ({"jobDesc": "x" * 256}, "jobDesc"),
    ({"author": ""}, "author"),
    ({"scheduleType": ""}, "scheduleType"),
    ({"scheduleType": "DAILY"}, "scheduleType"),
    ({"scheduleConf": "0 3 * * *"}, "scheduleConf"),
    ({"scheduleConf": "0 0 3 * * *"}, "scheduleConf"),
    ({"scheduleConf": "0 0 3 1 1 ? 2001"}, "scheduleConf"),
    ({"scheduleType": "FIX_RATE", "scheduleConf": "0"}, "scheduleConf"),
    ({"scheduleType": "FIX_RATE", "scheduleConf": "1.5"}, "scheduleConf"),
    ({"scheduleType": "FIX_RATE", "scheduleConf": "9" * 40}, "scheduleConf"),
    ({"misfireStrategy": ""}, "misfireStrategy"),
    ({"misfireStrategy": "NOW"}, "misfireStrategy"),
    ({"glueType": ""}, "glueType"),
    ({"glueType": "GLUE_PERL"}, "glueType"),
    ({"executorHandler": " "}, "executorHandler"),
    ({"executorRouteStrategy": ""}, "executorRouteStrategy"),
    ({"executorRouteStrategy": "WEIGHTED"}, "executorRouteStrategy"),
    ({"executorBlockStrategy": "CONCURRENT"}, "executorBlockStrategy"),
    ({"executorTimeout": "-1"}, "executorTimeout"),
    ({"executorTimeout": "soon"}, "executorTimeout"),
    ({"executorTimeout": "9" * 30}, "executorTimeout"),
    ({"executorFailRetryCount": "1000"}, "executorFailRetryCount"),
    ({"childJobId": "x"}, "childJobId"),
    ({"childJobId": "1,,99"}, "childJobId"),
    ({"childJobId": "9" * 30}, "childJobId"),
    ({"executorParam": "x" * 65_001}, "executorParam"),
    ({"executorParam": "a\0b"}, "executorParam"),
]


async def test_bad_input(admin):
    for change, says in BAD:
        await refused(admin, f"{OLD}/add", form(admin.the_app.id, **change), says)
    assert await rows(admin) == (0, [])


async def test_bad_input_in_the_envelope_of_3_3(admin):
    await admin.login("/auth/doLogin")
    reply = await admin.ask(f"{NEW}/insert", {})
    assert set(reply.json) == {"code", "msg", "data", "success"}
    assert (reply.json["code"], reply.json["success"]) == (500, False)


async def test_an_update_replaces_all_but_the_source_and_the_switch(admin):
    child = await added(admin)
    job_id = await added(admin, glueType="GLUE_SHELL", glueSource="echo 1\r\n", triggerStatus=1)
    fields = {
        "id": job_id,
        "jobGroup": admin.the_app.id,
        "jobDesc": "other",
        "author": "bob",
        "scheduleType": "FIX_RATE",
        "scheduleConf": 60,
        "misfireStrategy": "FIRE_ONCE_NOW",
        "executorRouteStrategy": "SHARDING_BROADCAST",
        "executorBlockStrategy": "DISCARD_LATER",
        "childJobId": f" {child} ,",
        "glueType": "BEAN",
        "glueSource": "rm -rf /",
        "triggerStatus": 0,
    }
    assert (await admin.ask(f"{OLD}/update", fields)).json["code"] == 200
    job = await admin.ports.jobs.get(job_id)
    assert job.task == replace(
        job.task, handler="", params="", glue_type="GLUE_SHELL", glue_source="echo 1\n"
    )
    assert job.enabled
    assert (job.timeout_s, job.max_attempts, job.contact) == (0, 1, Contact("bob"))
    assert job.children == (Child(child),)
    assert (job.name, job.route, job.block_strategy) == ("other", "SHARDING_BROADCAST", "DISCARD_LATER")


async def test_an_update_keeps_what_xxl_job_has_no_word_for(admin):
    made = Job(
        id=0,
        namespace_id=1,
        app_id=admin.the_app.id,
        part=0,
        version=1,
        name="native",
        enabled=True,
        schedule=(
            {"kind": "cron", "expression": "0 3 * * *", "timezone": "Europe/Berlin", "misfire": "fire_all"},
            {"kind": "cron", "expression": "0 5 * * *", "timezone": "Europe/Berlin", "misfire": "fire_all"},
        ),
        task=Task("closeDay"),
        misfire=Misfire.FIRE_ALL,
        route=Route.WEIGHTED,
        priority=9,
        concurrency=Concurrency(Overlap.QUEUE, 3),
    )
    (job,) = await admin.ports.jobs.create([made])
    child = await added(admin)
    job = await admin.ports.jobs.update(replace(job, children=(Child(child, On.FAILURE),)))
    row = next(one for one in (await rows(admin))[1] if one["id"] == job.id)
    assert (row["scheduleType"], row["scheduleConf"]) == ("NONE", "0 3 * * * | 0 5 * * *")
    assert row["executorRouteStrategy"] == "RANDOM"
    fields = {name: value for name, value in row.items() if value is not None}
    assert fields["author"] == ""  # the API makes jobs without one
    reply = await admin.ask(f"{OLD}/update", fields | {"jobDesc": "renamed"})
    assert reply.json["code"] == 200, reply.text
    assert (await admin.ports.jobs.get(job.id)).contact == Contact("")
    reply = await admin.ask(f"{OLD}/update", fields | {"author": "alice", "jobDesc": "renamed"})
    assert reply.json["code"] == 200, reply.text
    await refused(admin, f"{OLD}/update", fields, "author")
    after = await admin.ports.jobs.get(job.id)
    assert after == replace(
        job,
        name="renamed",
        contact=Contact("alice"),
        version=after.version,
        updated_ms=after.updated_ms,
    )


async def test_an_update_keeps_the_zone_of_a_job(admin):
    job_id = await added(admin)
    job = await admin.ports.jobs.get(job_id)
    await admin.ports.jobs.update(replace(job, schedule={**job.schedule, "timezone": "Europe/Berlin"}))
    await admin.ask(f"{OLD}/update", form(admin.the_app.id, id=job_id, scheduleConf="0 0 4 * * ?"))
    schedule = (await admin.ports.jobs.get(job_id)).schedule
    assert (schedule["expression"], schedule["timezone"]) == ("0 0 4 * * ?", "Europe/Berlin")


async def test_updates_that_are_refused(admin):
    job_id = await added(admin)
    other = await admin.app("other")
    await refused(admin, f"{OLD}/update", form(admin.the_app.id), "id")
    await refused(admin, f"{OLD}/update", form(admin.the_app.id, id=job_id + 1), "does not exist")
    await refused(admin, f"{OLD}/update", form(other.id, id=job_id), "jobGroup")
    await refused(admin, f"{OLD}/update", form(admin.the_app.id, id=job_id, childJobId=job_id), str(job_id))
    assert (await admin.ask(f"{OLD}/update", form(-1, id=job_id))).json["code"] == 200


async def test_start_and_stop(admin):
    job_id = await added(admin)
    for _ in range(2):
        assert (await admin.ask(f"{OLD}/start", {"id": job_id})).json["code"] == 200
    assert (await admin.ports.jobs.get(job_id)).enabled
    for _ in range(2):
        assert (await admin.ask(f"{OLD}/stop", {"id": job_id})).json["code"] == 200
    assert not (await admin.ports.jobs.get(job_id)).enabled
    none = await added(admin, scheduleType="NONE", scheduleConf="")
    await refused(admin, f"{OLD}/start", {"id": none}, "NONE")
    for path in ("start", "stop", "trigger"):
        await refused(admin, f"{OLD}/{path}", {"id": none + 1}, "does not exist")
        await refused(admin, f"{OLD}/{path}", {}, "id")
    await admin.login("/auth/doLogin")
    assert (await admin.ask(f"{NEW}/start", {"ids[]": job_id})).json["success"] is True
    await refused(admin, f"{NEW}/stop", [("ids[]", job_id), ("ids[]", none)], "exactly one")


async def test_a_job_whose_schedule_is_over_can_be_stopped(admin):
    job_id = await added(admin, scheduleConf="0 0 8 1 1 ? 2027", triggerStatus=1)
    admin.clock.ms += 100 * 86_400_000
    await admin.login()
    assert (await admin.ask(f"{OLD}/stop", {"id": job_id})).json["code"] == 200
    await refused(admin, f"{OLD}/start", {"id": job_id}, "")


async def test_remove(admin):
    first, second, third = [await added(admin) for _ in range(3)]
    assert (await admin.ask(f"{OLD}/remove", {"id": first})).json["code"] == 200
    assert (await admin.ask(f"{OLD}/remove", {"id": first})).json["code"] == 200
    reply = await admin.ask(f"{NEW}/delete", [("ids[]", second), ("ids[]", third)])
    assert reply.json["code"] == 200
    assert await rows(admin) == (0, [])
    await refused(admin, f"{NEW}/delete", {}, "ids[]")
    await refused(admin, f"{NEW}/delete", {"ids[]": "1;2"}, "ids[]")
    await refused(admin, f"{NEW}/delete", {"ids[]": ",".join(map(str, range(1001)))}, "at most 1000")


async def test_trigger(admin):
    job_id = await added(admin)
    asked = [
        ({"executorParam": "a=b", "addressList": ""}, "a=b", None),
        ({}, "", None),
        (
            {"executorParam": "", "addressList": "10.0.0.1:9999,http://h:1"},
            "",
            ("http://10.0.0.1:9999/", "http://h:1/"),
        ),
    ]
    for fields, params, addresses in asked:
        reply = await admin.ask(f"{OLD}/trigger", {"id": job_id, **fields})
        assert reply.json == {"code": 200, "msg": None, "content": None}
        triggered = admin.operations.triggered[-1]
        assert (triggered.job_id, triggered.kind) == (job_id, TriggerKind.MANUAL)
        assert (triggered.wanted.params, triggered.wanted.addresses) == (params, addresses)
        assert triggered.wanted.author == "user:admin"
    await refused(admin, f"{OLD}/trigger", {"id": job_id, "addressList": "x y"}, "addressList")


async def test_the_token_goes_to_no_stranger(site):
    """Whoever may only do with one app sends its runs, and with them an access token, to its executors alone."""
    app = await site.app(addresses=("http://listed:1/",))
    other = await site.app("other")
    job = await site.job(app)
    for app_id, host in ((app.id, "alive"), (other.id, "another")):
        site.operations.executors.append(Executor(app_id, f"http://{host}:1/", "rest", "java", 0, 0))
    await site.ports.apps.set_executor(app, "http://weighted:1/", SettingChange(weight=3))
    await site.user()
    await site.user("bob", role=Role.NORMAL, app_ids=frozenset({app.id}))
    await site.login(username="bob")
    mine = "alive:1, http://LISTED:1,http://weighted:1/"
    reply = await site.ask(f"{OLD}/trigger", {"id": job.id, "addressList": mine})
    assert reply.json["code"] == 200, reply.text
    for address in (
        "http://another:1/",
        "http://alive:2/",
        "https://alive:1/",
        "127.0.0.1:22",
        f"{mine},x:1",
    ):
        await refused(site, f"{OLD}/trigger", {"id": job.id, "addressList": address}, "addressList")
    assert len(site.operations.triggered) == 1
    await site.login()
    reply = await site.ask(f"{OLD}/trigger", {"id": job.id, "addressList": "http://another:1/"})
    assert reply.json["code"] == 200


async def test_answers_have_no_blanks(admin):
    """Scripts look for `"code":200` in the text."""
    await added(admin)
    reply = await admin.ask(f"{OLD}/stop", {"id": 0})
    assert reply.text.startswith('{"code":500,"msg":"')
    assert reply.text.endswith('","content":null}')
    page = await admin.ask(f"{OLD}/pageList", {"start": 0})
    assert page.text.startswith('{"recordsTotal":1,"recordsFiltered":1,"data":[{"id":')


async def test_searches_and_pages(admin):
    other = await admin.app("other")
    names = [("Alpha", "oneHandler", "Ann"), ("beta", "twoHandler", "bob"), ("gamma", "oneMore", "bobby")]
    for name, handler, author in names:
        await added(admin, jobDesc=name, executorHandler=handler, author=author)
    await admin.ask(f"{OLD}/add", form(other.id, jobDesc="delta", author="Äbel", triggerStatus=1))

    async def found(**fields):
        total, data = await rows(admin, **fields)
        return total, [row["jobDesc"] for row in data]

    everything = (4, ["delta", "gamma", "beta", "Alpha"])
    for fields in ({}, {"jobGroup": 0}, {"jobGroup": -1, "triggerStatus": -1}, {"jobDesc": " "}):
        assert await found(**fields) == everything
    assert await found(jobGroup=admin.the_app.id) == (3, ["gamma", "beta", "Alpha"])
    assert await found(triggerStatus=1) == (1, ["delta"])
    assert await found(triggerStatus=0, jobDesc="A", length=1) == (3, ["gamma"])
    assert await found(executorHandler="ONE") == (2, ["gamma", "Alpha"])
    assert await found(executorHandler="one", start=1, length=5) == (2, ["Alpha"])
    assert await found(author="bob", executorHandler="one") == (1, ["gamma"])
    assert await found(author="äB") == (1, ["delta"])
    assert await found(author='"') == (0, [])
    assert await found(executorHandler="CRON") == (0, [])
    assert await found(executorHandler="closeDay") == (1, ["delta"])
    await refused(admin, f"{OLD}/pageList", {"jobGroup": "all"}, "jobGroup")


async def test_a_row_of_2_2_that_comes_back(admin):
    """With an empty `jobCron`, or without: its bean knows no other schedule than that."""
    job_id = await added(admin, misfireStrategy="FIRE_ONCE_NOW")
    before = await admin.ports.jobs.get(job_id)
    fields = form(admin.the_app.id, id=job_id, executorParam="new")
    for name in ("scheduleType", "scheduleConf", "misfireStrategy"):
        del fields[name]
    for more in ({}, {"jobCron": ""}):
        assert (await admin.ask(f"{OLD}/update", fields | more)).json["code"] == 200
        job = await admin.ports.jobs.get(job_id)
        assert (job.schedule, job.misfire, job.task.params) == (before.schedule, before.misfire, "new")
        await refused(admin, f"{OLD}/add", fields | more, "schedule")


async def test_when_a_job_ran_last_and_what_it_is_when_there_is_no_word(admin):
    job_id = await added(admin, triggerStatus=1)
    job = await admin.ports.jobs.get(job_id)
    assert (await rows(admin))[1][0]["triggerLastTime"] == 0
    await admin.run(job, due_ms=5000)
    await admin.run(job, RunState.PLANNED, due_ms=9000)
    assert (await rows(admin))[1][0]["triggerLastTime"] == 5000
    calendar = {"kind": "calendar", "expression": {"hour": [9]}, "timezone": "UTC", "misfire": "skip"}
    await admin.ports.jobs.update(replace(job, schedule=calendar))
    assert (await rows(admin))[1][0]["scheduleConf"] == '{"hour": [9]}'
    await admin.ask(f"{OLD}/stop", {"id": job_id})
    assert (await rows(admin))[1][0]["triggerLastTime"] == 0


async def test_a_circle_is_told_in_the_words_of_the_form(admin):
    first = await added(admin)
    second = await added(admin, childJobId=first)
    await refused(admin, f"{OLD}/update", form(admin.the_app.id, id=first, childJobId=second), "childJobId: ")


async def test_searches_for_what_is_too_long(admin):
    for name in ("jobDesc", "executorHandler", "author"):
        await refused(admin, f"{OLD}/pageList", {name: "x" * 256}, f"{name}: at most 255")


async def test_what_is_due_next(admin):
    for fields in (
        {"scheduleType": "CRON", "scheduleConf": "0 0 3 * * ?"},
        {"cron": "0 0 3 * * ?"},
    ):
        reply = await admin.ask(f"{OLD}/nextTriggerTime", fields)
        assert [text[11:] for text in reply.json["content"]] == ["03:00:00"] * 5
    rate = await admin.ask(f"{OLD}/nextTriggerTime", {"scheduleType": "FIX_RATE", "scheduleConf": 60})
    assert len(rate.json["content"]) == 5
    once = await admin.ask(
        f"{OLD}/nextTriggerTime", {"scheduleType": "CRON", "scheduleConf": "0 0 3 1 1 ? 2027"}
    )
    assert once.json["content"] == ["2027-01-01 03:00:00"]
    none = await admin.ask(f"{OLD}/nextTriggerTime", {"scheduleType": "NONE", "scheduleConf": ""})
    assert none.json["content"] == []
    await refused(
        admin, f"{OLD}/nextTriggerTime", {"scheduleType": "CRON", "scheduleConf": "x"}, "scheduleConf"
    )
    await refused(admin, f"{OLD}/nextTriggerTime", {}, "scheduleType")


async def test_normal_users_and_jobs_of_others(site):
    await site.user()
    await site.login()
    mine, other = await site.app("mine"), await site.app("other")
    my_job, its_job = [
        int((await site.ask(f"{OLD}/add", form(app.id))).json["content"]) for app in (mine, other)
    ]
    await site.user("bob", role=Role.NORMAL, app_ids=frozenset({mine.id}))
    await site.login(username="bob")
    for app_id in (0, -1, mine.id):
        assert [row["id"] for row in (await rows(site, jobGroup=app_id))[1]] == [my_job]
    await refused(site, f"{OLD}/pageList", {"jobGroup": other.id}, "permission")
    for path in ("start", "stop", "trigger", "update"):
        await refused(site, f"{OLD}/{path}", form(other.id, id=its_job), "does not exist")
    assert (await site.ask(f"{OLD}/remove", {"id": its_job})).json["code"] == 200  # as one that is gone
    await refused(site, f"{OLD}/add", form(other.id), "permission")
    await refused(site, f"{OLD}/add", form(mine.id, childJobId=its_job), "there is no job")
    await refused(site, f"{OLD}/add", form(other.id + 1), "permission")
    assert (await site.ask(f"{OLD}/start", {"id": my_job})).json["code"] == 200
    assert site.operations.triggered == []
    assert await site.ports.jobs.get(its_job) is not None

"""`/jobcode/save`, `/user/*`, `/actuator/health`, and what is nowhere."""

from __future__ import annotations

import html
import re

import pytest

from gateway.core.model import Executor, Task
from gateway.core.ports import Health
from gateway.core.users import Role

OLD = "/xxl-job-admin"


@pytest.fixture
async def admin(site):
    site.me = await site.user()
    await site.login()
    return site


async def test_a_source_is_saved(admin):
    app = await admin.app()
    job = await admin.job(app, task=Task("", glue_type="GLUE_SHELL", glue_source="echo 1", glue_updated_ms=5))
    form = {"id": job.id, "glueSource": "echo 2\r\necho 3", "glueRemark": "second version"}
    assert (await admin.ask(f"{OLD}/jobcode/save", form)).json["code"] == 200
    saved = await admin.ports.jobs.get(job.id)
    assert saved.task == Task(
        "", glue_type="GLUE_SHELL", glue_source="echo 2\necho 3", glue_updated_ms=admin.clock.ms
    )
    assert (saved.contact.remark, saved.version) == ("second version", 2)
    assert admin.operations.changed_jobs == [job.id]
    for change, says in (
        ({"glueRemark": "abc"}, "glueRemark"),
        ({"glueRemark": "x" * 101}, "glueRemark"),
        ({"glueSource": ""}, "glueSource"),
        ({"glueSource": "x" * 1_000_001}, "glueSource"),
        ({"id": 99}, "99"),
        ({"id": ""}, "id"),
    ):
        reply = await admin.ask(f"{OLD}/jobcode/save", {**form, **change})
        assert (reply.json["code"], says in reply.json["msg"]) == (500, True), change
    bean = await admin.job(app)
    assert "BEAN" in (await admin.ask(f"{OLD}/jobcode/save", {**form, "id": bean.id})).json["msg"]


async def test_users_are_made_changed_and_removed(admin):
    app = await admin.app()
    form = {"username": "bob", "password": "secret", "role": 0, "permission": f"{app.id},"}
    assert (await admin.ask(f"{OLD}/user/add", form)).json == {"code": 200, "msg": None, "content": None}
    asked = {"username": "BO", "role": -1, "start": 0, "length": 10}
    page = (await admin.ask(f"{OLD}/user/pageList", asked)).json
    (bob,) = page["data"]
    assert bob == {
        "id": bob["id"],
        "username": "bob",
        "password": None,
        "role": 0,
        "permission": str(app.id),
    }
    user = await admin.ports.users.with_password("bob", "secret")
    assert (user.role, user.app_ids) == (Role.NORMAL, {app.id})
    change = {"id": bob["id"], "username": "bob", "password": "", "role": 1, "permission": ""}
    assert (await admin.ask(f"{OLD}/user/update", change)).json["code"] == 200
    user = await admin.ports.users.with_password("bob", "secret")
    assert (user.role, user.app_ids) == (Role.ADMIN, frozenset())
    await admin.ask(f"{OLD}/user/update", {**change, "password": "another"})
    assert await admin.ports.users.with_password("bob", "another") is not None
    assert (await admin.ask(f"{OLD}/user/remove", {"id": bob["id"]})).json["code"] == 200
    assert (await admin.ask(f"{OLD}/user/pageList", {"role": 1})).json["data"][0]["username"] == "admin"


async def test_users_in_the_words_of_3_3(admin):
    await admin.login("/auth/doLogin")
    form = {"username": "bob", "password": "secret", "role": 0, "permission": ""}
    assert (await admin.ask("/user/insert", form)).json["success"] is True
    page = (await admin.ask("/user/pageList", {"offset": 1, "pagesize": 1})).json
    assert page["data"]["total"] == 2
    (bob,) = page["data"]["data"]
    assert (bob["username"], bob["token"], bob["permission"]) == ("bob", None, None)
    assert (await admin.ask("/user/delete", {"ids[]": bob["id"]})).json["success"] is True


async def test_what_users_may_not_be(admin):
    form = {"username": "bob", "password": "secret", "role": 0, "permission": ""}
    for change, says in (
        ({"username": ""}, "username"),
        ({"username": "x" * 51}, "username"),
        ({"username": "admin"}, "admin"),
        ({"password": "abc"}, "password"),
        ({"role": 2}, "role"),
        ({"permission": "x"}, "permission"),
        ({"permission": "99"}, "99"),
    ):
        reply = await admin.ask(f"{OLD}/user/add", {**form, **change})
        assert (reply.json["code"], says in reply.json["msg"]) == (500, True), change
    myself = {"id": admin.me.id, "role": 0}
    for path in ("update", "remove"):
        assert "logged in" in (await admin.ask(f"{OLD}/user/{path}", myself)).json["msg"]
        assert (await admin.ask(f"{OLD}/user/{path}", {"id": 99})).json["code"] == 500
    assert len(await admin.ports.users.all_users()) == 1


async def test_users_are_the_business_of_admins(admin):
    await admin.user("bob", role=Role.NORMAL)
    await admin.login(username="bob")
    form = {"id": admin.me.id, "username": "eve", "password": "secret", "role": 1}
    for path in ("pageList", "add", "insert", "update", "remove", "delete"):
        reply = await admin.ask(f"{OLD}/user/{path}", form)
        assert (reply.json["code"], "admin" in reply.json["msg"]) == (500, True), path
    assert len(await admin.ports.users.all_users()) == 2


async def test_health(site):
    for prefix, body in (
        (OLD, {"status": "UP"}),
        ("", {"status": "UP", "groups": ["liveness", "readiness"]}),
    ):
        reply = await site.ask(f"{prefix}/actuator/health", method="GET")
        assert (reply.status, reply.json) == (200, body)
        assert reply.text.startswith('{"status":"UP"')
        assert "json" in reply.headers["Content-Type"]
    site.operations.present = Health(problems=("the database is away",))
    assert (await site.ask("/actuator/health", method="GET")).status == 503
    ready = await site.ask("/actuator/health/readiness", method="GET")
    assert (ready.status, ready.json) == (503, {"status": "DOWN"})
    alive = await site.ask("/actuator/health/liveness", method="GET")
    assert (alive.status, alive.json) == (200, {"status": "UP"})


async def test_what_is_nowhere(admin):
    for path in ("/jobinfo/addAndStart", "/xxl-job-admin/jobgroup/saveOrUpdate"):
        assert (await admin.ask(path, {})).status == 404


async def test_pages_that_programs_read(site):
    shop, other = await site.app("shop", "A & B"), await site.app("other", "")
    await site.job(shop)
    site.operations.executors.append(Executor(shop.id, "http://h:1/", "rest", "java", 0, 0))
    await site.user()
    await site.user("bob", role=Role.NORMAL, app_ids=frozenset({shop.id}))
    for prefix in (OLD, ""):
        await site.login()
        page = await site.ask(f"{prefix}/", method="GET")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert f'<a href="{prefix}/jobgroup">' in page.text
        assert re.findall(r'class="info-box-number">(\d+)<', page.text) == ["1", "0", "1"]
        assert (await site.ask(f"{prefix}/dashboard", method="GET")).text == page.text
        listed = (await site.ask(f"{prefix}/jobinfo", method="GET")).text
        assert f'<option value="{shop.id}">A &amp; B</option>' in listed
        assert f'<option value="{other.id}">other</option>' in listed
        await site.login(username="bob")
        page = await site.ask(f"{prefix}/", method="GET")
        assert f'<a href="{prefix}/jobinfo">' in page.text
        assert "jobgroup" not in page.text
        assert str(other.id) not in re.findall(
            r'value="(\d+)"', (await site.ask(f"{prefix}/jobinfo", method="GET")).text
        )


async def test_the_page_of_a_source(admin):
    app = await admin.app()
    job = await admin.job(app, task=Task("", glue_type="GLUE_SHELL", glue_source="\necho '<1>'\n"))
    page = await admin.ask(f"{OLD}/jobcode", query={"jobId": job.id}, method="GET")
    (shown,) = re.findall(r'<textarea id="version_now">\n(.*)</textarea>', page.text, re.DOTALL)
    assert html.unescape(shown) == "\necho '<1>'\n"
    assert (page.headers["Cache-Control"], page.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert "does not exist" in (await admin.ask(f"{OLD}/jobcode?jobId=99", method="GET")).text
    await admin.user("bob", role=Role.NORMAL)
    await admin.login(username="bob")
    assert "does not exist" in (await admin.ask(f"{OLD}/jobcode?jobId={job.id}", method="GET")).text


async def test_pages_for_those_who_are_not_logged_in(site):
    for path, location in (
        ("/xxl-job-admin", "/xxl-job-admin/toLogin"),
        ("/xxl-job-admin/", "/xxl-job-admin/toLogin"),
        ("/xxl-job-admin/jobinfo", "/xxl-job-admin/toLogin"),
        ("/dashboard", "/auth/login"),
    ):
        reply = await site.ask(path, method="GET")
        assert (reply.status, reply.headers["Location"]) == (302, location)
    root = await site.ask("/", method="GET")
    assert (root.status, root.text) == (200, "the front of the gateway")

"""`/jobgroup/*`."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sqlalchemy import insert

from gateway.core.model import AddressMode, Executor
from gateway.core.users import Role
from gateway.store.tables import app_alias

OLD, NEW = "/xxl-job-admin/jobgroup", "/jobgroup"


@pytest.fixture
async def admin(site):
    await site.user()
    await site.login()
    return site


async def test_a_group_is_made_shown_changed_and_removed(admin):
    saved = await admin.ask(f"{OLD}/save", {"appname": "billing", "title": "结算", "addressType": 0})
    assert saved.json == {"code": 200, "msg": None, "content": None}
    (group,) = (await admin.ask(f"{OLD}/pageList")).json["data"]
    assert group == {
        "id": group["id"],
        "appname": "billing",
        "title": "结算",
        "addressType": 0,
        "addressList": None,
        "updateTime": group["updateTime"],
        "registryList": None,
    }
    assert group["updateTime"].endswith(".000+00:00")
    form = {"id": group["id"], "appname": "billing", "title": "t", "addressType": 1}
    form["addressList"] = "10.0.0.1:9999, http://10.0.0.2:9999/ ,,10.0.0.1:9999"
    assert (await admin.ask(f"{OLD}/update", form)).json["code"] == 200
    loaded = (await admin.ask(f"{OLD}/loadById", {"id": group["id"]})).json["content"]
    assert loaded["registryList"] == ["http://10.0.0.1:9999/", "http://10.0.0.2:9999/"]
    assert loaded["addressList"] == "http://10.0.0.1:9999/,http://10.0.0.2:9999/"
    assert loaded["addressType"] == 1
    assert admin.operations.changed_apps == [group["id"]] * 2
    assert (await admin.ask(f"{OLD}/remove", {"id": group["id"]})).json["code"] == 200
    assert (await admin.ask(f"{OLD}/pageList")).json == {
        "recordsTotal": 0,
        "recordsFiltered": 0,
        "data": [],
    }


async def test_the_words_of_other_generations(admin):
    await admin.login("/auth/doLogin")
    made = await admin.ask(f"{NEW}/insert", {"appName": "a-b.c", "name": "x", "addressType": "0"})
    assert made.json == {"code": 200, "msg": "Success", "data": None, "success": True}
    page = (await admin.ask(f"{NEW}/pageList", {"offset": 0, "pagesize": 10})).json
    assert page["data"]["total"] == 1
    (group,) = page["data"]["data"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", group["updateTime"])
    assert (page["code"], page["success"], page["data"]["offset"], page["data"]["pagesize"]) == (
        200,
        True,
        0,
        0,
    )
    gone = await admin.ask(f"{NEW}/delete", {"ids[]": group["id"]})
    assert gone.json["success"] is True


async def test_registered_addresses_are_shown(admin):
    app = await admin.app()
    for port in (2, 1):
        admin.operations.executors.append(Executor(app.id, f"http://h:{port}/", "rest", "java", 0, 0))
    (group,) = (await admin.ask(f"{OLD}/pageList")).json["data"]
    assert group["addressList"] == "http://h:1/,http://h:2/"
    assert group["registryList"] == ["http://h:1/", "http://h:2/"]


async def test_searches_and_pages(admin):
    for name in ("Charlie", "alpha", "bravo"):
        await admin.app(name, f"Title of {name}")

    async def found(**form):
        page = (await admin.ask(f"{OLD}/pageList", form)).json
        assert page["recordsTotal"] == page["recordsFiltered"]
        return page["recordsTotal"], [group["appname"] for group in page["data"]]

    assert await found() == (3, ["Charlie", "alpha", "bravo"])
    assert await found(appname="A") == (3, ["Charlie", "alpha", "bravo"])
    assert await found(appname="charl") == (1, ["Charlie"])
    assert await found(title="of BRAVO") == (1, ["bravo"])
    assert await found(appname="%") == (0, [])
    assert await found(start=1, length=1) == (3, ["alpha"])
    assert await found(start=99, length=1) == (3, [])
    assert await found(start=-1, length=-1) == (3, ["Charlie", "alpha", "bravo"])
    assert await found(start="", length="2147483647") == (3, ["Charlie", "alpha", "bravo"])


BAD = [
    ({"appname": ""}, "appname"),
    ({"appname": "a b"}, "appname"),
    ({"appname": "x" * 65}, "appname"),
    ({"title": " "}, "title"),
    ({"title": "<b>"}, "title"),
    ({"addressType": 2}, "addressType"),
    ({"addressType": "x"}, "addressType"),
    ({"addressType": 1}, "addressList"),
    ({"addressType": 1, "addressList": "ftp://x:1"}, "addressList"),
    ({"addressType": 1, "addressList": "http://h:99999"}, "addressList"),
    ({"appname": "taken"}, "taken"),
]


async def test_bad_input(admin):
    await admin.app("taken")
    for path in (f"{OLD}/save", f"{NEW}/insert"):
        for change, says in BAD:
            form = {"appname": "billing", "title": "t", "addressType": 0, **change}
            reply = await admin.ask(path, form)
            assert (reply.status, reply.json["code"]) == (200, 500), change
            assert reply.json.get("success", False) is False
            assert says in reply.json["msg"]
    assert (await admin.ask(f"{OLD}/pageList", {"start": 0})).json["recordsTotal"] == 1


async def test_what_cannot_be_done(admin):
    app = await admin.app()
    other = {"id": app.id, "appname": "other", "title": "t", "addressType": 0}
    assert "cannot be changed" in (await admin.ask(f"{OLD}/update", other)).json["msg"]
    for path in ("update", "remove", "loadById"):
        reply = await admin.ask(f"{OLD}/{path}", {**other, "id": app.id + 1})
        assert reply.json["code"] == 500, path
    assert "id" in (await admin.ask(f"{OLD}/loadById", {})).json["msg"]


async def test_limits_survive_an_update(admin):
    app = await admin.app(max_running=5)
    form = {"id": app.id, "appname": "billing", "title": "new", "addressType": 0}
    await admin.ask(f"{OLD}/update", form)
    found = await admin.ports.apps.get("billing")
    assert (found.title, found.max_running) == ("new", 5)


async def test_one_without_a_title_goes_by_its_name(admin):
    app = await admin.app("billing", "")
    await admin.app("other", "has one")
    (group,) = (await admin.ask(f"{OLD}/pageList", {"appname": "billing", "title": "billing"})).json["data"]
    assert group["title"] == "billing"
    fields = {name: value for name, value in group.items() if value is not None}
    for title in ("billing", ""):
        reply = await admin.ask(f"{OLD}/update", fields | {"title": title})
        assert reply.json["code"] == 200, reply.text
        assert (await admin.ports.apps.get("billing")).title == ""
    await admin.ask(f"{OLD}/update", fields | {"title": "Bills"})
    assert (await admin.ports.apps.get("billing")).title == "Bills"
    assert (await admin.ask(f"{OLD}/update", fields | {"title": ""})).json["code"] == 500
    assert app.title == ""


async def test_normal_users_see_their_own_and_change_none(site):
    mine, other = await site.app("mine"), await site.app("other")
    await site.user("bob", role=Role.NORMAL, app_ids=frozenset({mine.id}))
    await site.login(username="bob")
    page = (await site.ask(f"{OLD}/pageList")).json
    assert (page["recordsTotal"], [one["appname"] for one in page["data"]]) == (1, ["mine"])
    assert (await site.ask(f"{OLD}/loadById", {"id": mine.id})).json["code"] == 200
    assert (await site.ask(f"{OLD}/loadById", {"id": other.id})).json["code"] == 500
    for path in ("save", "update", "remove", "insert", "delete"):
        form = {"id": mine.id, "appname": "mine", "title": "t", "addressType": 0}
        assert "admin" in (await site.ask(f"{OLD}/{path}", form)).json["msg"], path
    nobody = await site.user("eve", role=Role.NORMAL)
    assert replace(nobody, id=0).app_ids == frozenset()
    await site.login(username="eve")
    assert (await site.ask(f"{OLD}/pageList")).json["recordsTotal"] == 0
    assert (await site.ports.apps.get("mine")).address_mode is AddressMode.AUTO


@pytest.fixture
async def shop(admin):
    """An app that several groups of an old installation have become."""
    app = await admin.app("shop", "Shop")
    async with admin.db.write() as conn:
        await conn.execute(insert(app_alias), [{"id": 71, "app_id": app.id}, {"id": 72, "app_id": app.id}])
    return app


async def test_an_app_goes_by_other_ids_as_well(admin, shop):
    loaded = (await admin.ask(f"{OLD}/loadById", {"id": 71})).json["content"]
    assert (loaded["id"], loaded["appname"]) == (shop.id, "shop")
    form = {"id": 72, "appname": "shop", "title": "t", "addressType": 1, "addressList": "http://h:1/"}
    assert (await admin.ask(f"{OLD}/update", form)).json["code"] == 200
    (group,) = (await admin.ask(f"{OLD}/pageList")).json["data"]
    assert (group["id"], group["title"]) == (shop.id, "t")
    refused = (await admin.ask(f"{OLD}/remove", {"id": 71})).json
    assert refused["code"] == 500
    assert str(shop.id) in refused["msg"]
    assert (await admin.ask(f"{OLD}/loadById", {"id": 73})).json["code"] == 500


async def test_jobs_by_another_id_of_their_app(admin, shop):
    form = {
        "jobGroup": 71,
        "jobDesc": "nightly",
        "author": "alice",
        "glueType": "BEAN",
        "executorHandler": "h",
        "scheduleType": "NONE",
        "executorRouteStrategy": "FIRST",
        "misfireStrategy": "DO_NOTHING",
        "executorBlockStrategy": "SERIAL_EXECUTION",
    }
    job_id = int((await admin.ask("/xxl-job-admin/jobinfo/add", form)).json["content"])
    for path in ("jobinfo/pageList", "joblog/getJobsByGroup"):
        for group in (71, 72, shop.id):
            found = (await admin.ask(f"/xxl-job-admin/{path}", {"jobGroup": group})).json
            (row,) = found.get("data") or found["content"]
            assert (row["id"], row["jobGroup"]) == (job_id, shop.id)
    changed = await admin.ask(
        "/xxl-job-admin/jobinfo/update", {**form, "id": job_id, "jobGroup": 72, "jobDesc": "n"}
    )
    assert changed.json["code"] == 200
    run_id = await admin.run(await admin.ports.jobs.get(job_id))
    (log,) = (await admin.ask("/xxl-job-admin/joblog/pageList", {"jobGroup": 72, "logStatus": -1})).json[
        "data"
    ]
    assert log["id"] == run_id
    assert (await admin.ask("/xxl-job-admin/joblog/clearLog", {"jobGroup": 71, "jobId": 0, "type": 9})).json[
        "code"
    ] == 200
    assert (await admin.ask("/xxl-job-admin/joblog/pageList", {"jobGroup": 72})).json["data"] == []


async def test_permissions_by_another_id(admin, shop):
    form = {"username": "eve1", "password": "pass-word-1", "role": 0, "permission": "71"}
    assert (await admin.ask("/xxl-job-admin/user/add", form)).json["code"] == 200
    other = await admin.app()
    await admin.login(username="eve1", password="pass-word-1")
    for group in (71, 72, shop.id):
        assert (await admin.ask(f"{OLD}/loadById", {"id": group})).json["content"]["id"] == shop.id
    assert (await admin.ask(f"{OLD}/loadById", {"id": other.id})).json["code"] == 500
    assert (await admin.ask("/xxl-job-admin/jobinfo/pageList", {"jobGroup": other.id})).json["code"] == 500

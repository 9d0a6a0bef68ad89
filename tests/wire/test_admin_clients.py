"""What public clients of xxl-job-admin send, as they send it, and what they read of the answers.

Each class is a client: method, encoding, fields left out and the way it looks at an answer are its own. What a strict bean of
a client does not know would break it, so the names in answers are compared as a whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from http.cookies import SimpleCookie
from typing import ClassVar

import pytest
from aiohttp import FormData

from gateway.core.access import AccessToken
from gateway.core.model import LogPage
from gateway.core.states import RunState
from tests.kit.admin_site import AdminSite, Reply

OLD, ROOT = "/xxl-job-admin", ""


def without_nulls(values):
    """Form libraries of Java leave out what is null."""
    return {name: value for name, value in values.items() if value is not None}


def row_of(reply: Reply) -> dict:
    (row,) = reply.json["data"]
    return row


class AutoRegister:
    """trunks2008/xxl-job-auto-register and its many copies, for 2.3: the whole bean is posted, nulls left out."""

    def __init__(self, site: AdminSite) -> None:
        self.site, self.cookie = site, ""

    async def post(self, path, values):
        return await self.site.ask(OLD + path, without_nulls(values), cookie=self.cookie)

    async def login(self):
        reply = await self.site.ask(f"{OLD}/login", {"userName": "admin", "password": "123456"})
        found = [one for one in reply.set_cookies if one.startswith("XXL_JOB_LOGIN_IDENTITY=")]
        self.cookie = "XXL_JOB_LOGIN_IDENTITY=" + SimpleCookie(found[0])["XXL_JOB_LOGIN_IDENTITY"].value

    async def groups(self):
        reply = await self.post("/jobgroup/pageList", {"appname": "shop", "title": "Shop"})
        return reply.json["data"]

    def bean(self, group_id, **fields):
        return {
            "id": 0,
            "jobGroup": group_id,
            "jobDesc": "default jobDesc",
            "addTime": None,
            "updateTime": None,
            "author": "default Author",
            "alarmEmail": "",
            "scheduleType": "CRON",
            "scheduleConf": "0 0 0 * * ? *",
            "misfireStrategy": "DO_NOTHING",
            "executorRouteStrategy": "ROUND",
            "executorHandler": "sync",
            "executorParam": "",
            "executorBlockStrategy": "SERIAL_EXECUTION",
            "executorTimeout": 0,
            "executorFailRetryCount": 0,
            "glueType": "BEAN",
            "glueSource": "",
            "glueRemark": "GLUE代码初始化",
            "glueUpdatetime": None,
            "childJobId": None,
            "triggerStatus": 1,
            "triggerLastTime": 0,
            "triggerNextTime": 0,
            **fields,
        }


async def test_auto_register(site):
    client = AutoRegister(site)
    await client.login()
    assert await client.groups() == []
    saved = await client.post("/jobgroup/save", {"appname": "shop", "title": "Shop", "addressType": 0})
    assert saved.json["code"] == 200
    (group,) = await client.groups()
    assert (group["appname"], group["title"]) == ("shop", "Shop")

    wanted = {"jobGroup": group["id"], "executorHandler": "sync", "triggerStatus": -1}
    assert (await client.post("/jobinfo/pageList", wanted)).json["data"] == []
    added = (await client.post("/jobinfo/add", client.bean(group["id"]))).json
    assert added["code"] == 200
    job_id = int(added["content"])
    row = row_of(await client.post("/jobinfo/pageList", wanted))
    assert (row["id"], row["executorHandler"], row["triggerStatus"]) == (job_id, "sync", 1)
    changed = client.bean(group["id"], id=row["id"], scheduleConf="0 30 0 * * ? *", triggerStatus=0)
    assert (await client.post("/jobinfo/update", changed)).json["code"] == 200
    row = row_of(await client.post("/jobinfo/pageList", wanted))
    assert (row["scheduleConf"], row["triggerStatus"]) == ("0 30 0 * * ? *", 1)


class Austin:
    """ZhongFuCheng3y/austin: logs in before each call, with a random code, and joins all cookies it gets."""

    def __init__(self, site: AdminSite) -> None:
        self.site = site

    async def cookie(self):
        form = {"userName": "admin", "password": "123456", "randomCode": "8a7e0c2f"}
        reply = await self.site.ask(f"{OLD}/login", form)
        assert reply.status == 200
        return "".join(one.partition(";")[0] for one in reply.set_cookies)

    async def post(self, path, values):
        reply = await self.site.ask(OLD + path, without_nulls(values), cookie=await self.cookie())
        assert reply.status == 200
        return reply


async def test_austin(site):
    client = Austin(site)
    group = {"id": 0, "appname": "austin", "title": "austin", "addressType": 0, "addressList": None}
    assert (await client.post("/jobgroup/save", group)).json["code"] == 200
    page = await client.post("/jobgroup/pageList", {"appname": "austin", "title": "austin"})
    group_id = page.json["data"][0]["id"]
    bean = AutoRegister(site).bean(group_id, triggerStatus=0)
    del bean["id"]
    returned = (await client.post("/jobinfo/add", bean)).json
    assert set(returned) == {"code", "msg", "content"}
    task_id = int(str(returned["content"]))
    for path in ("start", "stop", "remove"):
        assert (await client.post(f"/jobinfo/{path}", {"id": task_id})).json["code"] == 200
    update = await client.post("/jobinfo/update", {**bean, "id": task_id})
    assert update.json["code"] == 500  # it is gone


class Extension:
    """easy-4-java/xxljob-extension (and hiwepy's starter): three versions behind one interface."""

    VERSIONS: ClassVar = {
        "V2_X": (
            "/login",
            "/logout",
            "XXL_JOB_LOGIN_IDENTITY",
            "/jobgroup/save",
            "/jobinfo/add",
            "remove",
            "id",
        ),
        "V3_2_X": (
            "/auth/doLogin",
            "/auth/logout",
            "xxl_job_login_token",
            "/jobgroup/save",
            "/jobinfo/add",
            "remove",
            "id",
        ),
        "V3_X": (
            "/auth/doLogin",
            "/auth/logout",
            "xxl_job_login_token",
            "/jobgroup/insert",
            "/jobinfo/insert",
            "delete",
            "ids[]",
        ),
    }

    def __init__(self, site: AdminSite, version: str) -> None:
        self.site, self.version, self.jar = site, version, {}
        self.login_path, self.logout_path, self.cookie_name = self.VERSIONS[version][:3]
        self.save_path, self.add_path, self.remove_verb, self.id_name = self.VERSIONS[version][3:]

    def absorb(self, reply):
        for one in reply.set_cookies:
            name, _, value = one.partition(";")[0].partition("=")
            self.jar[name.strip()] = value.strip()

    async def post(self, path, values):
        cookie = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        headers = {"XXL-JOB-ACCESS-TOKEN": "default_token"}
        reply = await self.site.ask(OLD + path, without_nulls(values), cookie=cookie, headers=headers)
        assert reply.status == 200
        assert "json" in reply.headers["Content-Type"]
        self.absorb(reply)
        return reply.json

    async def login(self):
        form = {"userName": "admin", "password": "123456", "ifRemember": "on"}
        self.absorb(await self.site.ask(OLD + self.login_path, form, cookie=""))
        return self.cookie_name in self.jar

    def page_of(self, answer):
        if self.version != "V3_X":
            assert set(answer) == {"recordsTotal", "recordsFiltered", "data"}
            return answer["recordsTotal"], answer["data"]
        assert answer["code"] == 200
        return answer["data"]["total"], answer["data"]["data"]

    def paging(self, start, length):
        names = ("offset", "pagesize") if self.version == "V3_X" else ("start", "length")
        return dict(zip(names, (start, length), strict=True))

    def content(self, answer):
        assert answer["code"] == 200, answer
        return answer["data"] if self.version == "V3_X" else answer["content"]


@pytest.mark.parametrize("version", list(Extension.VERSIONS))
async def test_xxljob_extension(site, version):
    client = Extension(site, version)
    assert await client.login()
    group = {"appname": "shop", "title": "Shop", "addressType": 0}
    client.content(await client.post(client.save_path, group))
    asked = {**client.paging(0, 5), "appname": "", "title": ""}
    total, (shop,) = client.page_of(await client.post("/jobgroup/pageList", asked))
    assert total == 1
    loaded = client.content(await client.post("/jobgroup/loadById", {"id": shop["id"]}))
    assert loaded["appname"] == "shop"
    client.content(await client.post("/jobgroup/update", {**shop, "title": "Store", "registryList": None}))

    bean = AutoRegister(site).bean(shop["id"], triggerStatus=0)
    job_id = int(client.content(await client.post(client.add_path, bean)))
    asked = {
        **client.paging(0, 2147483647),
        "jobGroup": shop["id"],
        "triggerStatus": -1,
        "jobDesc": "",
        "executorHandler": "",
        "author": "",
    }
    total, (job,) = client.page_of(await client.post("/jobinfo/pageList", asked))
    assert (total, job["id"], job["jobDesc"]) == (1, job_id, "default jobDesc")
    client.content(await client.post("/jobinfo/update", {**bean, "id": job_id, "jobDesc": "other"}))
    for verb in ("start", "stop"):
        client.content(await client.post(f"/jobinfo/{verb}", {client.id_name: job_id}))
    form = {"id": job_id, "executorParam": "p", "addressList": ""}
    client.content(await client.post("/jobinfo/trigger", form))
    assert site.operations.triggered[-1].wanted.params == "p"
    client.content(await client.post(f"/jobinfo/{client.remove_verb}", {client.id_name: job_id}))
    client.content(await client.post(f"/jobgroup/{client.remove_verb}", {client.id_name: shop["id"]}))
    assert (await client.post(client.logout_path, {}))["code"] == 200


async def test_xxljob_extension_sees_that_its_session_is_over(site):
    old, between, new = (Extension(site, version) for version in Extension.VERSIONS)
    asked = await site.ask(f"{OLD}/jobgroup/pageList", old.paging(0, 5))
    assert (asked.status, asked.text) == (302, "")
    between.jar["xxl_job_login_token"] = "one_that_is_over_by_now"
    assert (await between.post("/jobgroup/pageList", between.paging(0, 5)))["code"] == 203
    answer = await new.post("/jobgroup/pageList", new.paging(0, 5))
    assert (answer["code"], "data" in answer) == (500, False)


async def test_colin_zou(site):
    """ColinZou/xxl-job-admin-client: long pages, and what was saved is read again."""
    await site.login(f"{OLD}/login", password="123456")
    group = {"appname": "shop", "title": "Shop", "addressType": "1", "addressList": "http://10.0.0.1:9999/"}
    assert (await site.ask(f"{OLD}/jobgroup/save", group)).json["code"] == 200
    page = await site.ask(
        f"{OLD}/jobgroup/pageList", {"appname": "shop", "title": "Shop", "start": 0, "length": 1000}
    )
    found = page.json
    assert found["recordsTotal"] == 1
    shop = found["data"][0]
    assert (shop["addressType"], shop["registryList"]) == (1, ["http://10.0.0.1:9999/"])
    loaded = await site.ask(f"{OLD}/jobgroup/loadById", {"id": shop["id"]})
    assert loaded.json["content"]["addressList"] == "http://10.0.0.1:9999/"
    bean = AutoRegister(site).bean(shop["id"], childJobId="", executorParam="{}")
    added = (await site.ask(f"{OLD}/jobinfo/add", without_nulls(bean))).json
    asked = {
        "jobGroup": shop["id"],
        "triggerStatus": -1,
        "jobDesc": "default jobDesc",
        "executorHandler": "",
        "author": "",
        "start": 0,
        "length": 1000,
    }
    (job,) = (await site.ask(f"{OLD}/jobinfo/pageList", asked)).json["data"]
    assert job["id"] == int(added["content"])
    trigger = {"id": job["id"], "executorParam": "", "addressList": ""}
    assert (await site.ask(f"{OLD}/jobinfo/trigger", trigger)).json["code"] == 200


async def test_aitxiaogang_searches_by_author(site):
    """aitxiaogang/xxl-job-boot-starter (2.3.0): lists and next times by GET, the cookie of its start in a header."""
    await site.login(f"{OLD}/login", password="123456")
    shop = await site.app("shop")
    for author in ("xxl-registry", "somebody"):
        bean = AutoRegister(site).bean(shop.id, author=author)
        assert (await site.ask(f"{OLD}/jobinfo/add", without_nulls(bean))).json["code"] == 200
    asked = {"jobGroup": shop.id, "triggerStatus": -1, "author": "xxl-registry", "start": 0, "length": 10}
    page = (await site.ask(f"{OLD}/jobinfo/pageList", query=asked, method="GET")).json
    assert (page["recordsFiltered"], page["data"][0]["author"]) == (1, "xxl-registry")
    conf = {"scheduleType": "CRON", "scheduleConf": "0 0 3 * * ?"}
    times = await site.ask(f"{OLD}/jobinfo/nextTriggerTime", query=conf, method="GET")
    assert (times.status, len(times.json["content"])) == (200, 5)


async def test_photowey_and_its_kind(site):
    """photowey/xxljob-autoregister (3.1.1), yylstudy, rosestack: the cookie again, up to three times."""
    for _ in range(3):
        cookie = await site.login(f"{OLD}/login", password="123456")
    assert cookie.startswith("XXL_JOB_LOGIN_IDENTITY=")
    for values in ({"appname": "shop", "title": "shop"}, {"appname": "shop", "title": "", "start": 0}):
        assert (await site.ask(f"{OLD}/jobgroup/pageList", values)).json["data"] == []
    saved = await site.ask(f"{OLD}/jobgroup/save", {"appname": "shop", "title": "shop", "addressType": 0})
    assert set(saved.json) == {"code", "msg", "content"}


async def test_xxl_admin_sh(site):
    """20perline/xxl-admin-sh: a cookie jar on disk, nulls as empty texts, the status 200 as the word."""
    cookie = await site.login(f"{OLD}/login", password="123456")
    shop = await site.app("shop")
    bean = AutoRegister(site).bean(shop.id)
    await site.ask(f"{OLD}/jobinfo/add", without_nulls(bean))
    groups = await site.ask(f"{OLD}/jobgroup/pageList", {"start": 0, "length": 30}, cookie=cookie)
    assert groups.json["data"][0]["appname"] == "shop"
    asked = {
        "executorHandler": "sync",
        "jobDesc": "",
        "jobGroup": -1,
        "triggerStatus": -1,
        "author": "",
        "start": 0,
        "length": 30,
    }
    (job,) = (await site.ask(f"{OLD}/jobinfo/pageList", asked, cookie=cookie)).json["data"]
    for path, form in (
        ("trigger", {"id": job["id"], "executorParam": "", "addressList": ""}),
        ("stop", {"id": job["id"]}),
        ("start", {"id": job["id"]}),
    ):
        reply = await site.ask(f"{OLD}/jobinfo/{path}", form, cookie=cookie)
        assert (reply.status, reply.json["code"]) == (200, 200)


@pytest.mark.parametrize("where", ["query", "form"])
async def test_python_scripts_with_a_cookie_written_into_them(site, where):
    """Test fixtures and views: the old cookie of admin/123456, parameters anywhere, addressList null."""
    shop = await site.app("shop")
    await site.login(f"{OLD}/login", password="123456")
    bean = AutoRegister(site).bean(shop.id)
    job_id = (await site.ask(f"{OLD}/jobinfo/add", without_nulls(bean))).json["content"]
    digest = hashlib.md5(b"123456").hexdigest()
    told = f'{{"id":1,"username":"admin","password":"{digest}","role":1,"permission":null}}'
    cookie = f"XXL_JOB_LOGIN_IDENTITY={told.encode().hex()}"
    values = {"id": job_id, "executorParam": "day=1", "addressList": ""}
    how = {"query": values} if where == "query" else {"form": values}
    headers = {
        "X-Requested-With": "XMLHttpRequest",
        "User-Agent": "Mozilla/5.0",
        "Referer": f"{site.url}{OLD}/jobinfo?jobGroup=2",
        "Origin": site.url,
    }
    reply = await site.ask(f"{OLD}/jobinfo/trigger", **how, cookie=cookie, headers=headers)
    assert reply.json == {"code": 200, "msg": None, "content": None}
    assert site.operations.triggered[-1].wanted.params == "day=1"


async def test_feign_clients_put_everything_into_the_address(site):
    """pig-like projects and admin front-ends: POST without a body, and GET."""
    cookie = await site.login(f"{OLD}/login", password="123456")
    shop = await site.app("shop")
    bean = without_nulls(AutoRegister(site).bean(shop.id))
    added = await site.ask(f"{OLD}/jobinfo/add", query=bean, cookie=cookie)
    job_id = int(added.json["content"])
    for path in ("start", "stop", "trigger"):
        reply = await site.ask(f"{OLD}/jobinfo/{path}", query={"id": job_id})
        assert reply.json["code"] == 200
    updated = await site.ask(f"{OLD}/jobinfo/update", query=bean | {"id": job_id})
    assert updated.json["code"] == 200
    asked = {"jobGroup": 0, "triggerStatus": -1, "start": 0, "length": 10}
    page = await site.ask(f"{OLD}/jobinfo/pageList", query=asked, method="GET")
    assert page.json["recordsTotal"] == 1
    removed = await site.ask(f"{OLD}/jobinfo/remove", query={"id": job_id}, method="GET")
    assert removed.json["code"] == 200


async def test_go_clients_decode_dates_as_text(site):
    await site.login(f"{OLD}/login", password="123456")
    await site.app("shop")
    (group,) = (await site.ask(f"{OLD}/jobgroup/pageList", {"appname": "shop"})).json["data"]
    assert isinstance(group["updateTime"], str)
    assert isinstance(group["id"], int)


class Dbx:
    """Ezreal-byte/dbx-plugin-xxl-job-console (Go), for 2.3 and 3.4: what is not to its word counts as unknown."""

    def __init__(self, site: AdminSite, version: str) -> None:
        self.site, self.version, self.cookie = site, version, ""
        self.base = OLD if version == "2.3" else ROOT

    async def login(self):
        path = "/login" if self.version == "2.3" else "/auth/doLogin"
        reply = await self.site.ask(self.base + path, {"userName": "admin", "password": "123456"})
        assert reply.json["code"] == 200
        self.cookie = reply.set_cookies[0].partition(";")[0]
        assert self.version == "3.4" or self.cookie.startswith("XXL_JOB_LOGIN_IDENTITY=")
        page = await self.page_at("/")
        self.is_admin = f'href="{self.base}/jobgroup"' in page
        assert self.is_admin or f'href="{self.base}/jobinfo"' in page

    async def page_at(self, path):
        """HTML: who it is and for which executors stands nowhere else."""
        reply = await self.site.ask(self.base + path, method="GET", cookie=self.cookie)
        assert reply.status == 200
        assert 'id="loginForm"' not in reply.text
        return reply.text

    async def request(self, path, values):
        headers = {"Accept": "application/json, text/html;q=0.9"}
        reply = await self.site.ask(self.base + path, values, cookie=self.cookie, headers=headers)
        assert reply.status == 200
        result = reply.json
        if "code" in result:
            assert result["code"] == 200, result
            assert self.version == "3.4" or not path.endswith("/pageList")
            if self.version == "2.3":
                return result["content"]
            if path.endswith("/pageList"):
                assert isinstance(result["data"]["total"], int)
                return result["data"]["data"]
            return result["data"]
        assert isinstance(result["recordsTotal"], int)
        assert isinstance(result["recordsFiltered"], int)
        return result["data"]

    def page(self, **values):
        names = ("start", "length") if self.version == "2.3" else ("offset", "pagesize")
        return {**values, names[0]: 0, names[1]: 20}

    def paths(self, room, job_id):
        """Where it makes and removes something, and how it names what is removed."""
        if self.version == "2.3":
            new = "save" if room == "jobgroup" else "add"
            return f"/{room}/{new}", f"/{room}/remove", {"id": job_id}
        return f"/{room}/insert", f"/{room}/delete", {"ids[]": job_id}


@pytest.mark.parametrize("version", ["2.3", "3.4"])
async def test_dbx_console(site, version):
    client = Dbx(site, version)
    await client.login()
    make, *_ = client.paths("jobgroup", 0)
    form = {"appname": "shop", "title": "Shop", "addressType": "0", "addressList": ""}
    await client.request(make, form)
    asked = client.page(appname="", title="")
    if version == "3.4":
        asked = {"offset": 0, "pagesize": 20, "appname": "", "title": ""}
    (shop,) = await client.request("/jobgroup/pageList", asked)
    make, remove, _ = client.paths("jobinfo", 0)
    bean = without_nulls(AutoRegister(site).bean(shop["id"], triggerStatus=0))
    del bean["id"]
    job_id = int(await client.request(make, bean))
    jobs = client.page(jobGroup=shop["id"], triggerStatus=-1, jobDesc="", executorHandler="", author="")
    (job,) = await client.request("/jobinfo/pageList", jobs)
    assert job["id"] == job_id
    named = client.paths("jobinfo", job_id)[2]
    for verb in ("start", "stop"):
        assert await client.request(f"/jobinfo/{verb}", named) is None
    await client.request("/jobinfo/update", bean | {"id": job_id, "jobDesc": "other"})
    await client.request("/jobinfo/trigger", {"id": job_id, "executorParam": "", "addressList": ""})
    await client.request(remove, named)
    _, remove, named = client.paths("jobgroup", shop["id"])
    await client.request(remove, named)


async def test_dbx_console_sees_that_its_session_is_over(site):
    old, new = Dbx(site, "2.3"), Dbx(site, "3.4")
    reply = await site.ask(f"{OLD}/jobinfo/pageList", old.page())
    assert 300 <= reply.status < 400
    reply = await site.ask("/jobinfo/pageList", new.page())
    assert (reply.status, reply.json["code"]) == (200, 500)


class Okhttp:
    """AuraBoot, gaoyzelov, rule-engine (3.3 and later): the first cookie, cut at '='; pages without any paging."""

    def __init__(self, site: AdminSite, base: str = OLD) -> None:
        self.site, self.base, self.cookie = site, base, ""

    async def login(self):
        reply = await self.site.ask(
            f"{self.base}/auth/doLogin", {"userName": "admin", "password": "123456"}, cookie=""
        )
        for one in reply.set_cookies[0].split(";"):
            name, *rest = one.split("=")
            if name.lower() == "xxl_job_login_token":
                self.cookie = f"{name}={rest[0].strip()}"
                return

    async def post(self, path, values):
        reply = await self.site.ask(self.base + path, values, cookie=self.cookie)
        answer = reply.json
        assert set(answer) <= {"data", "code", "msg", "success"}
        assert (answer["code"], answer["success"]) == (200, True), answer
        return answer["data"]


@pytest.mark.parametrize("base", [OLD, ROOT])
async def test_okhttp_registrars(site, base):
    client = Okhttp(site, base)
    await client.login()
    page = await client.post("/jobgroup/pageList", {"appname": "shop", "title": ""})
    assert (page["total"], page["data"]) == (0, [])
    await client.post("/jobgroup/insert", {"appname": "shop", "title": "Shop", "addressType": 0})
    (shop,) = (await client.post("/jobgroup/pageList", {"appname": "shop"}))["data"]
    bean = without_nulls(AutoRegister(site).bean(shop["id"], triggerStatus=0))
    job_id = int(await client.post("/jobinfo/insert", bean))
    asked = {
        "jobGroup": shop["id"],
        "triggerStatus": -1,
        "jobDesc": "",
        "executorHandler": "sync",
        "author": "",
    }
    (job,) = (await client.post("/jobinfo/pageList", asked))["data"]
    assert job["id"] == job_id
    assert await client.post("/jobinfo/update", bean | {"id": job_id}) is None
    await client.post("/jobinfo/start", {"ids[]": job_id})
    await client.post("/jobinfo/stop", {"ids[]": job_id})
    await client.post("/jobinfo/trigger", {"id": job_id, "executorParam": "{}", "addressList": ""})
    await client.post("/jobinfo/delete", {"ids[]": job_id})
    again = (await client.post("/jobinfo/pageList", asked))["data"]
    assert again == []


@pytest.mark.parametrize("path", ["/auth/doLogin", "/login"])
async def test_php_takes_either_cookie(site, path):
    """Laravel and Hyperf clients: the newer login if it answers, then the addresses of 2.x and 3.2 all the same."""
    reply = await site.ask(OLD + path, {"userName": "admin", "password": "123456"})
    pairs = [one.partition(";")[0].strip() for one in reply.set_cookies]
    names = ("xxl_job_login_token", "XXL_JOB_LOGIN_IDENTITY")
    cookie = "; ".join(pair for pair in pairs if pair.partition("=")[0] in names)
    form = {"appname": "shop", "title": "Shop", "addressType": 0}
    assert (await site.ask(f"{OLD}/jobgroup/save", form, cookie=cookie)).json["code"] == 200
    page = (await site.ask(f"{OLD}/jobgroup/pageList", {"start": 0, "length": 10}, cookie=cookie)).json
    assert page["data"][0]["appname"] == "shop"
    bean = without_nulls(AutoRegister(site).bean(page["data"][0]["id"], triggerStatus=None))
    del bean["scheduleType"], bean["scheduleConf"]
    added = await site.ask(f"{OLD}/jobinfo/add", bean | {"jobCron": "0 0 3 * * ?"}, cookie=cookie)
    assert added.json["content"].isdigit()
    started = await site.ask(f"{OLD}/jobinfo/start", {"id": added.json["content"]}, cookie=cookie)
    assert started.json["code"] == 200


async def test_help_lixin_reads_kills_and_clears_logs(site):
    """help-lixin/xxl-job-plugin: the form of 2.3 with its four parameters, and the jobs of a group."""
    await site.login(f"{OLD}/login", password="123456")
    shop = await site.app("shop")
    job = await site.job(shop, "sync")
    ended = await site.run(job, sent_ms=1, trigger_ms=site.clock.ms, address="http://h:1/")
    running = await site.run(
        job, RunState.RUNNING, sent_ms=1, trigger_ms=site.clock.ms, address="http://h:1/"
    )
    site.operations.logs[ended] = LogPage(1, 1, "done", is_end=True)
    jobs = (await site.ask(f"{OLD}/joblog/getJobsByGroup", {"jobGroup": shop.id})).json
    assert [one["id"] for one in jobs["content"]] == [job.id]
    asked = {"start": 0, "length": 10, "jobGroup": shop.id, "jobId": job.id, "logStatus": -1}
    span = "2026-11-18 00:00:00 - 2026-11-18 23:59:59"
    page = (await site.ask(f"{OLD}/joblog/pageList", asked | {"filterTime": span})).json
    assert [(row["id"], row["triggerCode"], row["handleCode"]) for row in page["data"]] == [
        (running, 200, 0),
        (ended, 200, 200),
    ]
    form = {"executorAddress": "http://h:1/", "triggerTime": site.clock.ms, "logId": ended, "fromLineNum": 1}
    text = (await site.ask(f"{OLD}/joblog/logDetailCat", form)).json["content"]
    assert text == {"fromLineNum": 1, "toLineNum": 1, "logContent": "done", "end": True}
    assert (await site.ask(f"{OLD}/joblog/logKill", {"id": running})).json["code"] == 200
    clear = {"jobGroup": shop.id, "jobId": job.id, "type": 9}
    assert (await site.ask(f"{OLD}/joblog/clearLog", clear)).json["code"] == 200
    assert (await site.ask(f"{OLD}/joblog/pageList", asked)).json["recordsTotal"] == 1


@pytest.mark.parametrize("version", ["2.3", "3.4"])
async def test_dbx_console_shows_logs_and_users(site, version):
    client = Dbx(site, version)
    await client.login()
    job = await site.job(await site.app("shop"))
    run_id = await site.run(job, sent_ms=1, trigger_ms=site.clock.ms, address="http://h:1/")
    site.operations.logs[run_id] = LogPage(1, 1, "done", is_end=True)
    asked = client.page(jobGroup=job.app_id, jobId=job.id, logStatus=-1, filterTime="")
    (row,) = await client.request("/joblog/pageList", asked)
    assert (row["id"], row["handleCode"]) == (run_id, 200)
    form = {"logId": run_id, "fromLineNum": 1}
    if version == "2.3":
        form |= {"executorAddress": row["executorAddress"], "triggerTime": site.clock.ms}
    assert (await client.request("/joblog/logDetailCat", form))["end"] is True
    user = {"username": "eve", "password": "secret", "role": 0, "permission": str(job.app_id)}
    await client.request("/user/add" if version == "2.3" else "/user/insert", user)
    users = await client.request("/user/pageList", client.page(username="", role=-1))
    assert [one["username"] for one in users] == ["admin", "eve"]
    assert client.is_admin
    overview = await client.page_at("/" if version == "2.3" else "/dashboard")
    assert re.findall(r'<span class="info-box-number">(\d+)</span>', overview) == ["1", "0", "0"]
    assert f'<option value="{job.app_id}">Billing</option>' in await client.page_at("/jobinfo")
    fires = await client.request(
        "/jobinfo/nextTriggerTime", {"scheduleType": "CRON", "scheduleConf": "0 0 3 * * ?"}
    )
    assert len(fires) == 5
    chart = {"startDate": "2026-11-12 00:00:00", "endDate": "2026-11-18 23:59:59"}
    assert len((await client.request("/chartInfo", chart))["triggerDayList"]) == 7


async def test_end_to_end_tests_wait_for_a_result(site):
    """Add, trigger, then ask for the log until the codes are there."""
    await site.login(f"{OLD}/login", password="123456")
    shop = await site.app("shop")
    bean = without_nulls(
        AutoRegister(site).bean(shop.id, scheduleType="NONE", scheduleConf="", triggerStatus=0)
    )
    job_id = int((await site.ask(f"{OLD}/jobinfo/add", bean)).json["content"])
    trigger = {"id": job_id, "executorParam": "x", "addressList": ""}
    assert (await site.ask(f"{OLD}/jobinfo/trigger", trigger)).json["code"] == 200
    asked = {
        "jobGroup": shop.id,
        "jobId": job_id,
        "logStatus": -1,
        "filterTime": "",
        "start": 0,
        "length": 10,
    }
    assert (await site.ask(f"{OLD}/joblog/pageList", asked)).json["data"] == []
    run_id = await site.run(await site.ports.jobs.get(job_id), sent_ms=1, message="ok")
    (row,) = (await site.ask(f"{OLD}/joblog/pageList", asked)).json["data"]
    assert (row["id"], row["triggerCode"], row["handleCode"], row["handleMsg"]) == (run_id, 200, 200, "ok")


async def test_auto_register_saves_a_source(site):
    client = AutoRegister(site)
    await client.login()
    shop = await site.app("shop", "Shop")
    bean = client.bean(shop.id, glueType="GLUE_GROOVY", executorHandler="", glueSource="")
    job_id = int((await client.post("/jobinfo/add", bean)).json["content"])
    code = {"id": job_id, "glueSource": "class A {}", "glueRemark": "GLUE代码初始化"}
    assert (await client.post("/jobcode/save", code)).json["code"] == 200
    job = await site.ports.jobs.get(job_id)
    assert (job.task.glue_type, job.task.glue_source) == ("GLUE_GROOVY", "class A {}")


async def test_probes_of_kubernetes(site):
    for path in (f"{OLD}/actuator/health", "/actuator/health", "/actuator/health/liveness"):
        reply = await site.ask(path, method="GET", cookie="")
        assert (reply.status, reply.json["status"]) == (200, "UP")


async def test_clients_of_the_job_api_of_3_5(site):
    """JSON, the two headers, and the id as text in `data`."""
    shop = await site.app("shop")
    bean = AutoRegister(site).bean(shop.id, name="sync")
    wanted = {name: value for name, value in bean.items() if name not in {"id", "jobDesc", "childJobId"}}
    site.ports.access.registry.set_app(shop)
    site.ports.access.set_all([AccessToken(1, 1, shop.id, "of the shop")])
    headers = {
        "XXL-JOB-ACCESS-TOKEN": "of the shop",
        "XXL-JOB-APPNAME": "shop",
        "Content-Type": "application/json",
    }
    added = await site.ask("/api/addJob", raw=json.dumps(wanted).encode(), headers=headers)
    assert set(added.json) == {"code", "msg", "data", "success"}
    job_id = int(added.json["data"])
    for path, body in (
        ("startJob", {"id": job_id}),
        ("triggerJob", {"id": job_id, "executorParam": "", "addressList": ""}),
        ("stopJob", {"id": job_id}),
        ("removeJob", {"id": job_id}),
    ):
        reply = await site.ask(f"/api/{path}", raw=json.dumps(body).encode(), headers=headers)
        assert (reply.status, reply.json["code"]) == (200, 200)


async def test_scripts_of_1_9_pause_and_resume(site):
    await site.login(f"{OLD}/login", password="123456")
    job = await site.job(await site.app("shop"), schedule={"kind": "fixed_rate", "expression": 60})
    for path, enabled in (("resume", True), ("pause", False)):
        assert (await site.ask(f"{OLD}/jobinfo/{path}", {"id": job.id})).json["code"] == 200
        assert (await site.ports.jobs.get(job.id)).enabled is enabled


async def test_front_ends_send_forms_of_several_parts(site):
    """axios with a FormData."""
    await site.login(f"{OLD}/login", password="123456")
    job = await site.job(await site.app("shop"))
    form = FormData(default_to_multipart=True)
    for name, value in (("id", str(job.id)), ("executorParam", "日=1"), ("addressList", "")):
        form.add_field(name, value)
    async with site.session.post(
        f"{site.url}{OLD}/jobinfo/trigger", data=form, headers={"Cookie": site.cookie}
    ) as answer:
        assert (await answer.json())["code"] == 200
    assert site.operations.triggered[-1].wanted.params == "日=1"


async def test_zongkx_sends_empty_texts_for_what_is_null(site):
    """zongkx/xxljob-api-client: every field is there, also the numbers."""
    await site.login(f"{OLD}/login", password="123456")
    shop = await site.app("shop")
    bean = AutoRegister(site).bean(
        shop.id, executorTimeout=None, executorFailRetryCount=None, triggerStatus=None
    )
    sent = {name: "" if value is None else value for name, value in bean.items() if name != "id"}
    added = (await site.ask(f"{OLD}/jobinfo/add", sent)).json
    assert added["code"] == 200, added
    asked = dict.fromkeys(
        ("start", "length", "jobGroup", "triggerStatus", "jobDesc", "executorHandler", "author"), ""
    )
    assert (await site.ask(f"{OLD}/jobinfo/pageList", asked)).json["recordsTotal"] == 1
    assert (await site.ask(f"{OLD}/jobgroup/pageList", {"appname": "", "title": "", "start": ""})).json[
        "data"
    ]


async def test_auraboot_finds_a_job_by_a_part_of_its_description(site):
    """Descriptions are as long as the admin lets them be, and jobs are known by what stands in them."""
    client = Okhttp(site)
    await client.login()
    shop = await site.app("shop")
    name = ("AuraBoot:task-1:" + "很" * 300)[:255]
    bean = without_nulls(AutoRegister(site).bean(shop.id, jobDesc=name, executorTimeout=2147483647))
    job_id = int(await client.post("/jobinfo/insert", bean))
    asked = {
        "offset": 0,
        "pagesize": 10,
        "jobGroup": shop.id,
        "triggerStatus": -1,
        "jobDesc": "task-1",
        "executorHandler": "sync",
        "author": "",
    }
    (job,) = (await client.post("/jobinfo/pageList", asked))["data"]
    assert (job["id"], job["jobDesc"]) == (job_id, name)

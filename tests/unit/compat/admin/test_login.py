"""Login, sessions and cookies of each generation, and who is kept out."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
from ipaddress import ip_network

import pytest
from structlog.testing import capture_logs

from gateway.core.users import LONGEST_SESSION_S, SESSION_S, Role
from tests.kit.admin_site import admin_site

PASSWORD = "let-me-in-7"
G2, G3 = "/xxl-job-admin/login", "/auth/doLogin"
# An address of each generation that needs a session and changes nothing.
ASK_G2, ASK_G3 = "/xxl-job-admin/user/updatePwd", "/auth/updatePwd"


def old_cookie(username="admin", password=PASSWORD, **more):
    told = {"id": 1, "username": username, "password": hashlib.md5(password.encode()).hexdigest()}
    text = json.dumps({**told, "role": 1, "permission": None, **more}, separators=(",", ":"))
    return f"XXL_JOB_LOGIN_IDENTITY={text.encode().hex()}"


async def logged_in(site, cookie=None, path=ASK_G3, **more):
    """Whether a call gets as far as the handler, which then misses the password."""
    reply = await site.ask(path, {}, cookie=cookie, **more)
    return reply.status == 200 and "password" in reply.json.get("msg", "")


@pytest.mark.parametrize("prefix", ["", "/xxl-job-admin"])
async def test_login_of_g2(site, prefix):
    await site.user()
    reply = await site.ask(f"{prefix}/login", {"userName": "admin", "password": PASSWORD})
    assert reply.json == {"code": 200, "msg": None, "content": None}
    (cookie,) = reply.set_cookies
    assert re.fullmatch(
        r"XXL_JOB_LOGIN_IDENTITY=[A-Za-z0-9_-]{43}; HttpOnly; Path=/; SameSite=Strict", cookie
    )
    assert await logged_in(site, cookie.partition(";")[0])


@pytest.mark.parametrize("prefix", ["", "/xxl-job-admin"])
async def test_login_of_g3(site, prefix):
    await site.user()
    reply = await site.ask(f"{prefix}/auth/doLogin", {"userName": "admin", "password": PASSWORD})
    assert reply.json == {"code": 200, "msg": "Success", "data": None, "success": True}
    (cookie,) = reply.set_cookies
    assert cookie.startswith("xxl_job_login_token=")
    assert await logged_in(site, cookie.partition(";")[0])


async def test_parameters_in_the_address_and_a_cookie_that_stays(site):
    await site.user()
    reply = await site.ask(
        G2, query={"userName": "admin", "password": PASSWORD, "ifRemember": "on", "randomCode": "x"}
    )
    assert f"Max-Age={LONGEST_SESSION_S}" in reply.set_cookies[0]


async def test_wrong_passwords_and_names_are_told_alike(site):
    await site.user()
    for name, password in (("admin", "wrong"), ("nobody", PASSWORD), ("ADMIN", PASSWORD)):
        old = await site.ask(G2, {"userName": name, "password": password})
        assert (old.status, old.json["code"], old.set_cookies) == (200, 500, ())
        new = await site.ask(G3, {"userName": name, "password": password})
        assert new.json == {
            "code": 500,
            "msg": "the user name or the password is wrong",
            "data": None,
            "success": False,
        }
    for form in ({}, {"userName": "admin"}, {"userName": "", "password": "x"}):
        assert (await site.ask(G2, form)).json["code"] == 500


async def test_a_get_is_led_to_the_page(site):
    reply = await site.ask(G2, method="GET")
    assert (reply.status, reply.headers["Location"]) == (302, "/xxl-job-admin/toLogin")
    page = await site.ask("/xxl-job-admin/toLogin", method="GET")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert (await site.ask(G3, method="GET")).headers["Location"] == "/auth/login"
    assert (await site.ask("/auth/login", method="GET")).status == 200


async def test_several_sessions_of_an_account_are_valid(site):
    await site.user()
    first, second = await site.login(), await site.login(G3)
    assert await logged_in(site, first)
    assert await logged_in(site, second)
    assert not await logged_in(site, first[:-1] + ("A" if first[-1] != "A" else "B"))


@pytest.mark.parametrize(("path", "name"), [(G2, "/logout"), (G3, "/auth/logout")])
async def test_logout_ends_the_session_and_no_other(site, path, name):
    await site.user()
    stays, ends = await site.login(path), await site.login(path)
    reply = await site.ask(name)
    assert reply.json["code"] == 200
    assert "Max-Age=0" in reply.set_cookies[0]
    assert not await logged_in(site, ends)
    assert await logged_in(site, stays)
    assert (await site.ask(name, cookie="")).json["code"] == 200


async def test_a_session_ends_a_month_after_its_last_use(site):
    await site.user()
    cookie = await site.login()
    for _ in range(3):
        site.clock.ms += SESSION_S * 1000 - 5000
        assert await logged_in(site, cookie)
    site.clock.ms += SESSION_S * 1000
    assert not await logged_in(site, cookie)


async def test_a_session_ends_in_the_end(site):
    await site.user()
    cookie = await site.login()
    end_ms = site.clock.ms + LONGEST_SESSION_S * 1000
    while site.clock.ms < end_ms - 20 * 86_400_000:
        site.clock.ms += 20 * 86_400_000
        assert await logged_in(site, cookie)
    site.clock.ms = end_ms
    assert not await logged_in(site, cookie)


async def test_not_logged_in_in_each_generation(site):
    old = await site.ask("/xxl-job-admin/user/updatePwd", {})
    assert (old.status, old.headers["Location"], old.text) == (302, "/xxl-job-admin/toLogin", "")
    new = await site.ask("/auth/updatePwd", {})
    assert (new.status, new.json["code"], "data" in new.json) == (200, 500, False)
    between = await site.ask("/user/updatePwd", {}, cookie="xxl_job_login_token=gone_gone_gone_gone_gone")
    assert between.json["code"] == 203


async def test_one_s_own_password(site):
    await site.user()
    other, mine = await site.login(), await site.login(G3)
    wrong = await site.ask(ASK_G3, {"password": "another-8", "oldPassword": "nope"}, cookie=mine)
    assert wrong.json["code"] == 500
    short = await site.ask(ASK_G3, {"password": "abc", "oldPassword": PASSWORD}, cookie=mine)
    assert short.json["msg"] == "password: 4 to 128 characters"
    done = await site.ask(ASK_G3, {"password": "another-8", "oldPassword": PASSWORD}, cookie=mine)
    assert done.json["code"] == 200
    assert await logged_in(site, mine)
    assert not await logged_in(site, other)
    await site.login(password="another-8")


async def test_a_stolen_session_does_not_find_the_password(site):
    await site.user()
    await site.login(G3)
    for _ in range(5):
        guess = await site.ask(ASK_G3, {"password": "another-8", "oldPassword": "no"})
        assert guess.json["msg"] == "oldPassword: the present password"
    right = await site.ask(ASK_G3, {"password": "another-8", "oldPassword": PASSWORD})
    assert (right.json["code"], "too many" in right.json["msg"]) == (500, True)
    site.clock.ms += 1000
    right = await site.ask(ASK_G3, {"password": "another-8", "oldPassword": PASSWORD})
    assert right.json["code"] == 200


async def test_a_user_who_is_removed_or_changed(site):
    user = await site.user()
    cookie = await site.login()
    await site.ports.users.set_password(user, "another-8")
    assert not await logged_in(site, cookie)
    cookie = await site.login(password="another-8")
    await site.ports.users.remove(user.id)
    assert not await logged_in(site, cookie)


# ---------------------------------------------------------------- guesses


async def test_guesses_are_slowed_down(site):
    await site.user()
    wrong = {"userName": "admin", "password": "wrong"}
    for _ in range(5):
        assert "wrong" in (await site.ask(G2, wrong)).json["msg"]
    refused = await site.ask(G2, {"userName": "admin", "password": PASSWORD})
    assert refused.json["msg"] == "too many logins have failed: try again in 1 s"
    site.clock.ms += 1000
    await site.login()
    for _ in range(5):
        assert "wrong" in (await site.ask(G2, wrong)).json["msg"]


async def test_who_was_right_before_is_not_kept_out_by_those_who_are_wrong(site):
    user = await site.user()
    await site.login()
    for _ in range(9):
        await site.ask(G2, {"userName": "admin", "password": "wrong"})
    other = await site.ask(G2, {"userName": "admin", "password": "wrong"})
    assert "too many" in other.json["msg"]
    await site.login()
    await site.ports.users.set_password(user, "another-8")
    for _ in range(9):
        await site.ask(G2, {"userName": "admin", "password": "wrong"})
    old = [await site.ask(G2, {"userName": "admin", "password": PASSWORD}) for _ in range(2)]
    assert ["is wrong" in old[0].json["msg"], "too many" in old[1].json["msg"]] == [True, True]


async def test_guesses_at_once_count_as_many(site):
    await site.user()
    wrong = {"userName": "admin", "password": "wrong"}
    replies = await asyncio.gather(*(site.ask(G2, wrong) for _ in range(20)))
    tried = [reply for reply in replies if "is wrong" in reply.json["msg"]]
    assert len(tried) == 5


async def test_guesses_of_many_names(site):
    await site.user()
    for number in range(51):
        await site.ask(G2, {"userName": f"n{number}", "password": "wrong"})
    refused = await site.ask(G2, {"userName": "admin", "password": PASSWORD})
    assert refused.json["msg"].startswith("too many logins")


async def test_passwords_are_in_no_log_and_in_no_answer(site):
    await site.user()
    secret = "Hush-9-Hush"
    with capture_logs() as logs:
        replies = [
            await site.ask(G2, {"userName": "admin", "password": secret}),
            await site.ask(G2, {"userName": secret, "password": "x"}),
        ]
        await site.login()
        replies.append(await site.ask(ASK_G3, {"password": secret * 20, "oldPassword": PASSWORD}))
        replies.append(await site.ask(ASK_G3, {"password": "abcdef", "oldPassword": secret}))
    assert [entry["event"] for entry in logs] == ["login_failed", "login_failed", "logged_in"]
    assert secret not in str(logs) + "".join(reply.text for reply in replies)


# ---------------------------------------------------------------- what a browser could be made to send


@pytest.mark.parametrize("where", ["cross-site", "same-site"])
async def test_pages_of_other_sites_may_do_nothing(site, where):
    await site.user()
    await site.login(G3)
    headers = {"Sec-Fetch-Site": where}
    reply = await site.ask(ASK_G3, {"password": "another-8", "oldPassword": PASSWORD}, headers=headers)
    assert (reply.json["code"], "another site" in reply.json["msg"]) == (500, True)
    login = await site.ask(G2, {"userName": "admin", "password": PASSWORD}, headers=headers)
    assert (login.json["code"], login.set_cookies) == (500, ())
    assert (await site.ask("/logout", headers=headers)).json["code"] == 500
    for own in ("same-origin", "none"):
        assert await logged_in(site, headers={"Sec-Fetch-Site": own})


async def test_where_a_browser_names_the_page_alone(site):
    """To plain http most send neither `Sec-Fetch-Site` nor, to a neighbour of the page, cookies less."""
    await site.user()
    await site.login(G3)
    form = {"userName": "admin", "password": PASSWORD}
    for headers in (
        {"Origin": "http://127.0.0.1:9"},
        {"Referer": "http://evil.example/x"},
        {"Origin": "null"},
    ):
        for method in ("POST", "GET"):
            assert not await logged_in(site, headers=headers, method=method)
        assert "another site" in (await site.ask(G2, form, headers=headers)).json["msg"]
        copied = headers | {"X-Requested-With": "XMLHttpRequest"}  # from the console of the old host
        assert await logged_in(site, headers=copied)
        assert (await site.ask(G2, form, headers=copied)).json["code"] == 200
        assert await logged_in(site, headers=headers | {"Sec-Fetch-Site": "same-origin"})
        assert not await logged_in(site, headers=copied | {"Sec-Fetch-Site": "same-site"})
    assert await logged_in(site, headers={"Origin": site.url, "Referer": site.url + "/x"})


async def test_a_login_as_another_is_one_whatever_its_cookie_is_called(site):
    for name in ("ann", "bob"):
        await site.user(name)
    for first, second in ((G2, G3), (G3, G2)):
        before = await site.login(first, "ann")
        site.cookie = before
        reply = await site.ask(second, {"userName": "bob", "password": PASSWORD})
        both = f"{before}; {reply.set_cookies[0].partition(';')[0]}"
        wanted = {"password": "another-8", "oldPassword": PASSWORD}
        assert (await site.ask(ASK_G2, wanted, cookie=both)).json["code"] == 200
        assert await site.ports.users.with_password("bob", "another-8") is not None
        await site.ports.users.set_password(await site.ports.users.get("bob"), PASSWORD)
        mine = await site.login(first, "ann")
        await site.ask(second, {"userName": "ann", "password": PASSWORD}, cookie=mine)
        assert await logged_in(site, mine)  # nobody else's


async def test_several_headers_of_cookies(site):
    await site.user()
    cookie = await site.login(G3)
    for lines in (("a=1", cookie), (cookie, "a=1"), ("a=1", "b=2", cookie)):
        headers = [("Cookie", line) for line in lines]
        async with site.session.post(site.url + ASK_G3, headers=headers) as answer:
            assert "password" in (await answer.json())["msg"]


async def test_the_cookie_is_secure_behind_a_proxy_with_tls(site):
    await site.user()
    form = {"userName": "admin", "password": PASSWORD}
    reply = await site.ask(G2, form, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" not in reply.set_cookies[0]  # nobody has said that this proxy is one


async def test_what_a_trusted_proxy_says_counts(tmp_path):
    async with admin_site(tmp_path, trusted=(ip_network("127.0.0.0/8"),)) as site:
        await site.user()
        right, wrong = ({"userName": "admin", "password": text} for text in (PASSWORD, "no"))
        mine = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.1"}
        assert "; Secure" in (await site.ask(G2, right, headers=mine)).set_cookies[0]
        for _ in range(6):
            await site.ask(G2, wrong, headers=mine)
        assert "too many" in (await site.ask(G2, wrong, headers=mine)).json["msg"]
        other = mine | {"X-Forwarded-For": "10.0.0.2"}
        assert "is wrong" in (await site.ask(G2, wrong, headers=other)).json["msg"]


async def test_a_network_of_ipv6_is_one_caller(tmp_path):
    async with admin_site(tmp_path, trusted=(ip_network("127.0.0.0/8"),)) as site:
        await site.user()
        wrong = {"userName": "admin", "password": "no"}
        with capture_logs() as logs:
            for number in range(6):
                await site.ask(G2, wrong, headers={"X-Forwarded-For": f"2001:db8:1:2::{number:x}"})
        assert {one["remote"] for one in logs} == {"2001:db8:1:2::/64"}
        for address, says in (("2001:db8:1:2:ffff::1", "too many"), ("2001:db8:1:3::1", "is wrong")):
            reply = await site.ask(G2, wrong, headers={"X-Forwarded-For": address})
            assert says in reply.json["msg"]
        with capture_logs() as logs:
            await site.ask(G2, wrong)
        assert logs[0]["remote"] == "127.0.0.1"


# ---------------------------------------------------------------- the old cookie


async def test_an_old_cookie_is_nothing_unless_the_account_allows_it(site):
    await site.user()
    assert not await logged_in(site, old_cookie(), ASK_G2)


async def test_an_old_cookie_of_an_account_that_allows_it(site):
    user = await site.user(old_cookie=True)
    with capture_logs() as logs:
        for _ in range(2):
            assert await logged_in(site, old_cookie(), ASK_G2)
    assert [(one["event"], one["user"]) for one in logs] == [("old_cookie_accepted", "admin")]
    assert await logged_in(site, old_cookie(role=0, id=9, permission="1,2"), ASK_G2)
    assert await logged_in(site, old_cookie().replace("=7b", "=7B"), ASK_G2)
    for wrong in (old_cookie(password="no"), old_cookie(username="other"), old_cookie() + "zz"):
        assert not await logged_in(site, wrong, ASK_G2)
    await site.ports.users.set_password(user, "another-8")
    assert not await logged_in(site, old_cookie(), ASK_G2)
    assert await logged_in(site, old_cookie(password="another-8"), ASK_G2)


async def test_an_old_cookie_says_nothing_of_the_role(site):
    await site.user(role=Role.NORMAL, old_cookie=True)
    with capture_logs():
        session = await site.ports.users.with_digest("admin", hashlib.md5(PASSWORD.encode()).hexdigest())
    assert session is not None
    assert not session.is_admin


async def test_an_old_cookie_is_not_taken_from_pages_of_other_sites(site):
    await site.user(old_cookie=True)
    for headers in (
        {"Origin": "http://evil.example"},
        {"Referer": "http://evil.example/x"},
        {"Origin": "null"},
        {"Origin": "http://[broken"},
    ):
        assert not await logged_in(site, old_cookie(), ASK_G2, headers=headers)
    assert await logged_in(site, old_cookie(), ASK_G2, headers={"Origin": site.url})
    copied = {"Origin": "http://old.example", "X-Requested-With": "XMLHttpRequest"}
    assert await logged_in(site, old_cookie(), ASK_G2, headers=copied)
    for headers in ({"Upgrade-Insecure-Requests": "1"}, {"Sec-Fetch-Mode": "navigate"}):
        link = await site.ask(ASK_G2, method="GET", cookie=old_cookie(), headers=headers)
        assert link.status == 302


@pytest.mark.parametrize(
    "value",
    ["", "7b", "7b22" * 900_0, "7b227b22" * 30, b'{"username":1,"password":2}'.hex() * 3, ("5b" * 2000)],
)
async def test_cookies_that_are_none(site, value):
    await site.user(old_cookie=True)
    value = value[:7000]
    assert not await logged_in(site, f"XXL_JOB_LOGIN_IDENTITY={value}", ASK_G2)
    assert not await logged_in(site, f"xxl_job_login_token={value}", ASK_G2)


async def test_guesses_by_old_cookies_are_slowed_down(site):
    await site.user(old_cookie=True)
    for number in range(6):
        await site.ask(ASK_G2, {}, cookie=old_cookie(password=f"{number}"))
    assert not await logged_in(site, old_cookie(), ASK_G2)
    await site.login()  # passwords are another matter: scripts that nobody has taken care of keep nobody out
    site.clock.ms += 10_000
    assert await logged_in(site, old_cookie(), ASK_G2)
    for number in range(9):
        await site.ask(ASK_G2, {}, cookie=old_cookie(password=f"{number}"))
    assert await logged_in(site, old_cookie(), ASK_G2)


async def test_the_same_wrong_old_cookie_keeps_nobody_out(site):
    user = await site.user(old_cookie=True)
    await site.user("other")
    stale = old_cookie(password="long ago")
    with capture_logs() as logs:
        for cookie in (stale, old_cookie("other"), old_cookie("nobody")):
            for _ in range(20):
                assert not await logged_in(site, cookie, ASK_G2)
    told = {(one["user"], one["why"]) for one in logs if one["event"] == "old_cookie_refused"}
    assert told == {
        ("admin", "the password is another one"),
        ("other", "this user does not allow it"),
        ("nobody", "there is no such user"),
    }
    assert await logged_in(site, old_cookie(), ASK_G2)
    site.clock.ms += 1000
    await site.ports.users.set_password(user, "long ago")
    assert await logged_in(site, stale, ASK_G2)


async def test_right_logins_wait_for_no_other_right_one(site):
    await site.user()
    for number in range(51):
        await site.ask(G2, {"userName": f"n{number}", "password": "no"})
    assert "too many" in (await site.ask(G2, {"userName": "admin", "password": PASSWORD})).json["msg"]
    site.clock.ms += 3000
    for name in ("admin", "bob", "eve"):
        if name != "admin":
            await site.user(name)
        assert (await site.ask(G2, {"userName": name, "password": PASSWORD})).json["code"] == 200


# ---------------------------------------------------------------- bodies


async def test_a_body_that_is_too_large(site):
    await site.user()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await site.ask(G2, raw=io.BytesIO(b"a=" + b"x" * (4 << 20)), headers=form)
    assert reply.json["msg"].startswith("the body has more than")
    many = await site.ask(G2, raw=b"a&" * 3000, headers=form)
    assert many.json["code"] == 500


@pytest.mark.parametrize(
    "body", [b"%ff%fe=%00&userName=%ff&password=%zz", b"\xff\xfe\x00&&&===", b"userName"]
)
async def test_a_body_that_is_rubbish(site, body):
    reply = await site.ask(G2, raw=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert reply.json["code"] == 500


async def test_json_is_not_read(site):
    await site.user()
    body = json.dumps({"userName": "admin", "password": PASSWORD}).encode()
    reply = await site.ask(G2, raw=body, headers={"Content-Type": "application/json"})
    assert reply.json["code"] == 500


@pytest.mark.parametrize("path", ["//login", "/xxl-job-admin//login", "//auth/doLogin"])
async def test_a_slash_too_many(site, path):
    await site.user()
    cookie = await site.login(path)
    assert await logged_in(site, cookie, "/" + ASK_G3)
    assert (await site.ask("/xxl-job-admin//jobinfo/pageList", cookie="")).headers["Location"] == (
        "/xxl-job-admin/toLogin"
    )


def multipart(*parts, boundary="xyz", end=True):
    text = "".join(f"--{boundary}\r\n{head}\r\n\r\n{value}\r\n" for head, value in parts)
    return (text + (f"--{boundary}--\r\n" if end else "")).encode()


def field(name):
    return f'Content-Disposition: form-data; name="{name}"'


async def test_a_form_of_several_parts(site):
    await site.user()
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
    body = multipart(
        (field("userName"), "admin"),
        (field("file") + '; filename="x.txt"', "not a field"),
        (field("password"), PASSWORD),
    )
    assert (await site.ask(G2, raw=body, headers=headers)).json["code"] == 200
    for raw, kind in (
        (multipart((field("userName"), "admin"), end=False), headers),
        (b"rubbish", headers),
        (b"", headers),
        (body, {"Content-Type": "multipart/form-data"}),
        (multipart(*((field("a"), "") for _ in range(2001))), headers),
        (io.BytesIO(multipart((field("a"), "x" * (4 << 20)))), headers),
        (multipart((field("a") + "\r\nContent-Transfer-Encoding: base64", "%%%")), headers),
        (multipart(("Content-Type: multipart/mixed; boundary=b", "--b\r\n\r\nx\r\n--b--")), headers),
    ):
        reply = await site.ask(G2, raw=raw, headers=kind)
        assert (reply.status, reply.json["code"]) == (200, 500), raw if isinstance(raw, bytes) else "large"

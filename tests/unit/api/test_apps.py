"""Apps and tokens through the API."""

from __future__ import annotations

import pytest


async def test_an_app_from_creation_to_deletion(api):
    made = await api.ok(
        "POST", "/api/v1/apps", {"appname": "billing", "title": "Billing", "max_running": None}
    )
    assert made["address_mode"] == "auto"
    assert made["created"] == "2026-11-18T11:06:40.000+00:00"
    assert made["created_ms"] == api.clock.ms
    assert await api.ok("GET", "/api/v1/apps/billing") == made
    api.clock.ms += 1
    changed = await api.ok("PATCH", "/api/v1/apps/billing", {"title": "New"})
    assert (changed["title"], changed["updated_ms"]) == ("New", api.clock.ms)
    assert (await api.ok("GET", "/api/v1/apps"))["items"] == [changed]
    assert (await api.call("DELETE", "/api/v1/apps/billing"))[0] == 204
    await api.problem(404, "GET", "/api/v1/apps/billing")
    assert api.operations.changed_apps == [made["id"]] * 3


async def test_a_manual_app_and_back(api):
    body = {"appname": "batch", "address_mode": "manual", "addresses": ["http://h:1/", "https://h:2/x"]}
    assert (await api.ok("POST", "/api/v1/apps", body))["addresses"] == body["addresses"]
    back = await api.ok("PATCH", "/api/v1/apps/batch", {"address_mode": "auto"})
    assert (back["address_mode"], back["addresses"]) == ("auto", [])


async def test_what_old_executors_need(api):
    body = {"appname": "old", "address_mode": "manual", "addresses": ["http://h:1/"], "dialect": "form15",
            "tokenless_from": ["10.0.0.7", "10.1.0.0/16"], "int_log_ids": True}  # fmt: skip
    made = await api.ok("POST", "/api/v1/apps", body)
    assert (made["dialect"], made["int_log_ids"]) == ("form15", True)
    assert made["tokenless_from"] == ["10.0.0.7/32", "10.1.0.0/16"]
    assert (await api.ok("PATCH", "/api/v1/apps/old", {"title": "t"}))["dialect"] == "form15"
    assert [one["dialect"] for one in (await api.ok("GET", "/api/v1/apps/old/executors"))["items"]] in (
        [],
        ["form15"],
    )
    back = await api.ok("PATCH", "/api/v1/apps/old", {"address_mode": "auto", "tokenless_from": []})
    assert (back["dialect"], back["tokenless_from"]) == (None, [])
    plain = await api.ok("POST", "/api/v1/apps", {"appname": "new"})
    assert (plain["dialect"], plain["tokenless_from"], plain["int_log_ids"]) == (None, [], False)


async def test_an_appname_that_is_taken(billing):
    answer = await billing.problem(409, "POST", "/api/v1/apps", {"appname": "billing"})
    assert "'billing'" in answer["detail"]


async def test_an_app_with_jobs_is_not_deleted(billing):
    await billing.job()
    answer = await billing.problem(409, "DELETE", "/api/v1/apps/billing")
    assert "1 jobs" in answer["detail"]


async def test_an_unknown_app(api):
    for method, path in (
        ("GET", "/api/v1/apps/nobody"),
        ("PATCH", "/api/v1/apps/nobody"),
        ("DELETE", "/api/v1/apps/nobody"),
        ("GET", "/api/v1/apps/nobody/executors"),
        ("GET", "/api/v1/jobs?app=nobody"),
        ("GET", "/api/v1/runs?app=nobody"),
    ):
        answer = await api.problem(404, method, path, {} if method == "PATCH" else None)
        assert "'nobody'" in answer["detail"]


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"appname": ""}, "appname", "at least 1"),
        ({"appname": "has blank"}, "appname", "letters, digits"),
        ({"appname": 5}, "appname", "string"),
        ({"address_mode": "manual"}, "addresses", "at least one"),
        ({"addresses": ["http://h/"]}, "addresses", "none in the address mode 'auto'"),
        ({"address_mode": "manual", "addresses": ["h:9999"]}, "addresses[0]", "http://10.0.0.7:9999/"),
        ({"address_mode": "manual", "addresses": ["ftp://h/"]}, "addresses[0]", "http://10.0.0.7:9999/"),
        ({"address_mode": "somehow"}, "address_mode", "'auto' or 'manual'"),
        ({"max_running": 0}, "max_running", "greater than or equal to 1"),
        ({"max_running": "5"}, "max_running", "valid integer"),
        ({"starts_per_second": 0}, "starts_per_second", "greater than or equal to 0.001"),
        ({"starts_per_second": True}, "starts_per_second", "valid"),
        ({"dialect": "form15"}, "dialect", "null in the address mode 'auto'"),
        ({"dialect": "rest2"}, "dialect", "'form14', 'form15'"),
        ({"tokenless_from": ["10.0.0.1/8"]}, "tokenless_from[0]", "a network such as"),
        ({"tokenless_from": ["everywhere"]}, "tokenless_from[0]", "a network such as"),
        ({"int_log_ids": 1}, "int_log_ids", "valid boolean"),
        ({"title": "a\0b"}, "title", "without NUL"),
        ({"adresses": []}, "adresses", "did you mean 'addresses'?"),
    ],
)
async def test_what_an_app_may_not_be(api, change, field, expected):
    found, value, text = await api.wrong("POST", "/api/v1/apps", {"appname": "billing", **change})
    assert found == field
    assert expected in text
    if "[" not in field and field != "addresses":
        assert value == change[field]
    assert (await api.ok("GET", "/api/v1/apps"))["items"] == []


async def test_an_appname_cannot_be_changed(billing):
    field, value, expected = await billing.wrong("PATCH", "/api/v1/apps/billing", {"appname": "other"})
    assert (field, value) == ("appname", "other")
    assert "cannot be changed" in expected


async def test_tokens_are_made_listed_and_revoked(api):
    made = await api.ok("POST", "/api/v1/tokens", {"name": "ci"})
    status, _ = await api.call("GET", "/api/v1/apps", token=made["token"])
    assert status == 200
    listed = (await api.ok("GET", "/api/v1/tokens"))["items"]
    assert [one["name"] for one in listed] == ["test", "ci"]
    assert all("token" not in one for one in listed)
    await api.problem(409, "POST", "/api/v1/tokens", {"name": "ci"})
    assert (await api.call("DELETE", f"/api/v1/tokens/{made['id']}"))[0] == 204
    answer = await api.problem(401, "GET", "/api/v1/apps", token=made["token"])
    assert "unknown or was revoked" in answer["detail"]
    await api.problem(404, "DELETE", f"/api/v1/tokens/{made['id']}")
    await api.problem(404, "DELETE", "/api/v1/tokens/99999999999")

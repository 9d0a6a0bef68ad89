"""What somebody who moves is told about the safety of what is moved."""

from __future__ import annotations

import hashlib

from importer.plan.target import Target
from importer.plan.values import Finding
from importer.source.values import SourceExecutor, SourceGroup, SourceUser
from tests.kit.source_rows import MD5_OF_123456, installation, job, plan

HEAD = {"first": (3, 5, 0), "last": (3, 5, 0)}


def about(found: tuple[Finding, ...], field: str) -> list[Finding]:
    return [one for one in found if one.field == field]


def test_the_token_is_not_in_the_database_before_3_5() -> None:
    (one,) = about(plan(installation()).security, "access_token")
    assert "--access-token" in one.why
    assert "'default_token'" in one.why
    (old,) = about(plan(installation(first=(2, 2, 0), last=(2, 2, 0))).security, "access_token")
    assert "default_token" not in old.why


def test_a_token_that_is_given_is_for_all_apps() -> None:
    made = plan(
        installation(groups=(SourceGroup("1", "a"), SourceGroup("2", "b"))), access_token="default_token"
    )
    assert [one.access_token for one in made.apps] == ["default_token", "default_token"]
    assert [one.value for one in about(made.security, "access_token")] == [
        "default_token",
        "one for all apps",
    ]


def test_an_empty_token() -> None:
    made = plan(installation(), access_token="")
    assert "empty" in [one.value for one in about(made.security, "access_token")]
    assert made.apps[0].access_token is None


def test_tokens_of_groups() -> None:
    groups = (
        SourceGroup("1", "a", access_token="default_token"),
        SourceGroup("2", "b", access_token="s3cret"),
        SourceGroup("3", "c", access_token="s3cret"),
        SourceGroup("4", "d", access_token=" "),
        SourceGroup("5", "e", access_token="own"),
    )
    made = plan(installation(groups=groups, **HEAD))
    assert [one.access_token for one in made.apps] == ["default_token", "s3cret", "s3cret", None, "own"]
    assert [(one.where, one.value) for one in about(made.security, "access_token")] == [
        ("apps a", "default_token"),
        ("apps b, c", "the same"),
        ("apps d", "empty"),
    ]
    assert not any("s3cret" in repr(one) for one in made.security)


def test_no_token_and_no_password_is_shown_anywhere() -> None:
    groups = (SourceGroup("1", "a", access_token="s3cret"), SourceGroup("2", "a", access_token="other1"))
    users = (SourceUser(1, "ann", "0123456789abcdef" * 2, 1), SourceUser(2, "bob", "no hash at all", 1))
    made = plan(installation(groups=groups, users=users, **HEAD), access_token="g1ven")
    shown = repr(made)
    for secret in ("s3cret", "other1", "g1ven", "0123456789abcdef", "no hash at all"):
        assert secret not in shown


def test_glue_jobs() -> None:
    jobs = (
        job(1, glue_type="GLUE_SHELL", glue_source="a"),
        job(2, glue_type="GLUE_GROOVY", glue_source="a", trigger_status=0),
        job(3),
    )
    (one,) = about(plan(installation(*jobs)).security, "glue_type")
    assert (one.where, one.value) == ("jobs 1, 2", "1 GLUE_GROOVY, 1 GLUE_SHELL")
    assert "1 of 2" in one.became
    (moved,) = about(plan(installation(*jobs), Target(taken_job_ids=frozenset({1}))).security, "glue_type")
    assert moved.where == "jobs 1, 2"  # the ids there, as all of the report has them
    assert about(plan(installation(job(3))).security, "glue_type") == []


def test_addresses() -> None:
    executors = (
        SourceExecutor("a", "http://8.8.8.8:9999/", None),
        SourceExecutor("a", "10.0.0.2:9999", None),
        SourceExecutor("a", "https://executor.example.com/", None),
    )
    plain, public = about(plan(installation(executors=executors)).security, "address")
    assert plain.value == "http://8.8.8.8:9999/, http://10.0.0.2:9999"
    assert public.value == "http://8.8.8.8:9999/"
    inside = (SourceExecutor("a", "https://10.0.0.2:9999/", None),)
    assert about(plan(installation(executors=inside)).security, "address") == []


def test_passwords() -> None:
    users = (
        SourceUser(1, "admin", MD5_OF_123456.upper(), 1),
        SourceUser(2, "ann", hashlib.sha256(b"123456").hexdigest(), 0),
        SourceUser(3, "bob", hashlib.sha256(b"better").hexdigest(), 1),
        SourceUser(4, "eve", hashlib.sha256(b"better").hexdigest(), 0),
    )
    found = about(plan(installation(users=users)).security, "password")
    assert [(one.where, one.value) for one in found] == [
        ("users admin, ann", "123456"),
        ("users", "1 md5, 3 sha256"),
        ("users bob, eve", "the same"),
    ]
    (admins,) = about(plan(installation(users=users)).security, "role")
    assert admins.where == "users admin, bob"


def test_no_secret_of_a_fork_is_told() -> None:
    """What a column of users holds is not known by its name; elsewhere the name says it."""
    made = plan(
        installation(
            job(3, extra={"tenant": "shop", "callback_pwd": "s3cret"}),
            groups=(SourceGroup("1", "orders", extra={"owner": "ann", "Secret_Key": "s3cret", "api_token": "s3cret"}),),
            users=(SourceUser(1, "admin", MD5_OF_123456, 1, extra={"salt": "s3cret", "mfa": "s3cret"}),),
        )
    )  # fmt: skip
    told = {(one.where, one.field): one.value for one in made.findings if "fork" in one.why}
    assert sorted(told.values()) == ["***"] * 5 + ["ann", "shop"]
    assert "s3cret" not in repr(made.findings)

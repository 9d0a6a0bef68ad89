"""Which token an app accepts, and which it is sent."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.access import AccessToken, AccessTokens, mark_of
from gateway.core.errors import InvalidValue, Refused
from gateway.core.model import AddressMode, App, Beat
from gateway.core.registry import Registry
from gateway.settings import load_settings

NOW = 1_000_000
PEER = "10.0.0.9"
A = "http://h:1/"


def world(*setting: str, tokens: tuple[AccessToken, ...] = ()) -> AccessTokens:
    registry = Registry()
    for app_id, name in enumerate(("billing", "mail"), 1):
        registry.set_app(App(app_id, 1, name, "", AddressMode.AUTO, (), 0, 0))
    access = AccessTokens(setting, registry, lambda: NOW)
    access.set_all(tokens)
    return access


def token(token_id: int, app_id: int, text: str, ends_ms: int = 0) -> AccessToken:
    return AccessToken(token_id, 1, app_id, text, 0, ends_ms)


def accepted(access: AccessTokens, sent: str, appname: str = "billing") -> bool:
    """What registering and reporting for that app agree on."""
    app = access.registry.app_named(appname)
    try:
        reach = access.reach(sent, PEER)
        access.admit(sent, appname, PEER)
    except Refused:
        try:
            return app is not None and access.reach(sent, PEER).covers(app.id)
        except Refused:
            return False
    assert app is None or reach.covers(app.id)
    return True


def test_no_token_at_all_is_everybody() -> None:
    access = world()
    assert accepted(access, "")
    assert accepted(access, "whatever")
    assert access.reach("x", PEER).is_everything
    assert access.sent_to("billing", A) == ""


def test_the_setting_alone() -> None:
    access = world("old", "new")
    assert [accepted(access, sent) for sent in ("old", "new", "", "ol", "oldx")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert access.sent_to("billing", A) == "old"
    with pytest.raises(Refused, match="no access token"):
        access.reach("", PEER)
    with pytest.raises(Refused, match="not one this gateway accepts"):
        access.reach("wrong", PEER)


@pytest.mark.parametrize("sent", ["\ud800", "ключ", "\0", "x" * 100_000])
def test_whatever_a_message_may_hold_is_only_wrong(sent: str) -> None:
    for access in (world("global"), world("global", tokens=(token(2, 1, "own"),))):
        assert not accepted(access, sent)


def test_an_app_of_its_own_token() -> None:
    access = world("global", tokens=(token(2, 1, "own"),))
    assert accepted(access, "own")
    assert not accepted(access, "global")
    assert accepted(access, "global", "mail")
    assert not accepted(access, "own", "mail")
    assert accepted(access, "global", "unknown")
    assert access.sent_to("billing", A) == "own"
    assert access.sent_to("mail", A) == "global"
    with pytest.raises(Refused, match="not one app billing accepts"):
        access.admit("global", "billing", PEER)
    with pytest.raises(Refused, match="not one this gateway accepts"):
        access.admit("own", "unknown", PEER)


def test_an_app_that_asks_where_others_do_not() -> None:
    access = world(tokens=(token(2, 1, "own"),))
    assert accepted(access, "own")
    assert not accepted(access, "")
    assert not accepted(access, "x")
    assert accepted(access, "", "mail")
    assert accepted(access, "x", "mail")


def test_the_namespace_stands_between() -> None:
    access = world("global", tokens=(token(1, 0, "tenant"), token(2, 1, "own")))
    assert [accepted(access, sent) for sent in ("own", "tenant", "global")] == [True, False, False]
    assert [accepted(access, sent, "mail") for sent in ("own", "tenant", "global")] == [False, True, False]


def test_rotation() -> None:
    """While two are valid each executor is sent the one it has come with."""
    access = world("global", tokens=(token(1, 1, "old", NOW + 5), token(2, 1, "new")))
    assert [accepted(access, sent) for sent in ("new", "old", "global")] == [True, True, False]
    app = access.registry.app_named("billing")
    assert app is not None
    for address, text in ((A, "old"), ("http://h:2/", "new")):
        beat = Beat("billing", address, "rest", "java", NOW, access.admit(text, "billing", PEER))
        access.registry.beat(app, beat)
        assert access.sent_to("billing", address) == text
    assert access.sent_to("billing", "http://h:3/") == "new"
    access._now_ms = lambda: NOW + 5
    assert [accepted(access, sent) for sent in ("new", "old")] == [True, False]
    assert access.sent_to("billing", A) == "new"


def test_the_first_token_of_an_app_beside_what_counted_before() -> None:
    access = world("g1", "g2", tokens=(token(1, 1, ""), token(2, 1, "own")))
    assert [accepted(access, sent) for sent in ("own", "g1", "g2", "")] == [True, True, True, False]
    assert access.sent_to("billing", A) == "own"
    app = access.registry.app_named("billing")
    assert app is not None
    access.registry.beat(app, Beat("billing", A, "rest", "java", NOW, mark_of("g2")))
    assert access.sent_to("billing", A) == "g2"
    everybody = world(tokens=(token(1, 1, ""), token(2, 1, "own")))
    assert accepted(everybody, "")
    assert accepted(everybody, "own")


def test_refusals_are_told() -> None:
    access = world("global", tokens=(token(2, 1, "own"),))
    told: list[tuple[str, str, str]] = []
    access.on_refused = lambda *what: told.append(what)
    with pytest.raises(Refused):
        access.reach("bad", PEER)
    for sent, appname in (("global", "billing"), ("own", "made-up")):
        with pytest.raises(Refused):
            access.admit(sent, appname, PEER)
    assert [(appname, peer) for appname, peer, _ in told] == [("", PEER), ("billing", PEER), ("", PEER)]


def test_tokens_are_not_shown() -> None:
    assert "secret" not in repr(token(1, 1, "secret"))
    assert mark_of("") == ""
    assert len(mark_of("secret")) == 6


@pytest.mark.parametrize("text", ["geheim\r\nX: y", "ok,ge heim", "geheim" * 50])
def test_a_setting_that_no_header_can_carry_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidValue, match="access_token") as caught:
        load_settings({"access_token": text})
    assert "geheim" not in str(caught.value)
    assert load_settings({"access_token": "a, b,"}).access_tokens == ("a", "b")


TEXTS = ("a", "b", "c")


def model(setting: tuple[str, ...], rows: list[tuple[int, str, int]], app_id: int) -> list[str]:
    """The same said shortly: levels from below, each replacing the one under it unless it names it."""
    found = list(setting) or [""]
    for scope in (0, app_id):
        mine = [text for of, text, ends in reversed(rows) if of == scope and (not ends or ends > NOW)]
        if mine:
            found = list(itertools.chain.from_iterable([text] if text else found for text in mine))
    return found


@given(
    st.lists(st.sampled_from(TEXTS), max_size=2),
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(("", *TEXTS, "d")), st.sampled_from((0, NOW - 1, NOW, NOW + 1))
        ),
        max_size=6,
    ),
)
def test_as_a_small_model_says(setting: list[str], rows: list[tuple[int, str, int]]) -> None:
    tokens = tuple(token(number, *row) for number, row in enumerate(rows, 1))
    access = world(*setting, tokens=tokens)
    for app_id, appname in ((1, "billing"), (2, "mail")):
        valid = model(tuple(setting), rows, app_id)
        for sent in ("", *TEXTS, "d", "e"):
            assert accepted(access, sent, appname) == (sent in valid or "" in valid), (appname, sent)
        assert access.sent_to(appname, A) == valid[0]


# ---------------------------------------------------------------- without a token


@pytest.mark.parametrize(
    ("peer", "let_in"),
    [("10.0.0.9", True), ("10.0.1.9", False), ("::ffff:10.0.0.9", True), ("fd00::7", True), ("fd01::7", False),
     ("", False), ("nonsense", False)],
)  # fmt: skip
def test_who_cannot_send_a_token_is_let_in_by_its_app_and_address(peer: str, let_in: bool) -> None:
    access = world("secret")
    billing = access.registry.app(1)
    assert billing is not None
    access.registry.set_app(replace(billing, tokenless_from=("10.0.0.0/24", "fd00::/64")))
    refused: list[tuple[str, str]] = []
    access.on_refused = lambda appname, peer, _why: refused.append((appname, peer))
    if let_in:
        access.admit_guest("billing", peer)
        reach = access.guest(peer)
        assert not reach.is_everything
        assert (reach.covers(1), reach.covers(2), reach.covers(99)) == (True, False, False)
    else:
        with pytest.raises(Refused, match="tokenless_from"):
            access.guest(peer)
        with pytest.raises(Refused, match="app billing"):
            access.admit_guest("billing", peer)
        assert refused == [("", peer), ("billing", peer)]
    with pytest.raises(Refused):
        access.admit_guest("mail", peer)
    with pytest.raises(Refused):
        access.admit_guest("nobody", peer)


def test_without_any_token_it_is_a_switch_all_the_same() -> None:
    access = world()
    assert accepted(access, "")
    with pytest.raises(Refused):
        access.guest("127.0.0.1")

"""Who is there: an address belongs to one app, unless two really share it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.model import AddressMode, App, Beat
from gateway.core.registry import Registry

A = "http://10.0.0.1:9999/"


def registry_with(*names: str) -> tuple[Registry, list[App]]:
    registry = Registry()
    apps = [App(n, 1, name, "", AddressMode.AUTO, (), 0, 0) for n, name in enumerate(names, 1)]
    for app in apps:
        registry.set_app(app)
    return registry, apps


def beat(registry: Registry, app: App, at_ms: int, token_mark: str = "") -> bool:
    return registry.beat(app, Beat(app.appname, A, "rest", "java", at_ms, token_mark))


def test_an_appname_is_that_of_the_app_made_last() -> None:
    """A node hears at once that one was deleted and another made: the new one is known before the old one goes."""
    registry, (old,) = registry_with("billing")
    new = replace(old, id=2)
    registry.set_app(new)
    registry.drop_app(old.id)
    assert (registry.app_named("billing"), registry.apps()) == (new, [new])
    registry.drop_app(new.id)
    assert registry.app_named("billing") is None


def test_an_id_that_was_given_again_brings_no_executors_along() -> None:
    registry, (old, other) = registry_with("old", "other")
    beat(registry, old, 1000)
    for app in (mail := replace(old, id=1, appname="mail"), moved := replace(other, id=3, appname="old")):
        registry.set_app(app)
    assert (registry.addresses(1), registry.executors(1)) == ((), [])
    assert (registry.app_named("mail"), registry.app_named("old")) == (mail, moved)
    back = replace(other, appname="old")
    registry.set_app(back)
    registry.set_app(replace(moved, appname="elsewhere"))
    assert registry.app_named("old") == back


def test_an_address_that_another_app_has_taken_over_is_gone() -> None:
    registry, (old, new) = registry_with("old", "new")
    beat(registry, old, 1000)
    beat(registry, new, 2000)
    assert (registry.addresses(old.id), registry.addresses(new.id)) == ((), (A,))
    _, removed = registry.take_dirty()
    assert [(one.app_id, one.address) for one in removed] == [(old.id, A)]


def test_who_comes_with_another_token_takes_nobody_away() -> None:
    registry, (theirs, mine) = registry_with("theirs", "mine")
    beat(registry, theirs, 1000, "aaaaaa")
    beat(registry, mine, 2000, "bbbbbb")
    assert (registry.addresses(theirs.id), registry.addresses(mine.id)) == ((A,), (A,))


def test_an_executor_of_another_release_at_the_same_address_is_spoken_to_in_its_own_way() -> None:
    registry, (app,) = registry_with("app")
    assert registry.dialect_at(app.id, A, "xxl-rpc-2.1") == "xxl-rpc-2.1"
    beat(registry, app, 1000)
    assert registry.dialect_at(app.id, A, "xxl-rpc-2.1") == "rest"


def test_two_apps_behind_one_address_both_stay() -> None:
    registry, (one, other) = registry_with("one", "other")
    beat(registry, one, 1000)
    beat(registry, other, 2000)
    for at_ms in range(31_000, 200_000, 30_000):
        beat(registry, one, at_ms)
        beat(registry, other, at_ms + 1000)
        assert (registry.addresses(one.id), registry.addresses(other.id)) == ((A,), (A,))


@pytest.mark.parametrize("on_this_node", [True, False])
def test_an_address_that_is_given_to_one_app_after_the_other_is_not_shared(on_this_node: bool) -> None:
    registry, apps = registry_with("one", "other")
    heard = registry if on_this_node else registry_with("one", "other")[0]
    for hour in range(4):
        at_ms = hour * 3_600_000
        registry.expire(at_ms)
        heard.expire(at_ms)
        old, new = apps[hour % 2], apps[1 - hour % 2]
        for app, beat_ms in ((old, at_ms), (new, at_ms + 5000)):
            beat(heard, app, beat_ms)
            registry.merge(*heard.take_dirty())
        assert (registry.addresses(old.id), registry.addresses(new.id)) == ((), (A,))
    beat(registry, old, at_ms + 35_000)
    assert (registry.addresses(old.id), registry.addresses(new.id)) == ((A,), (A,)), "it is there after all"

"""Which executors a job may use: against the rule written down once more, and in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import AddressMode, App
from gateway.core.placement import (
    GRACE_MS,
    ExecutorSetting,
    Fallback,
    Placement,
    SettingChange,
    address_key,
    is_drained_since,
)
from gateway.core.registry import Registry

ADDRESSES = tuple(f"http://10.0.0.{n}:9999/" for n in range(1, 6))
SETTINGS = st.builds(
    ExecutorSetting,
    app_id=st.just(1),
    address=st.sampled_from(ADDRESSES),
    labels=st.lists(st.sampled_from(("canary", "big")), unique=True).map(tuple),
    weight=st.sampled_from((0, 1, 100)),
    draining_ms=st.sampled_from((0, 0, 7)),
)


def registry_of(present, settings) -> Registry:
    registry = Registry()
    registry.set_app(App(1, 1, "shop", "", AddressMode.MANUAL, tuple(present), 0, 0))
    registry.set_settings(settings)
    return registry


@given(
    present=st.lists(st.sampled_from(ADDRESSES), unique=True).map(sorted),
    settings=st.lists(SETTINGS, unique_by=lambda one: one.address),
    label=st.sampled_from(("", "canary", "nobody's")),
    fallback=st.sampled_from(Fallback),
    by_weight=st.booleans(),
)
def test_which_executors_a_job_may_use(present, settings, label, fallback, by_weight):
    said = {one.address: one for one in settings}
    wanted = []
    for address in present:
        one = said.get(address, ExecutorSetting(1, address))
        if not one.draining_ms and (one.weight or not by_weight):
            wanted.append((address, label in one.labels))
    if label:
        with_label = [address for address, has in wanted if has]
        either = [address for address, _ in wanted] if fallback is Fallback.ANY else []
        expected = with_label or either
    else:
        expected = [address for address, _ in wanted]

    registry, placement = registry_of(present, settings), Placement(label, fallback)
    setting_of = registry.settings_of(1)
    found = placement.among(registry.addresses(1), setting_of, by_weight=by_weight)
    assert list(found) == expected
    if not expected:
        reason = placement.why_none("shop", registry.present(1), setting_of, by_weight=by_weight)
        counts = [int(word) for word in reason.split() if word.isdigit()]
        without = reason == "no executor of app 'shop' is registered"
        assert without if not present else sum(counts) >= len(present)


def test_the_reason_counts_each_executor_once():
    a, b, c, d, _ = ADDRESSES
    settings = [
        ExecutorSetting(1, a, labels=("canary",), draining_ms=5),
        ExecutorSetting(1, b, draining_ms=5),
        ExecutorSetting(1, d, labels=("canary",), weight=0),
    ]
    registry = registry_of((a, b, c, d), settings)
    reason = Placement("canary").why_none(
        "shop", registry.present(1), registry.settings_of(1), by_weight=True
    )
    assert reason == (
        "no executor of app 'shop' may be used: 2 draining, 1 without the label 'canary', 1 of weight 0"
    )


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("http://h:1", "http://h:1/"),
        ("HTTP://H:1//", "http://h:1/"),
        ("https://h:1/Some/path/", "https://h:1/Some/path/"),
        ("https://h:1/Some/path", "https://h:1/Some/path/"),
    ],
)
def test_one_executor_has_one_spelling(address, key):
    assert address_key(address) == key
    registry = registry_of((address,), [ExecutorSetting(1, key, draining_ms=1)])
    assert (registry.addresses(1), registry.present(1)) == ((), (address,))
    registry.set_settings([])
    assert registry.addresses(1) == (address,)


def test_a_change_leaves_what_it_does_not_name():
    old = ExecutorSetting(1, ADDRESSES[0], ("big",), 5, 70, "maintenance", "ann", 80)
    drained_again = SettingChange(draining=True).applied(old, 100, "bob")
    assert drained_again == ExecutorSetting(1, ADDRESSES[0], ("big",), 5, 70, "maintenance", "bob", 100)
    plain = SettingChange((), 100, draining=False, note="").applied(old, 100, "bob")
    assert plain.says_nothing
    assert not old.says_nothing


def test_a_shard_made_before_a_drain_is_told_from_one_made_after():
    setting = ExecutorSetting(1, ADDRESSES[0], draining_ms=10_000)
    assert is_drained_since(setting, 9_000)
    assert is_drained_since(setting, 10_000 + GRACE_MS)  # by a node that had not heard
    assert not is_drained_since(setting, 10_001 + GRACE_MS)
    assert not is_drained_since(None, 9_000)

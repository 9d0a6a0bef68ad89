"""What differs between two definitions."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.versions import Change, changes

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=3)
NAMES = st.sampled_from(["name", "task", "retry", "on"])
DEFINITIONS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def applied(definition: Any, found: list[Change]) -> Any:
    """The definition with these changes made, by a reading of paths of the test's own."""
    result = {"": copy.deepcopy(definition)}
    for change in found:
        steps: list[Any] = [
            int(step[1:-1]) if step.startswith("[") else step
            for step in re.findall(r"\[\d+\]|[^.\[\]]+", change.field)
        ]
        place: Any = result
        for step, following in zip(["", *steps], [*steps, None], strict=True):
            if following is None:
                place[step] = change.new
            else:
                place = place[step]
    return result[""]


def bare(value: Any) -> Any:
    """Without fields that are null: a definition says the same without them."""
    if isinstance(value, dict):
        return {name: bare(inner) for name, inner in value.items() if bare(inner) is not None}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def strict(value: Any) -> str:
    """As JSON, which tells true from 1, and 1 from 1.0; the order of an object's fields says nothing, at any depth."""
    return json.dumps(value, sort_keys=True)


@settings(max_examples=200, deadline=None)
@given(DEFINITIONS, DEFINITIONS)
def test_the_changes_lead_from_one_to_the_other(old: Any, new: Any) -> None:
    found = changes(old, new)
    assert strict(bare(applied(old, found))) == strict(bare(new))
    assert [Change(one.field, one.new, one.old) for one in changes(new, old)] == sorted(
        found, key=lambda one: [other.field for other in changes(new, old)].index(one.field)
    )


@settings(max_examples=100, deadline=None)
@given(DEFINITIONS)
def test_nothing_differs_from_itself(definition: Any) -> None:
    assert changes(definition, copy.deepcopy(definition)) == []


def test_fields_are_named_by_their_path() -> None:
    old = {"task": {"params": "x"}, "schedule": [{"kind": "cron"}, {"kind": "api"}], "retry": 1}
    new = {"task": {"params": "y"}, "schedule": [{"kind": "cron"}, {"kind": "none"}], "retry": True, "on": 0}
    assert changes(old, new) == [
        Change("task.params", "x", "y"),
        Change("schedule[1].kind", "api", "none"),
        Change("retry", 1, True),
        Change("on", None, 0),
    ]

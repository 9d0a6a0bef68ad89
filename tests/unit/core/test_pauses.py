"""Which pause holds a run up, against a walk through all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pauses import Pause, Pauses, Scope

SCOPES = st.sampled_from(
    [(Scope.ALL, 0), *((scope, n) for scope in (Scope.APP, Scope.JOB) for n in (1, 2, 3))]
)
PAUSES = st.dictionaries(SCOPES, st.integers(0, 50), max_size=7)


@given(PAUSES, st.integers(1, 3), st.integers(1, 3), st.integers(0, 60))
def test_whatever_covers_it_and_is_not_over(untils, app_id, job_id, at_ms):
    known = [Pause(scope, scope_id, "", "ann", 0, until) for (scope, scope_id), until in untils.items()]
    pauses = Pauses()
    pauses.replace(known)
    covering = {
        pause.scope: pause
        for pause in known
        if (pause.scope, pause.scope_id) in ((Scope.ALL, 0), (Scope.APP, app_id), (Scope.JOB, job_id))
        and (pause.until_ms == 0 or at_ms < pause.until_ms)
    }
    found = pauses.find(app_id, job_id, at_ms)
    assert (found is None) == (not covering)
    if found is not None:
        assert found == next(covering[scope] for scope in Scope if scope in covering)  # the widest
    ends = sorted(until for until in untils.values() if until > at_ms)
    assert pauses.next_end_ms(at_ms) == (ends[0] if ends else None)
    assert bool(pauses) == bool(untils)


def test_what_it_says_of_itself():
    said = Pause(Scope.APP, 1, "stock-taking", "ann", 0, 1_795_000_000_000).words
    assert said == "the app is paused by ann, until 2026-11-18T11:06:40.000+00:00: stock-taking"
    assert Pause(Scope.ALL, 0, "", "ann", 0).words == "everything is paused by ann"

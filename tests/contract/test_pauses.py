"""Pauses are kept alike on every database, and every change of them is counted for the other nodes."""

from __future__ import annotations

import pytest

from gateway.core.errors import NotFound
from gateway.core.pauses import Pause, Scope
from gateway.store.pauses import PauseStore
from gateway.store.tables import revision


async def test_pauses_come_back_until_they_are_over(db, clock, rows):
    pauses, now_ms = PauseStore(db, clock), clock.now_ms()
    job = Pause(Scope.JOB, 7, "Inventur 盘点", "ann", now_ms, now_ms + 1000)
    app = Pause(Scope.APP, 7, "", "bob", now_ms + 1)
    for one in (job, app):
        await pauses.put(one, called="x")
    assert await pauses.all_pauses() == [job, app]
    again = Pause(Scope.APP, 7, "longer", "bob", now_ms + 2)
    await pauses.put(again, called="billing", name="Billing")
    assert await pauses.all_pauses() == [job, again]
    clock.ms += 1000
    assert await pauses.all_pauses() == [again]
    with pytest.raises(NotFound):
        await pauses.end(Scope.JOB, 7, called="7")
    await pauses.end(Scope.APP, 7, called="billing")
    assert await pauses.all_pauses() == []
    assert [row["n"] for row in await rows(revision) if row["name"] == "pause"] == [4]

"""What looks after records, and what people ask of them, walks no table either."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from gateway.core.daily import DailyFilter
from gateway.core.events import EventFilter
from gateway.core.model import PARTS
from gateway.store.daily import DailyStore
from gateway.store.engine import Database
from gateway.store.events import EventStore
from gateway.store.evidence import EvidenceStore
from gateway.store.history import HistoryStore
from gateway.store.runs import RunStore
from gateway.store.tables import event, run_daily
from gateway.store.versions import VersionStore
from tests.contract.test_plans import FIRST, JOBS, SLOT, Statements, fill, live

LOOKED_AT = ("run", "job_version", "event", "run_daily")


@pytest.fixture
def statements(db: Database, monkeypatch: pytest.MonkeyPatch) -> Statements:
    return Statements(db, monkeypatch)


async def records(db: Database) -> None:
    async with db.write() as conn:
        days = [{"day": n % 60, "job_id": n, "kind": n % 2, "app_id": n % 9} for n in range(6000)]
        await conn.execute(insert(run_daily), days)
        told = {"level": 1, "source_type": "job", "reason": "x", "text": "t"}
        await conn.execute(
            insert(event), [{"at_ms": n, "source_id": f"{n % 900}", **told} for n in range(6000)]
        )
    if not db.is_sqlite:
        async with db.read() as conn:
            (await conn.exec_driver_sql("ANALYZE TABLE run_daily, event")).close()


async def test_no_statement_about_records_scans(db: Database, clock, statements: Statements) -> None:
    await fill(db)
    await records(db)
    await live(db, 3)
    history, events = HistoryStore(db, clock), EventStore(db, clock)
    statements.on = True
    page = await history.kept(range(PARTS), 100_000 + JOBS - 5, 3, deleted=False)
    for kept in (*page, *await history.kept(range(PARTS), 0, 3, deleted=True)):
        await history.count(kept)
        await history.remove(kept, SLOT * 2, 0)
        await history.settle(kept, SLOT * 2)
        await DailyStore(db, clock).read(DailyFilter(0, 9, job_id=kept.job_id))
        await EvidenceStore(db, clock, 30).of_job(kept.job_id, SLOT - 100_000, SLOT + 1)
        await VersionStore(db).page(page[0].job_id, cursor="v5", limit=3)
        if kept.deleted:
            await history.forget(kept)
    found = await RunStore(db, clock).get_many([FIRST, FIRST + 1])
    await history.remove_runs(list(found.values()))
    await events.page(EventFilter(text="t", from_ms=100, to_ms=5000), cursor="e100.5", limit=5)
    await events.page(EventFilter(source_type="job", source_id="7"), cursor=None, limit=5)
    await DailyStore(db, clock).read(DailyFilter(3, 4))
    await DailyStore(db, clock).read(DailyFilter(3, 40, app_id=5))
    statements.on = False
    assert len(statements.seen) > 20
    scans: list[str] = []
    async with db.read() as conn:
        for sql, parameters in statements.seen.items():
            explain = "EXPLAIN QUERY PLAN " if db.is_sqlite else "EXPLAIN "
            plan = (await conn.exec_driver_sql(explain + sql, parameters)).mappings().all()
            scans += [f"{sql[:300]} … {dict(step)}" for step in plan if _is_scan(dict(step), db)]
    assert not scans, "\n".join(scans)


def _is_scan(step: dict, db: Database) -> bool:
    if db.is_sqlite:
        detail = step["detail"].removeprefix("SCAN TABLE ").removeprefix("SCAN ")
        return detail != step["detail"] and detail.split()[0] in LOOKED_AT
    return step["table"] in LOOKED_AT and step["type"] in ("ALL", "index")

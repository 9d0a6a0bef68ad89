"""Group commit on real databases: guards, merging, refused rows, and commits whose outcome is unknown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymysql.err import OperationalError
from sqlalchemy import insert, update
from sqlalchemy.exc import DBAPIError

from gateway.core.clock import SystemClock
from gateway.core.errors import LeaseLost, StoreError
from gateway.core.model import Counters, NewRun, TriggerKind
from gateway.core.parts import part_of
from gateway.core.sequel import Sequel
from gateway.core.states import IN_FLIGHT, WAITING, RunState
from gateway.core.work import JobFire, Lease, Move, TaskName, Work, Written
from gateway.store import sqltext, transaction
from gateway.store import writer as writer_module
from gateway.store.engine import Database
from gateway.store.tables import job_next_fire, node, task
from gateway.store.tables import run as run_table
from gateway.store.writer import GroupWriter
from tests.contract.cluster import Recorded

SLOT = 1_795_000_010_000
PLANNED_ONLY = frozenset({RunState.PLANNED})
# What only a server can show: limits of columns, two writers, a process of its own.
ON_A_SERVER = pytest.mark.parametrize(
    "db", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True
)


@pytest.fixture
def recorded(db: Database) -> Recorded:
    return Recorded(db)


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
async def writer(recorded: Recorded, counters: Counters) -> AsyncIterator[GroupWriter]:
    made = GroupWriter(recorded, SystemClock(), counters)
    task_ = asyncio.create_task(made.run())
    yield made
    task_.cancel()
    await asyncio.gather(task_, return_exceptions=True)


def run(run_id: int, **changes: Any) -> NewRun:
    fields: dict[str, Any] = {
        "id": run_id,
        "namespace_id": 1,
        "job_id": 1,
        "app_id": 1,
        "part": 7,
        "slot_key": SLOT + run_id,
        "due_ms": SLOT + run_id,
        "created_ms": SLOT,
        "trigger_kind": TriggerKind.SCHEDULE,
        "state": RunState.PLANNED,
        "root_id": run_id,
    }
    return NewRun(**(fields | changes))


async def add_job(
    db: Database, job_id: int = 1, *, version: int = 1, at: int | None = SLOT, enabled: int = 1
) -> None:
    values = {"job_id": job_id, "part": 7, "version": version, "enabled": enabled, "next_fire_at": at}
    async with db.write() as conn:
        await conn.execute(insert(job_next_fire).values(values))


def fire(job_id: int = 1, *, version: int = 1, at: int = SLOT, to: int | None = SLOT + 10_000) -> JobFire:
    return JobFire(job_id, part_of(job_id), version, at, to, (run(100 + job_id, job_id=job_id, slot_key=at),))


def claim(run_id: int, token: int = 5, *, job_id: int = 1, version: int = 1) -> Move:
    values = {"address": "http://a/", "claim_token": token, "claimed_ms": SLOT}
    return Move(run_id, RunState.DISPATCHING, WAITING, values, job_id=job_id, job_version=version)


def end(run_id: int, state: RunState = RunState.SUCCEEDED, at: int = SLOT, **changes: Any) -> Move:
    return Move(run_id, state, IN_FLIGHT, {"outcome": int(state), "finished_ms": at}, **changes)


async def states(rows: Any) -> dict[int, RunState]:
    return {row["id"]: RunState(row["state"]) for row in await rows(run_table)}


# ------------------------------------------------------------ merging


async def test_what_waits_shares_a_commit(writer, recorded, rows):
    written = await asyncio.gather(*(writer.write(Work(inserts=(run(n),))) for n in range(1, 201)))
    assert written == [Written()] * 200
    assert recorded.commits <= 2
    assert len(await rows(run_table)) == 200


async def test_a_big_backlog_is_divided(writer, recorded, rows):
    works = [Work(inserts=[run(1000 * n + k) for k in range(1000)]) for n in range(9)]
    await asyncio.gather(*(writer.write(work) for work in works))
    assert recorded.commits >= 3
    assert len(await rows(run_table)) == 9000


async def test_lazy_work_goes_with_the_next_commit_and_never_waits_long(writer, rows):
    await writer.write(Work(inserts=(run(1, state=RunState.DISPATCHING),)))
    lazy = [Work(moves=[Move(1, RunState.RUNNING, frozenset({RunState.DISPATCHING}), {"answered_ms": 9})])]
    writer.add_lazy(lambda: lazy.pop() if lazy else None)
    while (await rows(run_table))[0]["state"] != RunState.RUNNING:
        await asyncio.sleep(0.02)


async def test_drain_waits_for_all(writer, rows):
    for n in range(1, 30):
        writer.submit(Work(inserts=(run(n),)), lambda _: None)
    await writer.drain()
    assert len(await rows(run_table)) == 29


async def test_a_callback_that_fails_does_not_stop_the_writer(writer, rows):
    def explode(_: object) -> None:
        raise RuntimeError("a stage has a bug")

    writer.submit(Work(inserts=(run(1),)), explode)
    await writer.write(Work(inserts=(run(2),)))
    assert len(await rows(run_table)) == 2


# ------------------------------------------------------------ guarded moves


async def test_a_move_applies_only_from_its_sources(writer, rows):
    await writer.write(Work(inserts=(run(1), run(2), run(3, state=RunState.SUCCEEDED))))
    moves = [Move(n, RunState.SKIPPED, WAITING, {"reason": f"why {n}"}) for n in (1, 2, 3, 4)]
    written = await writer.write(Work(moves=moves))
    assert written.lost_moves == {3, 4}
    assert await states(rows) == {1: RunState.SKIPPED, 2: RunState.SKIPPED, 3: RunState.SUCCEEDED}
    assert [row["reason"] for row in await rows(run_table)] == ["why 1", "why 2", None]
    assert [row["open_part"] for row in await rows(run_table)][:2] == [None, None]


async def test_a_move_with_a_claim_needs_that_claim(db, writer, rows):
    await add_job(db)
    await writer.write(Work(inserts=(run(1), run(2))))
    await writer.write(Work(moves=[claim(1, 5), claim(2, 6)]))
    back = [
        Move(n, RunState.QUEUED, frozenset({RunState.DISPATCHING}), {"claim_token": 0}, claim=5)
        for n in (1, 2)
    ]
    written = await writer.write(Work(moves=back))
    assert written.lost_moves == {2}
    assert await states(rows) == {1: RunState.QUEUED, 2: RunState.DISPATCHING}


async def test_what_follows_exists_only_with_the_winning_move(writer, rows):
    await writer.write(Work(inserts=(run(1, state=RunState.RUNNING), run(2, state=RunState.SUCCEEDED))))
    moves = [
        end(n, RunState.RETRYING, then=(run(10 + n, slot_key=SLOT + n, attempt=2, state=RunState.QUEUED),))
        for n in (1, 2)
    ]
    written = await writer.write(Work(moves=moves))
    assert written.lost_moves == {2}
    assert await states(rows) == {1: RunState.RETRYING, 2: RunState.SUCCEEDED, 11: RunState.QUEUED}


async def test_two_ends_in_one_commit_the_first_wins(writer, rows):
    await writer.write(Work(inserts=(run(1, state=RunState.RUNNING),)))
    ends = [end(1, RunState.SUCCEEDED, SLOT + 1), end(1, RunState.FAILED, SLOT + 2)]
    _first, second = await asyncio.gather(*(writer.write(Work(moves=[move])) for move in ends))
    assert 1 in second.lost_moves
    (row,) = await rows(run_table)
    assert (row["state"], row["finished_ms"]) == (RunState.SUCCEEDED, SLOT + 1)


@pytest.mark.parametrize("other_first", [False, True])
async def test_moves_of_one_run_in_one_commit_keep_their_order(writer, rows, other_first):
    """Whatever shapes the moves of other runs have: the last word is the last move's."""
    await writer.write(Work(inserts=(run(1, state=RunState.RUNNING), run(2, state=RunState.DISPATCHING))))
    to_running = Move(2, RunState.RUNNING, frozenset({RunState.DISPATCHING}), {"answered_ms": 3})
    moves = [to_running, end(2)]
    await writer.write(Work(moves=[end(1), *moves] if other_first else [*moves, end(1)]))
    (_, row) = await rows(run_table)
    assert (row["state"], row["answered_ms"], row["open_part"]) == (RunState.SUCCEEDED, 3, None)


async def test_a_move_made_for_another_version_is_stale(db, writer, rows):
    await add_job(db, 1, version=2)
    await add_job(db, 2)
    await writer.write(Work(inserts=(run(1), run(2, job_id=2), run(3, job_id=3))))
    written = await writer.write(Work(moves=[claim(1), claim(2, job_id=2), claim(3, job_id=3)]))
    assert (written.stale_jobs, written.lost_moves) == ({1, 3}, {1, 3})
    assert (await states(rows))[1] is RunState.PLANNED
    assert (await states(rows))[2] is RunState.DISPATCHING


async def test_two_versions_of_a_job_in_one_commit_are_never_both_claimed(db, writer, rows):
    await add_job(db, 1, version=2)
    await writer.write(Work(inserts=(run(1), run(2))))
    await writer.write(Work(moves=[claim(1, version=1), claim(2, version=2)]))
    assert (await states(rows))[1] is RunState.PLANNED


# ------------------------------------------------------------ fires


async def test_a_fire_moves_the_job_and_inserts_its_rows(db, writer, rows):
    await add_job(db)
    assert await writer.write(Work(fires=(fire(),))) == Written()
    assert [row["next_fire_at"] for row in await rows(job_next_fire)] == [SLOT + 10_000]
    assert await states(rows) == {101: RunState.PLANNED}


async def test_a_last_fire_leaves_no_next(db, writer, rows):
    await add_job(db)
    await writer.write(Work(fires=(fire(to=None),)))
    assert [row["next_fire_at"] for row in await rows(job_next_fire)] == [None]


@pytest.mark.parametrize(
    "now", [{"version": 2}, {"enabled": 0}, {"next_fire_at": SLOT + 10_000}, {"next_fire_at": None}, None]
)
async def test_a_fire_of_a_job_that_was_changed_is_lost_with_its_rows(db, writer, rows, now):
    await add_job(db)
    await add_job(db, 2)
    async with db.write() as conn:
        mine = job_next_fire.c.job_id == 1
        await conn.execute(
            job_next_fire.delete().where(mine)
            if now is None
            else update(job_next_fire).where(mine).values(now)
        )
    written = await writer.write(Work(fires=(fire(), fire(2))))
    assert written.lost_fires == {1}
    assert await states(rows) == {102: RunState.PLANNED}


async def test_a_slot_that_has_its_row_keeps_it(db, writer, rows):
    await add_job(db)
    await writer.write(Work(inserts=(run(1, slot_key=SLOT, state=RunState.SUCCEEDED),)))
    assert not (await writer.write(Work(fires=(fire(),)))).lost_fires
    assert await states(rows) == {1: RunState.SUCCEEDED}
    assert writer.healthy


# ------------------------------------------------------------ names, lease


async def test_the_first_request_of_a_name_gets_it(writer, rows):
    def request(run_id: int) -> Work:
        return Work(inserts=(run(run_id),), names=(TaskName(1, "order-1 ' \\ 中", run_id, SLOT),))

    first, second = await asyncio.gather(writer.write(request(1)), writer.write(request(2)))
    later = await writer.write(request(3))
    assert (second.taken_names, later.taken_names) == ({2: 1}, {3: 1})
    assert 1 not in first.taken_names
    assert list(await states(rows)) == [1]
    assert [row["run_id"] for row in await rows(task)] == [1]


async def test_a_lease_is_renewed_by_each_write_and_a_lost_one_writes_nothing(db, writer, rows):
    async with db.write() as conn:
        await conn.execute(insert(node).values(name="n'1", epoch=3))
    await writer.write(Work(lease=Lease("n'1", 3)))
    assert [row["beat"] for row in await rows(node)] == [1]
    async with db.write() as conn:
        await conn.execute(update(node).values(epoch=4))
    with_lease = Work(inserts=(run(1),), lease=Lease("n'1", 3))
    outcomes = await asyncio.gather(
        writer.write(with_lease), writer.write(Work(inserts=(run(2),))), return_exceptions=True
    )
    assert isinstance(outcomes[0], LeaseLost)
    assert outcomes[1] == Written()
    assert list(await states(rows)) == [2]


# ------------------------------------------------------------ refused rows


async def test_a_row_the_database_refuses_fails_alone(db, writer, rows):
    await writer.write(Work(inserts=[run(n) for n in range(1, 11)]))
    too_big = (
        1 << 70
    )  # MariaDB has no such number; SQLite keeps it as a float, so it gets an invalid row instead
    bad = (
        Work(inserts=(replace_namespace(run(99)),))
        if db.is_sqlite
        else Work(moves=[Move(5, RunState.SKIPPED, WAITING, {"finished_ms": too_big})])
    )
    works = [
        Work(moves=[Move(n, RunState.SKIPPED, WAITING, {"finished_ms": n})]) for n in range(1, 11) if n != 5
    ]
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*map(writer.write, [*works, bad]), return_exceptions=True)
    assert outcomes[:-1] == [Written()] * 9
    assert isinstance(outcomes[-1], StoreError)
    assert writer.healthy
    found = await states(rows)
    assert [found[n] for n in range(1, 11)] == [
        RunState.PLANNED if n == 5 else RunState.SKIPPED for n in range(1, 11)
    ]


def replace_namespace(row: NewRun) -> NewRun:
    row.namespace_id = "NULL"  # type: ignore[assignment]
    return row


@ON_A_SERVER
async def test_a_text_that_is_too_long_is_refused(request, db, writer, rows):
    await writer.write(Work(inserts=(run(1),)))
    with pytest.raises(StoreError, match="Data too long"):
        await writer.write(Work(moves=[Move(1, RunState.SKIPPED, WAITING, {"address": "x" * 256})]))
    assert writer.healthy


# ------------------------------------------------------------ faults


async def kill_connection(db: Database, conn: Any) -> None:
    """Cut the connection that is about to commit, from another one."""
    if db.is_sqlite:
        raise ConnectionResetError("cut by the test")
    raw = await conn.get_raw_connection()
    async with db.write() as other:
        await other.exec_driver_sql(f"KILL CONNECTION {raw.driver_connection.thread_id()}")


def everything() -> Work:
    return Work(
        fires=(fire(),),
        inserts=(run(2, params="p"),),
        names=(TaskName(1, "name", 2, SLOT),),
        moves=[
            claim(1),
            end(3, RunState.RETRYING, then=(run(30, slot_key=SLOT + 3, attempt=2, state=RunState.QUEUED),)),
            Move(4, RunState.STOPPING, frozenset({RunState.RUNNING}), {"reason": "asked"}),
        ],
    )


async def prepare(db: Database, writer: GroupWriter) -> None:
    await add_job(db)
    running = [run(n, state=RunState.RUNNING) for n in (3, 4)]
    await writer.write(Work(inserts=(run(1), *running)))


async def assert_done_once(rows: Any) -> None:
    assert await states(rows) == {
        1: RunState.DISPATCHING,
        2: RunState.PLANNED,
        3: RunState.RETRYING,
        4: RunState.STOPPING,
        30: RunState.QUEUED,
        101: RunState.PLANNED,
    }
    assert [row["next_fire_at"] for row in await rows(job_next_fire)] == [SLOT + 10_000]
    assert [row["run_id"] for row in await rows(task)] == [2]


async def test_a_connection_cut_before_the_commit(db, writer, recorded, rows):
    await prepare(db, writer)
    recorded.before_commit = lambda conn: kill_connection(db, conn)
    assert await writer.write(everything()) == Written()
    await assert_done_once(rows)
    assert writer.healthy


async def test_a_connection_cut_after_the_commit(db, writer, recorded, rows):
    await prepare(db, writer)

    async def cut(_: object) -> None:
        raise ConnectionResetError("cut by the test")

    recorded.after_commit = cut
    assert await writer.write(everything()) == Written()
    await assert_done_once(rows)
    assert recorded.commits == 3
    assert writer.healthy


async def test_a_change_between_an_unknown_commit_and_its_repetition(db, writer, recorded, rows):
    """What was applied is reported as applied, even when the job has another version by then."""
    await prepare(db, writer)

    async def cut_and_edit(_: object) -> None:
        async with db.write() as conn:
            await conn.execute(update(job_next_fire).values(version=2, next_fire_at=SLOT + 99_000))
        raise ConnectionResetError("cut by the test")

    recorded.after_commit = cut_and_edit
    written = await writer.write(everything())
    assert (written.lost_moves, written.lost_fires) == (frozenset(), frozenset())
    assert (await states(rows))[1] is RunState.DISPATCHING
    assert [row["next_fire_at"] for row in await rows(job_next_fire)] == [SLOT + 99_000]


async def test_a_deadlock_is_repeated_as_a_whole(db, writer, recorded, rows, counters):
    await prepare(db, writer)

    async def deadlock(_: object) -> None:
        raise OperationalError(1213, "Deadlock found when trying to get lock")

    recorded.before_commit = deadlock
    assert await writer.write(everything()) == Written()
    await assert_done_once(rows)
    assert counters.values["transactions_repeated"] == 1


@ON_A_SERVER
async def test_a_real_deadlock(db, writer, rows):
    await writer.write(Work(inserts=(run(1), run(2))))
    async with db.write() as conn:
        await conn.execute(update(run_table).where(run_table.c.id == 2).values(priority=9))
        moving = asyncio.create_task(
            writer.write(Work(moves=[Move(n, RunState.SKIPPED, WAITING, {"reason": f"{n}"}) for n in (1, 2)]))
        )
        await asyncio.sleep(0.3)  # it holds row 1 now and waits for row 2
        # One of the two is the victim; the other one goes on.
        with contextlib.suppress(DBAPIError):
            await conn.execute(update(run_table).where(run_table.c.id == 1).values(priority=9))
        await conn.rollback()
    assert await moving == Written()
    assert set((await states(rows)).values()) == {RunState.SKIPPED}


@ON_A_SERVER
async def test_a_frozen_server(request, db, writer, rows, monkeypatch):
    """The writer gives up the answer, not the work; nothing is applied twice."""
    server = request.getfixturevalue("mariadb_server")
    await prepare(db, writer)
    monkeypatch.setattr(writer_module, "FLUSH_TIMEOUT_S", 0.5)
    server.freeze()
    try:
        writing = asyncio.create_task(writer.write(everything()))
        async with asyncio.timeout(10):
            while writer.healthy:
                await asyncio.sleep(0.05)
    finally:
        server.thaw()
    async with asyncio.timeout(20):
        assert await writing == Written()
    await assert_done_once(rows)
    assert writer.healthy


@ON_A_SERVER
@pytest.mark.parametrize("when", ["before_commit", "after_commit"])
async def test_a_killed_server(request, db, writer, recorded, rows, when):
    server = request.getfixturevalue("mariadb_server")
    await prepare(db, writer)

    async def kill(_: object) -> None:
        await asyncio.to_thread(server.kill)
        if when == "after_commit":
            raise ConnectionResetError("the answer is lost")

    setattr(recorded, when, kill)
    writing = asyncio.create_task(writer.write(everything()))
    async with asyncio.timeout(10):
        while writer.healthy:
            await asyncio.sleep(0.02)
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(20):
        assert await writing == Written()
    await assert_done_once(rows)


# ------------------------------------------------------------ texts

TEXTS = [
    "it's \"quoted\" \\ back\\\\slash \\' %s %(x)s :name ?",
    "line\r\nline\ttab\x1a\b\x00nul",
    "emoji 🎉 汉字 \u2028",
    "lone \ud83c surrogate",
    "'; DROP TABLE run; --",
    "",
    "%",
    "x" * 60_000,
    "'" * 60_000,
    "🎉" * 60_000,
]


async def test_texts_come_back_as_they_went(db, writer, rows):
    await writer.write(
        Work(
            inserts=[run(n, params=text, reason="r", addresses=("a", "b")) for n, text in enumerate(TEXTS, 1)]
        )
    )
    moves = [Move(n, RunState.SKIPPED, WAITING, {"message": text}) for n, text in enumerate(TEXTS, 1)]
    await writer.write(Work(moves=moves))
    expected = [text.replace("\ud83c", "?") for text in TEXTS]
    if db.is_sqlite:
        expected = [text.replace("\0", "�") for text in expected]
    found = await rows(run_table)
    assert [row["params"] for row in found] == expected
    assert [row["message"] for row in found] == expected


async def test_many_messages_are_many_short_statements(writer, rows, monkeypatch):
    lengths: list[int] = []
    execute = transaction.Cursor.execute

    async def noting(self: Any, sql: str) -> int:
        lengths.append(len(sql.encode("utf-8", "replace")))
        return await execute(self, sql)

    monkeypatch.setattr(transaction.Cursor, "execute", noting)
    await writer.write(Work(inserts=[run(n) for n in range(1, 101)]))
    texts = {n: f"{n} " + "🎉'" * 30_000 for n in range(1, 101)}
    await writer.write(
        Work(moves=[Move(n, RunState.SKIPPED, WAITING, {"message": text}) for n, text in texts.items()])
    )
    assert {row["id"]: row["message"] for row in await rows(run_table)} == texts
    assert max(lengths) < 4 * 1024 * 1024  # MySQL 5.7's max_allowed_packet


async def test_many_rows_with_values_of_their_own(writer, rows):
    await writer.write(Work(inserts=[run(n) for n in range(1, 2501)]))
    moves = [
        Move(n, RunState.SKIPPED, WAITING, {"finished_ms": n, "result_code": n % 7}) for n in range(1, 2501)
    ]
    assert await writer.write(Work(moves=moves)) == Written()
    found = {row["id"]: (row["finished_ms"], row["result_code"]) for row in await rows(run_table)}
    assert found == {n: (n, n % 7) for n in range(1, 2501)}
    assert sqltext.MAX_TEXT <= 400_000


# ------------------------------------------------------------ works that speak of the same run


async def test_two_moves_of_one_run_in_one_commit_are_told_apart(db, writer, rows):
    """A claim and a second one, for the row was told of twice: the first has the run, and must know it."""
    await add_job(db)
    await writer.write(Work(inserts=(run(1),)))
    first, second = await asyncio.gather(
        *(writer.write(Work(moves=[claim(1, token=token)])) for token in (5, 6))
    )
    assert (first.lost_moves, second.lost_moves) == (frozenset(), {1})
    (row,) = await rows(run_table)
    assert (row["state"], row["claim_token"]) == (RunState.DISPATCHING, 5)


async def test_a_work_hears_of_its_own_losses_only(db, writer, rows):
    await add_job(db)
    await writer.write(Work(inserts=(run(1), run(2, state=RunState.SUCCEEDED))))
    good = writer.write(Work(moves=[claim(1)], fires=(fire(),)))
    bad = writer.write(Work(moves=[claim(2)], fires=(fire(at=SLOT + 1),)))
    ours, theirs = await asyncio.gather(good, bad)
    assert (ours.lost_moves, ours.lost_fires) == (frozenset(), frozenset())
    assert (theirs.lost_moves, theirs.lost_fires) == ({2}, {1})
    assert (await states(rows))[101] is RunState.PLANNED


async def test_a_result_that_is_told_twice_queues_its_next_attempt_once(writer, rows):
    await writer.write(Work(inserts=(run(1, state=RunState.RUNNING),)))
    retries = [run(n, slot_key=SLOT + 1, attempt=2, state=RunState.QUEUED) for n in (11, 12)]
    ends = [end(1, RunState.RETRYING, at=SLOT + n, then=(retry,)) for n, retry in enumerate(retries)]
    written = await asyncio.gather(*(writer.write(Work(moves=[one])) for one in ends))
    assert [one.lost_moves for one in written] == [frozenset(), {1}]
    assert set(await states(rows)) == {1, 11}


# ------------------------------------------------------------ what follows an end


def told(run_id: int, sequel: int, *, then: int, instead: int) -> Move:
    """An end with a next attempt if its row says `sequel`, with another row if it says 0."""
    rows = [
        run(n, slot_key=SLOT + run_id, attempt=n, uncounted=n - 1, state=RunState.QUEUED)
        for n in (then, instead)
    ]
    otherwise = end(run_id, RunState.STOPPED, then=(rows[1],), sequels=frozenset({Sequel.BY_JOB}))
    return end(run_id, RunState.RETRYING, then=(rows[0],), sequels=frozenset({sequel}), otherwise=otherwise)


async def test_what_follows_an_end_is_what_its_row_says_then(writer, rows):
    await writer.write(Work(inserts=[run(n, state=RunState.RUNNING) for n in (1, 2, 3)]))
    marks = [Move(n, RunState.STOPPING, IN_FLIGHT, {"sequel": n - 1}) for n in (2, 3)]
    await writer.write(Work(moves=marks))
    ends = [told(1, 1, then=11, instead=21), told(2, 1, then=12, instead=22), told(3, 1, then=13, instead=23)]
    written = await writer.write(Work(moves=ends))
    found = await states(rows)
    assert [found[n] for n in (1, 2, 3)] == [RunState.STOPPED, RunState.RETRYING, RunState.STOPPING]
    assert sorted(set(found) - {1, 2, 3}) == [12, 21]
    assert (written.lost_moves, written.otherwise) == ({3}, {ends[0].otherwise})
    extra = {row["id"]: row["uncounted"] for row in await rows(run_table)}
    assert (extra[12], extra[21]) == (11, 20)


async def test_what_was_done_otherwise_is_known_after_a_commit_of_unknown_outcome(writer, recorded, rows):
    await writer.write(Work(inserts=[run(1, state=RunState.RUNNING)]))
    move = told(1, 1, then=11, instead=21)

    async def cut(_: object) -> None:
        raise ConnectionResetError("cut by the test")

    recorded.after_commit = cut
    written = await writer.write(Work(moves=[move]))
    assert (written.lost_moves, written.otherwise) == (frozenset(), {move.otherwise})
    assert sorted(await states(rows)) == [1, 21]


@pytest.mark.parametrize("other", [RunState.QUEUED, RunState.RUNNING])
@pytest.mark.parametrize("mine", [RunState.RETRYING, RunState.SUCCEEDED])
async def test_a_pair_is_made_together_or_not_at_all(writer, rows, mine, other):
    await writer.write(Work(inserts=[run(9, state=mine), run(4, state=other)]))
    first = Move(9, RunState.SUCCEEDED, frozenset({RunState.RETRYING}), {"result_code": 200, "sequel": 0})
    second = Move(4, RunState.SKIPPED, WAITING, {"reason": "not needed"})
    first.pair, second.pair = second, first
    written = await writer.write(Work(moves=[first, second]))
    is_made = (mine, other) == (RunState.RETRYING, RunState.QUEUED)
    assert written.lost_moves == (frozenset() if is_made else {4, 9})
    assert (await states(rows))[4] is (RunState.SKIPPED if is_made else other)
    assert (await states(rows))[9] is (RunState.SUCCEEDED if is_made else mine)


async def test_a_mark_and_an_end_of_one_commit(writer, rows):
    """The careful form sees the mark as the row would have it by then."""
    await writer.write(Work(inserts=[run(n, state=RunState.RUNNING) for n in (1, 2)]))
    mark = Move(1, RunState.STOPPING, IN_FLIGHT, {"sequel": 1})
    lost = Move(2, RunState.RUNNING, WAITING, {"reason": "never"})
    works = (Work(moves=[mark]), Work(moves=[told(1, 1, then=11, instead=21)]), Work(moves=[lost]))
    await asyncio.gather(*map(writer.write, works))
    assert sorted(await states(rows)) == [1, 2, 11]


async def test_a_run_becomes_a_parent_and_back(writer, rows):
    """The number of a parent's first shard is that which its row had until then."""
    await writer.write(Work(inserts=[run(n, state=RunState.QUEUED) for n in (1, 2)]))
    shards = tuple(run(10 + n, slot_key=SLOT + 1, shard=n, root_id=1) for n in range(2))
    values = {"shard": -1, "claimed_ms": SLOT}
    await writer.write(Work(moves=[Move(1, RunState.RUNNING, WAITING, values, then=shards)]))
    again = Move(2, RunState.RUNNING, WAITING, {"shard": -1})
    lost = Move(1, RunState.RUNNING, WAITING, {"reason": "never"})
    more = (run(20, slot_key=SLOT + 2, shard=0, root_id=2),)
    again.then = more
    await asyncio.gather(*(writer.write(Work(moves=[move])) for move in (again, lost)))
    found = {row["id"]: row["shard"] for row in await rows(run_table)}
    assert found == {1: -1, 10: 0, 11: 1, 2: -1, 20: 0}
    await writer.write(Work(inserts=[run(3, state=RunState.QUEUED, shard=-1)]))
    await writer.write(Work(moves=[Move(3, RunState.DISPATCHING, WAITING, {"shard": 0})]))
    assert {row["id"]: row["shard"] for row in await rows(run_table)}[3] == 0

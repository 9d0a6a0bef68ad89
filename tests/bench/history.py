"""Runs that are over, millions of them, made by the database itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from database import MariadbSql, Run
from oracle import Jobs
from stage import FIRST_RUN_ID, Bench

SUCCEEDED, OF_SCHEDULE = 10, 1
CHUNK = 1_000_000  # rows in a transaction
OLD_MS = 1_500_000_000_000  # the first slot: July 2017
FLUSH_S = 120
RELAXED = {
    "innodb_flush_log_at_trx_commit": 0,
    "innodb_io_capacity": 20_000,
    "innodb_io_capacity_max": 40_000,
}


def load_history(
    bench: Bench, sql: MariadbSql, jobs: Jobs, rows: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Rows as a run leaves them, below the ids in use, their slots spread over the jobs in the order of time.

    The indexes are dropped before and built again after: in bulk that is several times faster, and what stands
    in them is the same. Returns when all of it is on disk.
    """
    if rows >= FIRST_RUN_ID:
        raise ValueError(f"{rows:,} rows: fewer than {FIRST_RUN_ID:,}, the first id in use")
    started = time.monotonic()
    with sql.session() as run, _relaxed(bench, run):
        indexes = _indexes(run)
        run(f"ALTER TABLE run {', '.join(f'DROP INDEX `{name}`' for name, _ in indexes)}")
        for first in range(1, rows + 1, CHUNK):
            last = min(first + CHUNK - 1, rows)
            run(_insert(jobs, first, last))
            say(f"  {last:,} rows, {time.monotonic() - started:.0f} s")
        run(f"ALTER TABLE run {', '.join(f'ADD {definition}' for _, definition in indexes)}")
        run("ANALYZE TABLE run")
        say(f"  indexes, {time.monotonic() - started:.0f} s")
        _flush(run)
        size = run(
            "SELECT SUM(data_length + index_length) FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name = 'run'"
        )[0][0]
    found = {"rows": rows, "seconds": time.monotonic() - started, "gigabytes": int(size) / 1e9}
    say(f"  {rows:,} rows in {found['seconds']:.0f} s, {found['gigabytes']:.2f} GB")
    return found


def _insert(jobs: Jobs, first: int, last: int) -> str:
    count = jobs.last_id - jobs.first_id + 1
    job = f"({jobs.first_id} + seq % {count})"
    slot = f"({OLD_MS} + (seq DIV {count}) * 1000)"
    values = {
        "id": "seq",
        "job_id": "job.id",
        "app_id": "job.app_id",
        "part": "job.part",
        "slot_key": slot,
        "root_id": "seq",
        "trigger_kind": OF_SCHEDULE,
        "state": SUCCEEDED,
        "outcome": SUCCEEDED,
        "due_ms": slot,
        "created_ms": f"{slot} - 4000",
        "job_version": 1,
        "address": "CONCAT('http://10.0.0.', seq % 64, ':9999/')",
        "dialect": "'rest'",
        "claim_token": "seq * 7919",
        "claimed_ms": f"{slot} - 180",
        "send_deadline_ms": f"{slot} + 1320",
        "trigger_ms": slot,
        "sent_ms": slot,
        "answered_ms": f"{slot} + 2",
        "finished_ms": f"{slot} + 40",
        "result_code": 200,
    }
    return (
        f"INSERT INTO run ({', '.join(values)}) SELECT {', '.join(map(str, values.values()))} "
        f"FROM seq_{first}_to_{last} JOIN job ON job.id = {job}"
    )


def _indexes(run: Run) -> list[tuple[str, str]]:
    """Name and definition of all but the primary key, as the schema of today has them."""
    lines = [line.strip().rstrip(",") for line in run("SHOW CREATE TABLE run")[0][1].splitlines()]
    return [(line.split("`")[1], line) for line in lines if line.startswith(("KEY ", "UNIQUE KEY "))]


@contextmanager
def _relaxed(bench: Bench, run: Run) -> Iterator[None]:
    """Durability is for the measurement, not for making what is thrown away after it."""
    assert bench.server is not None
    before = {name: run(f"SELECT @@GLOBAL.{name}")[0][0] for name in RELAXED}
    run("SET SESSION unique_checks = 0, foreign_key_checks = 0")
    # The higher limit has to be there before the other one goes up, and to go down after it.
    for name in reversed(RELAXED):
        run(f"SET GLOBAL {name} = {RELAXED[name]}")
    try:
        yield
    finally:
        for name, value in before.items():
            run(f"SET GLOBAL {name} = {value}")


def _flush(run: Run) -> None:
    """Return when the buffer pool holds next to nothing that is not on disk."""
    before = run("SELECT @@GLOBAL.innodb_max_dirty_pages_pct, @@GLOBAL.innodb_max_dirty_pages_pct_lwm")[0]
    run("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0, innodb_max_dirty_pages_pct = 0")
    end = time.monotonic() + FLUSH_S
    while time.monotonic() < end:
        if int(run("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")[0][1]) < 100:
            break
        time.sleep(0.5)
    run(f"SET GLOBAL innodb_max_dirty_pages_pct = {before[0]}")
    run(f"SET GLOBAL innodb_max_dirty_pages_pct_lwm = {before[1]}")

"""A stand-in for xxl-job-admin of 2.1 to 3.4, as a program: what is seen of one from outside, on its own tables.

It reads slots 5 s ahead, moves `trigger_last_time` and `trigger_next_time`, keeps what it has read in memory, writes a
row of the log and then calls an executor; it takes registrations and results. What it cannot do: calendars of cron
beyond `0/N * * * * ?` and `* * * * * ?`, routes but ROUND and SHARDING_BROADCAST, retries, alarms, children.

    python -m tests.kit.old_admin --host … --port … --database …
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pymysql
from aiohttp import web

from compat.inbound import setup_executor_routes
from compat.link import RestLink
from gateway.core.access import AccessTokens
from gateway.core.clock import SystemClock
from gateway.core.generations import REST, XXLRPC21
from gateway.core.model import Beat, ExecutorResult, Job, Task
from gateway.core.ports import Outcome, RunOrder
from gateway.core.registry import Registry

GIVEN_UP = "given up"
PRE_READ_MS = 5_000
DEAD_MS = 90_000
SLOT = "slot "
"""The message of a row of the log begins so, with the slot in ms: what tests know a run's slot by."""


def now_ms() -> int:
    return int(time.time() * 1000)


def period_ms(row: dict[str, Any]) -> int:
    """Of the few schedules that it knows."""
    if row.get("schedule_type") == "FIX_RATE":
        return int(row["schedule_conf"]) * 1000
    expression = row["schedule_conf"] if "schedule_conf" in row else row["job_cron"]
    seconds, rest = expression.split(" ", 1)
    assert rest == "* * * * ?", expression
    every = 1 if seconds == "*" else int(seconds.removeprefix("0/"))
    assert 60 % every == 0, expression
    return every * 1000


def next_after(row: dict[str, Any], at_ms: int) -> int:
    every = period_ms(row)
    if row.get("schedule_type") == "FIX_RATE":
        return at_ms + every
    return at_ms + every - at_ms % every


def give_up(row: dict[str, Any], from_ms: int, before_ms: int) -> None:
    """Say which slots nobody will fire, because they were found too late: that is its own doing."""
    print(f"{GIVEN_UP} {row['id']} {from_ms} {before_ms}", flush=True)


class OldAdmin:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.zone = ZoneInfo(options.zone)
        self.clock = SystemClock()
        self.ring: dict[int, list[tuple[dict[str, Any], int]]] = defaultdict(list)
        self.turns = itertools.count()
        self.connection = self._connect()
        # As a pool does.
        self.idle = [self._connect(), self._connect()]

    def _connect(self) -> pymysql.connections.Connection:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.options.database_port,
            user=self.options.user,
            password=self.options.password,
            database=self.options.database,
            cursorclass=pymysql.cursors.DictCursor,
            autocommit=True,
            init_command="SET time_zone = '+00:00'",
        )

    def sql(self, text: str, *values: object) -> list[dict[str, Any]]:
        with self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return list(cursor.fetchall())

    def local(self, at_ms: int) -> str:
        """Wall-clock time of the machine that it runs on, as drivers send it: with a fraction, which the column rounds."""
        return f"{datetime.fromtimestamp(at_ms / 1000, self.zone):%Y-%m-%d %H:%M:%S.%f}"

    # ------------------------------------------------------------ its scheduler

    async def read_ahead(self) -> None:
        while True:
            self.connection.begin()
            self.sql("SELECT * FROM xxl_job_lock WHERE lock_name = 'schedule_lock' FOR UPDATE")
            at_ms = now_ms()
            due = self.sql(
                "SELECT * FROM xxl_job_info WHERE trigger_status = 1 AND trigger_next_time <= %s ORDER BY id",
                at_ms + PRE_READ_MS,
            )
            now: list[tuple[dict[str, Any], int]] = []
            for row in due:
                slot = row["trigger_next_time"]
                if at_ms > slot + PRE_READ_MS:
                    is_once = row.get("misfire_strategy") == "FIRE_ONCE_NOW"
                    now += [(row, slot)] * is_once
                    following = next_after(row, at_ms)
                    give_up(row, slot if not is_once else slot + 1, following)
                elif at_ms > slot:
                    now.append((row, slot))
                    following = next_after(row, at_ms)
                    give_up(row, slot + 1, following)
                else:
                    self.ring[slot // 1000].append((row, slot))
                    following = next_after(row, slot)
                self.sql(
                    "UPDATE xxl_job_info SET trigger_last_time = %s, trigger_next_time = %s WHERE id = %s",
                    slot, following, row["id"],
                )  # fmt: skip
            self.connection.commit()
            for row, slot in now:
                await self.trigger(row, slot)
            await asyncio.sleep(1 - time.time() % 1 if due else PRE_READ_MS / 1000 - time.time() % 1)

    async def turn_the_ring(self) -> None:
        while True:
            await asyncio.sleep(1 - time.time() % 1)
            second = now_ms() // 1000
            for due in sorted(one for one in self.ring if one <= second):
                for row, slot in self.ring.pop(due):
                    await self.trigger(row, slot)

    async def trigger(self, row: dict[str, Any], slot: int) -> None:
        addresses = self.alive(row["job_group"])
        if row["executor_route_strategy"] == "SHARDING_BROADCAST":
            for index, address in enumerate(addresses):
                self.send(row, slot, address, index, len(addresses))
        else:
            address = addresses[next(self.turns) % len(addresses)] if addresses else None
            self.send(row, slot, address, 0, 1)

    def send(self, row: dict[str, Any], slot: int, address: str | None, shard: int, total: int) -> None:
        at_ms = now_ms()
        with self.connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO xxl_job_log (job_group, job_id, trigger_time, trigger_code, handle_code, trigger_msg)"
                " VALUES (%s, %s, %s, 0, 0, %s)",
                (row["job_group"], row["id"], self.local(at_ms), f"{SLOT}{slot}"),
            )
            log_id = cursor.lastrowid
        if address is None:
            self.note(log_id, 500, f"{SLOT}{slot}: no executor")
            return
        order = RunOrder(
            run_id=log_id,
            job=_job(row),
            appname="",
            address=address,
            dialect=REST if self.options.rest else XXLRPC21,
            params=None,
            shard=shard,
            shard_total=total,
            trigger_ms=at_ms - at_ms % 1000,
            due_ms=slot,
            send_before=self.clock.monotonic() + 5,
            wall_before_ms=at_ms + 5_000,
        )

        def answered(_: RunOrder, outcome: Outcome, text: str) -> None:
            code = 200 if outcome is Outcome.ACCEPTED else 500
            self.note(log_id, code, f"{SLOT}{slot}: {address} {outcome.name} {text}")

        self.link.run(order, answered)

    def note(self, log_id: int, code: int, message: str) -> None:
        self.sql(
            "UPDATE xxl_job_log SET trigger_code = %s, trigger_msg = %s WHERE id = %s", code, message, log_id
        )

    # ------------------------------------------------------------ what executors call

    def alive(self, group: int) -> list[str]:
        rows = self.sql(
            "SELECT registry_value FROM xxl_job_registry WHERE registry_group = 'EXECUTOR' AND update_time > %s"
            " AND registry_key = (SELECT app_name FROM xxl_job_group WHERE id = %s) ORDER BY registry_value",
            self.local(now_ms() - DEAD_MS), group,
        )  # fmt: skip
        return [row["registry_value"] for row in rows]

    async def register(self, beat: Beat) -> None:
        key = ("EXECUTOR", beat.appname, beat.address)
        self.sql(
            "DELETE FROM xxl_job_registry"
            " WHERE registry_group = %s AND registry_key = %s AND registry_value = %s", *key
        )  # fmt: skip
        self.sql(
            "INSERT INTO xxl_job_registry (registry_group, registry_key, registry_value, update_time)"
            " VALUES (%s, %s, %s, %s)", *key, self.local(now_ms()),
        )  # fmt: skip
        addresses = self.sql(
            "SELECT GROUP_CONCAT(registry_value ORDER BY registry_value) AS list FROM xxl_job_registry"
            " WHERE registry_key = %s", beat.appname,
        )  # fmt: skip
        self.sql(
            "UPDATE xxl_job_group SET address_list = %s WHERE app_name = %s AND address_type = 0",
            addresses[0]["list"], beat.appname,
        )  # fmt: skip

    async def remove(self, appname: str, address: str) -> None:
        self.sql(
            "DELETE FROM xxl_job_registry WHERE registry_key = %s AND registry_value = %s", appname, address
        )

    async def report(self, results: Sequence[ExecutorResult], _client: str, _reach: object) -> bool:
        for one in results:
            self.sql(
                "UPDATE xxl_job_log SET handle_time = %s, handle_code = %s, handle_msg = %s"
                " WHERE id = %s AND handle_code = 0",
                self.local(now_ms()), one.code, one.message, one.run_id,
            )  # fmt: skip
        return True

    async def main(self) -> None:
        token = self.options.token
        self.link = RestLink(self.clock, sent_to=lambda _appname, _address: token)
        site = web.Application()
        access = AccessTokens([token], Registry(), self.clock.now_ms)
        setup_executor_routes(site, self, access=access, clock=self.clock)
        runner = web.AppRunner(site)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.options.port, reuse_address=True).start()
        print("listening", flush=True)
        await asyncio.gather(self.read_ahead(), self.turn_the_ring())


def _job(row: dict[str, Any]) -> Job:
    task = Task(row["executor_handler"], row["executor_param"] or "", row["glue_type"])
    return Job(
        id=row["id"], namespace_id=1, app_id=row["job_group"], part=0, version=1,
        name=row["job_desc"], enabled=True, schedule={"kind": "none"}, task=task,
    )  # fmt: skip


def arguments(given: Iterable[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database-port", type=int, required=True)
    for name in ("user", "password", "database", "token"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--zone", default="Asia/Shanghai")
    parser.add_argument(
        "--rest", action="store_true", help="calls as from 2.2 on, else those of 2.1.1 and 2.1.2"
    )
    return parser.parse_args(None if given is None else list(given))


if __name__ == "__main__":
    asyncio.run(OldAdmin(arguments()).main())

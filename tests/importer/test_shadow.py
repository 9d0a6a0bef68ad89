"""`shadow` on real databases: a recorded week of several releases, a live one with Ctrl-C, and what it asks of the server."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.cli import cli
from gateway.core.clock import SystemClock
from importer.errors import SourceError
from importer.shadow.follow import Pace
from importer.shadow.report import report_of
from importer.shadow.session import Shadow, ShadowOptions
from importer.shadow.watch import Watch
from importer.source.source import SourceOptions, open_source
from importer.source.url import parse_source
from importer.source.values import QuartzState, SourceGroup, SourceJob, SourceLog
from tests.kit.process import wait_until
from tests.kit.xxl_databases import READER, create_xxl_database
from tests.kit.xxl_schemas import has_quartz

ROOT = Path(__file__).parents[2]
SHANGHAI = timedelta(hours=8)
GROUPS = [SourceGroup("1", "shop", "Shop")]

# Whether a minute is a slot, on the wall clock: no code of a scheduler.
WEEK = {
    1: ("0 30 2 * * ?", lambda at: (at.hour, at.minute) == (2, 30)),
    2: (
        "0 0/15 9-17 ? * MON-FRI",
        lambda at: at.minute % 15 == 0 and 9 <= at.hour <= 17 and at.weekday() < 5,
    ),
    3: ("0 5 */2 * * ?", lambda at: at.minute == 5 and at.hour % 2 == 0),
    4: ("0 0 0 1,15 * ?", lambda at: (at.hour, at.minute) == (0, 0) and at.day in (1, 15)),
    5: ("0 10 12 ? * SUN", lambda at: (at.hour, at.minute) == (12, 10) and at.weekday() == 6),
}
CRON, MANUAL, RETRY = (
    "任务触发类型：Cron触发<br>x",
    "任务触发类型：手动触发<br>x",
    "任务触发类型：失败重试触发<br>x",
)


def local_now():
    return (datetime.now(UTC) + SHANGHAI).replace(tzinfo=None, microsecond=0)


def rows_of(begin, end):
    """The week as an admin in Shanghai has logged it, without mistakes: (job, local time)."""
    at, found = begin.replace(second=0), []
    while at < end:
        found += [(job_id, at) for job_id, (_, fits) in WEEK.items() if at >= begin and fits(at)]
        at += timedelta(minutes=1)
    return found


def shadowed(capsys, *options):
    """What the command says, and its exit code."""
    with pytest.raises(SystemExit) as left:
        cli.main(["shadow", *options])
    return left.value.code, capsys.readouterr()


def recorded(database, *, told):
    """A week in the log, with holes, doubles and runs by hand; what is to be found. `told`: the text tells the kind."""
    draw = random.Random(7)
    end = local_now() - timedelta(minutes=10)
    begin = end - timedelta(days=7)
    jobs = [
        SourceJob(
            n,
            "1",
            description=f"job {n}",
            cron=cron,
            trigger_status=1,
            updated=datetime(2020, 1, 1),
            retries=2,
        )
        for n, (cron, _) in WEEK.items()
    ]
    logs, expected = [], dict.fromkeys(("agreed", "missing", "duplicates", "manual", "retry"), 0)

    def log(job_id, at, text, retries_left=2):
        logs.append((at, job_id, text, retries_left))

    for job_id, at in rows_of(begin, end):
        fate = draw.choice(["fine"] * 8 + ["hole", "twice", "manual", "retry"])
        if fate == "hole":
            expected["missing"] += 1
            continue
        expected["agreed"] += 1
        log(job_id, at + timedelta(seconds=draw.randint(0, 2)), CRON)
        if fate == "twice" and told:
            expected["duplicates"] += 1
            log(job_id, at + timedelta(seconds=3), CRON)
        if fate == "manual" and told:
            expected["manual"] += 1
            log(job_id, at + timedelta(seconds=200), MANUAL)
        if fate == "retry":
            expected["retry"] += 1
            log(job_id, at + timedelta(seconds=20), RETRY, 1)
    logs.sort()
    database.fill(
        groups=GROUPS,
        jobs=jobs,
        logs=[
            SourceLog(
                n,
                job_id,
                triggered=at,
                trigger_message=text if told else None,
                retries_left=left,
                trigger_code=200,
            )
            for n, (at, job_id, text, left) in enumerate(logs, 1)
        ],
    )
    return begin, end, expected


@pytest.mark.parametrize(
    ("release", "told"),
    [("2.4.2", True), ("3.4.2", True), ("2.1.0", True), ("2.0.2", True), ("1.9.2", False), ("1.5.2", True)],
)
async def test_a_recorded_week_is_decided_as_the_old_admin_did(make, release, told):
    database = make(release)
    begin, end, expected = recorded(database, told=told)
    options = ShadowOptions(
        Pace(30, 120_000), "Asia/Shanghai", start=begin.isoformat(" "), end=end.isoformat(" ")
    )
    shadow = Shadow(parse_source(database.url), SourceOptions(), options, SystemClock(), lambda found: None)
    await shadow.run(asyncio.Event())
    total = shadow.found["total"]
    assert (total["agreed"], total["missing"], total["duplicates"]) == (
        expected["agreed"],
        expected["missing"],
        expected["duplicates"],
    )
    assert total["extra"] == 0
    assert total["unclear"] == 0
    assert total["not_slots"].get("manual", 0) == expected["manual"]
    assert total["not_slots"].get("retry", 0) == expected["retry"]
    assert total["lateness_s"]["max"] == 2
    assert shadow.found["timezone"] == "Asia/Shanghai"


def test_the_wrong_zone_is_said_on_the_command_line(make, tmp_path, capsys):
    database = make("2.4.2")
    recorded(database, told=True)
    begin = local_now() - timedelta(days=2)
    for n, (_, fits) in WEEK.items():
        at = local_now().replace(second=0) + timedelta(minutes=1)
        while not fits(at):
            at += timedelta(minutes=1)
        epoch = int((at - SHANGHAI).replace(tzinfo=UTC).timestamp() * 1000)
        database.execute(f"UPDATE {database.table('info')} SET trigger_next_time={epoch} WHERE id={n}")
    files = [tmp_path / f"out.{ending}" for ending in ("json", "md", "html")]
    code, told = shadowed(
        capsys,
        "--source",
        database.url,
        "--from",
        begin.isoformat(" "),
        "--timezone",
        "UTC",
        *(part for file in files for part in ("--report", str(file))),
    )
    assert code == 0, told.err
    assert "8 h ahead of" in " ".join(told.out.split())
    found = json.loads(files[0].read_text("utf-8"))
    assert found["next_times"]["differ"] == 4  # every second hour is the same 8 h away
    assert "# Shadow" in files[1].read_text("utf-8")
    assert "<html" in files[2].read_text("utf-8")
    _, told = shadowed(
        capsys, "--source", database.url, "--from", begin.isoformat(" "), "--report", "-", "--name", "shop"
    )
    found = json.loads(told.out)
    assert found["source"] == "shop"
    assert found["timezone"] == "Asia/Shanghai"
    assert found["next_times"]["differ"] == 0


class LiveAdmin(threading.Thread):
    """A tiny old admin: each second it logs what is due and moves the next times on, until it is told to stop."""

    def __init__(self, database, jobs):
        super().__init__(daemon=True)
        self.database = database
        self.jobs = jobs
        self.over = threading.Event()
        self.logged = 0
        self.holes = []

    def run(self):
        log = self.database.table("log")
        second = int(time.time()) + 1
        ids = itertools.count(1)
        while not self.over.wait(max(second + 0.02 - time.time(), 0)):
            local = (datetime.fromtimestamp(second, UTC) + SHANGHAI).replace(tzinfo=None)
            rows, moves = [], []
            for job, step in zip(self.jobs, (1, 2), strict=False):
                if second % step:
                    continue
                if step == 2 and second % 4 == 2:
                    self.holes.append(second)
                else:
                    rows.append(SourceLog(next(ids), job.id, triggered=local))
                    self.logged += 1
                moves.append(self.moved(job, second * 1000, (second + step) * 1000))
            if second % 7 == 0:
                rows.append(SourceLog(next(ids), self.jobs[0].id, triggered=local, trigger_message=MANUAL))
            self.database.fill(logs=rows)
            # As the real one: the text comes with an update of its own.
            self.database.execute(*moves, f"UPDATE {log} SET trigger_msg='{CRON}' WHERE trigger_msg IS NULL")
            second += 1

    def moved(self, job, last_ms, next_ms):
        if not has_quartz(self.database.release):
            times = f"trigger_last_time={last_ms}, trigger_next_time={next_ms}"
            return f"UPDATE {self.database.table('info')} SET {times} WHERE id={job.id}"
        name, _ = self.database.trigger_key(job)
        times = f"prev_fire_time={last_ms}, next_fire_time={next_ms}"
        return f"UPDATE {self.database.table('triggers')} SET {times} WHERE trigger_name='{name}'"


@pytest.mark.parametrize("release", ["2.4.2", "2.0.2", "1.5.2"])
def test_a_live_database_is_watched_until_ctrl_c(make, source_server, tmp_path, release):
    database = make(release)
    jobs = [
        SourceJob(
            number, "1", description=name, cron=cron, trigger_status=running, updated=datetime(2020, 1, 1)
        )
        for number, name, cron, running in (
            (1, "each second", "* * * * * ?", 1),
            (2, "with holes", "0/2 * * * * ?", 1),
            (3, "stopped", "0/2 * * * * ?", 0),
        )
    ]
    database.fill(groups=GROUPS, jobs=jobs)
    admin = LiveAdmin(database, jobs)
    admin.start()
    report = tmp_path / "out.json"
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gateway",
            "shadow",
            "--source",
            database.url,
            "--every",
            "500ms",
            "--settle",
            "3s",
            "--report",
            str(report),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until(lambda: admin.logged, timeout_s=20, what="the admin's first row")
        reading = (
            f"SELECT 1 FROM information_schema.processlist WHERE user='{READER}' AND db='{database.name}'"
        )
        wait_until(lambda: source_server.execute(reading), timeout_s=30, what="the first look")
        began = time.time()
        wait_until(
            lambda: any(began + 4 < hole < time.time() - 5.5 for hole in admin.holes),
            timeout_s=40,
            what="a hole that is old enough",
        )
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    finally:
        child.kill()
        admin.over.set()
        admin.join()
    assert child.returncode == 0, err
    found = json.loads(report.read_text("utf-8"))
    total = found["total"]
    start, end = found["from_ms"], found["judged_to_ms"]
    holes = [hole for hole in admin.holes if start <= hole * 1000 < end]
    assert total["missing"] == len(holes) >= 1
    assert total["extra"] == total["duplicates"] == total["unclear"] == 0
    slots = {1: 1000, 2: 2000}
    due = sum((end - 1) // step - (start - 1) // step for step in slots.values())
    assert total["agreed"] == due - len(holes)
    assert total["jobs_without_slots"] == {"stopped": 1}
    assert "with holes" in out
    assert "\x1b" not in err


async def test_a_look_is_three_short_reads(make, source_server):
    database = make("3.4.2")
    database.fill(
        groups=GROUPS, jobs=[SourceJob(1, "1", description="a", cron="0 0 1 * * ?", trigger_status=1)]
    )
    async with open_source(parse_source(database.url)) as source:
        await source.moment()
        before = _selects(source_server)
        moment = await source.moment()
        await source.log_heads(0, 10, 1000)
        assert _selects(source_server) - before == 3
    (sign,) = moment.signs
    assert (sign.job_id, sign.is_running, moment.last_log_id) == (1, True, 0)
    assert abs(moment.now_ms - time.time() * 1000) < 5000


async def test_what_is_read_of_a_job_is_when_it_runs_and_not_what(make):
    database = make("2.0.2")
    database.fill(
        groups=GROUPS,
        jobs=[
            SourceJob(
                5,
                "1",
                description="a",
                cron="0 0 1 * * ?",
                glue_source="x" * 1000,
                quartz=QuartzState("PAUSED", "0 0 2 * * ?", "UTC"),
            )
        ],
    )
    async with open_source(parse_source(database.url)) as source:
        (job,) = await source.schedules([5, 6])
        (sign,) = (await source.moment()).signs
    assert (job.cron, job.quartz.cron, job.glue_source, job.param) == (
        "0 0 1 * * ?",
        "0 0 2 * * ?",
        None,
        None,
    )
    assert not sign.is_running
    assert sign.cron == "0 0 2 * * ? UTC"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--for", "60s"], "--for: '60s' is not valid: at least 120.001 s"),
        (
            ["--to", "2026-01-01 00:00:00"],
            "--to: '2026-01-01 00:00:00' is not valid: given together with --from",
        ),
        (["--from", "2026-01-01 00:00:00", "--for", "1h"], "--for: '1h' is not valid: left out with --from"),
        (["--every", "0s"], "--every: '0s' is not valid: at least 0.5 s"),
        (["--source-release", "old"], "--source-release: 'old' is not valid"),
        (["--report", "out.txt"], "--report: 'out.txt' is not valid"),
        (["--timezone", "Nowhere"], "--timezone: 'Nowhere' is not valid"),
        (
            ["--from", "2099-01-01 00:00:00"],
            "--from: '2099-01-01 00:00:00' is not valid: an instant in the past",
        ),
        (["--from", "yesterday"], "--from: 'yesterday' is not valid"),
        (["--job", "99"], "--job: 99 is not valid: the id of a job in"),
    ],
)
def test_wrong_options_are_named_in_one_line(old, capsys, options, said):
    code, told = shadowed(capsys, "--source", old.url, *options)
    assert code == 2
    assert said in told.err


@pytest.fixture(scope="module")
def old(source_server):
    database = create_xxl_database(source_server, "2.4.2")
    database.fill(
        groups=GROUPS, jobs=[SourceJob(1, "1", description="a", cron="0 0 1 * * ?", trigger_status=1)]
    )
    yield database
    database.drop()


def _selects(server):
    ((_, count),) = server.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")
    return int(count)


def test_a_source_that_is_gone_ends_with_the_summary_and_exit_code_2(old, capsys, monkeypatch):
    """What was seen until then is shown."""

    class Lost(Shadow):
        async def run(self, stopped):
            async with open_source(self._url, self._source_options) as source:
                about, reader, now_ms = await self._prepare(source)
            self.found = report_of(Watch(now_ms, 120_000), about)
            assert reader.around.zone.name == "Asia/Shanghai"
            raise SourceError("the table is gone")

    monkeypatch.setattr("importer.shadow.session.Shadow", Lost)
    code, told = shadowed(capsys, "--source", old.url)
    assert code == 2
    assert "0 agreed, 0 missing" in told.out
    assert told.err == "error: the table is gone\n"


def test_ctrl_c_before_the_first_look_is_no_success(old, capsys, monkeypatch):
    """What follows it in a script has nothing to go on."""

    class Stopped(Shadow):
        async def run(self, stopped):
            os.kill(os.getpid(), signal.SIGINT)
            await stopped.wait()

    monkeypatch.setattr("importer.shadow.session.Shadow", Stopped)
    code, told = shadowed(capsys, "--source", old.url)
    assert (code, told.out) == (2, "")
    assert told.err == "error: stopped before the first look: there is nothing to tell\n"

"""The command `import` as a process, from a real MariaDB into SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from gateway.cli import cli
from importer.source.values import SourceDay, SourceGlue, SourceGroup, SourceJob, SourceLog, SourceUser
from tests.e2e.gateway_process import Ended, run_command
from tests.kit.terminal import Terminal
from tests.kit.xxl_databases import READER_PASSWORD, XxlDatabase

pytestmark = [pytest.mark.mariadb, pytest.mark.timeout(300)]

# With the blank: it comes after what was typed before was thrown away.
PASSWORD_PROMPT = "Password of xxl_reader: "
MD5 = "e10adc3949ba59abbe56e057f20f883e"
CRON = {"schedule_type": "CRON", "misfire": "DO_NOTHING", "route": "ROUND", "block": "SERIAL_EXECUTION"}


def an_hour_ago() -> datetime:
    """On the clock of the old admin."""
    return datetime.now(ZoneInfo("Asia/Shanghai")).replace(tzinfo=None, microsecond=0) - timedelta(hours=1)


@pytest.fixture
def old(make: Callable[..., XxlDatabase]) -> XxlDatabase:
    """Three jobs, one of which has an expression that no release can read."""
    database = make("2.4.0")
    database.fill(
        groups=[
            SourceGroup("1", "billing", "账单", 0),
            SourceGroup("4", "reports", "报表", 1, "10.0.0.1:9999"),
        ],
        jobs=[
            SourceJob(
                3,
                "1",
                description="每日对账",
                schedule_conf="0 0 3 * * ?",
                handler="h",
                trigger_status=1,
                **CRON,
            ),
            SourceJob(
                8, "4", description="broken", schedule_conf="every day", handler="h", trigger_status=1, **CRON
            ),
            SourceJob(
                9,
                "4",
                description="script",
                schedule_conf="0 0 4 * * ?",
                glue_type="GLUE_SHELL",
                glue_source="echo 2",
                trigger_status=0,
                **CRON,
            ),
        ],
        glue=[SourceGlue(1, 9, glue_type="GLUE_SHELL", source="echo 1", remark="the first")],
        days=[SourceDay(date.today() - timedelta(days=20), 0, 4, 1)],
        logs=[
            SourceLog(
                number,
                job,
                "1",
                handler="h",
                triggered=an_hour_ago(),
                trigger_code=200,
                handled=an_hour_ago(),
                handle_code=200,
            )
            for number, job in ((11, 3), (12, 3), (13, 77))
        ],
        users=[SourceUser(1, "admin", MD5, 1), SourceUser(2, "li", MD5, 0, "4")],
    )
    database.execute(
        "UPDATE xxl_job_log SET handle_time='0000-00-00 00:00:00' WHERE id=12",
        "INSERT INTO xxl_job_log_report (trigger_day) VALUES (NULL)",
    )
    return database


def imported(old: XxlDatabase, directory: Path, *options: str) -> Ended:
    return run_command(
        "import", "--source", old.url, "--data-dir", str(directory / "data"), *options, timeout_s=90
    )


def rows(directory: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(directory / "data" / "gateway.db") as db:
        return db.execute(sql).fetchall()


def test_a_whole_installation_moves(old: XxlDatabase, tmp_path: Path):
    planned = imported(old, tmp_path, "--dry-run", "--report", "-")
    assert planned.code == 0, planned.errors
    plan = json.loads(planned.output)
    assert plan["written"] is False
    assert [job["verdict"] for job in plan["jobs"]] == ["identical", "changed", "identical"]
    assert len(plan["jobs"][0]["fires"]["both"]) == 100
    assert all(time.endswith("T03:00:00+08:00") for time in plan["jobs"][0]["fires"]["both"])
    assert list(tmp_path.iterdir()) == []

    refused = imported(old, tmp_path)
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert "there is no terminal to ask at" in refused.errors[0]
    assert list(tmp_path.iterdir()) == []

    reports = [str(tmp_path / name) for name in ("r.json", "r.md", "r.html")]
    copied = ("--logs", "7", "--daily-reports")
    done = imported(
        old, tmp_path, "--yes", *copied, *(word for path in reports for word in ("--report", path))
    )
    assert done.code == 0, done.errors
    assert "Written: 2 apps, 3 jobs, 2 users" in done.output
    assert "which enables 1 job: xxljob-gateway cutover --source mysql://xxl_reader@127.0.0.1:" in done.output
    assert (
        "Copied: 2 runs of its log; 1 of jobs that are not here (77); 1 values of handle_time cannot be read; "
        "before the last 7 days: not asked for\n"
        "Copied: 1 counts of days; 1 without any day\n"
    ) in done.output
    assert rows(tmp_path, "SELECT id, job_id FROM run ORDER BY id") == [(11, 3), (12, 3)]
    assert rows(tmp_path, "SELECT id, name, enabled FROM job ORDER BY id") == [
        (3, "每日对账", 0),
        (8, "broken", 0),
        (9, "script", 0),
    ]
    assert rows(tmp_path, "SELECT id, appname FROM app ORDER BY id") == [(1, "billing"), (4, "reports")]
    assert rows(tmp_path, "SELECT COUNT(*) FROM job_version WHERE job_id = 9") == [(2,)]
    ((kept,),) = rows(tmp_path, "SELECT password_hash FROM user_account WHERE username = 'li'")
    assert str(kept).startswith("$argon2id$")
    report = json.loads(Path(reports[0]).read_text())
    assert report["written"] is True
    assert {one["table"]: (one["read"], one["taken"]) for one in report["counts"]}["jobs"] == (3, 3)
    assert {one["where"] for one in report["findings"] if one["level"] == "repaired"} == {
        "job 8",
        "jobs",  # without add_time and update_time
    }
    told = done.output + "".join(Path(path).read_text() for path in reports)
    assert not [secret for secret in (MD5, READER_PASSWORD) if secret in told]

    before = dump(tmp_path)
    again = imported(old, tmp_path, "--yes")
    assert again.code == 0
    assert "\nNothing is to be written: all of it is here already.\n" in again.output
    assert dump(tmp_path) == before


def test_a_wrong_password_is_not_repeated(old: XxlDatabase):
    wrong = CliRunner().invoke(
        cli, ["import", "--source", old.url.replace(READER_PASSWORD, "not-it"), "--dry-run"]
    )
    assert wrong.exit_code == 2
    assert wrong.stderr.splitlines()[-1].startswith("error: ")
    assert "not-it" not in wrong.output


def dump(directory: Path) -> list[str]:
    with sqlite3.connect(directory / "data" / "gateway.db") as db:
        return list(db.iterdump())


def test_on_a_terminal_it_asks_for_what_it_needs(old: XxlDatabase, tmp_path: Path):
    url = old.url.replace(f":{READER_PASSWORD}@", "@")
    asked = ("import", "--source", url, "--data-dir", str(tmp_path / "data"))
    first = Terminal(*asked)
    first.wait_for(PASSWORD_PROMPT)
    first.type(f"{READER_PASSWORD}\n")
    first.wait_for("[y/N]: ")
    assert first.end("\x03") == 2
    assert first.shown.splitlines()[-1] == "error: stopped: nothing has been written"
    assert READER_PASSWORD not in first.shown
    assert list(tmp_path.iterdir()) == []

    second = Terminal(*asked)
    second.wait_for(PASSWORD_PROMPT)
    second.type(f"{READER_PASSWORD}\n")
    second.wait_for("[y/N]: ")
    second.type("y\n")
    assert second.end() == 0
    assert "Written: 2 apps, 3 jobs, 2 users" in second.shown
    assert rows(tmp_path, "SELECT COUNT(*) FROM job") == [(3,)]

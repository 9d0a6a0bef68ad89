"""`import --undo`: what it says, what it refuses with one line and exit code 2, and that the same import can be given again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.app.data_dir import lock_data_dir
from gateway.cli import cli
from gateway.store.undo import UndoStore
from importer.source.values import SourceGroup, SourceJob, SourceLog, SourceUser
from tests.kit.xxl_databases import XxlDatabase

pytestmark = pytest.mark.mariadb

TABLES = ("app", "job", "job_version", "job_next_fire", "import_source", "import_item", "user_account", "run")
MD5 = "e10adc3949ba59abbe56e057f20f883e"
STARTED = "\x1b[2Jsteers"


@pytest.fixture
def old(make: Callable[..., XxlDatabase]) -> XxlDatabase:
    database = make("2.4.0")
    an_hour_ago = datetime.now().replace(microsecond=0) - timedelta(hours=1)
    database.fill(
        groups=[SourceGroup("1", "billing", "Billing", 0)],
        jobs=[
            SourceJob(
                number, "1", description=f"job {number}", cron="0 0 3 * * ?", handler="h", glue_type="BEAN",
                route="FIRST", block="SERIAL_EXECUTION", misfire="DO_NOTHING", trigger_status=1,
            )
            for number in (3, 5)
        ],
        logs=[
            SourceLog(n, 3, "1", triggered=an_hour_ago, trigger_code=200, handled=an_hour_ago, handle_code=200)
            for n in range(1, 700)
        ],
        users=[SourceUser(1, "li", MD5, 0, "1")],
    )  # fmt: skip
    return database


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("XXLJOB_GATEWAY_DATA_DIR", str(here))
    return lambda *words: CliRunner().invoke(cli, ["import", *words])


def said(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    return result.output


def contents(here: Path) -> dict[str, list[tuple]]:
    with contextlib.closing(sqlite3.connect(here / "gateway.db")) as database:
        return {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


def change(here: Path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(here / "gateway.db")) as database, database:
        database.execute(sql)


def test_an_import_is_undone_and_given_again(
    old: XxlDatabase, here: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--source", old.url, "--yes", "--logs", "2", "--daily-reports")
    said(run(*words), 0)
    change(here, f"UPDATE job SET name = '{STARTED}', version = 2 WHERE id = 5")
    before = contents(here)
    assert len(before["run"]) == 699

    text = said(run("--undo", "--dry-run"), 0)
    assert f"Undo the import from {old.url.rpartition('/')[2].partition('?')[0]}@" in text
    assert "\nGoes:  1 app, 2 jobs, 1 user, 699 imported runs\n  app 1 billing\n" in text
    assert "\n  job 5 steers: changed here since: version 2, imported as version 1\n  user 1 li\n" in text
    assert contents(here) == before

    async def killed(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(UndoStore, "begin", killed)
        text = said(run("--undo", "--yes"), 2)
    assert text.splitlines()[-1] == "error: stopped: nothing has been changed"
    assert contents(here) == before
    with monkeypatch.context() as patch:
        patch.setattr(UndoStore, "remove", killed)
        text = said(run("--undo", "--yes"), 2)
    assert text.splitlines()[-1] == (
        "error: stopped: apps, jobs and users are as before, of the imported runs and counts of days some may be gone; "
        "the same command goes on with it"
    )
    refused = said(run(*words), 2)
    assert "is being undone: finish that first, with `xxljob-gateway import --undo`" in refused

    text = said(run("--undo", "--yes"), 0)
    assert "(an earlier call has removed part of its runs)" in text
    assert text.splitlines()[-1].startswith(
        "Undone: 1 app, 2 jobs, 1 user. The same import can be given again"
    )
    assert {table: rows for table, rows in contents(here).items() if rows} == {}

    said(run(*words, "--timezone", "Europe/Berlin"), 0)
    after = contents(here)
    assert [row[0] for row in after["job"]] == [3, 5]
    assert [row[0] for row in after["user_account"]] == [1]
    assert len(after["run"]) == 699
    assert all("Europe/Berlin" in str(row) for row in after["job"])


def test_what_is_wrong_is_said_in_one_line_and_nothing_is_changed(
    old: XxlDatabase, here: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*words: str) -> str:
        lines = [line for line in said(run(*words), 2).splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        return lines[0]

    assert "--source: it is missing" in refused("--yes")
    assert "no import here: the database has not been made yet" in refused("--undo", "--yes")
    assert not here.exists()
    said(run("--source", old.url, "--yes"), 0)
    before = contents(here)
    # One of the surroundings is for other calls.
    monkeypatch.setenv("XXLJOB_GATEWAY_SOURCE_ACCESS_TOKEN", "token")
    for words, expected in (
        (("--source", old.url), "--source: not together with --undo"),
        (("--timezone", "UTC"), "--timezone: not together with --undo"),
        (("--merge",), "--merge: not together with --undo"),
        (("--existing", "skip"), "--existing: not together with --undo"),
        (("--name", "other"), "there is no import 'other' here"),
    ):
        assert expected in refused("--undo", "--yes", *words)
    assert "--yes: there is no terminal to ask at" in refused("--undo")
    with contextlib.closing(lock_data_dir(here)):
        assert "stop it for the moment" in refused("--undo", "--yes")
    assert contents(here) == before
    change(here, "UPDATE import_item SET live = 1 WHERE kind = 'job' AND new_id = 3")
    assert "job 3 is cut over: give `xxljob-gateway cutover --back` first" in refused("--undo", "--yes")

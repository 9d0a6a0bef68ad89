"""The command `cutover`: what it says, what it refuses with one line and exit code 2, and that nothing has changed then."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli
from gateway.core.clock import SystemClock
from importer.cutover import carry_out
from importer.source.values import SourceExecutor, SourceGroup, SourceJob, SourceLog
from importer.way_back import BEFOREHAND
from tests.e2e.gateway_process import REPOSITORY
from tests.kit.mariadb import MariadbServer
from tests.kit.process import Process, free_port
from tests.kit.terminal import Terminal
from tests.kit.xxl_databases import READER_PASSWORD, XxlDatabase

pytestmark = [pytest.mark.mariadb, pytest.mark.timeout(120)]

TOLD = "--old-admin-is-stopped"
TABLES = ("job", "job_version", "job_next_fire", "import_source", "import_item", "event", "run", "executor")


@pytest.fixture
def old(make: Callable[..., XxlDatabase]) -> XxlDatabase:
    """Two jobs that ran each minute until ten minutes ago, and one that is stopped."""
    database = make("2.4.0")
    slot = int(time.time()) // 60 * 60_000 - 600_000
    database.fill(
        groups=[SourceGroup("1", "billing", "Billing", 0)],
        jobs=[
            SourceJob(
                number, "1", description=f"job {number}", cron="0 * * * * ?", handler="h", glue_type="BEAN",
                route="FIRST", block="SERIAL_EXECUTION", misfire="DO_NOTHING", trigger_status=int(number < 9),
                last_ms=slot, next_ms=slot + 60_000,
            )
            for number in (3, 5, 9)
        ],
        logs=[SourceLog(1, 3, "1", trigger_code=200)],
    )  # fmt: skip
    return database


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("XXLJOB_GATEWAY_DATA_DIR", str(here))
    return lambda *words: CliRunner().invoke(cli, list(words))


def said(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    return result.output


def contents(here: Path) -> dict[str, list[tuple]]:
    with contextlib.closing(sqlite3.connect(here / "gateway.db")) as database:
        return {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


def test_there_and_back(old: XxlDatabase, here: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    said(run("import", "--source", old.url, "--yes"), 0)
    before = contents(here)
    text = said(run("cutover", "--source", old.seeing_url, "--dry-run"), 0)
    assert "The old admin is stopped: a job is" in text
    assert "nobody else is connected to its database" in text
    assert "2 jobs are to be enabled" in text
    assert "2 of them were due before now" in text
    assert "job 3 (job 3): " in text
    assert "taken as handled by the old admin" in text
    assert "warning: no executor of billing is registered here" in text
    assert "Nothing was changed" in text
    assert contents(here) == before

    text = said(run("cutover", "--source", old.url, TOLD, "--yes"), 0)
    assert "2 jobs are enabled here" in text
    assert [row[6] for row in contents(here)["job"]] == [1, 1, 0]
    assert "Nothing is to be enabled" in said(run("cutover", TOLD, "--yes"), 0)

    file = tmp_path / "next.sql"
    text = said(run("cutover", "--back", "--yes", "--sql", str(file)), 0)
    assert "2 jobs are disabled here" in text
    assert f"run {file}" in text
    assert file.read_text().count("UPDATE `xxl_job_info` SET trigger_next_time = ") == 2
    assert BEFOREHAND not in file.read_text()
    assert [row[6] for row in contents(here)["job"]] == [0, 0, 0]
    assert "Nothing was changed" in said(run("cutover", "--back", "--yes"), 0)

    assert "by hand" not in text

    # Somebody has forgotten the file, or lost it.
    again = tmp_path / "again.sql"
    renamed = ("--table-map", "xxl_job_=shop_")
    text = said(run("cutover", "--back", "--yes", "--sql", str(again), *renamed), 0)
    assert f"run {again}" in text
    assert again.read_text().count("UPDATE `shop_info` SET trigger_next_time = ") == 2


def test_what_is_wrong_is_said_in_one_line_and_nothing_is_changed(
    old: XxlDatabase, make: Callable[..., XxlDatabase], here: Path, run: Callable[..., Result]
) -> None:
    other = make("2.4.0")
    assert "nothing was imported" in said(run("cutover", TOLD, "--yes"), 2)
    said(run("import", "--source", old.url, "--yes"), 0)
    before = contents(here)
    nowhere = f"mysql://reader:secret@127.0.0.1:{free_port()}/xxl_job"
    cases: list[tuple[tuple[str, ...], str]] = [
        (("--yes",), "--source is missing"),
        (("--source", old.url, TOLD), "--yes"),
        (("--source", "nonsense", TOLD, "--yes"), "--source"),
        (("--source", nowhere, "--name", old.url.rpartition("/")[2], TOLD, "--yes"), "no installation"),
        (("--source", other.url, TOLD, "--yes"), "no installation"),
        (("--source", nowhere, "--name", name_of(old), TOLD, "--yes"), "cannot be reached"),
        (("--source", old.url.replace("only-reads", "wrong"), TOLD, "--yes"), "does not let the user"),
        (("--source", old.url, "--watch", "soon", "--yes"), "--watch"),
        (("--source", old.url, "--table-map", "x", TOLD, "--yes"), "--table-map"),
        (
            ("--source", old.url, TOLD, "--require-executors", "--yes"),
            "no executor is registered here for billing",
        ),
        (("--sql", "x", TOLD, "--yes"), "--sql"),
        (("--take-over", TOLD, "--yes"), "--take-over"),
        (("--back", "--take-over", "--yes"), "--take-over"),
        (("--back", "--name", "other", "--yes"), "no installation 'other'"),
    ]
    for words, expected in cases:
        result = run("cutover", *words)
        lines = [line for line in result.output.splitlines() if line.startswith("error: ")]
        assert (result.exit_code, len(lines)) == (2, 1), (words, result.output)
        assert expected in lines[0]
        assert "secret" not in result.output
    old.execute("UPDATE xxl_job_info SET executor_param = 'x' WHERE id = 5")
    assert "changed: 5. Take it over" in said(run("cutover", "--source", old.url, TOLD, "--yes"), 2)
    # A table is missing, or hidden from the account.
    old.execute("RENAME TABLE xxl_job_group TO away")
    assert "xxl_job_group" in said(run("cutover", "--source", old.url, TOLD, "--yes"), 2)
    assert contents(here) == before


def test_ctrl_c_between_jobs(
    old: XxlDatabase, here: Path, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what the target holds; and before anything is disabled the file is there."""
    said(run("import", "--source", old.url, "--yes"), 0)

    async def stopped_after_one(store, _clock, found, _progress):
        await store.enable(found.source, found.starts[:1])
        raise KeyboardInterrupt

    words = ("cutover", "--source", old.url, TOLD, "--yes")
    with monkeypatch.context() as patch:
        patch.setattr("importer.cutover.carry_out", stopped_after_one)
        text = said(run(*words), 2)
    assert text.splitlines()[-1] == (
        "error: stopped: 1 of 2 jobs are enabled here, the others are disabled. The same command goes on from there; "
        "`cutover --back` disables all of them"
    )
    assert "1 jobs are enabled here" in said(run(*words), 0)

    file = tmp_path / "next.sql"

    async def killed(_store, _clock, _imported):
        raise KeyboardInterrupt

    back = ("cutover", "--back", "--yes", "--sql", str(file))
    with monkeypatch.context() as patch:
        patch.setattr("importer.way_back.take_back", killed)
        text = said(run(*back), 2)
    assert "error: stopped: 2 of 2 jobs are enabled here" in text
    assert BEFOREHAND in file.read_text()
    assert file.read_text().count("AND trigger_next_time < ") == 2
    assert "2 jobs are disabled here" in said(run(*back), 0)
    assert BEFOREHAND not in file.read_text()


def test_another_cutover_was_there_at_the_same_moment(
    old: XxlDatabase, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(run("import", "--source", old.url, "--yes"), 0)

    async def second_of_two(store, clock, found, progress):
        await carry_out(store, clock, found, progress)
        return await carry_out(store, clock, found, progress)

    monkeypatch.setattr("importer.cutover.carry_out", second_of_two)
    text = said(run("cutover", "--source", old.url, TOLD, "--yes"), 0)
    assert "2 jobs were enabled by another cutover at this moment." in text
    assert "0 jobs" not in text
    assert "changed by somebody" not in text


def test_an_address_that_is_taken_over_late(old: XxlDatabase, here: Path, run: Callable[..., Result]) -> None:
    said(run("import", "--source", old.url, "--yes"), 0)
    words = ("cutover", "--source", old.url, TOLD, "--yes")
    said(run(*words), 0)
    assert "warning: --take-over registers nobody" in said(run(*words, "--take-over"), 0)
    old.fill(executors=[SourceExecutor("billing", "http://10.0.0.1:9999/", datetime.now())])
    assert contents(here)["executor"] == []
    text = said(run(*words, "--take-over"), 0)
    assert "Nothing is to be enabled" in text
    assert "1 executors are registered here." in text
    assert len(contents(here)["executor"]) == 1


@pytest.mark.parametrize("ahead_ms", [-3_000, 3_000])
def test_jobs_pass_by_the_clock_of_the_database_that_nodes_follow(
    old: XxlDatabase,
    run: Callable[..., Result],
    mariadb_url: str,
    mariadb_server: MariadbServer,
    monkeypatch: pytest.MonkeyPatch,
    ahead_ms: int,
) -> None:
    """The machine that the command runs on has another."""

    class OtherClock(SystemClock):
        def __init__(self) -> None:
            super().__init__()
            self.adjust(ahead_ms)

    monkeypatch.setenv("XXLJOB_GATEWAY_DATABASE_URL", mariadb_url)
    monkeypatch.setattr("gateway.core.clock.SystemClock", OtherClock)
    said(run("migrate"), 0)
    said(run("import", "--source", old.url, "--yes"), 0)
    for words in (("--source", old.url, TOLD), ("--back",)):
        before_ms = time.time() * 1000
        said(run("cutover", *words, "--yes"), 0)
        with mariadb_server.connect() as connection, connection.cursor() as cursor:
            connection.select_db(mariadb_url.rpartition("/")[2])
            cursor.execute("SELECT updated_ms FROM job WHERE id = 3")
            ((done_ms,),) = cursor.fetchall()
        assert before_ms - 100 < done_ms < time.time() * 1000 + 100


def test_names_steer_no_terminal(old: XxlDatabase, run: Callable[..., Result]) -> None:
    said(run("import", "--source", old.url, "--yes"), 0)
    name = "a\x1b[2J\x1b]0;owned\x07b\u202ec\x9b31md"
    old.execute(f"UPDATE xxl_job_info SET job_desc = '{name}' WHERE id = 3")
    said(run("import", "--source", old.url, "--yes", "--existing", "update"), 0)
    text = said(run("cutover", "--source", old.url, TOLD, "--dry-run"), 0)
    assert "\n  job 3 (abcd): " in text
    assert all(one.isprintable() for one in text.splitlines())


def test_ctrl_c_while_it_looks(
    old: XxlDatabase, here: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    """Nothing is due for long, so it goes on looking."""
    said(run("import", "--source", old.url, "--yes"), 0)
    before = contents(here)
    old.execute(f"UPDATE xxl_job_info SET trigger_next_time = {int(time.time() + 3600) * 1000}")
    words = ["cutover", "--source", old.url, "--yes", "--data-dir", str(here)]
    process = Process([sys.executable, "-m", "gateway", *words], log=tmp_path / "output", cwd=REPOSITORY)
    process.start()
    process.wait_ready(
        lambda: "looking for signs of life" in process.output(), timeout_s=60, what="a first look"
    )
    process.signal(signal.SIGINT)
    assert process.wait(30) == 2
    assert process.tail(1) == "error: stopped: nothing was changed"
    assert "Looking for 75 s or more: without the right PROCESS" in process.output()
    assert contents(here) == before


def answered(question: str, keys: str, *words: str) -> tuple[int, str]:
    """The exit code and the last line. Keys are typed again where Python has missed them, which cannot be told from a
    question that takes them twice only: so another one is asked then.
    """
    for _ in range(3):
        terminal = Terminal("cutover", *words)
        terminal.wait_for(question)
        code = terminal.end(keys)
        if terminal.typed == 1:
            break
    assert terminal.typed == 1
    return code, terminal.shown.splitlines()[-1]


def test_one_ctrl_c_ends_each_of_its_questions(
    old: XxlDatabase, here: Path, run: Callable[..., Result]
) -> None:
    """And `n` is no success for what would follow it in a script."""
    said(run("import", "--source", old.url, "--yes"), 0)
    stopped = (2, "error: stopped: nothing was changed")
    there = ("--source", old.url, TOLD, "--data-dir", str(here))
    unknown = ("--source", old.url.replace(f":{READER_PASSWORD}@", "@"), *there[2:])
    assert answered("Password of xxl_reader: ", "\x03", *unknown) == stopped
    before = contents(here)
    assert answered("Enable 2 jobs here? [y/N]: ", "\x03", *there) == stopped
    assert answered("Enable 2 jobs here? [y/N]: ", "n\n", *there) == (1, "Nothing was changed.")
    assert contents(here) == before
    said(run("cutover", *there, "--yes"), 0)
    before, back = contents(here), ("--back", *there[3:])
    assert answered("Disable 2 jobs here? [y/N]: ", "\x03", *back) == stopped
    assert answered("Disable 2 jobs here? [y/N]: ", "n\n", *back) == (1, "Nothing was changed.")
    assert contents(here) == before


def test_who_cannot_be_asked_is_told_before_it_looks(old: XxlDatabase, run: Callable[..., Result]) -> None:
    """Also where there is nothing to look at yet."""
    for words in (("--source", old.url), ("--back",)):
        assert "there is no terminal to ask at" in said(run("cutover", *words), 2)


def test_a_mistyped_directory_is_not_made(run: Callable[..., Result], tmp_path: Path) -> None:
    for words in ((TOLD,), ("--back",)):
        text = said(run("cutover", *words, "--yes", "--data-dir", str(tmp_path / "typo")), 2)
        assert "there is no gateway's database there: nothing was imported into it" in text
    assert list(tmp_path.iterdir()) == []


def name_of(old: XxlDatabase) -> str:
    return f"{old.name}@127.0.0.1:{old.server.port}"

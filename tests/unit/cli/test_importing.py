"""The command `import`: what it says, asks and leaves behind, with a source and a target that are made up."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli
from gateway.cli.importing import Asked, _asked, _Import, import_
from gateway.cli.root import OneLineErrors
from gateway.cli.source import source_of
from gateway.cli.target import one_line, target_words
from importer.apply import Applied
from importer.errors import SourceError, TargetFull
from importer.move import Seen
from importer.plan.make import PlanOptions, make_plan
from importer.plan.target import ImportedJob, Target
from importer.plan.values import Action, Existing, Plan
from importer.report.values import Copied
from importer.source.url import parse_source
from importer.source.values import Counters, Installation, SourceGroup, SourceJob, SourceUser

NOW_MS = 1_790_000_000_000
NAME = "xxl_job@10.0.0.5:3306"
TOKEN = "the-old-admins-token"
HASH = "0123456789abcdef0123456789abcdef"


def installation() -> Installation:
    return Installation(
        name=NAME,
        server="MariaDB 10.11.19",
        release="2.3.0 – 2.4.2",
        first=(2, 3, 0),
        last=(2, 4, 2),
        read_ms=NOW_MS,
        columns={"info": frozenset({"id", "schedule_type"})},
        groups=(SourceGroup("1", "billing", "账单", 0),),
        jobs=tuple(
            SourceJob(
                number,
                "1",
                description=f"job number {number}",
                schedule_type="CRON",
                schedule_conf="0 0 3 * * ?",
                misfire="DO_NOTHING",
                route="FIRST",
                handler="h",
                block="SERIAL_EXECUTION",
                glue_type="BEAN",
                trigger_status=1,
            )
            for number in (1, 2, 5)
        ),
        users=(SourceUser(1, "admin", HASH, 1),),
        counters=Counters(6, 2, 2, 100),
    )


def holding(plan: Plan) -> Target:
    """A target after this plan was carried out."""
    return Target(
        apps={one.app.id: one.app for one in plan.apps},
        jobs={one.job.id: one.job for one in plan.jobs},
        users={one.user.id: one.user for one in plan.users},
        imported_apps={key: one.app.id for one in plan.apps for key in one.keys},
        imported_jobs={
            one.old_id: ImportedJob(one.job.id, one.job.version, one.digest, one.wants_enabled)
            for one in plan.jobs
        },
        imported_users={one.old_id: one.user.id for one in plan.users},
    )


@dataclass
class MadeUp:
    """Both databases in memory; what goes wrong, and when, is set by the test."""

    target: Target = field(default_factory=Target)
    source: Installation = field(default_factory=installation)
    exists: bool = True
    reading: BaseException | None = None
    before_the_commit: BaseException | None = None
    after_the_commit: BaseException | None = None
    copying: BaseException | None = None
    copied: tuple[int, bool] | None = None
    logs: Copied = field(default_factory=lambda: Copied(1000, 990, "10 of jobs that are not here"))
    asked_to_write: list[bool] = field(default_factory=list)

    def now_ms(self) -> int:
        return NOW_MS

    async def see(self, *, to_write: bool) -> Seen:
        self.asked_to_write.append(to_write)
        if self.reading is not None:
            raise self.reading
        return Seen(self.source, self.target, self.exists, "which the import makes")

    async def look(self) -> tuple[Target, bool]:
        return self.target, True

    async def apply(self, plan: Plan, installation: Installation, progress) -> Applied:
        progress("writing", 0, 1)
        if self.before_the_commit is not None:
            raise self.before_the_commit
        self.target = holding(plan)
        if self.after_the_commit is not None:
            raise self.after_the_commit
        progress("writing", 1, 1)
        made = tuple(one.job.id for one in plan.jobs if one.action is Action.CREATE)
        return Applied(apps_made=(1,), jobs_made=made, users_made=(1,), anything=True, notes=("one note",))

    async def copy(self, plan: Plan, installation: Installation, log_days: int, *, daily: bool, progress):
        progress("log", 500, 1000)
        if self.copying is not None:
            raise self.copying
        self.copied = (log_days, daily)
        return self.logs if log_days else Copied(), Copied(daily * 7, daily * 7, "")


ASKED = Asked(
    source="mysql://reader@10.0.0.5:3306/xxl_job",
    target="SQLite, /data/gateway.db",
    shadow="xxljob-gateway shadow --source mysql://reader@10.0.0.5:3306/xxl_job",
    cutover="xxljob-gateway cutover --source mysql://reader@10.0.0.5:3306/xxl_job",
    plan=PlanOptions(NAME),
    log_days=0,
    daily=False,
    reports=(),
    dry_run=False,
    yes=False,
    own_tokens=(),
    secrets=frozenset({TOKEN}),
)


def play(steps: MadeUp, answer: str | None = None, **changed: object) -> Result:
    asked = replace(ASKED, **changed)

    @click.command("import")
    def command() -> int:
        with one_line():
            return _Import(asked, steps).run()

    group = OneLineErrors(commands=[command])
    result = CliRunner().invoke(group, ["import"], input=answer)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_dry_run_shows_the_plan_and_writes_nothing():
    steps = MadeUp(exists=False)
    result = play(steps, dry_run=True)
    assert result.exit_code == 0
    assert steps.target == Target()
    assert steps.asked_to_write == [False]
    assert "3: 3 identical" in result.stdout
    assert "SQLite, /data/gateway.db, which the import makes" in result.stdout
    assert "a plan: nothing has been written" in result.stdout
    assert "Asia/Shanghai (assumed)" in result.stdout
    assert "cutover --source mysql://reader@10.0.0.5:3306/xxl_job" in " ".join(result.stdout.split())


def test_it_asks_and_takes_no_for_an_answer():
    steps = MadeUp()
    result = play(steps, "n\n")
    assert result.exit_code == 1
    assert (
        "Write this (1 new app, 3 new jobs, 1 new user) into SQLite, /data/gateway.db? [y/N]" in result.stdout
    )
    assert result.stdout.endswith("Nothing has been written.\n")
    assert steps.target == Target()


@pytest.mark.parametrize(("answer", "yes"), [("y\n", False), (None, True)])
def test_it_imports_and_says_what_comes_next(answer: str | None, yes: bool):
    steps = MadeUp()
    result = play(steps, answer, yes=yes)
    assert result.exit_code == 0
    assert set(steps.target.jobs) == {1, 2, 5}
    assert steps.asked_to_write == [True]
    lines = result.stdout.splitlines()
    assert lines[-6:-3] == ["Written: 1 app, 3 jobs, 1 user", "  one note", ""]
    assert [line[:2] for line in lines[-3:]] == ["1.", "2.", "3."]
    assert lines[-1] == f"3. Stop the old admin and switch, which enables 3 jobs: {ASKED.cutover}"
    assert "writing: 1 of 1" in result.stderr


def test_a_second_import_has_nothing_to_do():
    steps = MadeUp()
    play(steps, yes=True)
    steps.before_the_commit = AssertionError("written again")
    result = play(steps)
    assert result.exit_code == 0
    assert "\nNothing is to be written: all of it is here already.\n\n1. Look at" in result.stdout
    steps.before_the_commit = None
    token = play(steps, plan=PlanOptions(NAME, access_token=TOKEN)).stdout
    assert "4. 1 of the apps were here already, with the access tokens that they have" in token


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_before_the_writing(interruption: BaseException):
    result = play(MadeUp(reading=interruption), yes=True)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2,
        "error: stopped: nothing has been written",
    )


def test_ctrl_c_at_the_question():
    steps = MadeUp()
    result = play(steps, "")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "error: stopped: nothing has been written"
    assert steps.target == Target()


def test_ctrl_c_while_it_is_written():
    before = play(MadeUp(before_the_commit=KeyboardInterrupt()), yes=True)
    assert (before.exit_code, before.stderr.splitlines()[-1]) == (
        2,
        "error: stopped: nothing has been written",
    )
    after = play(MadeUp(after_the_commit=KeyboardInterrupt()), yes=True)
    assert after.exit_code == 2
    assert after.stderr.splitlines()[-1] == (
        "error: stopped after the import was written: all apps, jobs and users are here, its jobs disabled"
    )


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (MadeUp(reading=SourceError("xxl_job_info: SELECT is denied")), "xxl_job_info: SELECT is denied"),
        (MadeUp(before_the_commit=TargetFull("no room left")), "no room left"),
        (MadeUp(before_the_commit=OSError(28, "No space left on device")), "No space left on device"),
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_code_2(steps: MadeUp, said: str):
    result = play(steps, yes=True)
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]
    assert result.stderr.count("error:") == 1
    assert steps.target == Target()


def test_a_target_with_other_jobs_is_refused_unless_they_are_to_be_together():
    other = make_plan(installation(), Target(), PlanOptions("another@host:3306"), NOW_MS)
    there = Target(apps=holding(other).apps, jobs=holding(other).jobs, users=holding(other).users)
    result = play(MadeUp(target=there), yes=True)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: --merge: ")
    together = play(MadeUp(target=there), yes=True, plan=PlanOptions(NAME, merge=True))
    assert together.exit_code == 0
    assert "Ids that are not kept" in together.stdout


def test_existing_ones_may_be_what_it_fails_at():
    steps = MadeUp()
    play(steps, yes=True)
    result = play(steps, yes=True, plan=PlanOptions(NAME, existing=Existing.FAIL))
    assert result.exit_code == 2
    assert "error: --existing fail: " in result.stderr


def test_reports_are_of_the_plan_first_and_of_what_was_done_at_the_end(tmp_path: Path):
    paths = tuple(str(tmp_path / name) for name in ("r.json", "r.md", "r.html"))
    play(MadeUp(), "n\n", reports=paths)
    assert json.loads((tmp_path / "r.json").read_text())["written"] is False
    result = play(MadeUp(), "y\n", reports=paths)
    assert json.loads((tmp_path / "r.json").read_text())["written"] is True
    assert (tmp_path / "r.md").read_text().startswith("# Import of xxl\\_job")
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    assert f"1. Look at {', '.join(paths)}" in result.stdout


def test_json_has_standard_output_for_itself():
    result = play(MadeUp(), yes=True, reports=("-",))
    assert json.loads(result.stdout)["written"] is True
    assert "3: 3 identical" in result.stderr
    asked = play(MadeUp(), "n\n", reports=("-",))
    assert (asked.exit_code, asked.stdout.strip("n\n")) == (1, "")


def test_a_report_that_finds_no_room_does_not_hide_what_was_done(tmp_path: Path):
    path = tmp_path / "no" / "r.json"
    result = play(MadeUp(), yes=True, reports=(str(path),))
    assert result.exit_code == 2
    assert result.stderr.endswith("No such file or directory; nothing has been written\n")


def test_the_log_follows_when_it_is_asked_for(tmp_path: Path):
    path = tmp_path / "r.json"
    steps = MadeUp()
    result = play(steps, "y\n", log_days=30, daily=True, reports=(str(path),))
    assert result.exit_code == 0
    assert "3 new jobs, 1 new user, 30 days of its log, its counts of days) into" in result.stdout
    assert "follows when the jobs are here" in result.stdout
    assert "Copied: 990 runs of its log; 10 of jobs that are not here" in result.stdout
    assert "Copied: 7 counts of days\n" in result.stdout
    assert steps.copied == (30, True)
    counts = {one["table"]: one for one in json.loads(path.read_text())["counts"]}
    assert (counts["log"]["read"], counts["log"]["taken"]) == (1000, 990)
    assert counts["daily report"]["taken"] == 7
    assert "log: 500 of 1,000" in result.stderr


def test_what_is_said_of_a_log_of_which_nothing_came():
    result = play(MadeUp(logs=Copied(0, 0, "its last id is smaller than it was")), yes=True, log_days=30)
    assert "Copied: 0 runs of its log; its last id is smaller than it was\n" in result.stdout
    assert result.stdout.count("Copied: ") == 1


def test_without_anything_new_the_log_still_follows():
    steps = MadeUp()
    play(steps, yes=True)
    assert steps.copied is None
    play(steps, yes=True, log_days=3)
    assert steps.copied == (3, False)


def test_that_jobs_were_deleted_there_is_something_to_write():
    steps = MadeUp()
    play(steps, yes=True)
    steps.source = replace(steps.source, jobs=steps.source.jobs[:2])
    result = play(steps, "y\n", plan=replace(ASKED.plan, existing=Existing.UPDATE))
    told = " ".join(result.stdout.split())
    assert "Write this (passwords that have changed, 1 job deleted there) into" in told
    assert "job 5, id job number 5 → it stays here, and is not to be enabled: it was deleted" in told
    assert "which enables 2 jobs" in told


def test_users_alone_are_asked_about_as_what_they_are():
    """Whether a password has changed is seen when it is checked, and not before."""
    steps = MadeUp()
    play(steps, yes=True)
    told = play(steps, "y\n", plan=replace(ASKED.plan, existing=Existing.UPDATE)).stdout
    assert "Write this (passwords that have changed) into" in told
    assert "password: the one there, if it has changed and nobody has set one here" in " ".join(told.split())


@pytest.mark.parametrize(
    ("copying", "said"),
    [
        (KeyboardInterrupt(), "stopped: apps, jobs and users are here"),
        (SourceError("the server has gone"), "the server has gone; apps, jobs and users are here"),
        (OSError(28, "No space left on device"), "No space left on device; apps, jobs and users are here"),
    ],
)
def test_a_log_that_stops_in_the_middle_can_be_gone_on_with(copying: BaseException, said: str):
    steps = MadeUp(copying=copying)
    result = play(steps, yes=True, log_days=30)
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].endswith("the same command goes on with it")
    assert set(steps.target.jobs) == {1, 2, 5}


def test_no_secret_is_said(tmp_path: Path):
    source = replace(
        installation(),
        groups=(SourceGroup("1", "billing", TOKEN, 0, access_token=TOKEN),),
        notes=(f"{TOKEN} {HASH}",),
    )
    paths = tuple(str(tmp_path / name) for name in ("r.json", "r.md", "r.html"))
    result = play(MadeUp(source=source), yes=True, reports=paths)
    told = result.output + "".join((tmp_path / path).read_text() for path in paths)
    assert "***" in told
    assert TOKEN not in told
    assert HASH not in told


def test_the_access_token_is_laid_beside_the_one_of_the_settings():
    plan = PlanOptions(NAME, access_token=TOKEN)
    none = " ".join(play(MadeUp(), yes=True, plan=plan).stdout.split())
    assert (
        "4. The imported apps take the old admin's access token; set XXLJOB_GATEWAY_ACCESS_TOKEN to it"
        in none
    )
    other = play(MadeUp(), yes=True, plan=plan, own_tokens=("another",)).stdout
    assert "this gateway's XXLJOB_GATEWAY_ACCESS_TOKEN is another" in other
    same = play(MadeUp(), yes=True, plan=plan, own_tokens=(TOKEN, "another")).stdout
    assert "4. " not in same


def test_the_next_commands_repeat_what_names_the_source_and_the_target():
    options = {
        "source": "mysql://reader:pass-word@10.0.0.5/xxl_job",
        "name": "old one",
        "table_map": ("xxl_job_=sched_",),
        "source_charset": "latin1",
        "timezone": "Asia/Shanghai",
        "data_dir": "/data",
        "database_url": "mysql+aiomysql://gw:pass-word@db/gw",
        "config": None,
    }
    target = target_words(options)
    given = source_of(options)
    assert shlex.join([*given.words, *given.zone_words, *target]) == (
        "--source mysql://reader@10.0.0.5/xxl_job --name 'old one' --table-map xxl_job_=sched_ "
        "--source-charset latin1 --timezone Asia/Shanghai --data-dir /data --database-url URL"
    )


@pytest.mark.parametrize(
    "place",
    [
        "localhost/x?unix_socket=/run/my.sock",
        "[::1]:3307/x",
        "db/x?ssl=true&ssl_ca=/a%20b.pem",
        "h/%E5%BA%93",
    ],
)
def test_the_next_commands_reach_the_same_source(place: str):
    text = f"mysql://who%40here:p%3Aw@{place}"
    given = import_.make_context("import", ["--source", text, "--source-release", "2.4.0", "--dry-run"])
    asked, _ = _asked({name: value for name, value in given.params.items() if name != "undo"})
    words = shlex.split(asked.shadow)
    again = parse_source(words[words.index("--source") + 1], environ={})
    assert again == replace(parse_source(text), password="")
    assert words[words.index("--source-release") + 1] == "2.4.0"
    assert "p%3Aw" not in asked.shadow + asked.cutover + asked.source
    assert shlex.split(asked.cutover)[2:4] == words[2:4]


def test_what_comes_next_after_a_dry_run_is_the_import():
    assert "2. Import it: the same command without --dry-run." in play(MadeUp(), dry_run=True).stdout
    assert "Import it" not in play(MadeUp(), yes=True).stdout.rpartition("Written:")[2]


URL = "mysql://reader:pw@127.0.0.1:1/xxl_job"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--report", f"/tmp/{'a' * 300}.md", "--yes"),
            "a file that this user can write (File name too long)",
        ),
        ((), "--yes: there is no terminal to ask at"),
        (("--source", "postgres://a:b@c/d", "--yes"), "--source: "),
        (("--source", "mysql://reader:pw@h", "--yes"), "it names no database"),
        (
            ("--report", "r.txt", "--yes"),
            "--report: 'r.txt' is not valid: a file that ends in .json, .md or .html",
        ),
        (("--report", "/no/where/r.md", "--yes"), "/no/where does not"),
        (("--table-map", "xxl_job_info", "--yes"), "--table-map: 'xxl_job_info' is not valid: OLD=NEW"),
        (("--table-map", "jobs=info", "--yes"), "--table-map: 'jobs=info' is not valid"),
        (("--timezone", "Mars/Phobos", "--yes"), "--timezone: 'Mars/Phobos' is not valid"),
        (("--source-charset", "big5", "--yes"), "--source-charset: 'big5' is not valid"),
        (("--logs", "0", "--yes"), "--logs: 0 is not valid: a number of days from 1 to 3650"),
        (("--access-token", "two words", "--yes"), "--access-token: '***' is not valid"),
        (("--source-release", "three", "--yes"), "--source-release: 'three' is not valid"),
        (("--name", " ", "--yes"), "--name: ' ' is not valid"),
        (("--existing", "replace", "--yes"), "Invalid value for '--existing'"),
        (("--database-url", "oracle://x", "--yes"), "database_url: "),
        (("--config", "/no/such.toml", "--yes"), "--config: "),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_connected(
    options: tuple[str, ...], said: str, tmp_path: Path
):
    given = options if "--source" in options else ("--source", URL, *options)
    env = {"XXLJOB_GATEWAY_DATA_DIR": str(tmp_path / "data")}
    result = CliRunner().invoke(cli, ["import", *given], env=env)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert "pw" not in result.output
    assert list(tmp_path.iterdir()) == []

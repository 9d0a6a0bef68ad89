"""Real executors of two generations move from their old admin to the gateway: all jobs go on, none fires twice.

The old admin is a stand-in (`tests.kit.old_admin`). What ran is counted in the files that the executors write; which
slot a log id stands for say the old admin's log and the gateway's rows.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from importer.source.values import SourceGroup, SourceJob, SourceLog
from tests.conftest import skip_for_lack
from tests.e2e.conftest import DatabaseMaker
from tests.e2e.gateway_process import ACCESS_TOKEN, REPOSITORY, GatewayProcess, run_command
from tests.e2e.peers import Peer, PeerUnavailableError, make_peer
from tests.kit.mariadb import PASSWORD, USER, MariadbServer
from tests.kit.old_admin import GIVEN_UP, SLOT
from tests.kit.process import Process, free_port, listens, wait_until
from tests.kit.xxl_databases import XxlDatabase, create_xxl_database

pytestmark = [pytest.mark.e2e, pytest.mark.mariadb, pytest.mark.timeout(300)]

GENERATIONS = ("2.1.2", "3.3.2")
NAP = "15000"
EVERY_MS = {7: 1000, 11: 2000, 15: 3000, 23: 10_000}


def jobs_of(release: str) -> list[SourceJob]:
    """Each with its own number as parameter, by which executions are told apart; ids as an old installation has them."""
    plain = {"author": "a", "handler": "okHandler", "route": "ROUND", "block": "SERIAL_EXECUTION"}
    plain |= {"glue_type": "BEAN", "trigger_status": 1, "last_ms": 0, "next_ms": 1}
    is_new = release != "2.1.2"
    rate = {"schedule_type": "FIX_RATE", "schedule_conf": "3"} if is_new else {"cron": "0/3 * * * * ?"}
    once = {"misfire": "FIRE_ONCE_NOW"} if is_new else {}
    nap = {"handler": "sleepHandler", "param": NAP, "block": "DISCARD_LATER"}
    given = {
        7: {"cron": "* * * * * ?"},
        11: {"cron": "0/2 * * * * ?"} | once,
        15: rate,
        23: {"cron": "0/10 * * * * ?"} | nap,
    }
    return [
        SourceJob(number, "4", description=f"job {number}", **({"param": str(number)} | plain | fields))
        for number, fields in given.items()
    ]


@dataclass
class Shop:
    """One generation: an old admin, its executor, and the gateway that they move to."""

    release: str
    directory: Path
    server: MariadbServer
    database: XxlDatabase
    gateway: GatewayProcess
    target: tuple[str, ...]
    old_port: int
    old: Process = field(init=False)
    peers: list[Peer] = field(default_factory=list)
    unsure: dict[int, set[int]] = field(default_factory=dict)
    commands: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        name = self.database.name
        # It has run for long, as its log shows.
        past = SourceLog(
            1, 7, "4", triggered=datetime.now() - timedelta(days=1), trigger_code=200, handle_code=200
        )
        group = SourceGroup("4", self.appname, "Shop", 0)
        self.database.fill(groups=[group], jobs=jobs_of(self.release), logs=[past])
        self.database.execute("INSERT INTO xxl_job_lock (lock_name) VALUES ('schedule_lock')")
        self.server.execute(f"GRANT ALL ON `{name}`.* TO '{USER}'@'127.0.0.1'")
        self.old = Process(
            [
                *(sys.executable, "-m", "tests.kit.old_admin", "--port", str(self.old_port)),
                *("--database-port", str(self.server.port), "--user", USER, "--password", PASSWORD),
                *("--database", name, "--token", ACCESS_TOKEN),
                *(() if self.release == "2.1.2" else ("--rest",)),
            ],
            log=self.directory / "old-admin.log",
            cwd=REPOSITORY,
        )

    @property
    def appname(self) -> str:
        return f"shop-{self.release.replace('.', '-')}"

    @property
    def source(self) -> str:
        return self.database.seeing_url

    def start_old(self, *, for_the_first_time: bool = False) -> None:
        for job_id, every_ms in EVERY_MS.items() if for_the_first_time else ():
            next_ms = int(time.time() * 1000 + 6_000) // every_ms * every_ms
            self.database.execute(
                f"UPDATE xxl_job_info SET trigger_next_time = {next_ms} WHERE id = {job_id}"
            )
        self.old.start()
        self.old.wait_ready(lambda: listens(self.old_port), timeout_s=30, what="the old admin to listen")

    def start_executor(self, admin_url: str, *, port: int | None = None) -> None:
        directory = self.directory / f"peer-{len(self.peers)}"
        try:
            peer = make_peer(
                f"java-{self.release}", admin_url, self.appname, ACCESS_TOKEN, directory, port=port
            )
        except PeerUnavailableError as lack:
            skip_for_lack(str(lack))
        peer.start()
        self.peers.append(peer)

    def wait_old_runs(self) -> None:
        """Each job has had an executor at the old admin."""

        def fired() -> bool:
            rows = self.database.execute("SELECT DISTINCT job_id FROM xxl_job_log WHERE trigger_code = 200")
            return len(rows) == len(jobs_of(self.release))

        wait_until(fired, timeout_s=40, what=f"all jobs of {self.release} to run at the old admin")

    def wait_here(self, seconds: float, *, timeout_s: float = 45) -> None:
        """The executor has run each job but the long one for that long here."""
        first = min((job_run["slot_ms"] for job_run in self.sent_here(7)), default=0)

        def ran() -> bool:
            nonlocal first
            slots = [one["slot_ms"] for one in self.sent_here(7)]
            first = first or min(slots, default=0)
            return bool(first) and max(slots) - first >= seconds * 1000

        wait_until(ran, timeout_s=timeout_s, what=f"job 7 of {self.release} to run here", every_s=0.5)

    def sent_here(self, job_id: int) -> list[dict]:
        return self.gateway.api.runs(job_id, state="succeeded")

    def last_here(self, job_id: int) -> int:
        """The last slot that has a row here."""
        rows = self.gateway.api.runs(job_id)
        return max(row["slots"]["last_ms"] if row["slots"] else row["slot_ms"] for row in rows)

    # ------------------------------------------------------------ what has run

    def old_slots(self) -> dict[int, tuple[int, int]]:
        """By log id of the old admin: the job and its slot."""
        rows = self.database.execute("SELECT id, job_id, trigger_msg FROM xxl_job_log WHERE id > 1")
        # Between seconds there are slots in the rows only: they fire with the whole ones.
        return {
            log_id: (job_id, int(re.match(rf"{SLOT}(\d+)", text)[1]) // 1000 * 1000)
            for log_id, job_id, text in rows
        }

    def check(self, before_ms: int = 1 << 62) -> None:
        """No slot ran twice, nothing else ran; and up to that instant no slot of these schedulers is without a row."""
        executed = [one for peer in self.peers for one in peer.executions()]
        old = self.old_slots()
        here: dict[int, tuple[int, int]] = {}
        rows_here: list[tuple[int, int]] = []
        for job in jobs_of(self.release):
            for row in self.gateway.api.runs(job.id):
                here[row["id"]] = (job.id, row["slot_ms"])
                last_ms = row["slots"]["last_ms"] if row["slots"] else row["slot_ms"]
                rows_here += [(job.id, slot) for slot in self.slots(job.id, row["slot_ms"], last_ms)]
        known = old | here
        assert {one.run_id for one in executed} <= known.keys()
        twice = [slot for slot, count in Counter(known[one.run_id] for one in executed).items() if count > 1]
        assert twice == []
        assert [slot for slot, count in Counter(rows_here).items() if count > 1] == []
        assert set(old.values()) & set(rows_here) == set()
        for job in jobs_of(self.release):
            given_up = {slot for slot in self.given_up(job.id) if slot < before_ms}
            seen = {slot for job_id, slot in (*old.values(), *rows_here) if job_id == job.id}
            # From when on its phase was the one that it has here.
            seen = {slot for slot in seen if slot > max(given_up, default=0)}
            lost = set(self.slots(job.id, min(seen), max(seen))) - seen - self.unsure.get(job.id, set())
            assert {slot for slot in lost if slot < before_ms} == set(), job.id

    def prove(self) -> None:
        """By the gateway's own proof too: also slots of before the cutover were slots of these jobs."""
        for job in jobs_of(self.release):
            (proof,) = self.gateway.api.call("GET", f"/api/v1/proof?job_id={job.id}")["items"]
            assert proof["right"], proof

    def cut_over(self, said: str) -> None:
        """What the command has told of slots that it took as handled: the old admin was late just then."""
        for job_id, slots in re.findall(r"job (\d+) \(.*\): (.*): taken as handled", said):
            moments = map(datetime.fromisoformat, slots.split(", "))
            self.unsure[int(job_id)] = {int(at.timestamp() * 1000) for at in moments}

    def given_up(self, job_id: int) -> set[int]:
        """Slots that the old admin has found too late, by its own word."""
        found = re.findall(rf"^{GIVEN_UP} {job_id} (\d+) (\d+)$", self.old.output(), re.MULTILINE)
        return {
            slot for first, before in found for slot in range(int(first), int(before)) if slot % 1000 == 0
        }

    def slots(self, job_id: int, first_ms: int, last_ms: int) -> range:
        return range(first_ms, last_ms + 1, EVERY_MS[job_id])


# ---------------------------------------------------------------- what both ways share


@pytest.fixture
def shops(
    request: pytest.FixtureRequest,
    mariadb_server: MariadbServer,
    make_database: DatabaseMaker,
    tmp_path: Path,
) -> Iterator[list[Shop]]:
    """One of each generation. By address: two ports and MariaDB; by take-over: one port after the other, and SQLite."""
    made: list[Shop] = []
    try:
        for release in GENERATIONS:
            directory = tmp_path / release
            url = make_database("mariadb") if request.param == "by address" else None
            gateway = GatewayProcess(directory / "gateway", database_url=url)
            target = ("--database-url", url) if url else ("--data-dir", str(gateway.data_dir))
            old_port = gateway.port if url is None else free_port()
            database = create_xxl_database(mariadb_server, release)
            made.append(Shop(release, directory, mariadb_server, database, gateway, target, old_port))
        yield made
    finally:
        for shop in made:
            for process in shop.commands:
                process.kill()
                process.communicate()
            shop.old.kill()
            for peer in shop.peers:
                peer.kill()
            shop.gateway.kill()
            shop.database.drop()


def command(shop: Shop, *words: str) -> subprocess.Popen[str]:
    """Both shops at once: each looks for signs of life for some seconds."""
    started = subprocess.Popen(
        [sys.executable, "-m", "gateway", *words, *shop.target],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    shop.commands.append(started)
    return started


def all_do(shops: Sequence[Shop], code: int, *words: str) -> list[str]:
    """`xxljob-gateway WORDS --source …` for each; what they said."""
    started = [(shop, command(shop, *words, "--source", shop.source)) for shop in shops]
    said = []
    for shop, process in started:
        text = process.communicate(timeout=100)[0]
        assert process.returncode == code, f"{shop.release}: {text}"
        said.append(text)
    return said


def run_at_the_old_admin(shops: Sequence[Shop]) -> None:
    """All jobs run there for some seconds; then they are imported, which a running admin is no obstacle to."""
    for shop in shops:
        shop.start_old(for_the_first_time=True)
        shop.start_executor(f"http://127.0.0.1:{shop.old_port}/xxl-job-admin")
    for shop in shops:
        shop.wait_old_runs()
    all_do(shops, 0, "import", "--yes")


@pytest.mark.parametrize("shops", ["by address"], indirect=True)
def test_executors_are_given_another_address(shops: list[Shop]) -> None:
    """The gateway runs all the time; the old admin is killed, executors are restarted with the new address."""
    for shop in shops:
        shop.gateway.start()
    run_at_the_old_admin(shops)
    for text in all_do(shops, 2, "cutover", "--yes"):
        assert "is at work" in text
    for shop in shops:
        assert not any(
            shop.gateway.api.call("GET", f"/api/v1/jobs/{job.id}")["enabled"] for job in jobs_of(shop.release)
        )
        shop.old.kill()
    started = [command(shop, "cutover", "--yes", "--source", shop.source) for shop in shops]
    for shop in shops:
        shop.peers[0].process.signal(signal.SIGTERM)
    for shop in shops:
        before = shop.peers[0]
        before.stop()
        shop.start_executor(shop.gateway.admin_url, port=before.port)
    for shop, process in zip(shops, started, strict=True):
        text = process.communicate(timeout=100)[0]
        assert process.returncode == 0, text
        assert "4 jobs are enabled here" in text
        shop.cut_over(text)
    for shop in shops:
        shop.wait_here(3)
        # Again it has nothing to do.
        assert {job.id for job in jobs_of(shop.release)} == {
            one["id"] for one in shop.gateway.api.call("GET", "/api/v1/jobs")["items"] if one["enabled"]
        }
        shop.check()
        shop.prove()
    go_back(shops[-1])


def go_back(shop: Shop) -> None:
    """The jobs are disabled, and the old admin goes on with the slots after: none of them has run here."""
    since_ms = int(time.time() * 1000)
    file = shop.directory / "next.sql"
    done = run_command("cutover", "--back", "--yes", "--sql", str(file), *shop.target, timeout_s=100)
    assert done.code == 0, done
    assert "4 jobs are disabled here" in done.output
    shop.database.execute(*file.read_text().splitlines())
    before = shop.old_slots().keys()
    last = {job.id: shop.last_here(job.id) for job in jobs_of(shop.release)}
    shop.start_old()

    def slots_again() -> dict[int, set[int]]:
        found = [slot for log_id, slot in shop.old_slots().items() if log_id not in before]
        return {job_id: {slot for one, slot in found if one == job_id} for job_id in last}

    wait_until(lambda: all(slots_again().values()), timeout_s=40, what="the old admin to go on with all jobs")
    shop.old.kill()
    shop.check(since_ms)
    # Each goes on with the slot after the last that was sent from here, if only to find it too late.
    for job_id, there in slots_again().items():
        given_up = {slot for slot in shop.given_up(job_id) if slot > last[job_id]}
        assert min(there | given_up) == last[job_id] + EVERY_MS[job_id], job_id


@pytest.mark.parametrize("shops", ["by take-over"], indirect=True)
def test_the_gateway_takes_the_old_address_over(shops: list[Shop]) -> None:
    """Executors are not touched: the same port, prefix and token answer them, and results for old log ids too."""
    run_at_the_old_admin(shops)
    pids = [shop.peers[0].pid for shop in shops]
    for shop in shops:
        shop.old.signal(signal.SIGKILL)
        shop.old.wait(5)
    said = all_do(shops, 0, "cutover", "--take-over", "--yes")
    for shop, text in zip(shops, said, strict=True):
        assert "The old admin is stopped: " in text
        assert "1 executors that were registered with the old admin" in text
        assert "warning: no executor" not in text
        shop.cut_over(text)
        shop.gateway.start()
    for shop in shops:
        shop.wait_here(3)
        # They have not registered yet, which they do every 30 s; nothing failed for that.
        assert not shop.gateway.api.runs(7, state="failed")
        shop.check()
        shop.prove()
    assert [shop.peers[0].pid for shop in shops] == pids
    for shop in shops:
        # A run of the old admin was on its way when that died; its result is answered and kept.
        wait_until(
            lambda shop=shop: foreign(shop), timeout_s=45, what=f"results of old runs of {shop.release}"
        )
        assert foreign(shop) <= shop.old_slots().keys()


def foreign(shop: Shop) -> set[int]:
    """Log ids of results that were kept as foreign."""
    file = f"file:{shop.gateway.data_dir / 'gateway.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(file, uri=True)) as database:
        return {row[0] for row in database.execute("SELECT log_id FROM foreign_result")}

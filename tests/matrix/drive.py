"""One client, driven through every feature: what it does is counted by itself, in its counter file."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.gateway_process import GatewayProcess, Json
from tests.e2e.peers import Peer, make_peer
from tests.kit.process import listens, wait_until
from tests.matrix.clients import FEATURES, Client

YES, NO, NONE, LACK = "yes", "NO", "–", "lack"
TEXT = "你好，世界 😀 <x>&'=1"
EXECUTOR_TIMEOUT_S = 2
BLOCKED_S = EXECUTOR_TIMEOUT_S + 0.7  # long enough for a call to be given up, short enough for no other to be
SECONDS = 3
SPARE_S = 2
LATE_MS = 4000  # on two cores that start two dozen machines of Java
GONE_S = 130


@dataclass(frozen=True)
class Result:
    mark: str
    note: str = ""


class Absent(Exception):
    """The client has nothing of the kind; the text says what it has instead."""


def said(run: Json) -> str:
    return f"{run['state']}: {run['reason']}; the client said {run['message']}"


class Drive:
    """Two executors of one client and one app. `start` from the main thread, then `run` in any."""

    def __init__(self, client: Client, gateway: GatewayProcess, directory: Path, *, patient: bool) -> None:
        self.client = client
        self.gateway = gateway
        self.api = gateway.api
        self.patient = patient
        self.appname = f"matrix-{client.name.replace('.', '-')}"
        self.secret = f"token-of-{client.name}"
        self.results: dict[str, Result] = {}
        self.dialect = ""
        self.peers = [
            make_peer(client.name, gateway.admin_url, self.appname, self.secret, directory / str(n))
            for n in (1, 2)
        ]

    @property
    def first(self) -> Peer:
        return self.peers[0]

    def start(self) -> None:
        fields: dict[str, Any] = {}
        if self.client.by_hand:
            addresses = [f"{peer.address}/" for peer in self.peers]
            fields = {"address_mode": "manual", "addresses": addresses, "dialect": self.client.by_hand}
        if not self.client.token:
            fields["tokenless_from"] = ["127.0.0.1"]
        self.api.create_app(self.appname, **fields)
        self.api.call(
            "POST",
            f"/api/v1/apps/{self.appname}/tokens",
            {"token": self.secret, "old_valid_s": 0},
            expect=(201,),
        )
        for peer in self.peers:
            peer.start()

    def run(self, all_here: threading.Barrier) -> None:
        """Every feature, one after another; a failure does not keep the next from being tried.

        After the first they wait for each other: while machines of Java start, nothing is on time.
        """
        try:
            for feature in FEATURES:
                if feature == "token":
                    all_here.wait()
                step: Callable[[], str | None] = getattr(self, feature)
                try:
                    self.results[feature] = Result(YES, step() or "")
                except Absent as absent:
                    self.results[feature] = Result(NONE, str(absent))
                except Exception as error:
                    self.results[feature] = Result(NO, f"{type(error).__name__}: {error}"[:600])
                    if feature == "register":
                        all_here.wait()
                        break
        finally:
            for peer in self.peers:
                peer.kill()

    # ------------------------------------------------------------ steps

    def register(self) -> str | None:
        for peer in self.peers:
            peer.wait_listening(90)
        if self.client.by_hand:
            self.dialect = self.client.by_hand
            raise Absent("it does not register over HTTP: its addresses are entered by hand")
        wanted = {peer.address for peer in self.peers}
        try:
            self.until(lambda: self.api.online(self.appname) == wanted, "both executors to be known", 45)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.api.executors(self.appname)}") from None
        self.dialect = self.api.executors(self.appname)[0]["dialect"]
        return None

    def token(self) -> str | None:
        """Both directions have gone by it: nobody else's would have been taken, and the executor refuses others."""
        if not self.client.token:
            raise Absent("no token in this release: let in by `tokenless_from`")
        listed = self.api.call("GET", f"/api/v1/apps/{self.appname}/tokens")["items"]
        assert [(one["kind"], one["executors"]) for one in listed] == [("own", 2)], listed
        run = self.once("okHandler")
        assert run["state"] == "succeeded", said(run)
        return None

    def schedule(self) -> str | None:
        schedule = {"kind": "cron", "expression": "0/1 * * * * ?", "timezone": "UTC", "misfire": "skip"}
        asked = time.time()
        job_id = self.job("okHandler", schedule=schedule)
        begun = time.time()
        time.sleep(SECONDS + SPARE_S)
        ended = time.time()
        self.api.disable(job_id)
        # Those within each call may fire or not, nor need one that had not been sent when the job was disabled.
        due = {second * 1000 for second in range(int(begun) + 1, int(ended - SPARE_S) + 1)}
        allowed = {second * 1000 for second in range(int(asked) + 1, int(time.time()) + 1)}
        rows: list[Json] = []

        def all_ended() -> bool:
            rows[:] = [
                row for row in self.api.runs(job_id) if row["slot_ms"] in due or row["state"] != "skipped"
            ]
            return len(rows) >= len(due) and {row["state"] for row in rows} == {"succeeded"}

        try:
            self.until(all_ended, "all slots to succeed")
        except AssertionError as error:
            told = [(row["slot"], row["state"], row["reason"]) for row in rows]
            raise AssertionError(f"{error}: due {due}, {told}") from None
        slot_of = {row["id"]: row["slot_ms"] for row in rows}
        assert due <= set(slot_of.values()) <= allowed, (due, slot_of, allowed)
        ran = [one for peer in self.peers for one in peer.executions(run_ids=set(slot_of))]
        assert sorted(one.run_id for one in ran) == sorted(slot_of), (ran, slot_of)
        late_ms = [one.at_ms - slot_of[one.run_id] for one in ran]
        assert 0 <= min(late_ms) <= max(late_ms) < LATE_MS, late_ms
        return None

    def success(self) -> str | None:
        run = self.once("okHandler", TEXT)
        assert run["state"] == "succeeded", said(run)
        (execution,) = self.executions(run)
        if self.client.params:
            assert execution.param == TEXT, execution
            wanted = f"done {TEXT}" if self.client.utf8 else "done "
            assert wanted in run["message"], said(run)
            return None if self.client.utf8 else "what is beyond Latin-1 in a message is lost by the client"
        if self.client.messages:
            assert "done" in run["message"], said(run)
        return "without parameters, which this release breaks on since JDK 9"

    def failure(self) -> str | None:
        run = self.once("failHandler", "x")
        assert run["state"] == "failed", said(run)
        assert "failed on purpose" in run["message"], said(run)
        assert len(self.executions(run)) == 1
        return None

    def timeout(self) -> str | None:
        if not self.client.timeout:
            run = self.once("sleepHandler", "20000", deadline_s=1, on_deadline="kill")
            assert run["state"] == "timed_out", said(run)
            return "no timeout in this release: by the gateway's own `deadline_s`"
        run = self.once("sleepHandler", "20000", timeout_s=1)
        assert run["state"] == self.client.timeout, said(run)
        assert 900 <= run["finished_ms"] - run["sent_ms"] < 6000, run
        return None if self.client.timeout == "timed_out" else "the client reports a failure"

    def kill(self) -> str | None:
        job_id = self.job("sleepHandler")
        run_id = self.trigger(job_id, "60000")
        self.api.wait_run(run_id, {"running"})
        self.until(lambda: self.first.executions(run_ids={run_id}), "the handler to begin")
        self.api.stop_run(run_id)
        assert self.api.wait_run(run_id)["state"] == "stopped"
        self.until(
            lambda: (
                [one.event for one in self.first.events() if one.run_id == run_id] == ["start", "interrupt"]
            ),
            "the handler to be interrupted",
        )
        return None

    def log(self) -> str | None:
        if not self.client.log:
            raise Absent("kept in memory by the client unless it is told otherwise")
        run = self.once("okHandler")
        lines: list[str] = []

        def complete() -> bool:
            page = self.api.log(run["id"], len(lines) + 1)
            if page["content"]:
                assert page["from_line"] == len(lines) + 1, page
                lines.extend(page["content"].removesuffix("\n").split("\n"))
            return bool(page["is_end"])

        self.until(complete, f"the end of the log after {lines}")
        ours = [line for line in lines if "step " in line or "last line" in line]
        assert len(ours) == 6, lines
        assert all(line.rstrip().endswith(f"step {n}") for n, line in enumerate(ours[:5], 1)), ours
        return None

    def broadcast(self) -> str | None:
        job_id = self.job("okHandler", route="SHARDING_BROADCAST")
        parent = self.api.wait_run(self.api.trigger(job_id))
        assert parent["state"] == "succeeded", said(parent)
        shards = [row for row in self.api.runs(job_id) if row["id"] != parent["id"]]
        assert [row["shard"] for row in sorted(shards, key=lambda row: row["shard"])] == [0, 1], shards
        for peer in self.peers:
            (execution,) = peer.executions(run_ids={row["id"] for row in shards})
            (row,) = [row for row in shards if row["id"] == execution.run_id]
            assert row["address"].rstrip("/") == peer.address, row
            if self.client.shards:
                assert (execution.shard_index, execution.shard_total) == (row["shard"], 2), execution
        return None if self.client.shards else "its handlers are not told which shard they are"

    def late(self) -> str | None:
        """The bytes wait in the socket of a process that stands still, until after the gateway has given up."""
        job_id, run_id = self.into_a_standstill()
        self.first.thaw()
        wanted = "the executor has it"
        if self.client.settles:
            self.until(lambda: wanted in (self.api.run(run_id)["reason"] or ""), f"the reason {wanted!r}")
        self.until(lambda: self.api.run(run_id)["state"] == "succeeded", "the run to succeed")
        assert len(self.first.executions(run_ids={run_id})) == 1
        assert len(self.api.runs(job_id)) == 1
        return None if self.client.settles else "its result settles it"

    def never(self) -> str | None:
        """The bytes die with the process; its successor at the same address has not seen the run."""
        given_up = "it cannot tell: after a minute the run is lost, or sent again if the job says so"
        if not self.client.sends_again and not self.patient:
            raise Absent(given_up)
        job_id, run_id = self.into_a_standstill()
        self.first.kill()
        self.first.start()
        self.first.wait_listening(60)
        wanted = "succeeded" if self.client.sends_again else "lost"
        self.until(lambda: self.api.run(run_id)["state"] == wanted, f"the run to be {wanted}", 100)
        ran = self.first.executions(run_ids={run_id})
        assert len(ran) == (1 if self.client.sends_again else 0), ran
        assert len(self.api.runs(job_id)) == 1
        if not self.client.sends_again:
            raise Absent(given_up)
        return None

    def shutdown(self) -> str | None:
        leaves = self.peers[1]
        leaves.process.signal(signal.SIGTERM)
        if self.client.by_hand:
            raise Absent("addresses by hand stay until somebody removes them")
        if self.client.goodbye and not self.client.cut_off:
            self.until(lambda: leaves.address not in self.api.online(self.appname), "the executor to go", 5)
            return None
        leaves.process.wait(20)
        if self.patient:
            self.until(
                lambda: leaves.address not in self.api.online(self.appname), "the executor to go", GONE_S
            )
        if self.client.goodbye:
            raise Absent("its own end may cut its goodbye off: out at once, or 90 s after its last beat")
        raise Absent("it says no goodbye: out 90 s after its last beat")

    # ------------------------------------------------------------ what steps share

    def into_a_standstill(self) -> tuple[int, int]:
        """A run that is sent to the first executor while it stands still, and given up."""
        job_id = self.job("napHandler")
        assert listens(self.first.port)
        self.first.freeze()
        try:
            run_id = self.trigger(job_id)
            time.sleep(BLOCKED_S)
        except BaseException:
            self.first.thaw()
            raise
        assert self.api.run(run_id)["state"] == "dispatching", self.api.run(run_id)
        return job_id, run_id

    def job(self, handler: str, **fields: Any) -> int:
        return self.api.create_job(self.appname, handler, name=f"{handler} {time.monotonic_ns()}", **fields)

    def trigger(self, job_id: int, params: str = "") -> int:
        """On the first executor, with params if the client takes any."""
        return self.api.trigger(
            job_id, params=params if self.client.params else "", addresses=[f"{self.first.address}/"]
        )

    def once(self, handler: str, params: str = "", **fields: Any) -> Json:
        return self.api.wait_run(self.trigger(self.job(handler, **fields), params), timeout_s=30)

    def executions(self, run: Json) -> list[Any]:
        return self.first.executions(run_ids={run["id"]})

    def until(self, check: Callable[[], object], what: str, timeout_s: float = 30) -> None:
        wait_until(check, timeout_s=timeout_s, what=what, every_s=0.1)

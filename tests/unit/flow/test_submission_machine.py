"""Calls of a careless client through two nodes, against a model of names and keys that knows nothing of the code."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.kit.api_calls import ApiCalls
from tests.kit.flow_world import World
from tests.kit.virtual_loop import VirtualLoop

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
KEPT_MS = 7 * DAY_MS
DAYS_AHEAD = (0, 0, 0, 2)
submissions = st.fixed_dictionaries(
    {},
    optional={
        "task_id": st.sampled_from("abc"),
        "days": st.sampled_from(DAYS_AHEAD),
        "priority": st.sampled_from([1, 15, 16]),
        "params": st.sampled_from(["", "x"]),
    },
)


class Submissions(RuleBasedStateMachine):
    """`names`: who has a name, and until when. `keys`: the request and the answer of each key, and until when."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="submissions-"))
        self.loop = VirtualLoop()
        asyncio.set_event_loop(None)
        self.names: dict[str, tuple[int, int]] = {}
        self.keys: dict[str, tuple[tuple[str, object], object, int]] = {}
        self.accepted: set[int] = set()
        self.turn = 0
        self.do(self._begin())

    def do(self, work):
        return self.loop.run_until_complete(work)

    async def _begin(self) -> None:
        self.world = World(self.directory, several=True)
        for name in "ab":
            await self.world.start(name=name)
        await self.world.clock.advance(2)
        self.world.pick = lambda lives: lives[self.turn % len(lives)]
        self.job = await self.world.job(enabled=False)
        self.call = ApiCalls(self.world)

    # ------------------------------------------------------------ what is done, and what it must be answered

    def post(self, path: str, body: object, key: str | None) -> tuple[int, object]:
        self.turn += 1
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.do(self.call("POST", f"/api/v1/jobs/{self.job.id}/trigger{path}", body, headers))

    def now_ms(self) -> int:
        return self.world.clock.now_ms()

    def expected(self, wanted: dict, answer: dict) -> None:
        """Judge one answer, and remember what it means."""
        name, now_ms = wanted.get("task_id"), self.now_ms()
        if wanted.get("priority") == 16:
            assert (answer["status"], answer.get("run_id")) == (422, None), answer
            return
        owner, until_ms = self.names.get(name, (0, 0))
        if name is not None and now_ms < until_ms:
            assert (answer["status"], answer["run_id"]) == (409, owner), answer
            return
        assert answer["status"] == 202, answer
        assert answer["run_id"] not in self.accepted
        self.accepted.add(answer["run_id"])
        if name is not None:
            self.names[name] = answer["run_id"], now_ms + wanted.get("days", 0) * DAY_MS + KEPT_MS

    def known(self, key: str | None, request: object) -> tuple[object, bool] | None:
        """What a repeated call must be answered, and whether it is the same call; None for a first one."""
        if key is None or key not in self.keys or self.now_ms() >= self.keys[key][2]:
            return None
        return self.keys[key][1], self.keys[key][0] == request

    def judge(self, path: str, body: dict, key: str | None, given: list[dict]) -> None:
        request = (path, body)
        known = self.known(key, request)
        status, answer = found = self.post(path, body, key)
        if known is not None and known[1]:
            assert found == known[0]
            return
        if known is not None and not (path == "" and status == 422 and "errors" in answer):
            assert (status, answer["type"].rpartition(":")[2]) == (422, "key-reused")
            return
        if known is not None:
            return  # refused before its key was looked at
        results = answer["results"] if path else [answer | {"status": status}]
        if path:
            assert status == 202
            assert answer["accepted"] == sum(one["status"] == 202 for one in results)
        for wanted, one in zip(given, results, strict=True):
            self.expected(wanted, one)
        is_kept = any(one["status"] != 422 for one in results)
        if key is not None and is_kept:
            self.keys[key] = request, found, self.now_ms() + KEPT_MS

    @staticmethod
    def body(wanted: dict) -> dict:
        fields = {name: value for name, value in wanted.items() if name != "days"}
        return fields | ({"delay_s": f"{wanted['days']} days"} if wanted.get("days") else {})

    @rule(wanted=submissions, key=st.sampled_from([None, "k", "l"]))
    def one(self, wanted: dict, key: str | None) -> None:
        self.judge("", self.body(wanted), key, [wanted])

    @rule(given=st.lists(submissions, min_size=1, max_size=6), key=st.sampled_from([None, "k", "l"]))
    def many(self, given: list[dict], key: str | None) -> None:
        bodies = [self.body(one) for one in given]
        if key is not None and all(one.get("priority") == 16 for one in given):
            key = None
        self.judge("/batch", {"submissions": bodies}, key, given)

    @precondition(lambda self: self.keys)
    @rule()
    def again(self) -> None:
        """The last call with a key, repeated to the letter."""
        key, ((path, body), answer, until_ms) = list(self.keys.items())[-1]
        if self.now_ms() < until_ms:
            assert self.post(path, body, key) == answer

    @rule(days=st.sampled_from([1, 6, 8]))
    def time_passes(self, days: int) -> None:
        self.world.clock.jump(days * DAY_MS + HOUR_MS)  # never just the time for which something is kept

    @rule(name=st.sampled_from("ab"))
    def a_node_dies_and_comes_back(self, name: str) -> None:
        self.do(self.world.crash(name))
        self.do(self.world.start(name=name))
        self.do(self.world.clock.advance(3))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            rows = self.do(self.world.rows(job_id=self.job.id))
            assert {run.id for run in rows} == self.accepted
        finally:
            self.do(self.world.close())
            self.loop.close()
            shutil.rmtree(self.directory)


TestSubmissions = Submissions.TestCase
TestSubmissions.settings = settings(
    max_examples=12,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink one takes minutes
)

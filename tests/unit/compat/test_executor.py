"""Our own executor keeps the protocol's promises; the gateway's side is the real routes with a recording desk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web

from compat.executor import DemoExecutor, HandlerError, RunContext, demo_executor
from compat.inbound import setup_executor_routes
from gateway.core.access import AccessTokens, Reach
from gateway.core.clock import SystemClock
from gateway.core.model import Beat, ExecutorResult
from gateway.core.registry import Registry

CLOCK = SystemClock()


class Desk:
    def __init__(self) -> None:
        self.beats: list[Beat] = []
        self.removed: list[str] = []
        self.results: dict[int, ExecutorResult] = {}
        self.batches: list[int] = []
        self.durable = True

    async def register(self, beat: Beat) -> None:
        self.beats.append(beat)

    async def remove(self, appname: str, address: str) -> None:
        self.removed.append(address)

    async def report(self, results: Sequence[ExecutorResult], client: str, reach: Reach) -> bool:
        self.batches.append(len(results))
        if self.durable:
            self.results.update((result.run_id, result) for result in results)
        return self.durable


async def sleeper(context: RunContext) -> str:
    context.log("asleep")
    await asyncio.sleep(float(context.params))
    return f"slept {context.params}"


async def thrower(context: RunContext) -> None:
    if context.params:
        raise HandlerError("half done", int(context.params))
    raise ValueError("boom")


class Lab:
    def __init__(self, executor: DemoExecutor, desk: Desk, session: ClientSession) -> None:
        self.executor = executor
        self.desk = desk
        self._session = session

    async def call(self, method: str, body: object = None, token: str = "secret") -> dict[str, Any]:
        headers = {"XXL-JOB-ACCESS-TOKEN": token, "XXL-JOB-APPNAME": "lab"}
        data = json.dumps(body or {}).encode()
        async with self._session.post(self.executor.address + method, data=data, headers=headers) as response:
            assert response.status == 200
            said: dict[str, Any] = await response.json()
            return said

    async def run(
        self, run_id: int, handler: str = "sleeper", params: str = "0", **changes: Any
    ) -> dict[str, Any]:
        fields = {
            "jobId": 1, "executorHandler": handler, "executorParams": params,
            "executorBlockStrategy": "SERIAL_EXECUTION", "executorTimeout": 0, "logId": run_id, "logDateTime": 5,
            "glueType": "BEAN", "glueSource": "", "glueUpdatetime": 0, "broadcastIndex": 0, "broadcastTotal": 1,
        }  # fmt: skip
        return await self.call("run", {**fields, **changes})

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.005)

    async def result(self, run_id: int) -> ExecutorResult:
        await self.until(lambda: run_id in self.desk.results)
        return self.desk.results[run_id]


@asynccontextmanager
async def lab(**settings: Any) -> AsyncIterator[Lab]:
    desk = Desk()
    app = web.Application()
    setup_executor_routes(app, desk, access=AccessTokens(["secret"], Registry(), CLOCK.now_ms), clock=CLOCK)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    executor = DemoExecutor(
        "lab",
        {"sleeper": sleeper, "thrower": thrower},
        admin_url=f"http://127.0.0.1:{runner.addresses[0][1]}/xxl-job-admin/",
        token="secret",
        clock=CLOCK,
        **{"retry_every_s": 0.05, **settings},
    )
    await executor.start()
    async with ClientSession() as session:
        yield Lab(executor, desk, session)
        await executor.crash()
    await runner.cleanup()


@pytest.mark.parametrize("dialect", ["rest", "rest35"])
async def test_registers_beats_and_goodbye(dialect: str) -> None:
    async with lab(dialect=dialect, beat_every_s=0.02) as here:
        await here.until(lambda: len(here.desk.beats) > 2)
        beat = here.desk.beats[0]
        assert (beat.appname, beat.address, beat.dialect) == ("lab", here.executor.address, dialect)
        assert beat.client == "xxljob-gateway"
        await here.executor.stop()
        assert here.desk.removed == [here.executor.address]
        port = here.executor.port
        await here.executor.start()
        assert here.executor.port == port
        assert (await here.call("beat"))["code"] == 200


async def test_results() -> None:
    async with lab() as here:
        assert (await here.run(1))["code"] == 200
        assert (await here.result(1)).message == "slept 0"
        await here.run(2, "thrower", "")
        assert (await here.result(2)).code == 500
        assert (await here.result(2)).message == "boom"
        await here.run(3, "thrower", "201")
        assert (await here.result(3)).code == 201
        await here.run(4, params="30", executorTimeout=1)
        assert (await here.result(4)).code == 502
        assert (await here.result(1)).log_time_ms == 5


async def test_one_at_a_time_in_order_and_no_repeat_of_a_queued_one() -> None:
    async with lab() as here:
        await here.run(1, params="0.1")
        assert (await here.call("idleBeat", {"jobId": 1}))["code"] == 500
        assert (await here.call("idleBeat", {"jobId": 2}))["code"] == 200
        assert (await here.run(2))["code"] == 200
        assert (await here.run(2))["code"] == 500
        assert (await here.run(3, executorBlockStrategy="DISCARD_LATER"))["code"] == 500
        await here.result(2)
        assert list(here.desk.results) == [1, 2]
        assert (await here.call("idleBeat", {"jobId": 1}))["code"] == 200
        assert (await here.run(3, executorBlockStrategy="DISCARD_LATER"))["code"] == 200


async def test_cover_early_and_kill_take_all_with_them() -> None:
    async with lab() as here:
        await here.run(1, params="30")
        await here.run(2, params="30")
        await here.run(3, params="0", executorBlockStrategy="COVER_EARLY")
        assert [(await here.result(run_id)).code for run_id in (1, 2, 3)] == [500, 500, 200]
        await here.run(4, params="30")
        await asyncio.sleep(0.01)
        await here.run(5, params="30")
        assert (await here.call("kill", {"jobId": 1}))["code"] == 200
        assert [(await here.result(run_id)).code for run_id in (4, 5)] == [500, 500]
        assert (await here.call("kill", {"jobId": 1}))["code"] == 200, "nothing to kill is a success"


async def test_results_are_kept_until_taken() -> None:
    async with lab() as here:
        here.desk.durable = False
        for run_id in range(1, 6):
            await here.run(run_id, jobId=run_id)
        await here.until(lambda: len(here.desk.batches) > 2)
        here.desk.durable = True
        assert {(await here.result(run_id)).code for run_id in range(1, 6)} == {200}
        assert max(here.desk.batches) > 1


async def test_logs() -> None:
    async with lab() as here:
        await here.run(1)
        await here.result(1)
        asked = {"logDateTim": 5, "logId": 1, "fromLineNum": 2}
        page = (await here.call("log", asked))["content"]
        assert (page["fromLineNum"], page["toLineNum"], page["isEnd"]) == (2, 3, False)
        assert page["logContent"].count("\n") == 2
        assert "asleep" in page["logContent"]
        for missing in ({**asked, "logId": 2}, {**asked, "logDateTim": 6}):
            page = (await here.call("log", missing))["content"]
            assert (page["toLineNum"], page["isEnd"]) == (0, True)
        past = (await here.call("log", {**asked, "fromLineNum": 99}))["content"]
        assert (past["toLineNum"], past["logContent"], past["isEnd"]) == (0, "", False)


async def test_refusals_are_code_500() -> None:
    async with lab() as here:
        assert (await here.call("beat", token="wrong"))["code"] == 500
        assert (await here.call("nope"))["code"] == 500
        assert (await here.call("beat?x=1"))["code"] == 500
        assert (await here.call("idleBeat", {"jobId": "x"}))["code"] == 500
        assert (await here.call("kill"))["code"] == 500
        assert (await here.run(1, "nope"))["code"] == 500
        assert (await here.run(1, glueType="GLUE_SHELL"))["code"] == 500


async def test_a_graceful_stop_reports_what_it_ended() -> None:
    async with lab() as here:
        await here.run(1, params="30")
        await here.run(2, params="30")
        await here.executor.stop()
        assert {run_id: result.code for run_id, result in here.desk.results.items()} == {1: 500, 2: 500}


async def test_a_crash_tells_nobody() -> None:
    async with lab() as here:
        await here.run(1, params="30")
        await here.executor.crash()
        await here.executor.start()
        await asyncio.sleep(0.05)
        assert not here.desk.results
        assert not here.desk.removed
        page = (await here.call("log", {"logDateTim": 5, "logId": 1, "fromLineNum": 1}))["content"]
        assert (page["toLineNum"], page["isEnd"]) == (0, True)


async def test_the_demo_has_its_two_handlers() -> None:
    executor = demo_executor("http://127.0.0.1:1", "secret", CLOCK)
    assert set(executor._handlers) == {"demoHello", "demoReport"}

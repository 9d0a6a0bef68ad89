"""The link against a real socket: what it sends, and what it makes of everything that may come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from compat.executor import DemoExecutor, RunContext
from compat.link import RestLink
from gateway.core.clock import SystemClock
from gateway.core.errors import Unreachable
from gateway.core.generations import NETCOM17
from gateway.core.model import Job, Task
from gateway.core.ports import Outcome, RunOrder
from tests.kit.process import free_port

CLOCK = SystemClock()
SUCCESS = b'{"code":200,"msg":"Success"}'


def job(**changes: Any) -> Job:
    return replace(Job(7, 1, 1, 0, 1, "name", True, {}, Task("hello", "own")), **changes)


def order(address: str, **changes: Any) -> RunOrder:
    fields: dict[str, Any] = {
        "run_id": 1 << 33,
        "job": job(),
        "appname": "lab",
        "address": address,
        "dialect": "rest",
        "params": None,
        "shard": 0,
        "shard_total": 1,
        "trigger_ms": CLOCK.now_ms(),
        "due_ms": 0,
        "send_before": CLOCK.monotonic() + 3,
        "wall_before_ms": 1 << 60,
    }
    return RunOrder(**{**fields, **changes})


class Peer:
    """Answers every request with the same bytes; None: never."""

    def __init__(self, answer: bytes | None, status: str = "200 OK") -> None:
        self.answer = answer
        self.status = status
        self.heads: list[str] = []
        self.bodies: list[Any] = []
        self.address = ""
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.split("Content-Length: ")[1].split("\r\n")[0])
                self.heads.append(head)
                self.bodies.append(json.loads(await reader.readexactly(length)))
                if self.answer is not None:
                    length = len(self.answer)
                    writer.write(
                        f"HTTP/1.1 {self.status}\r\nContent-Length: {length}\r\n\r\n".encode() + self.answer
                    )


@asynccontextmanager
async def peer(
    answer: bytes | None = SUCCESS, status: str = "200 OK", path: str = "/"
) -> AsyncIterator[Peer]:
    found = Peer(answer, status)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
    yield found
    server.close()
    for writer in found._writers:
        writer.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


@asynccontextmanager
async def linked(**settings: Any) -> AsyncIterator[RestLink]:
    link = RestLink(CLOCK, **{"sent_to": lambda _app, _address: "secret", "timeout_s": 0.5, **settings})
    yield link
    await link.close()


async def run(link: RestLink, what: RunOrder) -> tuple[Outcome, str]:
    done: asyncio.Future[tuple[RunOrder, Outcome, str]] = asyncio.get_running_loop().create_future()
    link.run(what, lambda *said: done.set_result(said))
    assert not done.done(), "never from within run"
    said, outcome, text = await asyncio.wait_for(done, 5)
    assert said is what
    return outcome, text


class TestRun:
    @pytest.mark.parametrize(
        ("answer", "status", "outcome", "text"),
        [
            (SUCCESS, "200 OK", Outcome.ACCEPTED, "Success"),
            (b'{"code":200}', "200 OK", Outcome.ACCEPTED, ""),
            (b'{"code":500,"msg":"busy"}', "200 OK", Outcome.REFUSED, "busy"),
            (
                b'[{"handleCode":500,"handleMsg":"not registered"}]',
                "200 OK",
                Outcome.REFUSED,
                "not registered",
            ),
            (b"<html>", "200 OK", Outcome.REFUSED, "no JSON"),
            (b"", "200 OK", Outcome.REFUSED, "no JSON"),
            (b"", "413 Request Entity Too Large", Outcome.REFUSED, "HTTP 413"),
            (SUCCESS, "500 Internal Server Error", Outcome.REFUSED, "HTTP 500"),
            (b"", "404 Not Found", Outcome.REFUSED, "HTTP 404"),
            (b"", "504 Gateway Timeout", Outcome.DOUBTFUL, "HTTP 504"),
            (b"", "502 Bad Gateway", Outcome.DOUBTFUL, "HTTP 502"),
            (None, "", Outcome.DOUBTFUL, "0.5 s"),
        ],
    )
    async def test_outcomes(self, answer: bytes | None, status: str, outcome: Outcome, text: str) -> None:
        async with peer(answer, status) as executor, linked() as link:
            what = order(executor.address)
            link.prepare(what)
            before_ms = CLOCK.now_ms()
            found, said = await run(link, what)
            assert (found, text in said) == (outcome, True), said
            assert before_ms - 50 <= what.sent_ms <= CLOCK.now_ms()

    async def test_nobody_there_and_too_late(self) -> None:
        async with linked() as link:
            what = order(f"http://127.0.0.1:{free_port()}/")
            assert (await run(link, what))[0] is Outcome.NOT_SENT
            assert what.sent_ms == 0
        async with peer() as executor, linked() as link:
            assert (await run(link, order(executor.address, send_before=0.0)))[0] is Outcome.NOT_SENT
            too_late = order(executor.address, wall_before_ms=CLOCK.wall_ms())
            assert (await run(link, too_late))[0] is Outcome.NOT_SENT
            assert executor.bodies == []

    @pytest.mark.parametrize("address", ["ftp://h/", "10.0.0.1:9999", "http://h/?x", "http://h:99999/", ""])
    async def test_an_impossible_address_is_not_sent(self, address: str) -> None:
        async with linked() as link:
            what = order(address)
            link.prepare(what)
            outcome, text = await run(link, what)
        assert outcome is Outcome.NOT_SENT
        assert "address" in text

    async def test_what_waits_for_a_connection_can_be_recalled(self) -> None:
        said: list[tuple[RunOrder, Outcome]] = []
        async with peer(None) as executor, linked(max_connections_per_address=1) as link:
            first, second = (order(executor.address, run_id=run_id) for run_id in (1, 2))
            for one in (first, second):
                link.prepare(one)
                link.run(one, lambda what, outcome, _: said.append((what, outcome)))
            await asyncio.sleep(0.1)
            assert [link.recall(one) for one in (first, second)] == [False, True]
            await asyncio.sleep(0.9)
            assert [body["logId"] for body in executor.bodies] == [1]
        assert sorted(said, key=lambda one: one[0].run_id) == [
            (first, Outcome.DOUBTFUL),
            (second, Outcome.NOT_SENT),
        ]
        assert [link.recall(one) for one in (first, second)] == [False, False]

    async def test_a_job_id_beyond_32_bits_is_not_sent(self) -> None:
        async with linked() as link:
            outcome, text = await run(link, order("http://127.0.0.1:1/", job=job(id=1 << 31)))
        assert (outcome, "jobId" in text) == (Outcome.NOT_SENT, True)

    async def test_what_is_sent(self) -> None:
        async with peer(path="/job/") as executor, linked() as link:
            what = order(executor.address, params='{"a":"你"}', shard=2, shard_total=3)
            link.prepare(what)
            await run(link, what)
            await run(link, order(executor.address.rstrip("/"), dialect="rest35", appname="应用"))
            with_envs = job(version=2, task=Task("hello", "own", envs=(("A", "1"),)))
            await run(link, order(executor.address, job=with_envs))
        first, second, _ = executor.heads
        assert first.startswith("POST /job/run HTTP/1.1\r\n")
        assert second.startswith("POST /job/trigger HTTP/1.1\r\n")
        for line in ("Content-Type: application/json;charset=UTF-8", "XXL-JOB-ACCESS-TOKEN: secret",
                     "XXL-JOB-APPNAME: lab", "Connection: keep-alive"):  # fmt: skip
            assert f"\r\n{line}\r\n" in first
        assert "APPNAME" not in second, "a name that no header can carry"
        assert executor.bodies[0] == {
            "jobId": 7, "executorHandler": "hello", "executorParams": '{"a":"你"}',
            "executorBlockStrategy": "SERIAL_EXECUTION", "executorTimeout": 0, "logId": 1 << 33,
            "logDateTime": what.trigger_ms, "glueType": "BEAN", "glueSource": "", "glueUpdatetime": 0,
            "broadcastIndex": 2, "broadcastTotal": 3,
        }  # fmt: skip
        assert executor.bodies[1]["executorParams"] == "own"
        assert executor.bodies[2]["executorParams"] == '{"params":"own","Envs":[{"name":"A","value":"1"}]}'

    async def test_a_new_version_of_a_job_is_a_new_body(self) -> None:
        async with peer() as executor, linked(sent_to=lambda _app, _address: "") as link:
            await run(link, order(executor.address))
            await run(link, order(executor.address, job=job(version=2, task=Task("other"))))
        assert [body["executorHandler"] for body in executor.bodies] == ["hello", "other"]
        assert "TOKEN" not in executor.heads[0]

    @pytest.mark.parametrize("dialect", ["rest", NETCOM17])
    async def test_a_job_that_was_given_an_old_id_again_is_sent_as_itself(self, dialect: str) -> None:
        """Both are version 1 of job 7: the first was deleted and its history forgotten."""
        sent: list[bytes] = []
        async with linked() as link:
            for task in (Task("old", "a", "GLUE_SHELL", "rm x"), Task("new", "b")):
                what = order("http://127.0.0.1:1/", dialect=dialect, job=job(task=task), run_id=1)
                link.prepare(what)
                sent.append(what.request)
        assert [b"old" in one for one in sent] == [b"rm x" in one for one in sent] == [True, False]
        assert b"new" in sent[1]

    async def test_all_runs_of_a_job_share_what_they_have_in_common(self) -> None:
        class Watched(Task):
            read = 0

            @property
            def parameter(self) -> str:
                Watched.read += 1
                return super().parameter

        one = job(task=Watched("hello", "own"))
        async with linked() as link:
            for run_id in range(1, 100):
                link.prepare(order("http://127.0.0.1:1/", job=one, run_id=run_id))
        assert Watched.read == 1

    async def test_each_executor_is_sent_its_own_token_as_it_is_now(self) -> None:
        tokens = {"/a/": "first", "/b/": "second"}

        def sent_to(appname: str, address: str) -> str:
            return tokens[address[-3:]] if appname == "lab" else "another app's"

        async with peer() as executor, linked(sent_to=sent_to) as link:
            for path in ("a/", "b/"):
                await run(link, order(executor.address + path))
            tokens["/a/"] = "third"
            await run(link, order(executor.address + "a/"))
            await link.beat(executor.address + "b/", "rest", "lab")
            await link.beat(executor.address + "b/", "rest", "mail")
        sent = [head.split("TOKEN: ")[1].split("\r\n")[0] for head in executor.heads]
        assert sent == ["first", "second", "third", "second", "another app's"]

    async def test_an_order_that_moves_to_another_address_is_prepared_again(self) -> None:
        async with peer() as first, peer(path="/job/") as second, linked() as link:
            what = order(first.address)
            link.prepare(what)
            what.address = second.address
            link.prepare(what)
            await run(link, what)
        assert (first.heads, len(second.heads)) == ([], 1)
        assert second.heads[0].startswith("POST /job/run ")


class TestQuestions:
    async def test_refusals_are_answers(self) -> None:
        async with peer(b'{"code":500,"msg":"busy"}') as executor, linked() as link:
            answer = await link.idle(executor.address, "rest", "lab", 7)
            assert (answer.ok, answer.code, answer.message) == (False, 500, "busy")
            assert not (await link.kill(executor.address, "rest", "lab", 7)).ok
            assert not (await link.beat(executor.address, "rest", "lab")).ok
        assert executor.bodies == [{"jobId": 7}, {"jobId": 7}, {}]

    @pytest.mark.parametrize(
        ("answer", "status"), [(b"", "404 Not Found"), (b"<html>", "200 OK"), (b'"ok"', "200 OK"), (None, "")]
    )
    async def test_what_no_executor_says_is_unreachable(self, answer: bytes | None, status: str) -> None:
        async with peer(answer, status) as executor, linked() as link:
            with pytest.raises(Unreachable):
                await link.beat(executor.address, "rest", "lab")
            with pytest.raises(Unreachable):
                await link.log(executor.address, "rest", "lab", 1, 1, 1)

    async def test_nobody_there_or_no_address(self) -> None:
        async with linked() as link:
            for address in (f"http://127.0.0.1:{free_port()}/", "nonsense"):
                with pytest.raises(Unreachable) as caught:
                    await link.kill(address, "rest", "lab", 7)
                assert caught.value.address == address

    async def test_a_caller_that_gives_up_disturbs_nobody(self) -> None:
        async with peer(None) as executor, linked() as link:
            asked = asyncio.create_task(link.beat(executor.address, "rest", "lab"))
            await asyncio.sleep(0.05)
            asked.cancel()
            with suppress(asyncio.CancelledError):
                await asked

    async def test_a_log_of_many_megabytes(self) -> None:
        page = {"fromLineNum": 1, "toLineNum": 2, "logContent": "x" * 5_000_000 + "\n", "isEnd": False}
        async with peer(json.dumps({"code": 200, "content": page}).encode()) as executor, linked() as link:
            found = await link.log(executor.address, "rest", "lab", 1, 2, 1)
        assert found is not None
        assert len(found.content) == 5_000_001
        assert executor.bodies == [{"logDateTim": 2, "logDateTime": 2, "logId": 1, "fromLineNum": 1}]


@pytest.mark.parametrize("dialect", ["rest", "rest35"])
async def test_against_our_executor(dialect: str) -> None:
    async def hello(context: RunContext) -> str:
        context.log(f"hello {context.params}")
        return "done"

    executor = DemoExecutor(
        "lab",
        {"hello": hello},
        admin_url=f"http://127.0.0.1:{free_port()}",
        clock=CLOCK,
        token="secret",
        dialect=dialect,
    )
    await executor.start()
    async with linked() as link:
        what = order(executor.address, dialect=dialect)
        assert await run(link, what) == (Outcome.ACCEPTED, "Success")
        for _ in range(100):
            if (await link.idle(executor.address, dialect, "lab", 7)).ok:
                break
            await asyncio.sleep(0.01)
        page = await link.log(executor.address, dialect, "lab", what.run_id, what.trigger_ms, 1)
        assert page is not None
        assert "hello own" in page.content
        assert (page.from_line, page.to_line) == (1, 3)
        assert await link.log(executor.address, dialect, "lab", what.run_id + 1, what.trigger_ms, 1) is None
        assert (await link.beat(executor.address, dialect, "lab")).ok
        assert (await link.kill(executor.address, dialect, "lab", 7)).ok
        wrong_handler = order(executor.address, dialect=dialect, job=job(version=2, task=Task("nope")))
        assert (await run(link, wrong_handler))[0] is Outcome.REFUSED
    await executor.crash()

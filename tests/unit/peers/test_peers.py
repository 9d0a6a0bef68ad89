"""What nodes say to each other, over real sockets: a listener, a caller, and the secret between them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer, unused_port

from gateway.core.cluster import Member
from gateway.core.errors import Conflict, LeaseLost, NotFound, StoreError, Unreachable
from gateway.core.model import Beat
from gateway.core.ports import StopReport
from gateway.core.states import RunState
from gateway.peers import caller as caller_module
from gateway.peers.caller import PeerCaller
from gateway.peers.listener import FOR_NODE, control_app

SECRET = "the nodes' secret, ünd more"


@dataclass
class FakeDesk:
    """Implements `peers.listener.ControlDesk`: remembers what arrived. While `busy` is cleared nothing is answered."""

    arrived: list[tuple[str, object]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    fails: Exception | None = None

    def __post_init__(self) -> None:
        self.free.set()

    def look(self) -> None:
        self._note("look", None)

    def ended(self, run_ids: list[int]) -> None:
        self._note("ended", run_ids)

    async def jobs_changed(self, job_ids: list[int]) -> None:
        self._note("jobs", job_ids)
        await self.free.wait()
        if self.fails is not None:
            raise self.fails

    def beat(self, beat: Beat) -> None:
        self._note("beat", beat)

    async def stop(self, run_id: int) -> StopReport:
        self._note("stop", run_id)
        await self.free.wait()
        if self.fails is not None:
            raise self.fails
        return StopReport(run_id, RunState.STOPPING, (run_id + 1, run_id + 2))

    def _note(self, what: str, ids: object) -> None:
        self.arrived.append((what, ids))
        asyncio.get_running_loop().create_task(self._wake())

    async def _wake(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, count: int) -> list[tuple[str, object]]:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: len(self.arrived) >= count)
        return self.arrived


@pytest.fixture
async def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
async def server(desk: FakeDesk) -> AsyncIterator[TestServer]:
    async with TestServer(control_app(desk, SECRET, "b")) as server:
        yield server


@pytest.fixture
def b(server: TestServer) -> Member:
    return Member("b", 1, 1, address=str(server.make_url("")).rstrip("/"))


@pytest.fixture
async def calls() -> AsyncIterator[PeerCaller]:
    made = PeerCaller(SECRET)
    yield made
    await made.close()


@pytest.fixture
async def nobody() -> Member:
    return Member("c", 1, 1, address=f"http://127.0.0.1:{unused_port()}")


# ------------------------------------------------------------ who may call


async def test_the_secret_is_wanted(desk, server):
    async with ClientSession() as session:
        for token in (None, "", "wrong", SECRET[:-1], SECRET + "x"):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            for path in ("look", "ended", "jobs", "stop"):
                async with session.post(
                    server.make_url(f"/control/{path}"), json={}, headers=headers
                ) as answer:
                    assert answer.status == 401
    assert desk.arrived == []


async def test_a_caller_with_another_secret_reaches_nobody(desk, b):
    other = PeerCaller("another")
    try:
        with pytest.raises(Unreachable, match="401"):
            await other.jobs_changed(b, [1])
        with pytest.raises(Unreachable, match="401"):
            await other.stop(b, 1)
        other.nudge(b)
        other.tell_ended(b, [1])
    finally:
        await other.close()
    assert desk.arrived == []


async def test_a_call_for_another_node_is_refused(desk, calls, b):
    """Its address may be another's by now, on the same database."""
    with pytest.raises(Unreachable, match="421"):
        await calls.jobs_changed(Member("a", 1, 1, address=b.address), [1])
    assert desk.arrived == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"jobs": 3}', b'{"jobs": ["1"]}', b"\xff"])
async def test_a_body_that_makes_no_sense_is_refused(desk, server, raw):
    headers = {"Authorization": f"Bearer {SECRET}", FOR_NODE: "b"}
    async with (
        ClientSession() as session,
        session.post(server.make_url("/control/jobs"), data=raw, headers=headers) as answer,
    ):
        assert answer.status == 400
    assert desk.arrived == []


async def test_what_a_newer_node_says_beyond_is_passed_over(desk, server):
    headers = {"Authorization": f"Bearer {SECRET}", FOR_NODE: "b"}
    beat = {"appname": "shop", "address": "http://h:1/", "dialect": "rest", "client": "java"}
    beat |= {"received_ms": 1}
    async with (
        ClientSession() as session,
        session.post(
            server.make_url("/control/beat"), json=beat | {"mood": "good"}, headers=headers
        ) as answer,
    ):
        assert answer.status == 204
    assert desk.arrived == [("beat", Beat("shop", "http://h:1/", "rest", "java", 1))]


# ------------------------------------------------------------ what nobody waits for


async def test_a_nudge_and_what_has_ended(desk, calls, b):
    calls.nudge(b)
    assert await desk.until(1) == [("look", None)]
    calls.tell_ended(b, [3, 1])
    assert (await desk.until(2))[1] == ("ended", [3, 1])


async def test_what_comes_while_a_call_is_under_way_is_said_by_the_next(desk, calls, b):
    for run_id in range(1, 101):
        calls.tell_ended(b, [run_id])
        calls.nudge(b)
    await desk.until(1)
    async with asyncio.timeout(5):
        while sum(len(ids or ()) for _, ids in desk.arrived) < 100:
            await desk.until(len(desk.arrived) + 1)
    assert len(desk.arrived) <= 3
    assert sorted(run_id for _, ids in desk.arrived for run_id in ids or ()) == list(range(1, 101))


async def test_what_has_ended_is_bounded_while_nobody_listens(calls, nobody, monkeypatch):
    monkeypatch.setattr(caller_module, "ENDED_AT_ONCE", 10)
    for _ in range(100):
        calls.tell_ended(nobody, [1, 2])
    assert len(calls._ended[nobody.name]) <= 11


async def test_telling_nobody_harms_nobody(desk, calls, b, nobody):
    calls.nudge(nobody)
    calls.tell_ended(nobody, [1])
    calls.nudge(Member("old", 1, 1))  # a version that has no listener
    calls.nudge(b)
    assert await desk.until(1) == [("look", None)]


# ------------------------------------------------------------ what somebody waits for


async def test_a_change_of_jobs_returns_when_the_other_follows_it(desk, calls, b):
    desk.free.clear()
    telling = asyncio.create_task(calls.jobs_changed(b, {7, 3}))
    assert await desk.until(1) == [("jobs", [3, 7])]
    assert not telling.done()
    desk.free.set()
    await telling


async def test_a_node_that_does_not_answer_is_unreachable(desk, calls, b, monkeypatch):
    monkeypatch.setattr(caller_module, "TIMEOUT_S", 0.05)
    desk.free.clear()
    with pytest.raises(Unreachable):
        await calls.jobs_changed(b, [1])
    desk.free.set()


@pytest.mark.parametrize("error", [LeaseLost(), StoreError("away"), RuntimeError("a bug")])
async def test_a_node_that_cannot_follow_is_unreachable(desk, calls, b, error, caplog):
    desk.fails = error
    with pytest.raises(Unreachable, match="500"):
        await calls.jobs_changed(b, [1])


async def test_a_closed_port_is_unreachable(calls, nobody):
    with pytest.raises(
        Unreachable, match=r"127\.0\.0\.1 is every machine's own: if it runs on another one, set control_host"
    ):
        await calls.jobs_changed(nobody, [1])
    with pytest.raises(Unreachable, match="no control listener"):
        await calls.jobs_changed(Member("old", 1, 1), [1])


async def test_a_stop_is_answered_with_what_it_has_done(desk, calls, b):
    assert await calls.stop(b, 41) == StopReport(41, RunState.STOPPING, (42, 43))
    assert desk.arrived == [("stop", 41)]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (Conflict("run 41 is over"), Conflict),
        (NotFound("run", 41), Unreachable),
        (Unreachable("http://h:1", "refused"), Unreachable),
        (StoreError("away"), Unreachable),
    ],
)
async def test_a_stop_that_is_refused(desk, calls, b, error, raised):
    desk.fails = error
    with pytest.raises(raised) as found:
        await calls.stop(b, 41)
    assert type(found.value) is raised
    assert raised is not Conflict or str(found.value) == "run 41 is over"


@pytest.mark.parametrize("body", ["", "no json", "[]", "{}", '{"run": 1, "state": 99, "also": []}'])
async def test_an_answer_that_is_no_nodes_is_as_good_as_none(calls, body):
    async def strange(_request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/control/stop", strange)
    async with TestServer(app) as server:
        with pytest.raises(Unreachable):
            await calls.stop(Member("b", 1, 1, address=str(server.make_url("")).rstrip("/")), 1)


# ------------------------------------------------------------ whether it is gone


async def test_only_a_closed_port_is_gone(calls, b, nobody):
    assert await calls.is_gone(nobody)
    assert not await calls.is_gone(b)
    assert not await calls.is_gone(Member("old", 1, 1))
    assert not await calls.is_gone(Member("odd", 1, 1, address="http://127.0.0.1:x"))


async def test_a_node_that_listens_and_says_nothing_is_not_gone(calls):
    """It may stand still, and go on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert not await calls.is_gone(Member("b", 1, 1, address=f"http://127.0.0.1:{port}"))


async def test_an_address_of_ipv6(calls):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
            port = listening.getsockname()[1]
            assert not await calls.is_gone(Member("b", 1, 1, address=f"http://[::1]:{port}"))
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert await calls.is_gone(Member("b", 1, 1, address=f"http://[::1]:{port}"))

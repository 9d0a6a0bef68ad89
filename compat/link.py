"""Calls to executors: the `ExecutorLink` of the flow, on one connection pool.

Enters: prepared orders and questions. Leaves: bytes, and what the executor said.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from typing import NamedTuple, cast

from compat import dialects, old_calls, wire
from compat.http1 import Call, ConnectionPool, Origin, request_head, split_address
from compat.http1 import Outcome as Sent
from compat.old_calls import LARGE_ANSWER, OLD
from compat.rpc import WrongMethodError
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError, InvalidValue, Unreachable
from gateway.core.model import Job, LogPage
from gateway.core.ports import Answer, OnOutcome, Outcome, RunOrder

MAX_ANSWER_BYTES = 16 * 1024 * 1024  # a log comes whole, from the line asked for to its end
_MAX_TEMPLATES = 40_000  # of each kind; then the oldest goes
# Whoever says so stands between us and the executor, which may have the request.
_PROXY_DOUBTS = frozenset({502, 504})
_HEADER_VALUE = re.compile(r"[!-~]*")


class _Head(NamedTuple):
    """A request up to the number of its Content-Length."""

    origin: Origin
    data: bytes


class _Body(NamedTuple):
    """A `/run` body of one job: all that comes before the parameters, and the job's own parameters.

    It is told by the object: an id that is given again begins at version 1 again.
    """

    job: Job
    start: bytes
    params: bytes


class _RunCall(Call):
    """A `/run`, made when its run is claimed: at the due instant every step counts.

    Its time has passed by either clock: after a pause of a virtual machine only the wall clock knows of it.
    """

    __slots__ = ("_send_before", "on_outcome", "origin", "wall_before_ms", "wall_ms")

    origin: Origin
    on_outcome: OnOutcome
    wall_ms: Callable[[], int]
    wall_before_ms: int

    @property
    def send_before(self) -> float:
        return self._send_before if self.wall_ms() < self.wall_before_ms else -math.inf

    @send_before.setter
    def send_before(self, instant: float) -> None:
        self._send_before = instant


class RestLink:
    """Build it inside the running loop. `timeout_s` is for the connection, and again for the answer.

    `sent_to` gives the access token for an app's executor at an address. `callback_to` is where executors up to 1.7.1
    bring their results, `HOST:PORT`.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        sent_to: Callable[[str, str], str] = lambda _appname, _address: "",
        timeout_s: float = 3.0,
        max_connections_per_address: int = 16,
        verify_tls: bool = True,
        callback_to: str = "",
    ) -> None:
        self._clock = clock
        self._sent_to = sent_to
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._pool = ConnectionPool(
            monotonic=clock.monotonic,
            connect_timeout_s=timeout_s,
            answer_timeout_s=timeout_s,
            max_connections_per_address=max_connections_per_address,
            max_answer_bytes=MAX_ANSWER_BYTES,
            verify_tls=verify_tls,
        )
        self._old = old_calls.OldCalls(clock, callback_to)
        self._heads: dict[tuple[str, str, str, str, str], _Head] = {}
        self._bodies: dict[int, _Body] = {}

    async def close(self) -> None:
        """Wait for the answers under way and close all connections."""
        await self._pool.close()

    # ------------------------------------------------------------ runs

    def prepare(self, order: RunOrder) -> None:
        """Build the request, so that `run` need only write it; what cannot be built is said by `run`."""
        try:
            order.call = self._run_call(order)
        except GatewayError:
            order.call = None

    def run(self, order: RunOrder, on_outcome: OnOutcome) -> None:
        """Send it now. `on_outcome` comes later, never from within; `sent_ms` is filled just before it."""
        call = order.call
        if not isinstance(call, _RunCall):
            try:
                call = order.call = self._run_call(order)
            except GatewayError as error:
                self._loop.call_soon(on_outcome, order, Outcome.NOT_SENT, str(error))
                return
        call.on_outcome = on_outcome
        self._pool.send(call.origin, call)

    def _run_call(self, order: RunOrder) -> _RunCall:
        head = self._head(order.address, order.dialect, order.appname, "run")
        if order.dialect in OLD:
            order.request = _whole(head, self._old.run(order, self._sent_to(order.appname, order.address)))
        else:
            order.request = self._request(order, head)
        call = _RunCall(order.request, order.send_before, self._run_done, order)
        call.origin = head.origin
        call.wall_ms, call.wall_before_ms = self._clock.wall_ms, order.wall_before_ms
        return call

    def recall(self, order: RunOrder) -> bool:
        """The time of a call is looked at last before its bytes go out, so this is how to keep them back."""
        call = order.call
        if not isinstance(call, Call) or call.sent_at:
            return False
        call.send_before = -math.inf
        return True

    def _request(self, order: RunOrder, head: _Head) -> bytes:
        job = order.job
        body = self._bodies.get(job.id)
        if body is None or body.job is not job:
            body = self._body(job)
        params = body.params if order.params is None else wire.text_bytes(order.params)
        numbers = wire.RUN_NUMBERS % (order.run_id, order.trigger_ms, order.shard, order.shard_total)
        length = len(body.start) + len(params) + len(numbers)
        return b"%b%d\r\n\r\n%b%b%b" % (head.data, length, body.start, params, numbers)

    def _body(self, job: Job) -> _Body:
        if self._bodies.pop(job.id, None) is None and len(self._bodies) >= _MAX_TEMPLATES:
            del self._bodies[next(iter(self._bodies))]
        body = _Body(job, wire.run_start(job), wire.text_bytes(job.task.parameter))
        self._bodies[job.id] = body
        return body

    def _run_done(self, call: Call, sent: Sent, status: int, body: bytes) -> None:
        order, on_outcome = cast("RunOrder", call.token), cast("_RunCall", call).on_outcome
        order.call = None
        if call.sent_at:
            order.sent_ms = self._clock.now_ms() - int((self._clock.monotonic() - call.sent_at) * 1000)
        if sent is Sent.ANSWERED:
            outcome, text = self._run_outcome(order.dialect, status, body)
        elif sent is Sent.NOT_SENT:
            outcome, text = Outcome.NOT_SENT, call.error
        else:
            outcome, text = Outcome.DOUBTFUL, call.error
        on_outcome(order, outcome, text)

    def _run_outcome(self, dialect: str, status: int, body: bytes) -> tuple[Outcome, str]:
        try:
            if dialect in OLD:
                answer = self._old.run_answer(dialect, status, body)
            else:
                answer = wire.parse_answer(status, body)
        except wire.MalformedError as error:
            return Outcome.DOUBTFUL if status in _PROXY_DOUBTS else Outcome.REFUSED, str(error)
        return Outcome.ACCEPTED if answer.ok else Outcome.REFUSED, answer.message

    # ------------------------------------------------------------ questions

    async def beat(self, address: str, dialect: str, appname: str) -> Answer:
        body = self._old.beat(dialect, self._sent_to(appname, address)) if dialect in OLD else wire.BEAT
        return await self._ask(address, dialect, appname, "beat", body)

    async def idle(self, address: str, dialect: str, appname: str, job_id: int) -> Answer:
        body = (
            self._old.idle(dialect, self._sent_to(appname, address), job_id)
            if dialect in OLD
            else wire.job_body(job_id)
        )
        return await self._ask(address, dialect, appname, "idleBeat", body)

    async def kill(self, address: str, dialect: str, appname: str, job_id: int) -> Answer:
        body = (
            self._old.kill(dialect, self._sent_to(appname, address), job_id)
            if dialect in OLD
            else wire.job_body(job_id)
        )
        return await self._ask(address, dialect, appname, "kill", body)

    async def log(
        self, address: str, dialect: str, appname: str, run_id: int, log_time_ms: int, from_line: int
    ) -> LogPage | None:
        try:
            if dialect in OLD:
                return await self._old_log(address, dialect, appname, run_id, log_time_ms, from_line)
            body = wire.log_body(run_id, log_time_ms, from_line)
            return wire.parse_log(*await self._call(address, dialect, appname, "log", body))
        except wire.MalformedError as error:
            raise Unreachable(address, str(error)) from None

    async def _old_log(
        self, address: str, dialect: str, appname: str, run_id: int, log_time_ms: int, from_line: int
    ) -> LogPage | None:
        """Asked again with other arguments where the first are not its method's: nothing is read or done then."""
        failed = WrongMethodError("it has no log")
        for types in self._old.log_types(address, dialect):
            token = self._sent_to(appname, address)
            body = self._old.log(dialect, token, types, run_id, log_time_ms, from_line)
            status, answer = await self._call(address, dialect, appname, "log", body)
            given = (address, dialect, types, from_line, status, answer)
            try:
                if len(answer) <= LARGE_ANSWER:
                    return self._old.log_page(*given)
                return await asyncio.to_thread(
                    self._old.log_page, *given
                )  # between two sends it would take too long
            except WrongMethodError as error:
                failed = error
        raise failed

    def log_is_real(self, dialect: str, client: str) -> bool:
        return dialects.log_is_real(dialect, client)

    async def _ask(self, address: str, dialect: str, appname: str, method: str, body: bytes) -> Answer:
        """What the executor said; an answer that is no executor's is as good as none: Unreachable."""
        status, answer = await self._call(address, dialect, appname, method, body)
        try:
            if dialect in OLD:
                return self._old.answer(dialect, method, status, answer)
            return wire.parse_answer(status, answer)
        except wire.MalformedError as error:
            raise Unreachable(address, str(error), may_have_heard=True) from None

    async def _call(
        self, address: str, dialect: str, appname: str, method: str, body: bytes
    ) -> tuple[int, bytes]:
        try:
            head = self._head(address, dialect, appname, method)
        except InvalidValue as error:
            raise Unreachable(address, str(error)) from None
        done: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()

        def on_done(call: Call, sent: Sent, status: int, answer: bytes) -> None:
            if done.done():
                return  # nobody waits any more
            if sent is Sent.ANSWERED:
                done.set_result((status, answer))
            else:
                heard = sent is Sent.NO_ANSWER
                done.set_exception(Unreachable(address, call.error, may_have_heard=heard))

        send_before = self._clock.monotonic() + self._timeout_s
        self._pool.send(head.origin, Call(_whole(head, body), send_before, on_done))
        return await done

    # ------------------------------------------------------------ templates

    def _head(self, address: str, dialect: str, appname: str, method: str) -> _Head:
        key = (address, dialect, appname, method, self._sent_to(appname, address))
        return self._heads.get(key) or self._make_head(key)

    def _make_head(self, key: tuple[str, str, str, str, str]) -> _Head:
        """Raises InvalidValue for an address that no request can be made of."""
        address, dialect, appname, method, token = key
        if dialect in OLD:
            headers, path = dict(self._old.headers(dialect)), ""
        else:
            headers = {"Content-Type": "application/json;charset=UTF-8"}
            if token:
                headers[dialects.TOKEN_HEADER] = token
            if _HEADER_VALUE.fullmatch(appname):  # 3.5 asks for it, the others ignore it
                headers[dialects.APPNAME_HEADER] = appname
            path = dialects.run_method(dialect) if method == "run" else method
        try:
            origin, prefix = split_address(address)
            data = request_head(origin, prefix + path, headers)
        except ValueError as error:
            raise InvalidValue("address", address, str(error)) from None
        if len(self._heads) >= _MAX_TEMPLATES:
            del self._heads[next(iter(self._heads))]
        head = self._heads[key] = _Head(origin, data)
        return head


def _whole(head: _Head, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (head.data, len(body), body)

"""Calls of executors before 2.2.0: which bytes ask for what, and what their answers mean."""

from __future__ import annotations

from collections.abc import Mapping

from compat import form, rpc, wire
from compat.hessian import Long, Value
from compat.wire import MalformedError
from gateway.core.clock import Clock
from gateway.core.errors import InvalidValue
from gateway.core.generations import FORM14, FORM15, GENERATIONS, INT_IDS, MAX_INT_ID, NETCOM16, XXLRPC21
from gateway.core.model import Job, LogPage
from gateway.core.ports import CANNOT_SAY, Answer, RunOrder

FORMS = frozenset({FORM14, FORM15})
OLD = FORMS | frozenset(rpc.FRAMES)
_MUTE = Answer(ok=False, code=CANNOT_SAY, message="executors this old do not say whether they are idle")

LARGE_ANSWER = 64 * 1024
_MAX_TEMPLATES = 10_000
_INT_LOG = ["long", "int", "int"]
_LONG_LOG = ["long", "long", "int"]
_FIRST_LOG = ["long", "int"]


class OldCalls:
    """`callback_to`: host and port for results, which executors up to 1.7.1 have to be told with each run."""

    def __init__(self, clock: Clock, callback_to: str = "") -> None:
        self._clock = clock
        self._callback_to = callback_to
        self._starts: dict[tuple[int, str, str], tuple[Job, bytes]] = {}
        self._log_types: dict[str, list[str]] = {}

    def headers(self, dialect: str) -> Mapping[str, str]:
        return form.HEADERS if dialect in FORMS else rpc.HEADERS

    # ------------------------------------------------------------ runs

    def run(self, order: RunOrder, token: str) -> bytes:
        """Raises InvalidValue for what this executor cannot be given."""
        dialect = order.dialect
        if dialect in INT_IDS and order.run_id > MAX_INT_ID:
            releases = GENERATIONS[dialect].releases
            expected = f"expected at most {MAX_INT_ID}: executors of {releases} keep it in 32 bits"
            raise InvalidValue("logId", order.run_id, expected)
        if dialect in FORMS or dialect == NETCOM16:
            self._check_callback()
        now_ms = self._clock.now_ms()
        if dialect in FORMS:
            return form.run(order, self._callback_to, now_ms)
        job = order.job
        params = job.task.parameter if order.params is None else order.params
        return self._start(job, dialect, token) + rpc.run_end(dialect, order, params, now_ms)

    def _check_callback(self) -> None:
        if not self._callback_to:
            expected = "expected HOST:PORT: executors up to 1.7.1 are told with each run where results go"
            raise InvalidValue("advertise", self._callback_to, expected)

    def _start(self, job: Job, dialect: str, token: str) -> bytes:
        """Kept as long as it is the same object: an id that is given again begins at version 1 again."""
        key = (job.id, dialect, token)
        known = self._starts.get(key)
        if known is not None and known[0] is job:
            return known[1]
        if known is None and len(self._starts) >= _MAX_TEMPLATES:
            del self._starts[next(iter(self._starts))]
        start = rpc.run_start(dialect, job, token, self._callback_to)
        self._starts[key] = job, start
        return start

    def run_answer(self, dialect: str, status: int, body: bytes) -> Answer:
        """Raises MalformedError."""
        _check_size(body)
        if dialect in FORMS:
            return form.parse_answer(status, body, is_run=True)
        return rpc.parse_answer(dialect, status, body)

    # ------------------------------------------------------------ questions

    def beat(self, dialect: str, token: str) -> bytes:
        if dialect in FORMS:
            return form.request(dialect, "BEAT", self._callback_to, self._clock.now_ms())
        return self._call(dialect, token, "beat", [], [])

    def idle(self, dialect: str, token: str, job_id: int) -> bytes:
        """Before 1.8 there is no such call, and the answer says so; before 1.6 another stands in its place."""
        if dialect in FORMS:
            return self.beat(dialect, token)
        return self._call(dialect, token, "idleBeat", ["int"], [job_id])

    def kill(self, dialect: str, token: str, job_id: int) -> bytes:
        if dialect in FORMS:
            now_ms = self._clock.now_ms()
            return form.request(dialect, "KILL", self._callback_to, now_ms, jobName=str(job_id))
        return self._call(dialect, token, "kill", ["int"], [job_id])

    def answer(self, dialect: str, method: str, status: int, body: bytes) -> Answer:
        """Raises MalformedError."""
        _check_size(body)
        if dialect in FORMS:
            answer = form.parse_answer(status, body)
            return _MUTE if method == "idleBeat" else answer
        return rpc.parse_answer(dialect, status, body)

    # ------------------------------------------------------------ logs

    def log_types(self, address: str, dialect: str) -> list[list[str]]:
        """The arguments that `log` may have there, the likeliest first: 2.1.0 looks like 2.0, 1.6.0 like 1.6.1."""
        if dialect in FORMS:
            return [[]]
        found = [_LONG_LOG, _INT_LOG] if dialect == XXLRPC21 else [_INT_LOG, _LONG_LOG, _FIRST_LOG]
        known = self._log_types.get(address)
        return sorted(found, key=lambda one: one is not known)

    def log(
        self, dialect: str, token: str, types: list[str], run_id: int, time_ms: int, from_line: int
    ) -> bytes:
        if dialect in FORMS:
            now_ms = self._clock.now_ms()
            return form.request(dialect, "LOG", self._callback_to, now_ms, logId=run_id, logDateTim=time_ms)
        arguments: list[Value] = [Long(time_ms), Long(run_id) if types is _LONG_LOG else run_id, from_line]
        return self._call(dialect, token, "log", types, arguments[: len(types)])

    def log_page(
        self, address: str, dialect: str, types: list[str], from_line: int, status: int, body: bytes
    ) -> LogPage | None:
        """Raises MalformedError, and WrongMethodError if the next of `log_types` may be right."""
        if dialect in FORMS:
            answer = form.parse_answer(status, body)
            if not answer.ok:
                raise MalformedError(f"it refused: {answer.message}")
            return form.log_page(answer.message, from_line) if answer.message else None
        content = rpc.parse_log(dialect, status, body)
        if len(self._log_types) >= _MAX_TEMPLATES:
            self._log_types.clear()
        self._log_types[address] = types
        return form.log_page(content, from_line) if isinstance(content, str) else wire.log_page(content)

    def _call(self, dialect: str, token: str, method: str, types: list[str], arguments: list[Value]) -> bytes:
        return rpc.call(dialect, method, types, arguments, token=token, now_ms=self._clock.now_ms())


def _check_size(body: bytes) -> None:
    """An answer that is no log is short; a long one would take too long to read between two sends."""
    if len(body) > LARGE_ANSWER:
        raise MalformedError(f"the answer has {len(body)} bytes, at most {LARGE_ANSWER} are read")

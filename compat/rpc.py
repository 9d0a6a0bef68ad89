"""The frames of the generations before REST (1.6.0 to 2.1.2): objects in Hessian, posted to one path.

Two frames, netcom (RpcRequest) and xxl-rpc (XxlRpcRequest), each with the class and the method to call and its
arguments. Executors find a method by the types of its arguments, skip fields they do not know, and take fields
in any order: so one parameter object serves all of them, and what differs between runs stands at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from compat import wire
from compat.hessian import HessianError, Long, Struct, TypedList, Value, hessian1, hessian2
from compat.wire import MalformedError
from gateway.core.generations import NETCOM16, NETCOM17, NETCOM18, NETCOM19, XXLRPC20, XXLRPC21
from gateway.core.model import Job
from gateway.core.ports import CANNOT_SAY, Answer, RunOrder

BIZ = "com.xxl.job.core.biz."
MODEL = f"{BIZ}model."
_NETCOM = "com.xxl.job.core.rpc.codec."
_XXLRPC = "com.xxl.rpc.remoting.net.params."
_TRIGGER = f"{MODEL}TriggerParam"
_TAIL = ("executorParams", "logId", "logDateTim", "logDateTime", "broadcastIndex", "broadcastTotal")

HEADERS = MappingProxyType({"Content-Type": "application/octet-stream"})


class Frame(NamedTuple):
    """How one generation wraps a call and its answer."""

    encode: Callable[[Value], bytes]
    decode: Callable[[bytes], Value]
    request: str
    response: str
    error: str  # the field that says that the call itself failed
    echoes: bool  # whether an answer repeats the id of its request


NETCOM_1 = Frame(
    hessian1.encode, hessian1.decode, f"{_NETCOM}RpcRequest", f"{_NETCOM}RpcResponse", "error", echoes=False
)
NETCOM_2 = NETCOM_1._replace(encode=hessian2.encode, decode=hessian2.decode)
XXL_RPC = Frame(
    hessian2.encode,
    hessian2.decode,
    f"{_XXLRPC}XxlRpcRequest",
    f"{_XXLRPC}XxlRpcResponse",
    "errorMsg",
    echoes=True,
)

FRAMES: Mapping[str, Frame] = MappingProxyType(
    {
        NETCOM16: NETCOM_1,
        NETCOM17: NETCOM_1,
        NETCOM18: NETCOM_1,
        NETCOM19: NETCOM_2,
        XXLRPC20: XXL_RPC,
        XXLRPC21: XXL_RPC,
    }
)


def call(
    dialect: str, method: str, types: list[str], arguments: list[Value], *, token: str, now_ms: int
) -> bytes:
    """The bytes of one call of an executor."""
    return FRAMES[dialect].encode(_call(dialect, method, types, arguments, token, now_ms))


def _call(
    dialect: str, method: str, types: list[str], arguments: list[Value], token: str, now_ms: int
) -> Struct:
    frame = FRAMES[dialect]
    fields: dict[str, Value] = {"requestId": "gateway", "version": None} if frame.echoes else {}
    if dialect not in {NETCOM16, NETCOM17}:
        fields["accessToken"] = token or None
    fields |= {
        "className": f"{BIZ}ExecutorBiz",
        "methodName": method,
        "parameterTypes": TypedList(
            "[java.lang.Class", [Struct("java.lang.Class", {"name": name}) for name in types]
        ),
        "parameters": TypedList("[object", arguments),
        "createMillisTime": Long(now_ms),
    }
    return Struct(frame.request, fields)


# ---------------------------------------------------------------- run


def run_start(dialect: str, job: Job, token: str, callback_to: str) -> bytes:
    """What all runs of a job version have in common; `run_end` follows. Raises InvalidValue, HessianError.

    `callback_to` is the host and port that executors up to 1.7.1 send their results to: nothing else tells them.
    """
    wire.checked_job_id(job)
    task = job.task
    fields: dict[str, Value] = {
        "jobId": job.id,
        "executorHandler": task.handler or "",
        "executorBlockStrategy": job.block_strategy.value,
        "executorTimeout": job.timeout_s,
        "glueType": task.glue_type or "BEAN",
        "glueSource": task.glue_source or "",
        "glueUpdatetime": Long(task.glue_updated_ms),
    }
    if dialect == NETCOM16:
        fields["glueSwitch"] = False
        fields["logAddress"] = TypedList("java.util.HashSet", [callback_to])
    fields |= dict.fromkeys(_TAIL, 0)
    fields |= {"executorParams": "", "logDateTim": Long(0), "logDateTime": Long(0)}
    whole = FRAMES[dialect].encode(_call(dialect, "run", [_TRIGGER], [Struct(_TRIGGER, fields)], token, 0))
    end = _end(FRAMES[dialect], ["", 0, Long(0), Long(0), 0, 0], 0)
    if not whole.endswith(end):
        raise HessianError("the end of a run does not stand at its end")
    return whole[: -len(end)]


def run_end(dialect: str, order: RunOrder, params: str, now_ms: int) -> bytes:
    """What is this run's alone."""
    time = Long(order.trigger_ms)
    shards: list[Value] = [order.shard, order.shard_total]
    return _end(FRAMES[dialect], [params, order.run_id, time, time, *shards], now_ms)


def _end(frame: Frame, values: list[Value], now_ms: int) -> bytes:
    """The fields of `_TAIL`, the end of what holds them, and the time of the call."""
    encode = frame.encode
    if frame.encode is hessian2.encode:
        return b"".join(map(encode, [*values, Long(now_ms)]))
    fields = b"".join(encode(name) + encode(value) for name, value in zip(_TAIL, values, strict=True))
    return b"%bzz%b%bz" % (fields, encode("createMillisTime"), encode(Long(now_ms)))


# ---------------------------------------------------------------- answers


def parse_answer(dialect: str, status: int, body: bytes) -> Answer:
    """What an executor said. Raises MalformedError for what is no executor's answer at all."""
    error, code, message, _ = _result(dialect, status, body)
    if error is not None:
        return Answer(ok=False, code=CANNOT_SAY, message=error)
    return Answer(ok=code == 200, code=code, message=message)


def parse_log(dialect: str, status: int, body: bytes) -> object:
    """What the answer to `log` holds. Raises MalformedError for a refusal, NoSuchMethodError for another signature."""
    error, code, message, content = _result(dialect, status, body)
    if error is not None:
        raise WrongMethodError(error)
    if code != 200:
        raise MalformedError(f"it refused: {message or code}")
    return plain(content)


class WrongMethodError(MalformedError):
    """The call failed before it reached the executor's own code: its method may have other arguments there."""


def _result(dialect: str, status: int, body: bytes) -> tuple[str | None, int, str, Value]:
    """Why the call failed, or the code, the message and the content of its result."""
    frame = FRAMES[dialect]
    if status != 200:
        raise MalformedError(f"HTTP {status}: {body[:200]!r}")
    try:
        answer = frame.decode(body)
    except HessianError as error:
        raise MalformedError(f"no answer of this generation: {error}, in {body[:100]!r}") from None
    if not isinstance(answer, Struct) or frame.error not in answer.fields:
        raise MalformedError(f"no answer of this generation: {body[:100]!r}")
    failed = answer.fields[frame.error]
    if failed is not None:
        return _first_line(said(failed) or "it failed"), CANNOT_SAY, "", None
    result = answer.fields.get("result")
    if not isinstance(result, Struct):
        return "the answer has no result", CANNOT_SAY, "", None
    code = result.fields.get("code")
    content = result.fields.get("content")
    number = int(code) if isinstance(code, int) and not isinstance(code, bool) else CANNOT_SAY
    return None, number, said(result.fields.get("msg")) or "", content


def _first_line(text: str) -> str:
    """Without the stack trace."""
    return text.strip().partition("\n")[0].strip()[:500]


# ---------------------------------------------------------------- values


_SHOWN = 200


def shown(value: Value) -> str:
    """What was said, for a message: as much of it as is worth showing."""
    return (said(value) or "")[:_SHOWN]


def said(value: Value) -> str | None:
    """Text as it can be kept; a container is only named, since references may make it endless."""
    if isinstance(value, Struct | list | bytes):
        return f"({value.name if isinstance(value, Struct) else type(value).__name__})"
    return wire.clean_text(value)


_REGISTRATION = ("registryGroup", "registGroup", "registryKey", "registryValue")
_RESULT = ("logId", "logDateTim", "logDateTime", "executeResult", "handleCode", "handleMsg", "code", "msg")
_LOG = ("fromLineNum", "toLineNum", "logContent", "isEnd")
_FIELDS = (*_REGISTRATION, *_RESULT, *_LOG)


def plain(value: Value, known: dict[int, object] | None = None) -> object:
    """A struct as a dictionary of the fields that anybody looks for, with no wide numbers; so of structs one level below.

    Of these fields only: references may put one struct of many fields into many places. `known`: what was made of the
    inner structs of other values, by their identity; they are the same objects then.
    """
    if not isinstance(value, Struct):
        return _scalar(value)
    known = {} if known is None else known
    return {name: _inner(value.fields[name], known) for name in _FIELDS if name in value.fields}


def _inner(value: Value, known: dict[int, object]) -> object:
    if not isinstance(value, Struct):
        return _scalar(value)
    if id(value) not in known:
        known[id(value)] = {name: _scalar(value.fields[name]) for name in _FIELDS if name in value.fields}
    return known[id(value)]


def _scalar(value: Value) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return value if value is None or isinstance(value, bool | float | str) else said(value)

"""What executors up to 2.1.0 send as objects in Hessian: which call it is, and answers that they understand."""

from __future__ import annotations

from typing import NamedTuple

from compat import form, rpc, wire
from compat.hessian import HessianError, Struct, Value
from compat.rpc import NETCOM_1, NETCOM_2, XXL_RPC, Frame
from compat.wire import Callback, MalformedError, Registration
from gateway.core.generations import NETCOM18, NETCOM19, XXLRPC20

STALE_MS = 180_000
_RETURN = f"{rpc.MODEL}ReturnT"
_DIALECTS = {NETCOM_1: NETCOM18, NETCOM_2: NETCOM19, XXL_RPC: XXLRPC20}


class OldCall(NamedTuple):
    """`argument` is the first one of the call, the only one of any method."""

    frame: Frame
    dialect: str
    method: str
    request_id: str | None
    token: str
    sent_ms: int
    argument: Value


def frame_of(body: bytes) -> Frame | None:
    """The frame that the first byte speaks of: answers have to be in the version of the question."""
    return {b"M": NETCOM_1, b"C": XXL_RPC}.get(body[:1])


def read_call(body: bytes) -> OldCall:
    """Raises MalformedError."""
    frame = frame_of(body)
    if frame is None:
        raise MalformedError(f"no call of any release begins with {body[:8]!r}")
    try:
        call = frame.decode(body)
    except HessianError as error:
        raise MalformedError(f"no call: {error}") from None
    if isinstance(call, Struct) and frame is XXL_RPC and call.name == NETCOM_2.request:
        frame = NETCOM_2
    if not isinstance(call, Struct) or call.name != frame.request:
        raise MalformedError(f"{rpc.shown(call)!r} instead of a {frame.request}")
    fields = call.fields
    arguments, sent_ms = fields.get("parameters"), fields.get("createMillisTime")
    return OldCall(
        frame,
        _DIALECTS[frame],
        _text(fields.get("methodName")),
        _text(fields.get("requestId")) or None,
        _text(fields.get("accessToken")),
        sent_ms if isinstance(sent_ms, int) else 0,
        arguments[0] if isinstance(arguments, list) and arguments else None,
    )


def _text(value: Value) -> str:
    return wire.clean_text(value) or "" if isinstance(value, str) else ""


def registration(call: OldCall) -> Registration:
    """Raises MalformedError, InvalidValue."""
    if not isinstance(call.argument, Struct):
        raise MalformedError(f"{call.method} of {rpc.shown(call.argument)!r}, expected a registration")
    fields = rpc.plain(call.argument)
    return wire.registration_of(fields if isinstance(fields, dict) else {})


def results(call: OldCall, received_ms: int) -> Callback:
    """A list of them; of releases up to 1.7.1 a single one. Raises MalformedError."""
    items = call.argument if isinstance(call.argument, list) else [call.argument]
    # References may name one result many times: it is one.
    distinct = {id(item) if isinstance(item, Struct) else -n: item for n, item in enumerate(items)}
    known: dict[int, object] = {}
    plain = [rpc.plain(item, known) for item in distinct.values()]
    for item in plain:
        if isinstance(item, dict) and "executeResult" not in item and "code" in item:  # 1.6.0 and 1.6.1
            item["executeResult"] = {"code": item["code"], "msg": item.get("msg")}
    return wire.results_of(plain, received_ms, True)


def form_result(body: bytes, received_ms: int) -> Callback:
    """The result in a form of 1.4 or 1.5: the run that was sent, with how it ended. Raises MalformedError."""
    fields = form.unpack(form.form_field(body))
    code = 200 if fields.get("status") == form.SUCCESS else 500
    item = {
        "logId": fields.get("logId"),
        "logDateTim": fields.get("logDateTim"),
        "executeResult": {"code": code, "msg": fields.get("msg")},
    }
    return wire.results_of([item], received_ms, True)


# ---------------------------------------------------------------- answers


def form_answer(failure: str | None) -> bytes:
    return form.pack({"status": "FAIL" if failure else form.SUCCESS, "msg": failure})


def answer(frame: Frame, request_id: str | None, failure: str | None) -> bytes:
    """What the method returns: success, or why not. Releases before 2.0 look for a refusal there as well."""
    result = Struct(_RETURN, {"code": 200 if failure is None else 500, "msg": failure, "content": None})
    return _response(frame, request_id, None, result)


def refusal(frame: Frame, request_id: str | None, why: str) -> bytes:
    """The call is not let in."""
    if frame.echoes:
        return _response(frame, request_id, why, None)
    return answer(frame, request_id, why)


def error(frame: Frame, request_id: str | None, why: str) -> bytes:
    """The call cannot be read, or there is no such method."""
    return _response(frame, request_id, why, None)


def _response(frame: Frame, request_id: str | None, failed: str | None, result: Value) -> bytes:
    fields: dict[str, Value] = {"requestId": request_id} if frame.echoes else {}
    return frame.encode(Struct(frame.response, fields | {frame.error: failed, "result": result}))

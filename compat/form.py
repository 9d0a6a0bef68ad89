"""Messages of 1.4 and 1.5: JSON as hexadecimal digits in a form field, the same object there and back.

In front of the JSON stands its length, four bytes with the lowest first; zeros fill up to a multiple of four. A field too
many is a failure there. Executors answer SUCCESS to calls they refuse as too old, with a reason beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qs

from compat import wire
from compat.wire import MalformedError
from gateway.core.errors import InvalidValue
from gateway.core.generations import FORM14
from gateway.core.model import LogPage
from gateway.core.ports import Answer, RunOrder

HEADERS = MappingProxyType({"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"})
GROUP = "gateway"
SUCCESS = "SUCCESS"


def pack(fields: Mapping[str, object]) -> bytes:
    """The hexadecimal digits of one message."""
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    text += bytes(-len(text) % 4)
    return (len(text).to_bytes(4, "little") + text).hex().upper().encode()


def unpack(digits: bytes) -> dict[str, object]:
    """What the digits hold. Raises MalformedError."""
    try:
        raw = bytes.fromhex(digits.strip().decode("ascii"))
    except ValueError:
        raise MalformedError(f"no hexadecimal digits: {digits[:100]!r}") from None
    size = int.from_bytes(raw[:4], "little")
    if len(raw) < 4 or size > len(raw) - 4:
        raise MalformedError(f"{size} bytes are announced and {max(len(raw) - 4, 0)} sent")
    fields = wire.load(raw[4 : 4 + size].rstrip(b"\0"))
    if not isinstance(fields, dict):
        raise MalformedError("the message is no object")
    return fields


def form_field(body: bytes) -> bytes:
    """The field `hex` of a form. Raises MalformedError."""
    if body.startswith(b"hex=") and b"&" not in body and b"%" not in body:
        return body[4:]
    try:
        found = parse_qs(body.decode("ascii"), max_num_fields=10).get("hex")
    except ValueError:
        found = None
    if not found:
        raise MalformedError("the form has no field 'hex'")
    return found[0].encode()


def request(dialect: str, action: str, callback_to: str, now_ms: int, **fields: object) -> bytes:
    """The body of one call of an executor."""
    whole = {
        "timestamp": now_ms,
        "action": action,
        "jobGroup": GROUP,
        "jobName": "",
        "executorHandler": "",
        "executorParams": "",
        "glueSwitch": False,
        "logAddress": callback_to if dialect == FORM14 else [callback_to],
        "logId": 0,
        "logDateTim": now_ms,
        "status": None,
        "msg": None,
    }
    return b"hex=" + pack(whole | fields)


def run(order: RunOrder, callback_to: str, now_ms: int) -> bytes:
    """Raises InvalidValue."""
    wire.checked_job_id(order.job)
    task = order.job.task
    if (task.glue_type or "BEAN") != "BEAN":
        raise InvalidValue("glue_type", task.glue_type, "expected BEAN: executors up to 1.5 have no other")
    return request(
        order.dialect,
        "RUN",
        callback_to,
        now_ms,
        jobName=str(order.job.id),
        executorHandler=task.handler or "",
        executorParams=task.parameter if order.params is None else order.params,
        logId=order.run_id,
        logDateTim=order.trigger_ms,
    )


def parse_answer(status: int, body: bytes, *, is_run: bool = False) -> Answer:
    """What an executor said. Raises MalformedError. A run was taken only if nothing is said beside SUCCESS."""
    if status != 200:
        raise MalformedError(f"HTTP {status}: {body[:200]!r}")
    fields = unpack(body)
    message = wire.clean_text(fields.get("msg")) or ""
    ok = fields.get("status") == SUCCESS and not (is_run and message)
    return Answer(ok=ok, code=200 if ok else 500, message=message)


def log_page(text: str, from_line: int) -> LogPage:
    """The whole log comes each time: what is asked for is cut out of it."""
    lines = text.splitlines(keepends=True)
    rest = lines[max(from_line, 1) - 1 :]
    return LogPage(from_line, len(lines), "".join(rest), is_end=False)

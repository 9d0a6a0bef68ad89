"""The JSON of the REST generations (2.2.0 and later, Go, Python, Node): bytes to values and back, no I/O.

Executors are read leniently (numbers as text, missing members, either spelling of a field), because what
they say is not ours to change; what we say is the one form that every generation accepts.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from compat import raw_json
from gateway.core.errors import GatewayError, InvalidValue
from gateway.core.model import ExecutorResult, Job, LogPage
from gateway.core.ports import Answer

OK = b'{"code":200,"msg":null,"content":null}'
BEAT = b"{}"

MAX_INT = (1 << 31) - 1  # jobId is a Java int in every release
_MAX_LONG = (1 << 63) - 1
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = str.maketrans('"\\{}[]', "'/()()")
_OLD_ANSWER = re.compile(rb"Mt\x00.com\.xxl|C0.com\.xxl|[0-9A-F]{8}7B22", re.DOTALL)
_OLD_RESULT = b'"executeResult"'
MOST_RESULTS = 100_000
_FIRST_FRAME = 200  # bytes in which the first result of releases up to 2.2.0 shows its form
_MOST_TEXT = 2048  # of a registration; apps and addresses are held to less
_SHOWN = 200  # characters of an answer nobody expected that are worth showing


class MalformedError(GatewayError):
    """The message is not what this protocol says."""


class Registration(NamedTuple):
    appname: str
    address: str  # as sent
    is_old: bool = False  # whether it spells its group as releases up to 2.1.0 do


class Callback(NamedTuple):
    """The results of one call; `bad` says what was wrong with elements that had to be left out."""

    results: list[ExecutorResult]
    bad: list[str]


# ---------------------------------------------------------------- executor to gateway


def failure(message: str) -> bytes:
    """Code 500 in the envelope; the payload stays null, anything else in it breaks Java executors.

    2.1.1 and 2.1.2 cannot read an answer whose text has double quotes, brackets or backslashes.
    """
    return json.dumps({"code": 500, "msg": message.translate(_PLAIN), "content": None}).encode()


def parse_registration(body: bytes) -> Registration:
    """Body of `registry` and `registryRemove`. Raises MalformedError, InvalidValue naming a blank field."""
    fields = load(body)
    if not isinstance(fields, dict):
        raise MalformedError(f"the registration is {_kind(fields)}, expected an object")
    return registration_of(fields)


def registration_of(fields: dict[str, object]) -> Registration:
    """Raises InvalidValue naming a blank field."""
    is_old = "registGroup" in fields and "registryGroup" not in fields
    group_name = "registGroup" if is_old else "registryGroup"
    group = _filled(fields, group_name)
    if group.upper() != "EXECUTOR":
        raise InvalidValue(group_name, group[:_SHOWN], "expected EXECUTOR")
    return Registration(_filled(fields, "registryKey"), _filled(fields, "registryValue"), is_old)


def parse_callback(body: bytes, received_ms: int, *, strict_time: bool = False) -> Callback:
    """Body of `callback`: an array, one object, or `{"callbackList":[…]}`. Raises MalformedError.

    `handleCode` goes before `executeResult.code`; several languages send both. A code that is missing or
    not readable is 0, hence a failure: the run is over, whatever became of it. What has no readable
    `logId` is left out and named in `bad`. `strict_time` is handed on to the results.
    """
    items = load(body) if body.find(_OLD_RESULT, 0, _FIRST_FRAME) < 0 else _old_items(body)
    if isinstance(items, dict):
        items = items.get("callbackList", [items])
    if not isinstance(items, list):
        raise MalformedError(f"the callback is {_kind(items)}, expected an array of results")
    return results_of(items, received_ms, strict_time)


def _old_items(body: bytes) -> object:
    framed = raw_json.results(body)
    if framed is None:
        return load(body)
    try:
        items = json.loads(body)
    except (ValueError, RecursionError):
        return framed
    return items if raw_json.is_as_good(items, framed) else framed


def results_of(items: list[Any], received_ms: int, strict_time: bool) -> Callback:
    """The results in the elements of a callback. Raises MalformedError for more than anybody has."""
    if len(items) > MOST_RESULTS:
        raise MalformedError(f"the callback has {len(items)} results, expected at most {MOST_RESULTS}")
    results: list[ExecutorResult] = []
    bad: list[str] = []
    messages: dict[int, str | None] = {}  # one object may be the message of many results
    for item in items:
        try:
            run_id, code, message, time_ms = (
                item["logId"],
                item["handleCode"],
                item["handleMsg"],
                item["logDateTim"],
            )
            plain = type(run_id) is type(code) is type(time_ms) is int and type(message) is str
        except (KeyError, TypeError):
            plain = False
            run_id = code = message = time_ms = None
        if (
            plain
            and 0 < run_id <= _MAX_LONG
            and -MAX_INT <= code <= MAX_INT
            and 0 < time_ms <= _MAX_LONG
            and (message.isascii() or _LONE_SURROGATE.search(message) is None)
        ):
            results.append(ExecutorResult(run_id, code, message, time_ms, received_ms, strict_time))
            continue
        result = _lenient_result(item, received_ms, messages, strict_time=strict_time)
        if isinstance(result, str):
            bad.append(result)
        else:
            results.append(result)
    return Callback(results, bad)


def _lenient_result(
    item: object, received_ms: int, messages: dict[int, str | None], *, strict_time: bool
) -> ExecutorResult | str:
    """The result, or why there is none in this element."""
    if not isinstance(item, dict):
        return f"{_kind(item)} instead of an object"
    run_id = _number(item.get("logId"))
    if run_id is None or run_id <= 0:
        shown = item.get("logId")
        shown = shown[:_SHOWN] if isinstance(shown, str) else _kind(shown)
        return f"logId: {shown} instead of a positive whole number"
    if "handleCode" in item:
        code, message = item["handleCode"], item.get("handleMsg")
    else:
        old = item.get("executeResult")
        code, message = (old.get("code"), old.get("msg")) if isinstance(old, dict) else (None, None)
    code = _number(code)
    if code is None or not -MAX_INT <= code <= MAX_INT:
        code = 0
    time_ms = _number(item.get("logDateTim"))
    if time_ms is None:
        time_ms = _number(item.get("logDateTime"))
    if time_ms is not None and time_ms <= 0:
        time_ms = None
    if id(message) not in messages:
        messages[id(message)] = clean_text(message)
    return ExecutorResult(
        run_id, code, messages[id(message)], time_ms, received_ms, strict_time and time_ms is not None
    )


# ---------------------------------------------------------------- gateway to executor


def job_body(job_id: int) -> bytes:
    """Body of `/idleBeat` and `/kill`."""
    return b'{"jobId":%d}' % job_id


def log_body(run_id: int, log_time_ms: int, from_line: int) -> bytes:
    """Body of `/log`, with both spellings of the time: the second one is 3.5's, the others ignore it."""
    return b'{"logDateTim":%d,"logDateTime":%d,"logId":%d,"fromLineNum":%d}' % (
        log_time_ms,
        log_time_ms,
        run_id,
        from_line,
    )


# A `/run` body is `run_start`, the parameters as `text_bytes`, and these: logId, logDateTime, shard, of how many.
RUN_NUMBERS = b',"logId":%d,"logDateTime":%d,"broadcastIndex":%d,"broadcastTotal":%d}'


def run_start(job: Job) -> bytes:
    """What all runs of a job version have in common. Raises InvalidValue for an id no executor can take."""
    checked_job_id(job)
    task = job.task
    fields = {
        "jobId": job.id,
        "executorHandler": task.handler or "",
        "executorBlockStrategy": job.block_strategy.value,
        "executorTimeout": job.timeout_s,
        "glueType": task.glue_type or "BEAN",
        "glueSource": task.glue_source or "",
        "glueUpdatetime": task.glue_updated_ms,
    }
    return json.dumps(fields, separators=(",", ":")).encode()[:-1] + b',"executorParams":'


def checked_job_id(job: Job) -> None:
    if not 0 < job.id <= MAX_INT:
        raise InvalidValue("jobId", job.id, f"expected 1 to {MAX_INT}, executors keep it in 32 bits")


def text_bytes(text: str) -> bytes:
    """A JSON string."""
    return json.dumps(text).encode()


_UNDERSTOOD = {
    b'{"code":200}': Answer(ok=True, code=200, message=""),
    b'{"code":200,"msg":"Success"}': Answer(ok=True, code=200, message="Success"),
    b'{"code":200,"msg":""}': Answer(ok=True, code=200, message=""),
}


def parse_answer(status: int, body: bytes) -> Answer:
    """What an executor said to `/run`, `/beat`, `/idleBeat` or `/kill`. Raises MalformedError.

    The error means that this is no executor's answer at all: another HTTP status than 200, no JSON, no
    object. One list is understood, Go's refusal in the shape of a callback.
    """
    if status == 200 and body in _UNDERSTOOD:
        return _UNDERSTOOD[body]
    fields = _envelope(status, body)
    if isinstance(fields, list):
        first = fields[0] if fields and isinstance(fields[0], dict) else {}
        old = first.get("executeResult")
        reason = first.get("handleMsg") or (old.get("msg") if isinstance(old, dict) else None)
        code = _number(first.get("handleCode"))
        return Answer(ok=False, code=500 if code is None else code, message=clean_text(reason) or "refused")
    code = _number(fields.get("code"))
    message = fields.get("msg") or _payload(fields)
    shown = message if isinstance(message, str) else ""
    return Answer(ok=code == 200, code=0 if code is None else code, message=clean_text(shown) or "")


def parse_log(status: int, body: bytes) -> LogPage | None:
    """What an executor said to `/log`: a page, or None when it has no log of this run. Raises MalformedError.

    "No log" is told from the numbers, never from the words, which differ by version and may be a handler's:
    Java, all versions: `toLineNum` 0 with `isEnd` true; true is said in no other case, and asking past the
    end gives `isEnd` false with `toLineNum` 0 (3.3.0 and later) or the last line (before).
    pyxxl with log files: `isEnd` false and `toLineNum` = `fromLineNum`, with a notice that does not end in a
    newline; each line of a real log does. Its other stores say `isEnd` true there and look like one line.
    Go without a log handler: one canned text for every run. It is a page like others; nothing in it tells
    whether the run is known, hence `dialects.log_is_real`.
    Node: code 500, which is also what any executor says to a wrong token or a body it cannot read. It
    proves nothing about the run, so it is an error with the executor's own text, not None.
    Rust: code 200 with no payload at all, hence None; its log is not real either.
    """
    fields = _envelope(status, body)
    code = _number(fields.get("code")) if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or code != 200:
        raise MalformedError(f"it refused: {parse_answer(status, body).message or code}")
    return log_page(_payload(fields))


def log_page(page: object) -> LogPage | None:
    """The page in an answer to `/log`, by the rules of `parse_log`."""
    if not isinstance(page, dict):
        return None
    from_line = _number(page.get("fromLineNum")) or 1
    to_line = _number(page.get("toLineNum")) or 0
    content = clean_text(page.get("logContent")) or ""
    is_end = page.get("isEnd") is True
    if is_end and to_line == 0:
        return None
    if not is_end and to_line == from_line and content and not content.endswith("\n"):
        return None
    return LogPage(from_line, to_line, content, is_end)


def _envelope(status: int, body: bytes) -> dict[str, object] | list[object]:
    if status != 200:
        raise MalformedError(f"HTTP {status}: {_glimpse(body)}")
    try:
        fields = load(body)
    except MalformedError:
        old = (
            " (an executor before 2.2.0? Its app has to name its dialect)" if _OLD_ANSWER.match(body) else ""
        )
        raise MalformedError(f"no JSON in the answer{old}: {_glimpse(body)}") from None
    if not isinstance(fields, dict | list):
        raise MalformedError(f"the answer is {_kind(fields)}, expected an object")
    return fields


def _payload(fields: dict[str, object]) -> object:
    """`content` up to 3.2.0, `data` from 3.3.0; some clients send both."""
    content = fields.get("content")
    return fields.get("data") if content is None else content


# ---------------------------------------------------------------- JSON


def load(body: bytes) -> object:
    """JSON, if need be with raw control characters and broken UTF-8 in its strings. Raises MalformedError."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(body.decode("utf-8", "replace"), strict=False)
    except ValueError as error:
        raise MalformedError(f"no JSON: {error} in {_glimpse(body)}") from None
    except RecursionError:
        raise MalformedError("no JSON: nested too deeply") from None


def _number(value: object) -> int | None:
    """A whole number of at most 64 bits as Java clients and others spell it: 116, 116.0, "116"."""
    if isinstance(value, str):
        try:
            value = int(value) if len(value) < 32 else None
        except ValueError:
            return None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    if isinstance(value, bool) or not isinstance(value, int) or not -_MAX_LONG <= value <= _MAX_LONG:
        return None
    return value


def clean_text(value: object) -> str | None:
    """Text that can be encoded; what is no text becomes the JSON it was."""
    if value is None:
        return None
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False)
        except RecursionError:
            return "(nested too deeply)"
    if not value.isascii() and _LONE_SURROGATE.search(value):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _filled(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, dict | list | bool):
        raise InvalidValue(name, _kind(value), "expected text that is not blank")
    text = (clean_text(value) or "").strip()
    if not text:
        raise InvalidValue(name, value and text, "expected text that is not blank")
    if len(text) > _MOST_TEXT:
        raise InvalidValue(name, text[:_SHOWN], f"expected at most {_MOST_TEXT} characters")
    return text


def _glimpse(body: bytes) -> str:
    return repr(body[:_SHOWN].decode("utf-8", "replace"))


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")

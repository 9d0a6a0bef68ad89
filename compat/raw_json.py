"""Callbacks of 2.1.1 and 2.1.2, which write JSON without escaping what stands in a text.

A message with a quote makes something that is no JSON, or another JSON than was meant; 2.1.1 sends the low byte of
each character besides. But they write one frame around each result, and what is between two frames is the message.
"""

from __future__ import annotations

import re

_FRAME = re.compile(
    rb'\{"logId":(\d{1,19}),"logDateTim":(\d{1,19}),"executeResult":\{"code":(-?\d{1,19}),"msg":(?=null|")'
)
_END = re.compile(rb"\s*\}\s*\}\s*(?:,\s*)?(?:\]\s*)?\Z")
_CONTENT = b',"content":'
_LINE = re.compile(r"(?:\\r)?\\n((?:\\t)*)")


def results(body: bytes) -> list[object] | None:
    """The results of a callback as if it were JSON, or None if it has no such frame."""
    if body.lstrip()[:1] != b"[":
        return None
    starts = list(_starts(body))
    if not starts:
        return None
    ends = [one.start() for one in starts[1:]] + [len(body)]
    return [_result(one, body[one.end() : end]) for one, end in zip(starts, ends, strict=True)]


def same_results(items: object, framed: list[object]) -> bool:
    """Whether what was read as JSON are those results: a quote in a message may have made others of them."""
    return isinstance(items, list) and list(map(_outline, items)) == list(map(_outline, framed))


def _outline(item: object) -> object:
    result = item.get("executeResult") if isinstance(item, dict) else None
    if (
        not isinstance(item, dict)
        or not isinstance(result, dict)
        or result.keys() - {"code", "msg", "content"}
    ):
        return None
    return item.get("logId"), item.get("logDateTim"), result.get("code")


def _starts(body: bytes) -> list[re.Match[bytes]]:
    """Frames that begin the array or follow the end of another; one that a message quotes seldom does."""
    found: list[re.Match[bytes]] = []
    for match in _FRAME.finditer(body):
        before = body[max(match.start() - 16, 0) : match.start()].rstrip()
        if (before.endswith((b"}},", b"}} ,")) and found) or (
            not found and body[: match.start()].strip() == b"["
        ):
            found.append(match)
    return found


def _result(frame: re.Match[bytes], rest: bytes) -> dict[str, object]:
    run_id, time_ms, code = map(int, frame.groups())
    end = _END.search(rest)
    inside = rest[: end.start()] if end else rest
    message, has_content, _ = inside.rpartition(_CONTENT)
    text = _text(message if has_content else inside)
    return {"logId": run_id, "logDateTim": time_ms, "executeResult": {"code": code, "msg": text}}


def _text(raw: bytes) -> str | None:
    """Between its quotes; line ends were written as in JSON, a backslash of its own was not."""
    if raw == b"null":
        return None
    raw = raw[1:].removesuffix(b'"')
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return _LINE.sub(lambda match: "\n" + "\t" * (len(match[1]) // 2), text)

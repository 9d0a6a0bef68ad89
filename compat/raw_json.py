"""Callbacks of 2.1.1 and 2.1.2, which write JSON without escaping what stands in a text.

A message with a quote makes something that is no JSON, or another JSON than was meant; 2.1.1 sends the low byte of
each character besides. But they write one frame around each result, and what is between two frames is the message.
"""

from __future__ import annotations

import re

_FRAME = re.compile(
    rb'\{"logId":(\d{1,19}),"logDateTim":(\d{1,19}),"executeResult":\{"code":(-?\d{1,19}),"msg":(?=null|")'
)
_BEGIN = re.compile(rb"\s*\[\s*")
_CONTENT = b',"content":'
_LINE = re.compile(r"(?:\\r)?\\n((?:\\t)*)")


def results(body: bytes) -> list[object] | None:
    """The results of a callback as if it were JSON, or None if it has no such frame."""
    starts = _starts(body)
    if not starts:
        return None
    ends = [one.start() for one in starts[1:]] + [len(body)]
    return [_result(one, body[one.end() : end]) for one, end in zip(starts, ends, strict=True)]


def is_as_good(items: object, framed: list[object]) -> bool:
    """Whether what was read as JSON are those results: a quote in a message may have made others of them.

    More of them than there are frames are of a client that writes other keys behind the frame.
    """
    if not isinstance(items, list):
        return False
    ids = [item.get("logId") if isinstance(item, dict) else None for item in items]
    if len(ids) > len(framed) and all(type(one) is int for one in ids):
        return True
    return list(map(_outline, items)) == list(map(_outline, framed))


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
    begin = _BEGIN.match(body)
    first = _FRAME.match(body, begin.end()) if begin else None
    if first is None:
        return []
    found = [first]
    for match in _FRAME.finditer(body, first.end()):
        before = body[max(match.start() - 16, 0) : match.start()].rstrip()
        if before.endswith((b"}},", b"}} ,")):
            found.append(match)
    return found


def _result(frame: re.Match[bytes], rest: bytes) -> dict[str, object]:
    run_id, time_ms, code = map(int, frame.groups())
    inside = _without_end(rest)
    message, has_content, _ = inside.rpartition(_CONTENT)
    text = _text(message if has_content else inside)
    return {"logId": run_id, "logDateTim": time_ms, "executeResult": {"code": code, "msg": text}}


def _without_end(rest: bytes) -> bytes:
    """Without the two braces that end a result, and what stands between them and the next, or ends the array."""
    end = rest.rstrip()
    for one in (b"]", b","):
        end = end.removesuffix(one).rstrip()
    inner = end.removesuffix(b"}").rstrip()
    return inner[:-1].rstrip() if len(inner) < len(end) and inner.endswith(b"}") else rest


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

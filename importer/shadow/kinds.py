"""What kind of trigger made a row of the log: only its text tells, in one of three languages.

The text begins with a label, a colon and a word for the kind. A retry is noted in the row that failed as well, but later in
its text, so only what stands before the first tag is read.
"""

from __future__ import annotations

from functools import lru_cache

from importer.shadow.values import Kind

HEAD_CHARS = 120
_MOST_CHARS = 40
# Marker words in zh_CN, zh_TC and en, in the order in which they are looked for.
_MARKERS = (
    (Kind.MISFIRE, ("过期补偿", "過期補償", "misfire")),
    (Kind.RETRY, ("重试", "重試", "retry")),
    (Kind.PARENT, ("父任务", "父任務", "parent")),
    (Kind.MANUAL, ("手动", "手動", "manual")),
    (Kind.API, ("api",)),
    (Kind.SCHEDULE, ("cron",)),
)


def kind_of(message: str | None, retries_left: int | None = None, retries: int | None = None) -> Kind:
    """Of the head of a trigger message. `retries`: how many the job has; a row with fewer left is one of them."""
    head, _, _ = (message or "").partition("<")
    kind = _kind_of_head(head)
    if kind is Kind.UNTOLD and retries and retries_left is not None and 0 <= retries_left < retries:
        return Kind.RETRY
    return kind


@lru_cache(maxsize=1024)
def _kind_of_head(head: str) -> Kind:
    label, colon, word = head.replace("：", ":").partition(":")
    word = word.strip().casefold()
    if colon and label and len(word) <= _MOST_CHARS:
        for kind, markers in _MARKERS:
            if any(marker in word for marker in markers):
                return kind
    return Kind.UNTOLD


def shard_of(sharding: str | None) -> int:
    """The index in `index/total`; -1 for a run that is no broadcast's."""
    index, slash, total = (sharding or "").strip().partition("/")
    if slash and index.isascii() and index.isdigit() and total.isascii() and total.isdigit():
        return int(index)
    return -1

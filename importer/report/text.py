"""Text of a foreign database, made fit to be shown: nothing that steers a terminal, nothing secret, nothing endless."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

MOST = 300
"""Characters of one value that a report for people shows."""
MASK = "***"

_SHORTEST_SECRET = 8  # of a shorter one, what is masked would tell what it is
_MOST_NAMED = 20
_KINDS = frozenset({"app", "job", "user"})
# What terminals obey: CSI, OSC and other strings up to their end, and two-character sequences.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_UNSEEN = frozenset({"Cc", "Cf", "Cs"})
_BLANKS = re.compile(r"[\s\x85\u2028\u2029]+")


class Cleaner:
    """Makes values fit to be shown; `secrets` never are."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        found = sorted({one for one in secrets if len(one) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, found))) if found else None

    def __call__(self, value: object, most: int = MOST) -> str:
        """One line of visible characters; a long one is cut, and says how long it was."""
        text = str(value)
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        length = len(text)
        text = text[: 10 * most]
        if not (text.isascii() and text.isprintable()):
            text = visible(text)
        if length > most:
            text = f"{text[:most].rstrip()}… ({length:,} characters)"
        return text


def visible(text: str) -> str:
    """Without what steers a terminal or turns the direction of text; stretches of blanks are one."""
    kept = _BLANKS.sub(" ", _ESCAPES.sub("", text))
    return "".join(one for one in kept if unicodedata.category(one) not in _UNSEEN)


def escaped(text: str) -> str:
    """JSON, with what `visible` leaves out written as JSON can: two texts that differ look different."""
    return "".join(_escape(one) if unicodedata.category(one) in _UNSEEN else one for one in text)


def _escape(character: str) -> str:
    return json.dumps(character)[1:-1]


def line_of(text: str) -> str:
    """As `visible`, with the blanks at its beginning."""
    rest = text.lstrip(" ")
    return " " * (len(text) - len(rest)) + visible(rest)


def width(text: str) -> int:
    """Columns of a terminal: Chinese characters take two, marks on others none."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of, text))


def _width_of(character: str) -> int:
    if unicodedata.east_asian_width(character) in "WF":
        return 2
    return 0 if unicodedata.category(character) in {"Mn", "Me"} else 1


def pad(text: str, columns: int, *, right: bool = False) -> str:
    blank = " " * (columns - width(text))
    return blank + text if right else text + blank


def wrap(text: str, columns: int) -> list[str]:
    """Lines of at most so many columns, cut at blanks where there are some."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        if line and width(line) + 1 + width(word) > columns:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
        while width(line) > columns:
            head = _fitting(line, columns)
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line] if line or not lines else lines


def _fitting(text: str, columns: int) -> str:
    """As much of its beginning as fits, one character at least."""
    used = 0
    for index, character in enumerate(text):
        used += _width_of(character)
        if used > columns:
            return text[: max(index, 1)]
    return text


def ranges(numbers: Iterable[int], most: int | None = None) -> str:
    """`1–3, 7`; after so many parts, how many numbers more there are."""
    parts: list[str] = []
    ordered = sorted(set(numbers))
    start = 0
    for index, number in enumerate(ordered):
        if index + 1 < len(ordered) and ordered[index + 1] == number + 1:
            continue
        if most is not None and len(parts) >= most:
            parts[-1] += f" and {len(ordered) - start:,} more"
            break
        first = ordered[start]
        join = "–" if number - first > 1 else ", "
        parts.append(str(first) if first == number else f"{first}{join}{number}")
        start = index + 1
    return ", ".join(parts)


def places(wheres: Sequence[str], most: int | None = None) -> str:
    """`jobs 1–3, 7; users admin, li` for `job 1`, `job 2`, `user admin` and so on."""
    numbers: dict[str, list[int]] = {}
    names: dict[str, list[str]] = {}
    others: list[str] = []
    for where in dict.fromkeys(wheres):
        kind, _, name = where.partition(" ")
        if kind not in _KINDS or not name:
            others.append(where)
        elif name.isascii() and name.isdigit():
            numbers.setdefault(kind, []).append(int(name))
        else:
            names.setdefault(kind, []).append(name)
    told = [f"{kind}{'s' * (len(found) > 1)} {ranges(found, most)}" for kind, found in numbers.items()]
    told += [f"{kind}{'s' * (len(found) > 1)} {some(found)}" for kind, found in names.items()]
    return "; ".join([*told, *others])


def some(names: Sequence[str]) -> str:
    """The first of a long list, and how many more there are."""
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 job`, `2,000 jobs`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"

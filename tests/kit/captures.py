"""What released clients were recorded saying (tests/data/captures): one exchange a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

CAPTURES = Path(__file__).resolve().parents[1] / "data" / "captures"
_HEX = re.compile("[0-9a-f]+")


@dataclass(frozen=True)
class Capture:
    """One recorded exchange."""

    path: Path
    to_gateway: bool
    request_head: list[str]
    request_body: bytes
    answer_head: list[str]
    answer_body: bytes

    @property
    def version(self) -> str:
        return self.path.parent.name

    @property
    def name(self) -> str:
        return self.path.stem.partition("-")[2]

    @property
    def target(self) -> str:
        return self.request_head[0].split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.answer_head[0].split(" ")[1])

    def header(self, name: str) -> str | None:
        for line in self.request_head[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None


def read_capture(path: Path) -> Capture:
    title, _, rest = path.read_text("utf-8").partition("\n")
    request, _, answer = rest.partition("--- REQUEST\n")[2].partition("\n--- RESPONSE\n")
    return Capture(path, "executor -> admin" in title, *_message(request), *_message(answer))


def _message(text: str) -> tuple[list[str], bytes]:
    head, _, body = text.partition("\n\n")
    body = body.removesuffix("\n")
    if body.startswith("(empty body)"):
        return head.split("\n"), b""
    if body.startswith("(hex, "):
        lines = takewhile(_HEX.fullmatch, body.split("\n")[1:])
        return head.split("\n"), bytes.fromhex("".join(lines))
    if body.startswith("hex=") or "\n(decoded)" in body:
        body = body.partition("\n(decoded)")[0]
    return head.split("\n"), body.encode()


def captures_of(version: str) -> list[Capture]:
    return [read_capture(path) for path in sorted((CAPTURES / version).glob("*.txt"))]

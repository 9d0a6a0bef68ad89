"""Slots of a job that are missing one after another: one thing, of which it is asked why once it is over."""

from __future__ import annotations

from dataclasses import dataclass, replace

from importer.shadow.values import Judged


@dataclass(slots=True)
class Gap:
    """`silent`: how many of them were due while the old admin started nothing of any job.

    `moved`: the phase of a fixed rate was another one after them.
    """

    count: int = 0
    first_ms: int = 0
    last_ms: int = 0
    silent: int = 0
    moved: bool = False

    def add(self, judged: Judged, *, silent: bool) -> None:
        if not self.count:
            self.first_ms = judged.at_ms
        self.count += judged.count
        self.last_ms = judged.to_ms
        self.silent += judged.count if silent else 0

    def copy(self) -> Gap:
        return replace(self)

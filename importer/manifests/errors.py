"""What is wrong with documents, all of it at once: nothing is changed while anything is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.errors import GatewayError

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Wrong:
    """One value that is wrong. `where` names file, line and entry."""

    where: str
    field: str
    value: object
    expected: str

    def __str__(self) -> str:
        shown = json.dumps(self.value, ensure_ascii=False, default=str)
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
        field = f"{self.field}: " if self.field else ""
        return f"{self.where}: {field}{shown} is not valid: {self.expected}"


class ManifestError(GatewayError):
    """The documents are not valid."""

    def __init__(self, problems: str | Sequence[Wrong | str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(map(str, problems))
        super().__init__("; ".join(self.problems))

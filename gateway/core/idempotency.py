"""Idempotency keys: a call that is made again with the same key gets the answer of the first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.submission import Submitted


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's name for a call, and what tells its request from another."""

    text: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What the answer of a call is made of: when it came, its runs in order, and those whose name others had.

    Until it is `done`, some of the runs may not be written: whoever repeats the call writes the same rows again.
    """

    at_ms: int
    run_ids: Sequence[int]
    taken: Mapping[int, int] = field(default_factory=dict)
    done: bool = False

    def outcomes(self) -> list[Submitted]:
        return [Submitted(run_id, self.taken.get(run_id, run_id)) for run_id in self.run_ids]

    def text(self) -> str:
        """Ids come from blocks, so they are kept as the few ranges that they are."""
        spans: list[list[int]] = []
        for run_id in self.run_ids:
            if spans and run_id == spans[-1][0] + spans[-1][1]:
                spans[-1][1] += 1
            else:
                spans.append([run_id, 1])
        kept = {"at": self.at_ms, "runs": spans, "taken": list(self.taken.items()), "done": self.done}
        return json.dumps(kept, separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> CallRecord:
        kept = json.loads(text)
        run_ids = [first + n for first, count in kept["runs"] for n in range(count)]
        return cls(kept["at"], run_ids, dict(kept["taken"]), kept["done"])


@dataclass(frozen=True, slots=True)
class KnownCall:
    """An earlier call of a key, as the store has it."""

    first_run_id: int
    request_hash: str
    record: CallRecord


class CallRecords(Protocol):
    """What became of calls that had an idempotency key."""

    async def find(self, namespace_id: int, key: str, since_ms: int) -> KnownCall | None:
        """The call of this key, if it was made at or after that instant."""
        ...

    async def finish(self, namespace_id: int, key: str, first_run_id: int, record: CallRecord) -> None:
        """All that this call has asked for is written."""
        ...

"""Retries: after which outcomes there is a next attempt, and how long it waits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import InvalidValue
from gateway.core.states import RunState

FAILURES = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.LOST})
MAX_ATTEMPTS = 1000
LONGEST_MS = 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class Retry:
    """The waits between attempts; the default is the next one at once.

    A list of `intervals_ms` gives the i-th wait, its last value all that follow. Without one the i-th wait, from 0, is
    min(initial_ms * coefficient^i, maximum_ms), a maximum of 0 being none. `jitter` is the share of a wait that chance
    may take away, so a maximum holds. `on`: the outcomes that are tried again.
    """

    intervals_ms: tuple[int, ...] = ()
    initial_ms: int = 0
    coefficient: float = 1.0
    maximum_ms: int = 0
    jitter: float = 0.0
    on: frozenset[RunState] = FAILURES

    def wait_ms(self, index: int, chance: float = 0.0) -> int:
        """The wait before attempt `index` + 2; `chance` is from 0 to 1."""
        if self.intervals_ms:
            wait_ms = self.intervals_ms[min(index, len(self.intervals_ms) - 1)]
        elif self.initial_ms:
            wait_ms = int(min(self._grown_ms(index), self.maximum_ms or LONGEST_MS))
        else:
            return 0
        return wait_ms - int(wait_ms * self.jitter * chance)

    def _grown_ms(self, index: int) -> float:
        try:
            return self.initial_ms * self.coefficient**index
        except OverflowError:
            return math.inf

    def check(self, max_attempts: int, field: str) -> None:
        """Raises `InvalidValue` for waits that nobody can mean. `field` is the name of the whole in what was sent."""
        for index, wait_ms in enumerate(self.intervals_ms):
            _bounded(f"{field}.intervals_s[{index}]", wait_ms)
        _bounded(f"{field}.initial_interval_s", self.initial_ms)
        _bounded(f"{field}.maximum_interval_s", self.maximum_ms)
        if self.maximum_ms and self.maximum_ms < self.initial_ms:
            expected = f"at least initial_interval_s, which is {self.initial_ms / 1000:g} s"
            raise InvalidValue(f"{field}.maximum_interval_s", self.maximum_ms / 1000, expected)
        if self.initial_ms and not self.maximum_ms:
            self._check_growth(max_attempts, field)

    def _check_growth(self, max_attempts: int, field: str) -> None:
        for index in range(max_attempts - 1):
            if self._grown_ms(index) > LONGEST_MS:
                expected = f"a maximum: without one, attempt {index + 2} of {max_attempts} would wait for more than 30 days"
                raise InvalidValue(f"{field}.maximum_interval_s", None, expected)


AT_ONCE = Retry()


def _bounded(field: str, wait_ms: int) -> None:
    if wait_ms > LONGEST_MS:
        raise InvalidValue(field, wait_ms / 1000, "at most 30 days")


def stored(retry: Retry) -> dict[str, Any]:
    """As JSON, without what is the default."""
    values: dict[str, Any] = {
        name: getattr(retry, name)
        for name in ("intervals_ms", "initial_ms", "coefficient", "maximum_ms", "jitter")
        if getattr(retry, name) != getattr(AT_ONCE, name)
    }
    if retry.on != FAILURES:
        values["on"] = sorted(state.word for state in retry.on)
    return values


def retry_of(values: Mapping[str, Any]) -> Retry:
    """From what `stored` has made."""
    if not values:
        return AT_ONCE
    fields = dict(values)
    fields["intervals_ms"] = tuple(fields.get("intervals_ms", ()))
    if "on" in fields:
        fields["on"] = outcomes_of(fields["on"])
    return Retry(**fields)


def outcomes_of(words: list[str]) -> frozenset[RunState]:
    """The failures that these words name."""
    return frozenset(state for state in FAILURES if state.word in words)

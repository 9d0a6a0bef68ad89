"""Places that are kept after the end: of runs that were given up without a word of their executor.

Such a row has its state, but stays among the open ones (`open_part`) until its executor says that it runs nothing of the
job, or is no executor of the app any more. So whoever counts finds it, after a restart and on another node as well.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.core.model import Job
from gateway.core.states import RunState

GIVEN_UP = "; given up, with places kept until their executors are idle: "
HELD = frozenset({RunState.LOST, RunState.TIMED_OUT, RunState.STOPPED, RunState.RETRYING})


def holds_place(job: Job | None, address: str, present: Collection[str]) -> bool:
    """Whether a run of this job at this address keeps its place, now that it is given up. `present`: the executors."""
    return job is not None and job.hold_limit_on_lost and address in present


def held_words(run_ids: Collection[int]) -> str:
    """What is said of runs that are over and have a place, beside how many are under way."""
    if not run_ids:
        return ""
    named = ", ".join(map(str, sorted(run_ids)[:3])) + (" …" if len(run_ids) > 3 else "")
    return GIVEN_UP + named

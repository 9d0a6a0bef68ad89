"""What holds up a run that waits for a place, in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.core.holding import held_words
from gateway.core.model import App
from gateway.core.overlap import Concurrency

NOTHING = "it may start"
_NAMED = 3


def by_job(limit: Concurrency, running: Sequence[int], waiting: int, held: Collection[int]) -> str:
    """`running` are the runs of the job that are under way, those among them that are over and have a place `held`.

    `waiting`: how many of the job wait for the app.
    """
    named = ", ".join(map(str, running[:_NAMED])) + (" …" if len(running) > _NAMED else "")
    more = f", {waiting} wait for the app" if waiting else ""
    return (
        f"{len(running)} of {limit.places} runs of this job are under way ({named}){more}{held_words(held)}"
    )


def by_app(app: App, running: int, held: Collection[int]) -> str:
    if app.max_running is not None and running >= app.max_running:
        return f"{running} of {app.max_running} runs of app {app.appname!r} are under way{held_words(held)}"
    if app.starts_per_second is not None:
        return f"app {app.appname!r} starts at most {app.starts_per_second:g} runs a second"
    return NOTHING


def until_now(limit: Concurrency, app: App | None, *, by_its_job: bool) -> str:
    """Of one that starts at last: the limit that held it up, of which the last place has just become free."""
    if by_its_job or app is None:
        return f"{limit.places} of {limit.places} runs of this job were under way"
    if app.max_running is not None:
        return f"{app.max_running} of {app.max_running} runs of app {app.appname!r} were under way"
    return by_app(app, 0, ())

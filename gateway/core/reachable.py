"""Which executors a job may use at this moment, or why none; for those who only want to tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.core.model import AddressMode, App, Executor, Job, Route
from gateway.core.placement import ExecutorSetting, address_key


@dataclass(frozen=True, slots=True)
class Reachable:
    """`usable` of the `present` executors of the app; `why_none` is empty where there are any."""

    present: int = 0
    usable: int = 0
    why_none: str = ""


NOBODY = Reachable()


def reachable(job: Job, app: App, live: Sequence[Executor], settings: Iterable[ExecutorSetting]) -> Reachable:
    is_manual = app.address_mode is AddressMode.MANUAL
    present = app.addresses if is_manual else tuple(executor.address for executor in live)
    known = {setting.address: setting for setting in settings}

    def setting_of(address: str) -> ExecutorSetting | None:
        return known.get(address_key(address))

    by_weight = job.route is Route.WEIGHTED
    open_ = [one for one in present if not ((has := setting_of(one)) and has.draining_ms)]
    usable = job.placement.among(open_, setting_of, by_weight=by_weight)
    why_none = "" if usable else job.placement.why_none(app.appname, present, setting_of, by_weight=by_weight)
    return Reachable(len(present), len(usable), why_none)

"""Placement: what people say about executors (labels, weight, draining), and which of them a job may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

WEIGHT = 100
MAX_WEIGHT = 1000
MAX_LABELS = 20
LABEL = r"^[A-Za-z0-9][A-Za-z0-9._:=/-]{0,63}$"
GRACE_MS = 2000  # until every node has heard of a drain, or its claims have run out


@dataclass(frozen=True, slots=True)
class ExecutorSetting:
    """Of one address of an app, whether or not somebody is there at this moment. `draining_ms`: since when, 0 if not."""

    app_id: int
    address: str
    labels: tuple[str, ...] = ()
    weight: int = WEIGHT
    draining_ms: int = 0
    note: str = ""
    author: str = ""
    updated_ms: int = 0

    @property
    def says_nothing(self) -> bool:
        return not self.labels and self.weight == WEIGHT and not self.draining_ms and not self.note


@dataclass(frozen=True, slots=True)
class SettingChange:
    """None leaves a value as it is."""

    labels: tuple[str, ...] | None = None
    weight: int | None = None
    draining: bool | None = None
    note: str | None = None

    def applied(self, old: ExecutorSetting, now_ms: int, author: str) -> ExecutorSetting:
        draining_ms = old.draining_ms
        if self.draining is not None:
            draining_ms = (old.draining_ms or now_ms) if self.draining else 0
        return replace(
            old,
            labels=old.labels if self.labels is None else self.labels,
            weight=old.weight if self.weight is None else self.weight,
            draining_ms=draining_ms,
            note=old.note if self.note is None else self.note,
            author=author,
            updated_ms=now_ms,
        )


SettingOf = Callable[[str], ExecutorSetting | None]


def address_key(address: str) -> str:
    """One spelling for what is one executor: with and without a slash at the end, in any case of the host."""
    scheme, _, rest = address.partition("://")
    host, _, path = rest.partition("/")
    path = path.strip("/")
    return f"{scheme.lower()}://{host.lower()}/" + (f"{path}/" if path else "")


class Fallback(StrEnum):
    """Where a job's runs go while no executor has its label."""

    FAIL = "fail"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Placement:
    """The executors that a job wants: all, or those with a label."""

    label: str = ""
    fallback: Fallback = Fallback.FAIL

    def among(self, addresses: Sequence[str], setting_of: SettingOf, *, by_weight: bool) -> Sequence[str]:
        """Those of these addresses that a run of the job may go to. `by_weight`: a weight of 0 is never chosen."""
        if by_weight:
            addresses = [address for address in addresses if _weight(setting_of(address))]
        if not self.label:
            return addresses
        labelled = [address for address in addresses if self._is_wanted(setting_of(address))]
        return labelled or ([] if self.fallback is Fallback.FAIL else addresses)

    def why_none(
        self, appname: str, present: Sequence[str], setting_of: SettingOf, *, by_weight: bool
    ) -> str:
        """Why none of an app's executors may be used. Each is counted for the first thing that forbids it."""
        if not present:
            return f"no executor of app {appname!r} is registered"
        draining = labelless = weightless = 0
        for address in present:
            setting = setting_of(address)
            if setting is not None and setting.draining_ms:
                draining += 1
            elif self.label and self.fallback is Fallback.FAIL and not self._is_wanted(setting):
                labelless += 1
            elif by_weight and not _weight(setting):
                weightless += 1
        found = (
            (draining, "draining"),
            (labelless, f"without the label {self.label!r}"),
            (weightless, "of weight 0"),
        )
        words = ", ".join(f"{count} {what}" for count, what in found if count)
        return f"no executor of app {appname!r} may be used: {words}"

    def _is_wanted(self, setting: ExecutorSetting | None) -> bool:
        return setting is not None and self.label in setting.labels


ANYWHERE = Placement()


def _weight(setting: ExecutorSetting | None) -> int:
    return WEIGHT if setting is None else setting.weight


def is_drained_since(setting: ExecutorSetting | None, made_ms: int) -> bool:
    """Whether the executor has begun to drain after a row for it was made, by whichever node."""
    return setting is not None and bool(setting.draining_ms) and made_ms <= setting.draining_ms + GRACE_MS

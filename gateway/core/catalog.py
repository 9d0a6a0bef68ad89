"""What is kept for people: ports of the store, called by the API and by `compat`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from gateway.core.calendar_days import Calendar
from gateway.core.cluster import NodeRecord
from gateway.core.errors import GatewayError
from gateway.core.listing import JobFilter, Page, RunFilter
from gateway.core.model import App, Job, Run, Token
from gateway.core.placement import ExecutorSetting, SettingChange
from gateway.core.shards import Tally
from gateway.core.versions import JobVersion


class AppCatalog(Protocol):
    async def create(self, app: App) -> App:
        """Store it; id and times are filled in. Raises `Conflict` when the appname is taken."""
        ...

    async def get(self, appname: str) -> App:
        """Raises `NotFound`."""
        ...

    async def names(self, app_ids: Collection[int]) -> dict[int, str]:
        """The appnames of these ids, without those that were deleted."""
        ...

    async def ids_of(self, app_ids: Collection[int]) -> dict[int, int]:
        """Of each, the id of the app that it means: its own, or another under which an import has made it known."""
        ...

    async def other_ids(self, app_ids: Collection[int]) -> dict[int, list[int]]:
        """Under which other ids an import has made apps known, of those that have any."""
        ...

    async def page(self, *, cursor: str | None, limit: int) -> Page[App]: ...

    async def update(self, app: App) -> tuple[App, list[int]]:
        """The app, and its jobs if they have moved to other parts. Raises `NotFound`, `Conflict`."""
        ...

    async def delete(self, app_id: int) -> None:
        """Raises `NotFound`, `Conflict` while it has jobs."""
        ...

    async def settings_of(self, app_id: int) -> list[ExecutorSetting]:
        """What people have set for executors of this app, by address."""
        ...

    async def set_executor(self, app: App, address: str, change: SettingChange) -> ExecutorSetting:
        """Raises `NotFound` for an app that is gone."""
        ...


class JobCatalog(Protocol):
    """Every change makes a version, takes back what was planned ahead and computes the next fire anew."""

    async def create(
        self,
        jobs: Sequence[Job],
        wishes: Sequence[int | None] = (),
        *,
        known: Collection[int] | None = None,
    ) -> list[Job]:
        """Store all or none; id, part, version and times are filled in. Raises `InvalidValue`, `Conflict`.

        `wishes`, as many as jobs: the ids that they get where no other job has or had them. With `known`, none of them
        may have the app and name of a job that is there, but for these.
        """
        ...

    async def get(self, job_id: int) -> Job:
        """Raises `NotFound`."""
        ...

    async def page(self, wanted: JobFilter, *, cursor: str | None, limit: int) -> Page[Job]: ...

    async def update(self, changed: Job) -> Job:
        """`changed` was made from the version it names: raises `Conflict` when another came between."""
        ...

    async def set_enabled(self, job_id: int, *, enabled: bool) -> Job:
        """Raises `NotFound`, and `InvalidValue` when the schedule to be enabled never fires again."""
        ...

    async def load(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Those of them that exist."""
        ...

    async def set_enabled_all(
        self, job_ids: Sequence[int], *, enabled: bool
    ) -> dict[int, bool | GatewayError]:
        """As `set_enabled` of each, in one transaction: whether it changed, or what it raised."""
        ...

    async def delete_all(
        self, job_ids: Sequence[int], *, keep_history: bool = False
    ) -> dict[int, bool | GatewayError]:
        """As `delete` of each, in one transaction: True, or what it raised."""
        ...

    async def delete(self, job_id: int, *, keep_history: bool = False) -> None:
        """What waits ends as `invalid`. Its history is removed a little later, unless it is kept. Raises `NotFound`."""
        ...


class VersionCatalog(Protocol):
    async def get(self, job_id: int, version: int) -> JobVersion:
        """Raises `NotFound`."""
        ...

    async def page(self, job_id: int, *, cursor: str | None, limit: int) -> Page[JobVersion]:
        """Newest first. Raises `NotFound` for a job that does not exist."""
        ...


class CalendarCatalog(Protocol):
    async def create(self, calendar: Calendar) -> Calendar:
        """Store it; version and times are filled in. Raises `Conflict` when the name is taken."""
        ...

    async def get(self, name: str) -> Calendar:
        """Raises `NotFound`."""
        ...

    async def page(self, *, cursor: str | None, limit: int) -> Page[Calendar]:
        """By name."""
        ...

    async def replace(self, calendar: Calendar) -> tuple[Calendar, list[int]]:
        """What is there gets this description and these days; and the ids of the jobs whose slots follow it.

        Raises `NotFound`.
        """
        ...

    async def delete(self, name: str) -> None:
        """Raises `NotFound`, `Conflict` while jobs use it."""
        ...


class RunCatalog(Protocol):
    async def tally(self, parent: Run) -> Tally:
        """How far the shards of this parent are."""
        ...

    async def get(self, run_id: int) -> Run:
        """Raises `NotFound`."""
        ...

    async def running_by_address(self, app_id: int) -> dict[str, int]:
        """How many runs of the app are under way at each address."""
        ...

    async def page(self, wanted: RunFilter, *, cursor: str | None, limit: int) -> Page[Run]:
        """Newest first. A page may be short, or empty, and still have a cursor: a page's work is bounded."""
        ...


class TaskCatalog(Protocol):
    async def root_of(self, namespace_id: int, task_id: str) -> int | None:
        """The first run of the chain of attempts that has this name."""
        ...

    async def names(self, root_ids: Collection[int]) -> dict[int, str]:
        """The names of chains by their first runs: the one that was given, or the one that every chain has."""
        ...


class NodeCatalog(Protocol):
    async def all_nodes(self) -> list[NodeRecord]:
        """By name."""
        ...

    async def drain(self, name: str, *, draining: bool) -> None:
        """Raises `NotFound`, and `Conflict` when nobody else could take its parts."""
        ...


class TokenCatalog(Protocol):
    async def create(self, name: str) -> tuple[Token, str]:
        """The token and its text, which is shown this once. Raises `Conflict` when the name is taken."""
        ...

    async def all_tokens(self) -> list[Token]: ...

    async def revoke(self, token_id: int) -> None:
        """Raises `NotFound`."""
        ...

    async def name_of(self, text: str) -> str | None:
        """Whose token this is; None for one that is unknown or was revoked."""
        ...

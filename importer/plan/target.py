"""What the target holds, as far as an import has to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.model import App, Job
from gateway.core.users import User


@dataclass(frozen=True, slots=True)
class ImportedJob:
    """A job that an earlier import from the same source has made: which, at which version, from which row."""

    new_id: int
    version: int
    digest: str
    wants_enabled: bool
    # Set once `cutover` has given it to this scheduler.
    live: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """`jobs` are all that are there, by id. `taken_*`: ids that nothing new gets, also those of what is gone.

    `imported_*`: what earlier imports from the same source have made, by the source's own ids; 0 where another thing has
    the id by now.
    """

    apps: Mapping[int, App] = field(default_factory=dict)
    aliases: Mapping[int, int] = field(default_factory=dict)
    taken_app_ids: frozenset[int] = frozenset()
    jobs: Mapping[int, Job] = field(default_factory=dict)
    taken_job_ids: frozenset[int] = frozenset()
    users: Mapping[int, User] = field(default_factory=dict)
    imported_apps: Mapping[str, int] = field(default_factory=dict)
    group_digests: Mapping[str, str] = field(default_factory=dict)
    imported_jobs: Mapping[int, ImportedJob] = field(default_factory=dict)
    imported_users: Mapping[int, int] = field(default_factory=dict)

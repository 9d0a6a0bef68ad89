"""What the endpoints work with: ports of the core, wired by the application."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from gateway.core.access import TokenCheck
from gateway.core.attempts import Attempts
from gateway.core.catalog import AppCatalog, JobCatalog, RunCatalog
from gateway.core.clock import Clock
from gateway.core.daily import DailyCatalog
from gateway.core.operations import Operations
from gateway.core.positions import Positions
from gateway.core.quota import Quotas
from gateway.core.retention import RunRemover
from gateway.core.trigger_url import Network
from gateway.core.users import Sessions, UserCatalog
from gateway.core.zones import Zone


@dataclass(frozen=True, slots=True)
class AdminPorts:
    """`zone` is that of schedules, and of the dates that people read; `trusted` are proxies whose word counts.

    `shared_tokens`: whether the job API takes access tokens that are no app's own.
    """

    users: UserCatalog
    sessions: Sessions
    access: TokenCheck
    jobs: JobCatalog
    apps: AppCatalog
    runs: RunCatalog
    remover: RunRemover
    daily: DailyCatalog
    operations: Operations
    positions: Positions
    quotas: Quotas
    clock: Clock
    zone: Zone
    trusted: tuple[Network, ...] = ()
    shared_tokens: bool = False
    # Of users who are logged in, for whom their own password stands against a stolen session.
    own_passwords: Attempts = field(default_factory=Attempts)


PORTS = web.AppKey("admin_ports", AdminPorts)

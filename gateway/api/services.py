"""What the handlers work with."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from gateway.core.access import AccessCatalog
from gateway.core.backfill import BackfillCatalog
from gateway.core.catalog import (
    AppCatalog,
    CalendarCatalog,
    JobCatalog,
    NodeCatalog,
    RunCatalog,
    TaskCatalog,
    TokenCatalog,
    VersionCatalog,
)
from gateway.core.clock import Clock
from gateway.core.daily import DailyCatalog
from gateway.core.events import EventCatalog
from gateway.core.explain import Explainer
from gateway.core.operations import Operations
from gateway.core.pauses import PauseCatalog
from gateway.core.proof import Proofs
from gateway.core.quota import LimitCatalog, Quotas
from gateway.core.reruns import RerunDesk
from gateway.core.retention import RunRemover
from gateway.core.scenario import Simulator
from gateway.core.trigger_url import Network, TriggerUrls
from gateway.core.users import UserCatalog
from gateway.core.waiting import QueueDesk


@dataclass(frozen=True, slots=True)
class Hooks:
    """How addresses that start jobs are reached: the private listener's, and the proxies whose word counts."""

    private_url: str = ""
    trusted: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Services:
    """The ports of the API. `timezone` is that of schedules that name none."""

    jobs: JobCatalog
    apps: AppCatalog
    calendars: CalendarCatalog
    runs: RunCatalog
    tasks: TaskCatalog
    tokens: TokenCatalog
    access: AccessCatalog
    nodes: NodeCatalog
    operations: Operations
    clock: Clock
    versions: VersionCatalog
    events: EventCatalog
    daily: DailyCatalog
    remover: RunRemover
    proofs: Proofs
    pauses: PauseCatalog
    backfills: BackfillCatalog
    queues: QueueDesk
    limits: LimitCatalog
    quotas: Quotas
    simulator: Simulator
    explainer: Explainer
    reruns: RerunDesk
    trigger_urls: TriggerUrls
    users: UserCatalog
    hooks: Hooks = Hooks()
    timezone: str = "UTC"


SERVICES = web.AppKey("services", Services)

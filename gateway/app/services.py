"""What the API works with, made from what a node has: for a running node and for tests of the API alike."""

from __future__ import annotations

from gateway.api.services import Hooks, Services
from gateway.core.clock import Clock
from gateway.core.operations import Operations
from gateway.core.ports import IdSource
from gateway.core.reruns import RerunDesk
from gateway.core.waiting import QueueDesk
from gateway.flow.explain import FlowExplainer
from gateway.flow.proving import Prover
from gateway.flow.quotas import SharedQuotas
from gateway.flow.simulate import FlowSimulator
from gateway.store.access import AccessStore
from gateway.store.apps import AppStore
from gateway.store.backfills import BackfillStore
from gateway.store.calendars import CalendarStore
from gateway.store.daily import DailyStore
from gateway.store.durations import DurationStore
from gateway.store.engine import Database
from gateway.store.events import EventStore
from gateway.store.evidence import EvidenceStore
from gateway.store.hindsight import HindsightStore
from gateway.store.history import HistoryStore
from gateway.store.jobs import JobStore
from gateway.store.nodes import Nodes
from gateway.store.pauses import PauseStore
from gateway.store.quotas import QuotaRows
from gateway.store.runs import RunStore
from gateway.store.tasks import TaskStore
from gateway.store.tokens import TokenStore
from gateway.store.trigger_urls import TriggerUrlStore
from gateway.store.users import UserStore
from gateway.store.versions import VersionStore


def services_of(
    db: Database,
    clock: Clock,
    *,
    run_ids: IdSource,
    jobs: JobStore,
    apps: AppStore,
    runs: RunStore,
    tokens: TokenStore,
    access: AccessStore,
    nodes: Nodes,
    events: EventStore,
    history: HistoryStore,
    pauses: PauseStore,
    backfills: BackfillStore,
    users: UserStore,
    operations: Operations,
    queues: QueueDesk,
    reruns: RerunDesk,
    retention_days: int,
    hooks: Hooks,
    timezone: str = "UTC",
) -> Services:
    """What others use as well is given; what only the API asks is made here."""
    limits = QuotaRows(db, clock)
    return Services(
        jobs=jobs,
        apps=apps,
        runs=runs,
        calendars=CalendarStore(db, clock, run_ids),
        tasks=TaskStore(db),
        tokens=tokens,
        access=access,
        nodes=nodes,
        operations=operations,
        clock=clock,
        versions=VersionStore(db),
        events=events,
        daily=DailyStore(db, clock),
        remover=history,
        proofs=Prover(clock, EvidenceStore(db, clock, retention_days)),
        pauses=pauses,
        backfills=backfills,
        queues=queues,
        limits=limits,
        quotas=SharedQuotas(clock, limits),
        simulator=FlowSimulator(jobs, apps, pauses, DurationStore(db), operations, clock),
        explainer=FlowExplainer(
            jobs=jobs,
            apps=apps,
            runs=runs,
            reader=runs,
            hindsight=HindsightStore(db),
            pauses=pauses,
            events=events,
            queues=queues,
            operations=operations,
            clock=clock,
            retention_days=retention_days,
        ),
        reruns=reruns,
        trigger_urls=TriggerUrlStore(db, clock),
        users=users,
        hooks=hooks,
        timezone=timezone,
    )

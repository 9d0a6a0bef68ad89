"""A whole node: every room wired together, started in order and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog

from compat.link import RestLink
from gateway.api.models.base import APPNAME
from gateway.api.services import Hooks
from gateway.app.admin import admin_ports
from gateway.app.control import ControlListener
from gateway.app.crash import CrashPoint
from gateway.app.data_dir import instance_of, lock_data_dir, lock_embedded_database, made_up_name
from gateway.app.database import prepare_database
from gateway.app.demo import start_demo
from gateway.app.listen import listen, private_url
from gateway.app.services import services_of
from gateway.app.target import follow_clock
from gateway.core.access import AccessTokens, mark_of
from gateway.core.clock import SystemClock
from gateway.core.cluster import Identity
from gateway.core.context import Context, Tuning
from gateway.core.errors import Conflict, InvalidValue
from gateway.core.model import AddressMode, App, Counters
from gateway.core.registry import Registry
from gateway.core.specs import Specs
from gateway.flow.access import Doorkeeper
from gateway.flow.loops import Flow
from gateway.flow.operations import FlowOperations
from gateway.flow.queue import FlowQueues
from gateway.flow.reruns import FlowReruns
from gateway.flow.timekeeping import Timekeeper
from gateway.peers.caller import PeerCaller
from gateway.settings import PREFIX, Settings
from gateway.store import schema
from gateway.store.access import AccessStore
from gateway.store.apps import AppStore
from gateway.store.backfills import BackfillStore
from gateway.store.engine import Database, database_url, open_database
from gateway.store.events import EventStore
from gateway.store.foreign import ForeignStore
from gateway.store.history import HistoryStore
from gateway.store.ids import app_ids, job_ids, run_ids, short_run_ids
from gateway.store.jobs import JobStore
from gateway.store.keys import KeyStore
from gateway.store.lanes import Lanes
from gateway.store.nodes import Nodes
from gateway.store.pauses import PauseStore
from gateway.store.positions import PositionStore
from gateway.store.queue import QueueStore
from gateway.store.runs import RunStore
from gateway.store.sessions import SessionStore
from gateway.store.spool import FileSpool
from gateway.store.tokens import TokenStore
from gateway.store.users import UserStore
from gateway.store.writer import GroupWriter

log = structlog.get_logger(__name__)

RESULT_LANES = 2
FULL_EVERY = 60
FULL_UP_TO = 10_000
QUIET_MS = 400  # of a second: most schedules fire on the full one
ORPHAN_LOOK_S = 1.0


@dataclass(slots=True)
class Node:
    """A started gateway. `urls` are the addresses it listens on, `first_token` an API token made just now."""

    settings: Settings
    flow: Flow
    urls: tuple[str, ...] = ()
    first_token: str | None = None
    fatal: asyncio.Event = field(default_factory=asyncio.Event)
    fatal_error: Exception | None = None

    def fail(self, error: Exception) -> None:
        """This node cannot go on."""
        self.fatal_error = error
        self.fatal.set()


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Node]:
    """A whole node, from the lock of its data directory to its listening socket; stopped in order at the end."""
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(lock_data_dir(settings.data_dir).close)
        url = database_url(settings.effective_database_url)
        if url.get_backend_name() == "sqlite":
            stack.callback(lock_embedded_database(Path(str(url.database))).close)
        db = open_database(url)
        stack.push_async_callback(db.close)
        await prepare_database(db)
        for warning in await schema.durability_problems(db):
            log.warning("durability", problem=warning)
        tuning = Tuning(lease_ms=int(settings.lease_s * 1000), stop_grace_s=settings.stop_grace_s)
        nodes = Nodes(db, clock, tuning.lease_ms)
        # From the first slot on: a clock of our own that is wrong would skip or fire some.
        await follow_clock(db, clock)
        control = None if db.is_sqlite else await ControlListener.bound(settings)
        if control is not None:
            stack.push_async_callback(control.close)
        identity = _identity(settings, db, control, fit=abs(clock.wall_offset_ms()) <= tuning.clock_limit_ms)
        grant = await nodes.join(identity)
        peers = None if control is None else PeerCaller(grant.secret)
        if peers is not None:
            stack.push_async_callback(peers.close)

        counters = Counters()
        writer = GroupWriter(db, clock, counters)
        # Connections of their own, so that a long insert does not stand before claims, nor claims before results.
        plan_writer = writer if db.is_sqlite else GroupWriter(db, clock, counters, renews=False)
        result_writers = (
            [writer] if db.is_sqlite else [GroupWriter(db, clock, counters) for _ in range(RESULT_LANES)]
        )
        registry = Registry()
        access = AccessTokens(settings.access_tokens, registry, clock.now_ms)
        link = RestLink(
            clock,
            sent_to=access.sent_to,
            timeout_s=settings.executor_timeout_s,
            max_connections_per_address=settings.connections_per_executor,
            verify_tls=settings.executor_tls_verify,
            callback_to=settings.advertise or "",
        )
        stack.push_async_callback(link.close)
        ids, int_ids = run_ids(db, clock), short_run_ids(db, clock)
        jobs, runs, apps = (
            JobStore(db, clock, job_ids(db, clock), ids),
            RunStore(db, clock),
            AppStore(db, clock, app_ids(db, clock)),
        )
        tokens, access_tokens = TokenStore(db, clock), AccessStore(db, clock)
        events = EventStore(db, clock)
        history = HistoryStore(db, clock)
        context = Context(
            clock=clock,
            writer=writer,
            jobs=jobs,
            runs=runs,
            link=link,
            run_ids=ids,
            int_ids=int_ids,
            specs=Specs(jobs),
            registry=registry,
            lease=grant.lease,
            tuning=tuning,
            counters=counters,
        )
        if PREFIX + "CRASH_POINT" in os.environ:
            marker = Path(os.environ.get(PREFIX + "CRASH_MARKER", str(settings.data_dir / "crashed")))
            context.signals = CrashPoint(os.environ[PREFIX + "CRASH_POINT"], marker)
        pauses, backfills = PauseStore(db, clock), BackfillStore(db, clock)
        spool = FileSpool(settings.data_dir / "spool", settings.spool_max_mb << 20)
        stack.callback(spool.close)

        node = Node(settings, flow=None)  # type: ignore[arg-type]
        flow = node.flow = Flow(
            context,
            apps=apps,
            pauses=pauses,
            backfills=backfills,
            executors=apps,
            foreign=ForeignStore(db, clock),
            events=events,
            history=history,
            retention_days=settings.retention_days,
            event_days=settings.event_days,
            spool=spool,
            nodes=nodes,
            calls=KeyStore(db, clock),
            identity=identity,
            on_fatal=node.fail,
            peers=peers,
            wall_offset=None if db.is_sqlite else clock.wall_offset_ms,
            plan_writer=plan_writer,
            result_writer=Lanes(result_writers),
            create_app=functools.partial(_new_app, apps) if settings.register_unknown_apps else None,
            doorkeeper=Doorkeeper(context, access, access_tokens),
        )
        node.first_token = await first_token(settings, tokens)
        writers = {writer, plan_writer, *result_writers}
        writing = {one: asyncio.create_task(one.run(), name="writer") for one in writers}
        stack.push_async_callback(_stop, flow, writing)
        keeper = Timekeeper(clock, None if db.is_sqlite else nodes.offset_ms)
        operations = FlowOperations(flow, runs, keeper)
        if control is not None:
            await control.start(flow, operations, grant.secret)
        await flow.start(grant.seen_ms)
        stack.push_async_callback(_cancel, asyncio.create_task(keeper.run(), name="timekeeper"))

        services = services_of(
            db,
            clock,
            run_ids=ids,
            jobs=jobs,
            apps=apps,
            runs=runs,
            tokens=tokens,
            access=access_tokens,
            nodes=nodes,
            events=events,
            history=history,
            pauses=pauses,
            backfills=backfills,
            users=UserStore(db, clock),
            operations=operations,
            queues=FlowQueues(flow, runs, QueueStore(db)),
            reruns=FlowReruns(flow, operations, runs),
            retention_days=settings.retention_days,
            hooks=Hooks(private_url(settings), settings.proxies),
            timezone=settings.timezone,
        )
        sessions, positions = SessionStore(db, clock), PositionStore(db, clock)
        admin = admin_ports(
            services, sessions, positions, access, shared_tokens=settings.job_api_shared_tokens
        )
        node.urls = await listen(settings, services, flow, access, clock, stack, admin)
        # At the end: first nothing more is sent, then results come in, and only then nobody listens any more.
        stack.push_async_callback(_unless_stuck, flow.await_results, settings.stop_grace_s + 5)
        if settings.demo:
            await start_demo(settings, services, flow, node.urls[0], stack)
        stack.push_async_callback(_unless_stuck, flow.stop_sending, 5)
        stack.push_async_callback(_cancel, asyncio.create_task(_collect_garbage(clock, flow), name="garbage"))
        yield node


def _identity(settings: Settings, db: Database, control: ControlListener | None, *, fit: bool) -> Identity:
    tokens = sorted(map(mark_of, settings.access_tokens))
    return Identity(
        name=settings.node_name or made_up_name(settings.data_dir),
        instance=instance_of(settings.data_dir) + secrets.token_hex(8),
        address="" if control is None else control.address,
        version=this_version(),
        agreed={
            "lease_s": settings.lease_s,
            "timezone": settings.timezone,
            "register_unknown_apps": settings.register_unknown_apps,
            "access_token": tokens,
        },
        alone=db.is_sqlite,
        fit=fit or db.is_sqlite,
    )


def this_version() -> str:
    try:
        return version("xxljob-gateway")
    except PackageNotFoundError:  # run from a copy of the sources
        return "unknown"


async def _new_app(apps: AppStore, appname: str) -> App:
    """The app of an executor that nobody has created one for."""
    if not re.fullmatch(APPNAME, appname) or len(appname) > 64:
        raise InvalidValue("registryKey", appname, "up to 64 letters, digits, '.', '_' or '-'")
    try:
        return await apps.create(App(0, 1, appname, "", AddressMode.AUTO, (), 0, 0))
    except Conflict:
        return await apps.get(appname)


async def _collect_garbage(clock: SystemClock, flow: Flow) -> None:
    """Keep collections out of the way of sends. A loop.

    What lives until the end is frozen. Young objects are looked at once a second, in its quiet part; all of them
    once a minute, unless so many runs are open that it would take long: they hold no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    rounds = 0
    while True:
        await clock.sleep(((QUIET_MS - clock.now_ms()) % 1000 or 1000) / 1000)
        rounds += 1
        is_full = rounds % FULL_EVERY == 0 and len(flow.context.flights) < FULL_UP_TO
        started = clock.monotonic()
        gc.collect(2 if is_full else 1)
        log.debug("garbage_collected", full=is_full, ms=round((clock.monotonic() - started) * 1000, 1))


async def _unless_stuck(step: Callable[[], Awaitable[None]], seconds: float) -> None:
    """One step of the way out; what keeps it from ending, such as a database that is away, is left behind."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(seconds):
            await step()


async def _stop(flow: Flow, writing: dict[GroupWriter, asyncio.Task[None]]) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(flow.context.tuning.stop_grace_s + 10):
            await flow.stop()
            for writer in writing:
                await writer.drain()
    for task in writing.values():
        await _cancel(task)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def first_token(settings: Settings, tokens: TokenStore) -> str | None:
    """Make the first API token if there is none; None when there is one, or when the settings gave it."""
    if settings.admin_token is not None:
        await tokens.set_text("admin", settings.admin_token.get_secret_value())
        return None
    if await tokens.all_tokens():
        return None
    try:
        _, text = await tokens.create("admin")
    except Conflict:  # another node was faster
        return None
    path = settings.data_dir / "token"
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return text

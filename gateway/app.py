"""The one place that wires all rooms into a running node."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import gc
import os
import re
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import structlog
from aiohttp import web

from compat.executor import demo_executor
from compat.inbound import setup_executor_routes
from compat.link import RestLink
from gateway.api.models.base import APPNAME
from gateway.api.services import Services
from gateway.api.setup import setup_api
from gateway.core.clock import SystemClock
from gateway.core.context import Context, Tuning
from gateway.core.errors import Conflict, GatewayError, InvalidValue, Refused
from gateway.core.model import AddressMode, App, Counters, Job, JobFilter, Misfire, Task
from gateway.core.ports import Lease, Work
from gateway.core.registry import Registry
from gateway.core.specs import Specs
from gateway.flow.loops import Flow
from gateway.flow.operations import FlowOperations
from gateway.flow.timekeeping import Timekeeper
from gateway.settings import PREFIX, Settings
from gateway.store import schema
from gateway.store.apps import AppStore
from gateway.store.engine import Database, database_url, open_database
from gateway.store.foreign import ForeignStore
from gateway.store.ids import app_ids, job_ids, run_ids
from gateway.store.jobs import JobStore
from gateway.store.lanes import Lanes
from gateway.store.nodes import Nodes
from gateway.store.runs import RunStore
from gateway.store.spool import FileSpool
from gateway.store.tokens import TokenStore
from gateway.store.writer import GroupWriter

log = structlog.get_logger(__name__)

DEMO_APP = "demo-executor"
RESULT_LANES = 2
FULL_EVERY = 60
FULL_UP_TO = 10_000
QUIET_MS = 400  # of a second: most schedules fire on the full one
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 – compared, not bound


@dataclass(slots=True)
class Node:
    """A started gateway. `urls` are the addresses it listens on, `first_token` an API token made just now."""

    settings: Settings
    flow: Flow
    urls: tuple[str, ...]
    first_token: str | None = None
    fatal: asyncio.Event = field(default_factory=asyncio.Event)
    fatal_error: Exception | None = None


class CrashPoint:
    """Tests only: the process kills itself when it first reaches a named point of the flow.

    XXLJOB_GATEWAY_CRASH_POINT names the point, XXLJOB_GATEWAY_CRASH_MARKER a file that is made at that moment and
    keeps it from happening again.
    """

    def __init__(self, point: str, marker: Path) -> None:
        self._point = point
        self._marker = marker

    def reached(self, point: str, ids: Collection[int]) -> None:
        if point == self._point and ids and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def lock_data_dir(data_dir: Path) -> BinaryIO:
    """Hold the data directory for this process alone. Raises `Refused` when another one has it."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (data_dir / "lock").open("a+b")
    except OSError as error:
        raise InvalidValue(
            "data_dir", str(data_dir), f"a directory this user can write ({error.strerror})"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Refused(f"another gateway is running with the data directory {data_dir}") from None
    return lock


def node_name(data_dir: Path) -> str:
    """This node's name, made once for each data directory."""
    path = data_dir / "node"
    if not path.exists():
        path.write_text(f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}\n")
    return path.read_text().strip()


async def prepare_database(db: Database) -> None:
    """Upgrade the embedded database; refuse an outdated or unknown schema of any other."""
    found = await schema.revision(db)
    wrong = wrong_schema(found)
    if wrong is None:
        return
    if db.is_sqlite and (found is None or found < schema.HEAD):
        await schema.upgrade(db)
        return
    raise Refused(wrong)


def wrong_schema(found: str | None) -> str | None:
    """What to do about a database of this revision, None when it is this version's."""
    if found == schema.HEAD:
        return None
    if found is not None and found > schema.HEAD:
        return (
            f"the database has schema {found}, newer than this version's {schema.HEAD}: upgrade the gateway"
        )
    state = "empty" if found is None else f"at schema {found}"
    return f"the database is {state}, this version needs {schema.HEAD}: run `xxljob-gateway migrate`"


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Node]:
    """A whole node, from the lock of its data directory to its listening socket; stopped in order at the end."""
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(lock_data_dir(settings.data_dir).close)
        db = open_database(database_url(settings.effective_database_url))
        stack.push_async_callback(db.close)
        await prepare_database(db)
        for warning in await schema.durability_problems(db):
            log.warning("durability", problem=warning)
        nodes = Nodes(db, clock, int(settings.lease_s * 1000))
        if not db.is_sqlite:
            # The clock of all nodes from the first slot on: one of our own that is wrong would skip or fire some.
            clock.adjust(await nodes.offset_ms())
        grant = await nodes.acquire(node_name(settings.data_dir))

        counters = Counters()
        writer = GroupWriter(db, clock, counters)
        # Connections of their own, so that a long insert does not stand before claims, nor claims before results.
        plan_writer = writer if db.is_sqlite else GroupWriter(db, clock, counters, renews=False)
        result_writers = (
            [writer] if db.is_sqlite else [GroupWriter(db, clock, counters) for _ in range(RESULT_LANES)]
        )
        link = RestLink(
            clock,
            token=settings.access_tokens[0] if settings.access_tokens else "",
            timeout_s=settings.executor_timeout_s,
            max_connections_per_address=settings.connections_per_executor,
            verify_tls=settings.executor_tls_verify,
        )
        stack.push_async_callback(link.close)
        ids = run_ids(db, clock)
        jobs, runs, apps = (
            JobStore(db, clock, job_ids(db, clock), ids),
            RunStore(db),
            AppStore(db, clock, app_ids(db, clock)),
        )
        tokens = TokenStore(db, clock)
        context = Context(
            clock=clock,
            writer=writer,
            jobs=jobs,
            runs=runs,
            link=link,
            run_ids=ids,
            specs=Specs(jobs),
            registry=Registry(),
            lease=grant.lease,
            tuning=Tuning(lease_ms=int(settings.lease_s * 1000), stop_grace_s=settings.stop_grace_s),
            counters=counters,
        )
        if PREFIX + "CRASH_POINT" in os.environ:
            marker = Path(os.environ.get(PREFIX + "CRASH_MARKER", str(settings.data_dir / "crashed")))
            context.signals = CrashPoint(os.environ[PREFIX + "CRASH_POINT"], marker)
        spool = FileSpool(settings.data_dir / "spool", settings.spool_max_mb << 20)
        stack.callback(spool.close)

        node = Node(settings, flow=None, urls=())  # type: ignore[arg-type]

        def on_fatal(error: Exception) -> None:
            node.fatal_error = error
            node.fatal.set()

        flow = node.flow = Flow(
            context,
            apps=apps,
            executors=apps,
            foreign=ForeignStore(db, clock),
            spool=spool,
            renew=lambda: _renew(context, grant.lease),
            on_fatal=on_fatal,
            plan_writer=plan_writer,
            result_writer=Lanes(result_writers),
            create_app=functools.partial(_new_app, apps) if settings.register_unknown_apps else None,
        )
        node.first_token = await _first_token(settings, tokens)
        writers = {writer, plan_writer, *result_writers}
        writing = {one: asyncio.create_task(one.run(), name="writer") for one in writers}
        stack.push_async_callback(_stop, flow, writing, nodes, grant.lease)
        await flow.start(grant.seen_ms)
        keeper = Timekeeper(clock, None if db.is_sqlite else nodes.offset_ms)
        stack.push_async_callback(_cancel, asyncio.create_task(keeper.run(), name="timekeeper"))

        operations = FlowOperations(flow, runs, apps, keeper)
        services = Services(jobs, apps, runs, tokens, operations, clock, settings.timezone)
        node.urls = await _listen(settings, services, flow, clock, stack)
        # At the end: first nothing more is sent, then results come in, and only then nobody listens any more.
        stack.push_async_callback(_unless_stuck, flow.await_results, settings.stop_grace_s + 5)
        if settings.demo:
            await _demo(settings, services, node, stack)
        stack.push_async_callback(_unless_stuck, flow.stop_sending, 5)
        stack.push_async_callback(_cancel, asyncio.create_task(_collect_garbage(clock, flow), name="garbage"))
        yield node


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


async def _renew(context: Context, lease: Lease) -> None:
    await context.writer.write(Work(lease=lease))


async def _unless_stuck(step: Callable[[], Awaitable[None]], seconds: float) -> None:
    """One step of the way out; what keeps it from ending, such as a database that is away, is left behind."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(seconds):
            await step()


async def _stop(
    flow: Flow, writing: dict[GroupWriter, asyncio.Task[None]], nodes: Nodes, lease: Lease
) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(flow.context.tuning.stop_grace_s + 10):
            await flow.stop()
            for writer in writing:
                await writer.drain()
    for task in writing.values():
        await _cancel(task)
    with contextlib.suppress(Exception):
        async with asyncio.timeout(5):
            await nodes.release(lease)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def _first_token(settings: Settings, tokens: TokenStore) -> str | None:
    """Make the first API token if there is none; None when there is one, or when the settings gave it."""
    if settings.admin_token is not None:
        await tokens.set_text("admin", settings.admin_token.get_secret_value())
        return None
    if await tokens.all_tokens():
        return None
    _, text = await tokens.create("admin")
    path = settings.data_dir / "token"
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return text


async def _listen(
    settings: Settings, services: Services, flow: Flow, clock: SystemClock, stack: contextlib.AsyncExitStack
) -> tuple[str, ...]:
    app = web.Application()
    setup_api(app, services)
    setup_executor_routes(app, flow, tokens=settings.access_tokens, clock=clock)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=4096)
        await site.start()
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number).lower() if number > 0 else error.strerror
        raise Refused(f"cannot listen on {settings.host}:{settings.port}: {why}") from None
    return tuple(f"http://{_shown(address[0])}:{address[1]}" for address in runner.addresses)


def _shown(host: str) -> str:
    if host in EVERYWHERE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def _demo(settings: Settings, services: Services, node: Node, stack: contextlib.AsyncExitStack) -> None:
    """The app, the two jobs and the executor of `--demo`; what exists from an earlier start stays."""
    app = App(0, 1, DEMO_APP, "The executor of serve --demo", AddressMode.AUTO, (), 0, 0)
    try:
        app = await services.apps.create(app)
    except Conflict:
        app = await services.apps.get(DEMO_APP)
    else:
        jobs = [
            _demo_job(
                app,
                "demo: hello every 5 seconds",
                "demoHello",
                {"kind": "cron", "expression": "0/5 * * * * ?"},
            ),
            _demo_job(
                app, "demo: report every 8 seconds", "demoReport", {"kind": "fixed_rate", "expression": "8s"}
            ),
        ]
        await services.jobs.create(jobs)
    await _enable_demo(services, app, enabled=True)
    stack.push_async_callback(_enable_demo, services, app, enabled=False)
    await services.operations.app_changed(app.id)
    for left in services.operations.live_executors(app.id):
        # The one of a life that ended by a crash is gone, and its port with it.
        await node.flow.remove(DEMO_APP, left.address)
    executor = demo_executor(
        node.urls[0], settings.access_tokens[0] if settings.access_tokens else None, services.clock, DEMO_APP
    )
    await executor.start()
    stack.push_async_callback(executor.stop)


async def _enable_demo(services: Services, app: App, *, enabled: bool) -> None:
    """The demo's jobs fire only while its executor is there."""
    page = await services.jobs.page(JobFilter(app_id=app.id), cursor=None, limit=10)
    for job in page.items:
        if job.enabled is not enabled:
            await services.jobs.set_enabled(job.id, enabled=enabled)
    await services.operations.jobs_changed([job.id for job in page.items])


def _demo_job(app: App, name: str, handler: str, schedule: dict[str, object]) -> Job:
    return Job(
        id=0,
        namespace_id=app.namespace_id,
        app_id=app.id,
        part=0,
        version=1,
        name=name,
        enabled=True,
        schedule={"timezone": "UTC", **schedule},
        task=Task(handler, "from the demo"),
        misfire=Misfire.SKIP,
        misfire_after_s=5,
    )


async def check_database(settings: Settings) -> tuple[list[str], list[str]]:
    """What is wrong with the database (errors, warnings); empty lists when nothing is. Changes nothing."""
    if _is_still_to_be_made(settings):
        return [], []
    db = open_database(database_url(settings.effective_database_url))
    try:
        found = await schema.revision(db)
        errors = await schema.durability_problems(db)
        wrong = wrong_schema(found)
        is_upgraded_by_serve = db.is_sqlite and (found is None or found < schema.HEAD)
        if wrong is not None and not is_upgraded_by_serve:
            errors.append(wrong)
        return errors, await schema.durability_warnings(db)
    except GatewayError:
        raise
    except Exception as error:
        raise Refused(f"the database cannot be used: {_said(error)}") from None
    finally:
        await db.close()


def _is_still_to_be_made(settings: Settings) -> bool:
    """The first start makes the embedded database."""
    url = database_url(settings.effective_database_url)
    return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()


def _refuse_newer(found: str | None) -> None:
    if found is not None and found > schema.HEAD:
        raise Refused(wrong_schema(found) or "")


def _said(error: Exception) -> str:
    """What the database said, without SQLAlchemy's frame around it."""
    return str(getattr(error, "orig", None) or error)[:300]


async def migrate_database(settings: Settings) -> tuple[str | None, str]:
    """Upgrade the schema: the revisions before and after. Raises `Refused` with what the database says."""
    db = open_database(database_url(settings.effective_database_url))
    try:
        before = await schema.revision(db)
        _refuse_newer(before)
        await schema.upgrade(db)
    except GatewayError:
        raise
    except Exception as error:
        raise Refused(f"the database cannot be upgraded: {_said(error)}") from None
    else:
        return before, schema.HEAD
    finally:
        await db.close()

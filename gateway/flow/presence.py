"""Presence: who is there to run things.

In: registrations, beats and removals. Out: the registry, and its mirror in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from gateway.core.context import Context
from gateway.core.errors import NotFound, StoreError, Unreachable
from gateway.core.events import Level, Source
from gateway.core.generations import int_ids
from gateway.core.model import App, Beat
from gateway.core.ports import ExecutorWriter

log = structlog.get_logger(__name__)

CreateApp = Callable[[str], Awaitable[App]]

GHOST_MS = 1000
TICK_S = 1.0
DEAF_MS = 5000
PATIENCE_S = 1.0  # a beat counts whether or not the database is there


class Presence:
    def __init__(
        self,
        context: Context,
        store: ExecutorWriter,
        create_app: CreateApp | None = None,
        on_moved: Callable[[], None] = lambda: None,
        pass_on: Callable[[Beat], None] = lambda _: None,
    ) -> None:
        """`on_moved` is called when the database knows of executors that came or went here.

        `pass_on` gets the beats that cannot be written down here, for other nodes to hear.
        """
        self._pass_on = pass_on
        self._unsaved = False
        self._context = context
        self._on_moved = on_moved
        self._store = store
        self._create_app = create_app
        self._removed_ms: dict[tuple[int, str], int] = {}
        self._checks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def register(self, beat: Beat) -> None:
        """Take a sign of life. Raises `NotFound` for an app that does not exist."""
        app = self._context.registry.app_named(beat.appname) or await self._new_app(beat.appname)
        removed_ms = self._removed_ms.get((app.id, beat.address))
        if removed_ms is not None and beat.received_ms - removed_ms < GHOST_MS:
            # A beat that was on its way when its executor said goodbye must not bring it back.
            task = asyncio.get_running_loop().create_task(self._check(app, beat))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)
            return
        if not app.int_ids and int_ids(beat.dialect):
            await self._give_int_ids(app, beat)
        self._note(app, beat)
        if self._unsaved or not self._context.writer.healthy:
            self._pass_on(beat)

    async def _give_int_ids(self, app: App, beat: Beat) -> None:
        """For good: when its old executors are away for a while, runs for them go on being made."""
        if self._context.int_ids is None:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._context.int_ids.refill()
                await self._store.use_int_ids(app.id)
        except (StoreError, TimeoutError) as error:
            log.warning("int_ids_not_set", app=app.appname, error=repr(error)[:200])
            return  # its next beat tries again
        self._context.registry.set_app(replace(app, int_ids=True))
        log.info("int_ids_set", app=app.appname, executor=beat.address)
        now_ms = self._context.clock.now_ms()
        text = f"runs get log ids of 32 bits from now on: {beat.address} ({beat.dialect}) takes no others"
        self._context.journal.note(now_ms, Level.INFO, Source.APP, app.appname, "int_log_ids", text)

    def hear(self, beat: Beat) -> None:
        """What another node has heard and cannot write down."""
        app = self._context.registry.app_named(beat.appname)
        if app is not None:
            self._note(app, beat)

    async def _new_app(self, appname: str) -> App:
        if self._create_app is None:
            raise NotFound("app", appname, f"create it first (xxljob-gateway apps create {appname})")
        app = await self._create_app(appname)
        self._context.registry.set_app(app)
        log.info("app_created", app=appname)
        return app

    async def remove(self, appname: str, address: str) -> None:
        """Take an executor out at once. Raises `NotFound` for an app that does not exist."""
        app = self._context.registry.app_named(appname)
        if app is None:
            raise NotFound("app", appname)
        self._removed_ms[app.id, address] = now_ms = self._context.clock.now_ms()
        was_here = self._context.registry.remove(app.id, address, now_ms)
        self._changed.set()
        if was_here:
            log.info("executor_removed", app=appname, executor=address)
            self._tell(Level.INFO, address, "removed", app)

    def _note(self, app: App, beat: Beat) -> None:
        if self._context.registry.beat(app, beat):
            self._changed.set()
            log.info("executor_registered", app=app.appname, executor=beat.address, client=beat.client)
            self._tell(Level.INFO, beat.address, "registered", app, f" ({beat.client}, {beat.dialect})")

    def _tell(self, level: Level, address: str, reason: str, app: App | None, more: str = "") -> None:
        appname = app.appname if app else ""
        now_ms = self._context.clock.now_ms()
        text = f"of app {appname}{more}"
        self._context.journal.note(now_ms, level, Source.EXECUTOR, address, reason, text, name=appname)

    async def _check(self, app: App, beat: Beat) -> None:
        try:
            answer = await self._context.link.beat(beat.address, beat.dialect, beat.appname)
        except Unreachable:
            return
        if answer.ok:
            # It is there now: later than its goodbye, whatever the beat's own time was.
            self._note(app, replace(beat, received_ms=self._context.clock.now_ms()))

    async def run(self) -> None:
        """Expire the dead and save what changed, every second; who comes or goes is saved at once. A loop."""
        looked_ms = self._context.clock.now_ms()
        while True:
            await self._context.clock.wait(self._changed, TICK_S)
            self._changed.clear()
            now_ms = self._context.clock.now_ms()
            if now_ms - looked_ms > DEAF_MS:
                # Time was set forward, or this process stood still: no beat could be heard meanwhile.
                self._context.registry.pardon(looked_ms, now_ms)
            looked_ms = now_ms
            for executor in self._context.registry.expire(now_ms):
                log.warning("executor_dead", executor=executor.address, last_beat_ms=executor.last_beat_ms)
                silent_s = (now_ms - executor.last_beat_ms) // 1000
                app = self._context.registry.app(executor.app_id)
                self._tell(Level.WARN, executor.address, "dead", app, f": no beat for {silent_s} s")
            self._removed_ms = {key: at for key, at in self._removed_ms.items() if now_ms - at < GHOST_MS}
            await self.save()

    async def save(self) -> None:
        changed, removed = self._context.registry.take_dirty()
        if not changed and not removed:
            return
        try:
            await self._store.save_executors(changed, removed)
        except Exception as error:
            log.warning("executors_not_saved", error=str(error)[:200])
            self._context.registry.put_back(changed, removed)
            self._unsaved = True
            return
        self._unsaved = False
        if removed or any(executor.registered_ms == executor.last_beat_ms for executor in changed):
            self._on_moved()

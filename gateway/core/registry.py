"""Apps and their live executors, as this node knows them. Memory only; the store mirrors it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from gateway.core.generations import int_ids
from gateway.core.model import DEFAULT_NAMESPACE, AddressMode, App, Beat, Executor
from gateway.core.placement import WEIGHT, ExecutorSetting, address_key

DEAD_AFTER_MS = 90_000
SAVE_AFTER_MS = 45_000
SAVE_SOON_MS = 20_000
MOST_EVICTED = 10_000


class Registry:
    """Who is there. An executor is alive for 90 s after its last beat; a removal takes it out at once.

    A beat costs no write until half of an executor's life has passed since the last one that was saved; where
    other nodes are there that cannot hear it (`is_shared`), each regular beat is written.
    """

    def __init__(self) -> None:
        self._apps: dict[int, App] = {}
        self._by_name: dict[tuple[int, str], App] = {}
        self._executors: dict[int, dict[str, Executor]] = {}
        self._addresses: dict[int, tuple[str, ...]] = {}
        self._settings: dict[tuple[int, str], ExecutorSetting] = {}
        self._said: dict[int, dict[str, ExecutorSetting | None]] = {}  # the same, of those that are present
        self._saved_ms: dict[tuple[int, str], int] = {}
        self._dirty: dict[tuple[int, str], tuple[Executor, bool]] = {}  # and whether it is gone
        self.is_shared = False
        self.int_apps: set[int] = set()  # those whose runs need ids of 32 bits
        self._evicted: dict[tuple[int, str], int] = {}  # and when
        self._shared_addresses: set[str] = set()

    # ------------------------------------------------------------ apps

    def set_app(self, app: App) -> None:
        old = self._apps.get(app.id)
        if old is not None and (old.namespace_id, old.appname) != (app.namespace_id, app.appname):
            self.drop_app(app.id)  # an appname never changes: it is another app, whose id was given again
        self._apps[app.id] = app
        self._by_name[app.namespace_id, app.appname] = app
        if app.int_ids or int_ids(app.dialect):
            self.int_apps.add(app.id)
        else:
            self.int_apps.discard(app.id)
        self._executors.setdefault(app.id, {})
        self._refresh(app.id)

    def drop_app(self, app_id: int) -> None:
        app = self._apps.pop(app_id, None)
        self.int_apps.discard(app_id)
        if app is not None and self._by_name.get((app.namespace_id, app.appname)) is app:
            del self._by_name[app.namespace_id, app.appname]  # unless one made since has that name
        self._executors.pop(app_id, None)
        self._addresses.pop(app_id, None)
        self._said.pop(app_id, None)

    def app(self, app_id: int) -> App | None:
        return self._apps.get(app_id)

    def apps(self) -> list[App]:
        return list(self._apps.values())

    def app_named(self, appname: str, namespace_id: int = DEFAULT_NAMESPACE) -> App | None:
        return self._by_name.get((namespace_id, appname))

    # ------------------------------------------------------------ executors

    def load(self, executors: Iterable[Executor]) -> None:
        """Take what the database knows, as of its last save."""
        for executor in executors:
            if executor.app_id in self._apps:
                self._executors[executor.app_id][executor.address] = executor
                self._saved_ms[executor.app_id, executor.address] = executor.last_beat_ms
        for app_id in self._apps:
            self._refresh(app_id)

    def merge(self, there: Iterable[Executor], gone: Iterable[Executor]) -> None:
        """Take what other nodes have saved: the later word of an executor counts."""
        touched: set[int] = set()
        for executor in there:
            mine = self._executors.get(executor.app_id)
            if mine is None:
                continue
            key = (executor.app_id, executor.address)
            self._saved_ms[key] = max(self._saved_ms.get(key, 0), executor.last_beat_ms)
            known = mine.get(executor.address)
            if known is None or known.last_beat_ms < executor.last_beat_ms:
                mine[executor.address] = executor
                touched.add(executor.app_id)
        for executor in gone:
            mine = self._executors.get(executor.app_id, {})
            known = mine.get(executor.address)
            if known is not None and known.last_beat_ms <= executor.last_beat_ms:
                del mine[executor.address]
                if any(executor.address in there for there in self._executors.values()):
                    self._evicted[executor.app_id, executor.address] = executor.last_beat_ms
                self._saved_ms.pop((executor.app_id, executor.address), None)
                touched.add(executor.app_id)
        for app_id in touched:
            self._refresh(app_id)

    def beat(self, app: App, beat: Beat) -> bool:
        """Note a sign of life. True if the executor is new here."""
        known = self._executors[app.id].get(beat.address)
        executor = Executor(
            app_id=app.id,
            address=beat.address,
            dialect=beat.dialect,
            client=beat.client,
            registered_ms=known.registered_ms if known else beat.received_ms,
            last_beat_ms=beat.received_ms,
            token_mark=beat.token_mark,
        )
        self._executors[app.id][beat.address] = executor
        key = (app.id, beat.address)
        changed = known is None or (known.dialect, known.client, known.token_mark) != (
            beat.dialect,
            beat.client,
            beat.token_mark,
        )
        save_after_ms = SAVE_SOON_MS if self.is_shared else SAVE_AFTER_MS
        if changed or beat.received_ms - self._saved_ms.get(key, 0) >= save_after_ms:
            self._dirty[key] = executor, False
        if known is None:
            self._refresh(app.id)
            self._evict(app.id, beat.address, beat.token_mark, beat.received_ms)
        return known is None

    def _evict(self, app_id: int, address: str, token_mark: str, now_ms: int) -> None:
        """Whoever was at this address for another app is gone: a process has one app.

        Unless it came with another token: whoever may speak for one app cannot take the executors of others away.
        One that beats again within its life has been there all the time (two apps behind one address), and then both
        stay. Later it is another process, which was given the address.
        """
        evicted_ms = self._evicted.pop((app_id, address), None)
        if evicted_ms is not None and now_ms - evicted_ms <= DEAD_AFTER_MS:
            self._shared_addresses.add(address)
        if address in self._shared_addresses:
            return
        if len(self._evicted) > MOST_EVICTED:
            self._evicted.clear()
            self._shared_addresses.clear()
        for other_id in list(self._executors):
            there = self._executors[other_id].get(address)
            if other_id != app_id and there is not None and there.token_mark == token_mark:
                self.remove(other_id, address, now_ms)
                self._evicted[other_id, address] = now_ms

    def remove(self, app_id: int, address: str, at_ms: int = 0) -> bool:
        """Take an executor out. True if it was there.

        `at_ms`: when it was told to go, which counts more than any beat before, also where it was never seen.
        """
        executors = self._executors.get(app_id, {})
        known = executors.pop(address, None)
        if known is None and not at_ms:
            return False
        gone = known or Executor(app_id, address, "", "", at_ms, at_ms)
        self._dirty[app_id, address] = replace(gone, last_beat_ms=max(gone.last_beat_ms, at_ms)), True
        self._refresh(app_id)
        return known is not None

    def expire(self, now_ms: int) -> list[Executor]:
        """Take out those whose last beat is too old; returns them."""
        dead = [
            executor
            for executors in self._executors.values()
            for executor in executors.values()
            if now_ms - executor.last_beat_ms > DEAD_AFTER_MS
        ]
        for executor in dead:
            self.remove(executor.app_id, executor.address)
        return dead

    def pardon(self, seen_ms: int, now_ms: int) -> None:
        """After an outage of the gateway: who was alive when it went down gets a full life to beat again."""
        for executors in self._executors.values():
            for address, executor in executors.items():
                if seen_ms - executor.last_beat_ms <= DEAD_AFTER_MS:
                    executors[address] = replace(executor, last_beat_ms=max(executor.last_beat_ms, now_ms))

    def executors(self, app_id: int) -> list[Executor]:
        return [self._executors[app_id][address] for address in sorted(self._executors.get(app_id, ()))]

    def executor(self, app_id: int, address: str) -> Executor | None:
        executors = self._executors.get(app_id, {})
        found = executors.get(address)
        # A list that people have written may leave out the slash with which all register.
        return found or (None if address.endswith("/") else executors.get(f"{address}/"))

    def dialect_at(self, app_id: int, address: str, known: str) -> str:
        """What to speak with whoever is at this address now; `known` is what was spoken before, where nobody is."""
        executor = self.executor(app_id, address)
        return executor.dialect if executor is not None else known

    def addresses(self, app_id: int) -> tuple[str, ...]:
        """Where runs of this app may go, in text order: the app's own list if it is manual, none that drains."""
        return self._addresses.get(app_id, ())

    def present(self, app_id: int) -> tuple[str, ...]:
        """As `addresses`, with those that drain."""
        app = self._apps.get(app_id)
        if app is not None and app.address_mode is AddressMode.MANUAL:
            return app.addresses
        return tuple(sorted(self._executors.get(app_id, ())))

    # ------------------------------------------------------------ what people have set

    def set_settings(self, settings: Iterable[ExecutorSetting]) -> None:
        """All that there are, of all apps."""
        self._settings = {(one.app_id, address_key(one.address)): one for one in settings}
        for app_id in self._apps:
            self._refresh(app_id)

    def setting(self, app_id: int, address: str) -> ExecutorSetting | None:
        return self._settings.get((app_id, address_key(address))) if self._settings else None

    def settings_of(self, app_id: int) -> Callable[[str], ExecutorSetting | None]:
        """Of those that are present, by their addresses as they stand in `present`."""
        return self._said.get(app_id, {}).get

    def weights(self, app_id: int, addresses: Iterable[str]) -> dict[str, int]:
        """At least 1: one of weight 0 is only here because somebody named it."""
        said = self._said.get(app_id, {})
        return {
            address: max(has.weight, 1) if (has := said.get(address)) else WEIGHT for address in addresses
        }

    def count(self) -> int:
        return sum(map(len, self._executors.values()))

    def _refresh(self, app_id: int) -> None:
        if app_id not in self._apps:
            return
        present = self.present(app_id)
        self._said.pop(app_id, None)
        if self._settings:
            said = self._said[app_id] = {one: self.setting(app_id, one) for one in present}
            present = tuple(one for one in present if not ((has := said[one]) and has.draining_ms))
        self._addresses[app_id] = present

    # ------------------------------------------------------------ mirror

    def take_dirty(self) -> tuple[list[Executor], list[Executor]]:
        """What to save and what to mark as gone since the last call, each in the order of its key."""
        dirty, self._dirty = self._dirty, {}
        changed = [dirty[key][0] for key in sorted(dirty) if not dirty[key][1]]
        removed = [dirty[key][0] for key in sorted(dirty) if dirty[key][1]]
        for executor in changed:
            self._saved_ms[executor.app_id, executor.address] = executor.last_beat_ms
        for executor in removed:
            self._saved_ms.pop((executor.app_id, executor.address), None)
        return changed, removed

    def put_back(self, changed: Iterable[Executor], removed: Iterable[Executor]) -> None:
        """A save failed: try again with the next one, unless something newer has come."""
        for executor in changed:
            self._dirty.setdefault((executor.app_id, executor.address), (executor, False))
        for executor in removed:
            self._dirty.setdefault((executor.app_id, executor.address), (executor, True))

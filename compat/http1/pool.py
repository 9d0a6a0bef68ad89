"""All addresses of one client, and one timer for all their time-outs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from compat.http1.address import Address, Shared
from compat.http1.connection import Call, Outcome
from compat.http1.request import Origin

SWEEP_EVERY_S = 0.1  # how coarse the time-outs are


@dataclass(frozen=True, slots=True)
class PoolStats:
    addresses: int
    connections: int
    connecting: int
    in_flight: int
    waiting: int
    # since the start
    opened: int
    answered: int
    not_sent: int
    no_answer: int


class ConnectionPool:
    """Build it inside the running loop. All methods belong to that loop's thread.

    A request is written once at most. A call that waits ends as NOT_SENT when its `send_before` has
    passed, when no connection to its address can be opened, or when the pool closes; a call that
    was sent ends as NO_ANSWER `answer_timeout_s` after `sent_at` (two sweeps later at most) or with its
    connection; what the kernel had not sent by then is thrown away. An address without connections and calls is forgotten.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        connect_timeout_s: float = 3.0,
        answer_timeout_s: float = 3.0,
        idle_close_s: float = 25.0,
        max_connections_per_address: int = 16,
        max_answer_bytes: int = 1024 * 1024,
        verify_tls: bool = True,
    ) -> None:
        self._shared = Shared(
            monotonic,
            connect_timeout_s=connect_timeout_s,
            answer_timeout_s=answer_timeout_s,
            max_connections_per_address=max_connections_per_address,
            max_answer_bytes=max_answer_bytes,
            verify_tls=verify_tls,
        )
        self._answer_timeout_s = answer_timeout_s
        self._idle_close_s = idle_close_s
        self._addresses: dict[Origin, Address] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None

    def send(self, origin: Origin, call: Call) -> None:
        """Hand over one call; the outcome comes through its `on_done`."""
        address = self._addresses.get(origin)
        if address is None or self._shared.closing:
            if self._shared.closing:
                self._shared.fail(call, Outcome.NOT_SENT, "the pool is closed")
                return
            address = self._addresses[origin] = Address(origin, self._shared)
            if self._sweep_timer is None:
                self._shared.swept_at = self._shared.monotonic()
                self._sweep_timer = self._shared.loop.call_later(SWEEP_EVERY_S, self._sweep)
        address.send(call)

    async def close(self) -> None:
        """Refuse new calls, fail the waiting ones, await the answers under way, close all sockets."""
        shared = self._shared
        shared.closing = True
        for task in shared.connects:
            task.cancel()
        for address in self._addresses.values():
            address.fail_waiting("the pool is closed")
            while address.idle:
                address.idle[0].drop("the pool is closed")
        await asyncio.gather(*shared.connects, return_exceptions=True)
        if shared.sockets:
            if shared.all_released is None:
                shared.all_released = shared.loop.create_future()
            await asyncio.shield(shared.all_released)
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None

    def stats(self) -> PoolStats:
        shared, addresses = self._shared, self._addresses.values()
        return PoolStats(
            addresses=len(addresses),
            connections=sum(address.open for address in addresses),
            connecting=sum(address.connecting for address in addresses),
            in_flight=len(shared.in_flight),
            waiting=sum(len(address.waiting) for address in addresses),
            opened=shared.opened,
            answered=shared.outcomes[Outcome.ANSWERED],
            not_sent=shared.outcomes[Outcome.NOT_SENT],
            no_answer=shared.outcomes[Outcome.NO_ANSWER],
        )

    def _sweep(self) -> None:
        # After a pause of the whole process, answers may have been waiting longer than the time-out: the
        # loop reads them before it comes to the second step.
        now = self._shared.swept_at = self._shared.monotonic()
        self._sweep_timer = self._shared.loop.call_later(0.001, self._time_out, now)

    def _time_out(self, now: float) -> None:
        sent_before = now - self._answer_timeout_s
        in_flight = self._shared.in_flight.items()
        for connection, _ in list(takewhile(lambda item: item[1].sent_at <= sent_before, in_flight)):
            connection.drop(f"no answer within {self._answer_timeout_s:g} s")
        idle_before = now - self._idle_close_s
        for address in list(self._addresses.values()):
            if not address.sweep(now, idle_before):
                del self._addresses[address.origin]
        self._sweep_timer = (
            self._shared.loop.call_later(SWEEP_EVERY_S, self._sweep) if self._addresses else None
        )

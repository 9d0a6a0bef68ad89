"""The control listener of this node, and who answers there."""

from __future__ import annotations

import contextlib
import os
import socket

from aiohttp import web

from gateway.app.listen import EVERYWHERE
from gateway.core.errors import InvalidValue, Refused
from gateway.core.model import Beat, ExecutorResult
from gateway.core.ports import StopReport
from gateway.flow.loops import Flow
from gateway.flow.operations import FlowOperations
from gateway.peers.listener import control_app
from gateway.settings import Settings


class ControlListener:
    """Bound before the node joins, so that its row names the address; open from the moment it may be called."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        self._socket = sock
        self._runner: web.AppRunner | None = None
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{sock.getsockname()[1]}"

    @classmethod
    async def bound(cls, settings: Settings) -> ControlListener:
        """Raises `InvalidValue`, `Refused`."""
        host, port = settings.control_host, settings.control_port
        if host in EVERYWHERE:
            raise InvalidValue(
                "control_host", host, "the one address by which the other nodes reach this node"
            )
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            sock = socket.socket(family, kind, protocol)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen()
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else error.strerror
            raise Refused(f"control_host: cannot listen on {host}:{port}: {why}") from None
        return cls(sock, host)

    async def start(self, flow: Flow, operations: FlowOperations, secret: str) -> None:
        self._runner = web.AppRunner(
            control_app(_Desk(flow, operations), secret, flow.context.lease.node),
            access_log=None,
            handle_signals=False,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def close(self) -> None:
        if self._runner is not None:
            with contextlib.suppress(Exception):
                await self._runner.cleanup()
        self._socket.close()


class _Desk:
    """Implements `peers.listener.ControlDesk`."""

    def __init__(self, flow: Flow, operations: FlowOperations) -> None:
        self._flow = flow
        self._operations = operations

    def look(self) -> None:
        self._flow.ownership.wake.set()

    def ended(self, run_ids: list[int]) -> None:
        self._flow.neighbours.ended_elsewhere(run_ids)

    async def jobs_changed(self, job_ids: list[int]) -> None:
        await self._flow.jobs_changed(job_ids)

    async def app_changed(self, app_id: int) -> None:
        await self._flow.app_changed(app_id)

    async def pauses_changed(self) -> None:
        await self._flow.pausing.changed()

    def beat(self, beat: Beat) -> None:
        self._flow.presence.hear(beat)

    async def report(self, results: list[ExecutorResult], client: str) -> bool:
        return await self._flow.reporter.report_passed_on(results, client)

    async def stop(self, run_id: int) -> StopReport:
        return await self._operations.stop_here_by_id(run_id)

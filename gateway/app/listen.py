"""The socket that people and executors call, and what answers there."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from aiohttp import web
from aiohttp.typedefs import Middleware

from compat.admin.ports import AdminPorts
from compat.admin.routes import setup_admin_routes
from compat.inbound import setup_executor_routes
from gateway.api import system
from gateway.api.hooks import setup_hooks
from gateway.api.services import Services
from gateway.api.setup import setup_api
from gateway.core.access import TokenCheck
from gateway.core.clock import SystemClock
from gateway.core.errors import Refused
from gateway.core.trigger_url import UrlKind
from gateway.flow.loops import Flow
from gateway.settings import PREFIX, Settings

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 – compared, not bound
BACKLOG = 4096
LISTEN_FD = PREFIX + "LISTEN_FD"
PRIVATE_FD = PREFIX + "PRIVATE_FD"
PARENT_PID = PREFIX + "PARENT_PID"
REQUESTS_PER_CONNECTION = 1000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@functools.cache
def parent_pid() -> int | None:
    """Who has bound the port of this process and handed its socket over, alive or not; None where nobody has.

    To be asked before this process listens anywhere: a variable that was only inherited names no such socket then.
    """
    try:
        with socket.socket(fileno=os.dup(int(os.environ[LISTEN_FD]))) as sock:
            is_listening = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        return int(os.environ[PARENT_PID]) if is_listening else None
    except (KeyError, ValueError, OSError):
        return None


def is_worker() -> bool:
    return parent_pid() is not None


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `Refused`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        raise Refused(f"cannot listen on {host}:{port}: {_why(error)}") from None
    return sock


async def listen(
    settings: Settings,
    services: Services,
    flow: Flow,
    access: TokenCheck,
    clock: SystemClock,
    stack: contextlib.AsyncExitStack,
    admin: AdminPorts,
) -> tuple[str, ...]:
    """Serve until the stack is left. A worker serves on the sockets that its parent has bound."""
    inherited = is_worker()
    app = web.Application(middlewares=[_turnover()] if inherited else [])
    setup_admin_routes(app, admin, system.root)
    setup_api(app, services)
    setup_executor_routes(app, flow, access=access, clock=clock)
    setup_hooks(app, services, UrlKind.PUBLIC)
    if (private := settings.private_address) is not None:
        only = web.Application(middlewares=[_turnover()] if inherited else [])
        setup_hooks(only, services, UrlKind.PRIVATE)
        sock = _inherited(PRIVATE_FD) if inherited else bind(*private)
        await _serve(only, web.SockSite, stack, sock)
    if inherited:
        return await _serve(app, web.SockSite, stack, _inherited(LISTEN_FD))
    try:
        return await _serve(app, web.TCPSite, stack, settings.host, settings.port)
    except OSError as error:
        raise Refused(f"cannot listen on {settings.host}:{settings.port}: {_why(error)}") from None


async def _serve(
    app: web.Application, site: Callable[..., web.BaseSite], stack: contextlib.AsyncExitStack, *where: object
) -> tuple[str, ...]:
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await site(runner, *where, backlog=BACKLOG).start()
    return urls_of(runner.addresses)


def _inherited(name: str) -> socket.socket:
    return socket.socket(fileno=int(os.environ[name]))


def _turnover() -> Middleware:
    """Workers share a socket: a connection ends after a while, so that the next one may be another worker's."""
    served: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        transport = request.transport
        if transport is not None:
            served[transport] = count = served.get(transport, 0) + 1
            if count >= REQUESTS_PER_CONNECTION:
                response = getattr(response, "last", response)
                if not response.prepared:
                    response.force_close()
        return response

    return counted


def private_url(settings: Settings) -> str:
    """How private trigger URLs begin; empty where there are none."""
    address = settings.private_address
    return urls_of([address])[0] if address else ""


def urls_of(addresses: list[tuple[str, int]]) -> tuple[str, ...]:
    return tuple(f"http://{_shown(address[0])}:{address[1]}" for address in addresses)


def _shown(host: str) -> str:
    if host in EVERYWHERE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _why(error: OSError) -> str | None:
    number = error.errno or 0
    return os.strerror(number).lower() if number > 0 else error.strerror

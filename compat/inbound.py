"""What executors call: `{any prefix}/api/{registry,registryRemove,callback}`, up to 2.1.0 `{any prefix}/api`, results of
releases up to 1.7.1 `/`.

Enters: HTTP of any quality. Leaves: calls of the `ExecutorDesk`, and always status 200 with an envelope,
because executors take another status for garbage, and the oldest of them hang on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import lru_cache
from weakref import WeakValueDictionary

import structlog
from aiohttp import ClientError, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_writer import HttpVersion10

from compat import dialects, old_inbound, wire
from compat.acknowledged import ok
from gateway.core.access import Reach, TokenCheck
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError, Refused
from gateway.core.model import Beat
from gateway.core.ports import ExecutorDesk

log = structlog.get_logger(__name__)

JAVA = "java"  # of releases whose calls do not tell their version
MAX_BODY = 64 * 1024 * 1024
# Of calls in Hessian: more takes too long to read between two sends, so it is read in a thread, one at a time.
LARGE = 64 * 1024
LARGE_AT_ONCE = 4
PATIENCE_S = 10.0  # as much as the most patient clients have
USUAL_PREFIXES = ("", "/xxl-job-admin")  # the defaults of the Java settings; any other works as well
# Everything under an `api` that is not the native API; `//api` comes from old clients with a slash too many.
_ANY_PREFIX = r"/{path:(?!api/v1(?:/|$))(?:.*/)?api(?:/.*)?}"


class _RefusedError(Exception):
    """The call ends with code 500 and this text."""


class _UnknownMethodError(_RefusedError):
    """There is no such method."""


class _BrokenOffError(_RefusedError):
    """What is left of the body cannot be read or is not worth it, so the connection must go."""


@lru_cache(maxsize=1024)
def _client_named(agent: str) -> tuple[str, bool]:
    client = dialects.client_of({"User-Agent": agent})
    return client, dialects.repeats_log_time(client)


class ExecutorCalls:
    """The handlers. One instance per web application."""

    def __init__(self, desk: ExecutorDesk, *, access: TokenCheck, clock: Clock) -> None:
        self._desk = desk
        self._access = access
        self._clock = clock
        self._large = asyncio.Lock()
        self._reading = asyncio.Semaphore(LARGE_AT_ONCE)
        self._in_turn: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._methods: dict[str, Callable[[web.Request], Awaitable[None]]] = {
            "registry": self._registry,
            "registryRemove": self._remove,
            "callback": self._callback,
        }

    def handler(self, method: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        call = self._methods[method]

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._answer(request, call)

        return handle

    async def any_path(self, request: web.Request) -> web.StreamResponse:
        """Another prefix than the usual ones, and whatever is no call at all."""
        if request.path.rstrip("/").endswith("/api") and request.method == hdrs.METH_POST:
            return await self.old(request)
        method = request.path.rpartition("/")[2]
        call = self._methods.get(method)
        if call is None or request.path.split("/")[-2] != "api":
            return self._refuse(request, f"there is no call {request.path[:200]!r} here")
        if request.method != hdrs.METH_POST:
            return self._refuse(request, f"{method} takes POST, not {request.method}")
        return await self._answer(request, call)

    async def _answer(
        self, request: web.Request, call: Callable[[web.Request], Awaitable[None]]
    ) -> web.StreamResponse:
        try:
            await call(request)
        except _BrokenOffError as error:
            return self._refuse(request, str(error), close=True)
        except (_RefusedError, GatewayError) as error:
            return self._refuse(request, str(error))
        except Exception:
            # The last line of defence: an executor must not see a status of ours, and the fault is ours.
            log.exception("executor_call_failed", method=request.path[:200], executor=request.remote)
            return _envelope("the gateway could not process the call")
        return ok(request)

    def _note(self, request: web.Request, why: str) -> None:
        log.warning("executor_call_refused", method=request.path[:200], executor=request.remote, reason=why)

    def _refuse(self, request: web.Request, why: str, *, close: bool = False) -> web.Response:
        self._note(request, why)
        response = _envelope(why)
        if close:
            response.force_close()
        return response

    # ------------------------------------------------------------ objects in Hessian

    async def root(self, request: web.Request) -> web.StreamResponse:
        """A result of releases up to 1.7.1, which know where to bring it from their run."""
        guest: Reach | Refused
        try:
            guest = self._access.guest(request.remote or "")
        except Refused as error:
            guest = error
        try:
            body = await _read(request, LARGE if isinstance(guest, Refused) else MAX_BODY)
        except _BrokenOffError as error:
            return self._refuse(request, str(error), close=True)
        if body.startswith(b"M"):
            return await self._old(request, body, guest)
        if not body.startswith(b"hex="):
            return self._refuse(request, "there is no such call here")
        failure: str | None = None
        try:
            await self._take_form(body, guest, request)
        except (_RefusedError, GatewayError) as error:
            failure = str(error)
            self._note(request, failure)
        except Exception:
            log.exception("executor_call_failed", method="hex", executor=request.remote)
            failure = "the gateway could not process the call"
        return web.Response(body=old_inbound.form_answer(failure), content_type="text/plain")

    async def old(self, request: web.Request) -> web.StreamResponse:
        """A call of releases up to 2.1.0; what is none is answered in the version that its first byte speaks of."""
        try:
            body = await self._read_old(request)
        except _BrokenOffError as error:
            return self._refuse(request, str(error), close=True)
        return await self._old(request, body)

    async def _read_old(self, request: web.Request) -> bytes:
        """The token comes with the body, so strangers can send large ones: few at a time, and not for long."""
        async with AsyncExitStack() as stack:
            return await _read(request, on_large=lambda: stack.enter_async_context(self._reading))

    async def _old(
        self,
        request: web.Request,
        body: bytes,
        guest: Reach | Refused | None = None,
    ) -> web.StreamResponse:
        """`guest`: what a caller without a token reaches, or why nothing: that is said once it is known how."""
        frame = old_inbound.frame_of(body)
        if frame is None:
            return self._refuse(request, f"there is no call {request.path[:200]!r} here")
        try:
            if len(body) > LARGE:
                async with self._large:
                    call = await asyncio.to_thread(old_inbound.read_call, body)
            else:
                call = old_inbound.read_call(body)
        except wire.MalformedError as error:
            self._note(request, str(error))
            return _octets(old_inbound.error(frame, None, str(error)))
        failure: str | None = None
        try:
            await self._do(call, request, guest)
        except _UnknownMethodError as error:
            self._note(request, str(error))
            return _octets(old_inbound.error(call.frame, call.request_id, str(error)))
        except Refused as error:
            self._note(request, str(error))
            return _octets(old_inbound.refusal(call.frame, call.request_id, str(error)))
        except (_RefusedError, GatewayError) as error:
            failure = str(error)
            self._note(request, failure)
        except Exception:
            log.exception("executor_call_failed", method=call.method[:200], executor=request.remote)
            failure = "the gateway could not process the call"
        return _octets(old_inbound.answer(call.frame, call.request_id, failure))

    async def _take_form(self, body: bytes, guest: Reach | Refused, request: web.Request) -> None:
        if isinstance(guest, Refused):
            raise guest
        result = old_inbound.form_result(body, self._clock.now_ms())
        await self._report(result, JAVA, guest, request)

    async def _do(
        self, call: old_inbound.OldCall, request: web.Request, guest: Reach | Refused | None
    ) -> None:
        if isinstance(guest, Refused):
            raise guest
        now_ms, peer = self._clock.now_ms(), request.remote or ""
        reach = guest or self._access.reach(call.token, peer)
        if call.method == "callback":  # however old: what has come to an end has
            await self._report(old_inbound.results(call, now_ms), JAVA, reach, request)
            return
        if guest is not None or call.method not in {"registry", "registryRemove"}:
            raise _UnknownMethodError(f"there is no method {call.method[:200]!r} here")
        late_ms = now_ms - call.sent_ms
        if late_ms > old_inbound.STALE_MS:
            late = f"the call was made {late_ms // 1000} s ago by the executor's clock"
            raise Refused(f"{late}: compare it with the gateway's")
        registration = old_inbound.registration(call)
        mark = self._access.admit(call.token, registration.appname, peer)
        address = dialects.normal_address(registration.address)
        async with self._turn(address):
            if call.method == "registry":
                beat = Beat(registration.appname, address, call.dialect, JAVA, now_ms, mark)
                await self._desk.register(beat)
            else:
                await self._desk.remove(registration.appname, address)

    # ------------------------------------------------------------ the calls

    async def _registry(self, request: web.Request) -> None:
        token, peer = self._reach(request)[1:]
        registration = wire.parse_registration(await _read(request))
        if registration.is_old:
            self._access.admit_guest(registration.appname, peer)
            mark = ""
        else:
            mark = self._access.admit(token, registration.appname, peer)
        beat = Beat(
            appname=registration.appname,
            address=dialects.normal_address(registration.address),
            dialect=dialects.dialect_of(request.headers, registration.address, is_old=registration.is_old),
            client=JAVA if registration.is_old else dialects.client_of(request.headers),
            received_ms=self._clock.now_ms(),
            token_mark=mark,
        )
        async with self._turn(beat.address):
            await self._desk.register(beat)

    async def _remove(self, request: web.Request) -> None:
        token, peer = self._reach(request)[1:]
        registration = wire.parse_registration(await _read(request))
        self._access.admit(token, registration.appname, peer)
        address = dialects.normal_address(registration.address)
        async with self._turn(address):
            await self._desk.remove(registration.appname, address)

    async def _callback(self, request: web.Request) -> None:
        reach, _, _ = self._reach(request)
        client, strict_time = _client_named(request.headers.get(hdrs.USER_AGENT, ""))
        body = await _read(request)
        callback = wire.parse_callback(body, self._clock.now_ms(), strict_time=strict_time)
        await self._report(callback, client, reach, request)

    async def _report(self, callback: wire.Callback, client: str, reach: Reach, request: web.Request) -> None:
        if callback.bad:
            if not callback.results:
                raise _RefusedError(f"no result could be read: {callback.bad[0]}")
            log.warning(
                "results_left_out",
                client=client,
                executor=request.remote,
                count=len(callback.bad),
                reason=callback.bad[0],
            )
        if callback.results and not await self._desk.report(callback.results, client, reach):
            raise _RefusedError("the results could not be stored, send them again")

    # ------------------------------------------------------------ around them

    def _reach(self, request: web.Request) -> tuple[Reach, str, str]:
        """What the caller's token reaches, the token, and where it comes from; before the body is read."""
        headers = request.headers
        token, peer = headers.get(dialects.TOKEN_HEADER), request.remote or ""
        if token is None:
            token = headers.get(dialects.OLD_TOKEN_HEADER, "")
        if dialects.sends_no_token(headers):
            reach = self._access.guest(peer)
        else:
            reach = self._access.reach(token, peer)
        appname = headers.get(dialects.APPNAME_HEADER)
        if appname is not None and not appname.strip():
            raise _RefusedError(f"header {dialects.APPNAME_HEADER} is blank")
        return reach, token, peer

    def _turn(self, address: str) -> asyncio.Lock:
        """Calls about one address reach the desk in the order they came; the lock is fair."""
        return self._in_turn.setdefault(address, asyncio.Lock())


def _octets(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/octet-stream")


def _envelope(why: str) -> web.Response:
    return web.Response(body=wire.failure(why), content_type="application/json")


async def _read(
    request: web.Request, most: int | None = None, on_large: Callable[[], Awaitable[object]] | None = None
) -> bytes:
    """The body as bytes, whatever its content type says. Raises _RefusedError.

    `on_large` is awaited once that much has come: what is only announced takes nobody's turn.
    """
    if request.content.is_eof():  # it came with its head, as nearly all do: a timer would cost more than it
        return await _read_all(request, most or MAX_BODY, on_large)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await _read_all(request, most or MAX_BODY, on_large)
    except TimeoutError:
        request.content.feed_eof()  # or aiohttp goes on waiting for the rest
        raise _BrokenOffError("the body has not come in time, or others as large are coming in") from None


async def _read_all(
    request: web.Request, most: int, on_large: Callable[[], Awaitable[object]] | None
) -> bytes:
    if (request.content_length or 0) > most:
        raise _BrokenOffError(f"the body has {request.content_length} bytes, at most {most} are read")
    content = request.content
    pieces: list[bytes] = []
    size = 0
    try:
        while True:
            piece = await content.readany()
            size += len(piece)
            if size > most:
                raise _BrokenOffError(f"the body has more than {most} bytes")
            if content.at_eof():
                return b"".join((*pieces, piece)) if pieces else piece
            pieces.append(piece)
            if size > LARGE and on_large is not None:
                await on_large()
                on_large = None
    except (ClientError, HttpProcessingError, ConnectionError, web.RequestPayloadError) as error:
        content.feed_eof()  # or aiohttp goes on reading, and logs the same error as its own
        raise _BrokenOffError(f"the body is broken: {type(error).__name__}") from None


async def _expect(request: web.Request) -> None:
    """`Expect: 100-continue` is granted, anything else ignored: aiohttp would answer 417."""
    if request.version > HttpVersion10 and request.headers[hdrs.EXPECT].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def setup_executor_routes(
    app: web.Application, desk: ExecutorDesk, *, access: TokenCheck, clock: Clock
) -> None:
    """Add the executors' calls under every prefix.

    Other routes with `/api/` in their path (but `/api/v1/`) have to be added before.
    """
    calls = ExecutorCalls(desk, access=access, clock=clock)
    for prefix in USUAL_PREFIXES:  # found by a look-up; the pattern below is tried after all others
        for method in ("registry", "registryRemove", "callback"):
            app.router.add_post(f"{prefix}/api/{method}", calls.handler(method), expect_handler=_expect)
        app.router.add_post(f"{prefix}/api", calls.old, expect_handler=_expect)
    app.router.add_post("/", calls.root, expect_handler=_expect)
    app.router.add_route("*", _ANY_PREFIX, calls.any_path, expect_handler=_expect)

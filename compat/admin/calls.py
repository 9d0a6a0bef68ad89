"""One call of the endpoints: who makes it, what it says, how it is answered.

Bad input ends as a message in the envelope of the caller's generation, never as a status of HTTP: clients read nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_network

import structlog
from aiohttp import web

from compat.admin import cookies, replies
from compat.admin.generations import Generation, of_session, of_stranger, told
from compat.admin.parameters import MAX_BODY, Parameters, TooLargeError, read_parameters
from compat.admin.ports import PORTS, AdminPorts
from compat.admin.replies import Json, Style
from gateway.core import trigger_url
from gateway.core.acting import acting_for
from gateway.core.attempts import Attempts, Known
from gateway.core.errors import GatewayError, InvalidValue, NotFound, Refused, StoreError
from gateway.core.model import TriggerKind
from gateway.core.trigger_url import Caller, Said
from gateway.core.users import Role, User

log = structlog.get_logger(__name__)

# By name and caller, and by caller alone: behind one address there may be many.
ATTEMPTS = web.AppKey("admin_attempts", Attempts)
CALLERS = web.AppKey("admin_callers", Attempts)
KNOWN = web.AppKey("admin_known", Known)
WRONG = web.AppKey("admin_wrong", Known)
FREE_OF_A_CALLER = 50
AUTHOR = "user:"
_V6, _ONE_CALLER = 6, 64
_STALE = "the password is another one"


@dataclass(frozen=True, slots=True)
class Call:
    """`session` is the text of the caller's session, empty for one without; `kind` is what its triggers are."""

    ports: AdminPorts
    given: Parameters
    user: User
    style: Style
    session: str = ""
    kind: TriggerKind = TriggerKind.MANUAL

    async def app_id(self, name: str, default: int | None = None) -> int:
        """The id of the app that is named, also by another id that an import has made known."""
        given = self.given.number(name, default)
        return (await self.ports.apps.ids_of([given]))[given] if given > 0 else given

    def require_admin(self) -> None:
        """Raises `Refused`."""
        if not self.user.is_admin:
            raise Refused("only an admin may do this")

    def require_app(self, app_id: int, otherwise: GatewayError | None = None) -> None:
        """Raises `otherwise`, which tells what is there from what is not as little as the caller may know, or `Refused`."""
        if not self.user.may(app_id):
            raise otherwise or Refused(f"you have no permission for the executor (jobGroup) {app_id}")


Handler = Callable[[Call], Awaitable[Json]]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOBODY = User(0, "", Role.NORMAL)


def endpoint(prefix: str, handler: Handler) -> Answer:
    """For callers who are logged in."""

    async def answered(request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(prefix)
        style = stranger_style(request, prefix, told(path, request.query))
        try:
            cookies.require_same_site(request)
            given = await read_parameters(request)
            said = told(path, given.names)
            call = await caller(request, prefix, said, given)
            if call is None:
                return replies.not_logged_in(stranger_style(request, prefix, said))
            style = call.style
            with acting_for(AUTHOR + call.user.username):
                return replies.success(style, await handler(call))
        except Exception as error:
            return refusal(request, style, error)

    return answered


def refusal(request: web.Request, style: Style, error: Exception) -> web.Response:
    """What became of a call. Bad input is an answer; only what we did not expect is logged with its trace."""
    if isinstance(error, TooLargeError):
        response = replies.failure(style, f"the body has more than {MAX_BODY} bytes")
        response.force_close()
        return response
    if isinstance(error, StoreError):
        log.warning("store_refused", path=request.path, error=str(error))
    elif not isinstance(error, GatewayError):
        if isinstance(error, (web.HTTPException, ConnectionError)):
            raise error
        log.error("admin_call_failed", method=request.method, path=request.path, exc_info=error)
        return replies.failure(style, "something went wrong here; the log says what")
    return replies.failure(style, _words(error))


def stranger_style(request: web.Request, prefix: str, said: Generation | None) -> Style:
    return Style(of_stranger(prefix, cookies.all_of(request), said), prefix, request.app[PORTS].zone)


def caller_of(request: web.Request) -> Caller:
    forwarded_for, forwarded_proto = (
        ",".join(request.headers.getall(name, [])) for name in ("X-Forwarded-For", "X-Forwarded-Proto")
    )
    said = Said(forwarded_for, forwarded_proto)
    return trigger_url.caller_of(request.scheme, request.remote, said, request.app[PORTS].trusted)


def address_of(request: web.Request) -> str:
    """By what a caller is counted and named in the log: a network of IPv6 is one caller, however many addresses it has."""
    address = caller_of(request).address
    if address is None:  # a proxy that says nothing of whom it speaks for
        return request.remote or "nowhere"
    return str(ip_network((address, _ONE_CALLER), strict=False)) if address.version == _V6 else str(address)


def _words(error: GatewayError) -> str:
    if isinstance(error, InvalidValue):
        field = "childJobId" if error.field.startswith("children") else error.field
        return f"{field}: {error.expected}"
    return str(error)


async def caller(
    request: web.Request, prefix: str, said: Generation | None, given: Parameters
) -> Call | None:
    ports = request.app[PORTS]
    for text in cookies.session_texts(request):
        session = await ports.sessions.find(text)
        if session is not None:
            generation = of_session(session.style, said)
            if generation is Generation.G3A and session.style != generation:
                await ports.sessions.restyle(text, generation)
            return Call(ports, given, session.user, Style(generation, prefix, ports.zone), text)
    user = await _by_old_cookie(request, ports)
    if user is None:
        return None
    return Call(ports, given, user, Style(said or Generation.G2, prefix, ports.zone))


async def _by_old_cookie(request: web.Request, ports: AdminPorts) -> User | None:
    cookie = cookies.old_cookie(request)
    if cookie is None or cookies.may_be_a_link(request):
        return None
    address = address_of(request)
    user, why = await _user_of(request, ports, cookie, address)
    if user is None:
        # An old admin has put the name into the cookie: nobody has typed a password there.
        log.warning("old_cookie_refused", user=cookie.username[:64], remote=address, why=why)
    return user


async def _user_of(
    request: web.Request, ports: AdminPorts, cookie: cookies.OldCookie, address: str
) -> tuple[User | None, str]:
    """Or why not. Such a cookie is as good as the password, so wrong ones are counted like wrong passwords.

    The same wrong one counts once: a script that nobody has taken care of guesses nothing.
    """
    attempts, known, wrong = request.app[ATTEMPTS], request.app[KNOWN], request.app[WRONG]
    name, now = cookie.username, ports.clock.monotonic()
    key = f"cookie of {name[:64]} from {address}"
    try:
        account = await ports.users.get(name)
    except NotFound:
        return None, "there is no such user"
    if not account.old_cookie:
        return None, "this user does not allow it"
    version = f"{account.id} as of {account.updated_ms}"
    if wrong.has(version, cookie.digest):
        return None, _STALE
    if attempts.wait_s(key, now) and not known.has(name, cookie.digest):
        return None, "too many others were wrong"
    attempts.failed(key, now)
    user = await ports.users.with_digest(name, cookie.digest)
    if user is None:
        known.discard(name, cookie.digest)
        wrong.add(version, cookie.digest)
        return None, _STALE
    if not known.has(name, cookie.digest):
        log.info("old_cookie_accepted", user=name, remote=address)
    known.add(name, cookie.digest)
    attempts.succeeded(key)
    return user, ""

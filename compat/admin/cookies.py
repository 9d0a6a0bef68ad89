"""Login cookies: ours under the names of each generation, and the ones that an old admin made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from compat.admin.generations import COOKIES, Generation
from gateway.core.errors import Refused
from gateway.core.users import LONGEST_SESSION_S

_OURS = re.compile(r"[A-Za-z0-9_-]{20,100}", re.ASCII)
_OLD = re.compile(r"(?:[0-9a-f]{2}){20,4000}", re.ASCII)
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_CROSS = ("cross-site", "same-site")
_FORGED = "the page of another site may not make this call"
_SEVERAL = 2


@dataclass(frozen=True, slots=True)
class OldCookie:
    """What a cookie of xxl-job-admin 2.1.0 to 3.1.1 says of itself: a name, and the MD5 of its password."""

    username: str
    digest: str


def all_of(request: web.Request) -> Mapping[str, str]:
    """Of every header of that name: some clients send one for each cookie."""
    lines = request.headers.getall(hdrs.COOKIE, [])
    if len(lines) < _SEVERAL:
        return request.cookies
    headers = request.headers.copy()
    headers[hdrs.COOKIE] = "; ".join(lines)
    return request.clone(headers=headers).cookies


def session_texts(request: web.Request) -> list[str]:
    """What may be sessions of ours, the newest name first."""
    given = all_of(request)
    texts = (given.get(COOKIES[one], "") for one in (Generation.G3B, Generation.G2))
    return [text for text in texts if _OURS.fullmatch(text)]


def session_text_beside(request: web.Request, generation: Generation) -> str:
    """What a login of this generation does not replace, since its cookie has another name; empty for none."""
    other = Generation.G2 if generation.is_g3 else Generation.G3B
    text = all_of(request).get(COOKIES[other], "")
    return text if _OURS.fullmatch(text) else ""


def old_cookie(request: web.Request) -> OldCookie | None:
    value = all_of(request).get(COOKIES[Generation.G2], "").lower()
    if not _OLD.fullmatch(value):
        return None
    try:
        told = json.loads(bytes.fromhex(value))
    except (ValueError, RecursionError):
        return None
    username, digest = (told.get("username"), told.get("password")) if isinstance(told, dict) else ("", "")
    if not isinstance(username, str) or not isinstance(digest, str) or not _MD5.fullmatch(digest.lower()):
        return None
    return OldCookie(username, digest.lower())


def give(response: web.Response, generation: Generation, text: str, *, secure: bool, remember: bool) -> None:
    """Exactly one cookie: some clients join all they get. `Strict` keeps other sites' pages from sending it."""
    response.set_cookie(
        COOKIES[generation],
        text,
        path="/",
        httponly=True,
        samesite="Strict",
        secure=secure,
        max_age=LONGEST_SESSION_S if remember else None,
    )


def take_back(response: web.Response, generation: Generation) -> None:
    response.set_cookie(COOKIES[generation], "", path="/", httponly=True, samesite="Strict", max_age=0)


def require_no_cross_fetch(request: web.Request) -> None:
    """Raises `Refused` where a browser says that the page of another site makes this call; programs say nothing of it."""
    if request.headers.get("Sec-Fetch-Site", "").lower() in _CROSS:
        raise Refused(_FORGED)


def require_same_site(request: web.Request) -> None:
    """Also where it says so by the page's address only: to plain http most browsers send no more. Raises `Refused`.

    `X-Requested-With` is sent by no page of another site, since nothing here allows it to. Scripts copied from an old console
    have it, along with the old addresses.
    """
    require_no_cross_fetch(request)
    told = request.headers.get("Sec-Fetch-Site") or request.headers.get("X-Requested-With")
    if not told and _is_of_other_origin(request):
        raise Refused(_FORGED)


def may_be_a_link(request: web.Request) -> bool:
    """Whether a browser goes to this address: where a link on any page leads, with the cookies that we did not make."""
    is_page = request.headers.get("Sec-Fetch-Mode", "").lower() == "navigate"
    return is_page or "Upgrade-Insecure-Requests" in request.headers


def _is_of_other_origin(request: web.Request) -> bool:
    for name in (hdrs.ORIGIN, hdrs.REFERER):
        given = request.headers.get(name)
        if given is not None:
            try:
                return urlsplit(given).netloc.lower() != request.host.lower()
            except ValueError:
                return True
    return False

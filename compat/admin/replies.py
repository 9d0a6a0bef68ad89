"""Answers in the form of each generation: envelopes, pages, dates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from compat.admin.generations import LOGIN_PAGES, OLD_PREFIX, Generation
from gateway.core.zones import Zone

Json = Any
_SUCCESS = "Success"
PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Rows:
    """Part of a list, and how many there are in all."""

    total: int
    rows: Sequence[Json]


@dataclass(frozen=True, slots=True)
class Style:
    """How one caller is answered: `prefix` is the context path it called, `zone` the clock of local dates."""

    generation: Generation
    prefix: str
    zone: Zone

    def date(self, ms: int) -> str | None:
        """An instant, or null for none.

        3.4.1 has local dates and, as the first, no context path; what calls 3.3 under one reads ISO.
        """
        if not ms:
            return None
        if self.generation is not Generation.G3B:
            return _iso(ms) + "+00:00"
        return _iso(ms) + "Z" if self.prefix.startswith(OLD_PREFIX) else local_date(ms, self.zone)


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03d}"


def local_date(ms: int, zone: Zone) -> str:
    second = ms // 1000
    return datetime.fromtimestamp(second + zone.offset_s(second), UTC).strftime("%Y-%m-%d %H:%M:%S")


def success(style: Style, content: Json = None) -> web.Response:
    if isinstance(content, Rows):
        return _json(_page(style.generation, content))
    if style.generation is Generation.G2:
        return _json({"code": 200, "msg": None, "content": content})
    name = "content" if style.generation is Generation.G3A else "data"
    return _json({"code": 200, "msg": _SUCCESS, name: content, "success": True})


def failure(style: Style, message: str, code: int = 500) -> web.Response:
    match style.generation:
        case Generation.G2:
            return _json({"code": code, "msg": message, "content": None})
        case Generation.G3A:
            return _json({"code": code, "msg": message, "content": None, "success": False})
        case Generation.G3B:
            return _json({"code": code, "msg": message, "data": None, "success": False})


def not_logged_in(style: Style) -> web.Response:
    message = "not logged in, or the login is over"
    match style.generation:
        case Generation.G2:
            return web.Response(
                status=302, headers={"Location": style.prefix.rstrip("/") + LOGIN_PAGES[Generation.G2]}
            )
        case Generation.G3A:
            return _json({"code": 203, "msg": message})
        case Generation.G3B:
            return _json({"code": 500, "msg": message})


def _page(generation: Generation, page: Rows) -> Json:
    rows = list(page.rows)
    if generation is not Generation.G3B:
        return {"recordsTotal": page.total, "recordsFiltered": page.total, "data": rows}
    inner = {"offset": 0, "pagesize": 0, "total": page.total, "data": rows}
    return {"code": 200, "msg": _SUCCESS, "success": True, "data": inner}


def _json(body: Json) -> web.Response:
    """Without blanks, as the admin writes it: scripts look for `"code":200`."""
    return web.Response(
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"),
        content_type="application/json",
        charset="utf-8",
        headers=PRIVATE,
    )

"""The few pages of the console that clients read: links that tell a role, numbers, the executors of a user.

Consoles built on xxl-job-admin look at its HTML to learn who is logged in and for which executors. What is on these pages is what
they look for, and a hint for people.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape

from aiohttp import hdrs, web

from compat.admin import cookies
from compat.admin.calls import Answer, Call, caller, refusal, stranger_style
from compat.admin.generations import LOGIN_PAGES
from compat.admin.jobs import job_of
from compat.admin.paging import MOST
from compat.admin.parameters import Parameters
from compat.admin.replies import PRIVATE
from gateway.core.daily import DAY_MS, DailyFilter
from gateway.core.positions import AppSearch, JobSearch, Window
from gateway.core.retention import DAILY_DAYS

Render = Callable[[Call], Awaitable[str]]
Front = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FRAME = """<!doctype html><html lang="en"><meta charset="utf-8"><title>xxljob-gateway</title>
<p>These are the web endpoints of xxl-job-admin for programs.</p>
{}
</html>
"""


async def front(call: Call) -> str:
    """With a link to executors for admins alone, and three numbers: jobs, runs, live executors."""
    links = ["jobinfo", "jobgroup"] if call.user.is_admin else ["jobinfo"]
    prefix = call.style.prefix.rstrip("/")
    lines = [f'<p><a href="{prefix}/{name}">{name}</a></p>' for name in links]
    numbers = zip(("jobs", "runs", "executors"), await _numbers(call), strict=True)
    lines += [f'<p>{name} <span class="info-box-number">{number}</span></p>' for name, number in numbers]
    return _FRAME.format("\n".join(lines))


async def jobs(call: Call) -> str:
    """The executors whose jobs this user sees, as a list to choose from."""
    search = AppSearch(app_ids=None if call.user.is_admin else call.user.app_ids)
    found = await call.ports.positions.apps(search, Window(0, MOST))
    options = "".join(
        f'<option value="{app.id}">{escape(app.title or app.appname)}</option>' for app in found.items
    )
    return _FRAME.format(f'<select id="jobGroup">{options}</select>')


async def source(call: Call) -> str:
    """Of a GLUE job, in the field in which the console's editor has it."""
    job = await job_of(call, call.given.number("jobId"))
    return _FRAME.format(f'<textarea id="version_now">\n{escape(job.task.glue_source)}</textarea>')


async def _numbers(call: Call) -> tuple[int, int, int]:
    ports = call.ports
    app_ids = None if call.user.is_admin else call.user.app_ids
    jobs = (await ports.positions.jobs(JobSearch(app_ids=app_ids), Window(0, 1))).total
    apps = (await ports.positions.apps(AppSearch(app_ids=app_ids), Window(0, MOST))).items
    addresses = {one.address for app in apps for one in ports.operations.live_executors(app.id)}
    today = ports.clock.now_ms() // DAY_MS
    runs = 0
    for app_id in [None] if app_ids is None else sorted(app_ids):
        days = await ports.daily.read(DailyFilter(today - DAILY_DAYS, today, app_id=app_id))
        runs += sum(day.tally.runs for day in days)
    return jobs, runs, len(addresses)


def page(prefix: str, render: Render, otherwise: Front | None = None) -> Answer:
    """For callers who are logged in; others are led to the login page, or to what else is there."""

    async def answered(request: web.Request) -> web.StreamResponse:
        style = stranger_style(request, prefix, None)
        given = Parameters({name: request.query.getall(name) for name in request.query})
        try:
            call = await caller(request, prefix, None, given)
            if call is not None:
                cookies.require_no_cross_fetch(request)
                headers = {"Content-Security-Policy": "default-src 'none'", **PRIVATE}
                return web.Response(text=await render(call), content_type="text/html", headers=headers)
        except Exception as error:
            return refusal(request, style, error)
        if otherwise is not None:
            return await otherwise(request)
        login = prefix.rstrip("/") + LOGIN_PAGES[style.generation]
        return web.Response(status=302, headers={hdrs.LOCATION: login})

    return answered

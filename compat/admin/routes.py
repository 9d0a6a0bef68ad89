"""Every address of the endpoints, under both context paths."""

from __future__ import annotations

import secrets

from aiohttp import web

from compat.admin import accounts, charts, groups, health, job_api, jobs, login, logs, pages, sources
from compat.admin.calls import ATTEMPTS, CALLERS, FREE_OF_A_CALLER, KNOWN, WRONG, Handler, endpoint
from compat.admin.generations import LOGIN_PAGES, OLD_PREFIX, Generation
from compat.admin.ports import PORTS, AdminPorts
from gateway.core.attempts import Attempts, Known

# The last two are for clients that are given an address with a slash at its end.
PREFIXES = (OLD_PREFIX, "", OLD_PREFIX + "/", "/")

ENDPOINTS: dict[str, Handler] = {
    "/jobinfo/pageList": jobs.page,
    "/jobinfo/add": jobs.add,
    "/jobinfo/insert": jobs.add,
    "/jobinfo/update": jobs.update,
    "/jobinfo/remove": jobs.remove,
    "/jobinfo/delete": jobs.remove,
    "/jobinfo/start": jobs.start,
    "/jobinfo/stop": jobs.stop,
    "/jobinfo/trigger": jobs.trigger,
    # As 1.6 to 1.9 call it.
    "/jobinfo/pause": jobs.stop,
    "/jobinfo/resume": jobs.start,
    "/jobinfo/reschedule": jobs.update,
    "/jobinfo/nextTriggerTime": jobs.next_trigger_time,
    "/jobgroup/pageList": groups.page,
    "/jobgroup/save": groups.save,
    "/jobgroup/insert": groups.save,
    "/jobgroup/update": groups.update,
    "/jobgroup/remove": groups.remove,
    "/jobgroup/delete": groups.remove,
    "/jobgroup/loadById": groups.load,
    "/jobcode/save": sources.save,
    "/joblog/pageList": logs.page,
    "/joblog/logDetailCat": logs.read,
    "/joblog/logKill": logs.kill,
    "/joblog/clearLog": logs.clear,
    "/joblog/getJobsByGroup": logs.jobs_of_group,
    "/chartInfo": charts.chart,
    "/user/pageList": accounts.page,
    "/user/add": accounts.add,
    "/user/insert": accounts.add,
    "/user/update": accounts.update,
    "/user/remove": accounts.remove,
    "/user/delete": accounts.remove,
    "/auth/updatePwd": login.change_password,
    "/user/updatePwd": login.change_password,
}


def setup_admin_routes(app: web.Application, ports: AdminPorts, front: pages.Front) -> None:
    """Every method is taken, as at the admin: scripts send what they like.

    To be added before the executors' calls, which take all that is left below `/api`, and before whoever else has `/`:
    `front` is what stands there for callers who are not logged in here.
    """
    app[PORTS] = ports
    app[ATTEMPTS] = Attempts()
    app[CALLERS] = Attempts(FREE_OF_A_CALLER)
    app[KNOWN] = Known(secrets.token_bytes(32))
    app[WRONG] = Known(secrets.token_bytes(32))
    for path in (OLD_PREFIX, OLD_PREFIX + "/"):
        app.router.add_get(path, pages.page(OLD_PREFIX, pages.front))
    app.router.add_get("/", pages.page("", pages.front, front))
    for prefix in PREFIXES:
        for path, generation in (("/login", Generation.G2), ("/auth/doLogin", Generation.G3B)):
            app.router.add_route("*", prefix + path, login.login(prefix, generation))
        for path, generation in (("/logout", Generation.G2), ("/auth/logout", Generation.G3B)):
            app.router.add_route("*", prefix + path, login.logout(prefix, generation))
        for path in sorted(set(LOGIN_PAGES.values())):
            app.router.add_get(prefix + path, login.page)
        for path, render in (
            ("/dashboard", pages.front),
            ("/jobinfo", pages.jobs),
            ("/jobcode", pages.source),
        ):
            app.router.add_get(prefix + path, pages.page(prefix, render))
        for path in health.PATHS:
            app.router.add_get(prefix + path, health.health)
        for path, handler in job_api.CALLS.items():
            app.router.add_route("*", prefix + path, job_api.endpoint(prefix, handler))
        for path, handler in ENDPOINTS.items():
            app.router.add_route("*", prefix + path, endpoint(prefix, handler))

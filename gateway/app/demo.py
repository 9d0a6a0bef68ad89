"""`serve --demo`: an app, two jobs and an executor to look at."""

from __future__ import annotations

import contextlib

from compat.executor import demo_executor
from gateway.api.services import Services
from gateway.core.errors import Conflict
from gateway.core.listing import JobFilter
from gateway.core.model import AddressMode, App, Job, Misfire, Task
from gateway.flow.loops import Flow
from gateway.settings import Settings

DEMO_APP = "demo-executor"


async def start_demo(
    settings: Settings, services: Services, flow: Flow, url: str, stack: contextlib.AsyncExitStack
) -> None:
    """The app, the two jobs and the executor of `--demo`; what exists from an earlier start stays."""
    app = App(0, 1, DEMO_APP, "The executor of serve --demo", AddressMode.AUTO, (), 0, 0)
    try:
        app = await services.apps.create(app)
    except Conflict:
        app = await services.apps.get(DEMO_APP)
    else:
        jobs = [
            _demo_job(
                app,
                "demo: hello every 5 seconds",
                "demoHello",
                {"kind": "cron", "expression": "0/5 * * * * ?"},
            ),
            _demo_job(
                app, "demo: report every 8 seconds", "demoReport", {"kind": "fixed_rate", "expression": "8s"}
            ),
        ]
        await services.jobs.create(jobs)
    await _enable_demo(services, app, enabled=True)
    stack.push_async_callback(_enable_demo, services, app, enabled=False)
    await services.operations.app_changed(app.id)
    for left in services.operations.live_executors(app.id):
        # The one of a life that ended by a crash is gone, and its port with it.
        await flow.remove(DEMO_APP, left.address)
    executor = demo_executor(
        url, settings.access_tokens[0] if settings.access_tokens else None, services.clock, DEMO_APP
    )
    await executor.start()
    stack.push_async_callback(executor.stop)


async def _enable_demo(services: Services, app: App, *, enabled: bool) -> None:
    """The demo's jobs fire only while its executor is there."""
    page = await services.jobs.page(JobFilter(app_id=app.id), cursor=None, limit=10)
    for job in page.items:
        if job.enabled is not enabled:
            await services.jobs.set_enabled(job.id, enabled=enabled)
    await services.operations.jobs_changed([job.id for job in page.items])


def _demo_job(app: App, name: str, handler: str, schedule: dict[str, object]) -> Job:
    return Job(
        id=0,
        namespace_id=app.namespace_id,
        app_id=app.id,
        part=0,
        version=1,
        name=name,
        enabled=True,
        schedule={"timezone": "UTC", "misfire": "skip", **schedule},
        task=Task(handler, "from the demo"),
        misfire=Misfire.SKIP,
        misfire_after_s=5,
    )

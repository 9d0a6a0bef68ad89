"""The command line. It mirrors the API one to one; `cli` is the group that every command hangs on."""

from __future__ import annotations

from gateway.cli.access_tokens import access_tokens
from gateway.cli.apps import apps
from gateway.cli.backfills import backfills
from gateway.cli.bulk import bulk
from gateway.cli.calendars import calendars
from gateway.cli.cron import cron
from gateway.cli.cutover import cutover
from gateway.cli.events import events
from gateway.cli.explain import explain
from gateway.cli.failures import failures, mark_succeeded, rerun
from gateway.cli.health import health
from gateway.cli.importing import import_
from gateway.cli.jobs import jobs
from gateway.cli.manifests import apply_, export
from gateway.cli.namespaces import namespaces
from gateway.cli.node import check, migrate, serve
from gateway.cli.nodes import nodes
from gateway.cli.pauses import pause, pauses, resume
from gateway.cli.proof import proof
from gateway.cli.root import cli, main
from gateway.cli.runs import runs
from gateway.cli.schedules import schedules
from gateway.cli.shadow import shadow
from gateway.cli.simulate import simulate
from gateway.cli.stats import stats
from gateway.cli.tokens import tokens
from gateway.cli.trigger_urls import trigger_urls
from gateway.cli.users import users

for command in (
    serve,
    check,
    migrate,
    import_,
    apps,
    jobs,
    schedules,
    calendars,
    runs,
    backfills,
    failures,
    events,
    proof,
    stats,
    nodes,
    pause,
    resume,
    pauses,
    tokens,
    users,
    access_tokens,
    namespaces,
    simulate,
    export,
    apply_,
    shadow,
    cron,
    cutover,
    health,
):
    cli.add_command(command)

jobs.add_command(bulk)
jobs.add_command(explain)
runs.add_command(rerun)
runs.add_command(mark_succeeded)
jobs.add_command(trigger_urls)

__all__ = ["cli", "main"]

"""Rows of an old admin as tests write them, and the plan made of them."""

from __future__ import annotations

from datetime import datetime

from importer.plan.make import PlanOptions, make_plan
from importer.plan.target import ImportedJob, Target
from importer.plan.values import Finding, Plan, PlannedJob
from importer.source.values import Installation, SourceGroup, SourceJob

NOW_MS = 1_795_246_652_000
SOURCE = "xxl_job@db:3306"
MD5_OF_123456 = "e10adc3949ba59abbe56e057f20f883e"


def job(job_id: int = 7, **changes: object) -> SourceJob:
    values: dict[str, object] = {
        "group": "1",
        "description": f"job {job_id}",
        "author": "ann",
        "schedule_type": "CRON",
        "schedule_conf": "0 0 2 * * ?",
        "misfire": "DO_NOTHING",
        "route": "ROUND",
        "handler": "demo",
        "param": "",
        "block": "SERIAL_EXECUTION",
        "timeout_s": 0,
        "retries": 0,
        "glue_type": "BEAN",
        "trigger_status": 1,
        "added": datetime(2024, 3, 4, 5, 6, 7),
        "updated": datetime(2025, 4, 5, 6, 7, 8),
    }
    return SourceJob(job_id, **(values | changes))  # type: ignore[arg-type]


def installation(*jobs: SourceJob, **changes: object) -> Installation:
    values: dict[str, object] = {
        "name": SOURCE,
        "server": "MariaDB",
        "release": "3.4.0 – 3.4.2",
        "first": (3, 4, 0),
        "last": (3, 4, 2),
        "read_ms": NOW_MS,
        "columns": {},
        "groups": (SourceGroup("1", "orders", "Orders", 0),),
        "jobs": jobs,
    }
    return Installation(**(values | changes))  # type: ignore[arg-type]


def plan(source: Installation, target: Target | None = None, **options: object) -> Plan:
    chosen = PlanOptions(SOURCE, **options)  # type: ignore[arg-type]
    return make_plan(source, target or Target(), chosen, NOW_MS)


def after(made: Plan) -> Target:
    """What is here once a plan has been carried out."""
    return Target(
        apps={one.app.id: one.app for one in made.apps},
        aliases={alias: one.app.id for one in made.apps for alias in one.aliases},
        jobs={one.job.id: one.job for one in made.jobs},
        taken_job_ids=frozenset(one.job.id for one in made.jobs),
        users={one.user.id: one.user for one in made.users},
        imported_apps={key: one.app.id for one in made.apps for key in one.keys},
        group_digests={key: digest for one in made.apps for key, digest in one.digests.items()},
        imported_jobs={
            one.old_id: ImportedJob(one.job.id, one.job.version, one.digest, one.wants_enabled)
            for one in made.jobs
        },
        imported_users={one.old_id: one.user.id for one in made.users},
    )


def one_job(source: SourceJob, **changes: object) -> PlannedJob:
    """What becomes of it in an installation of its own."""
    (made,) = plan(installation(source, **changes), timezone="Asia/Shanghai").jobs
    return made


def told(made: Plan, where: str, field: str) -> list[Finding]:
    """The findings about one field of one thing."""
    return [one for one in made.findings if (one.where, one.field) == (where, field)]

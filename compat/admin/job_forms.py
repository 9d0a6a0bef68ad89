"""Between jobs and the fields of XXL-JOB's form."""

from __future__ import annotations

from dataclasses import replace

from compat.admin.calls import Call
from compat.admin.parameters import Parameters
from compat.admin.replies import Json, Style
from compat.admin.schedules import misfire_shown, schedule_of, shown
from gateway.core.children import MOST as MOST_CHILDREN
from gateway.core.children import Child, On
from gateway.core.contact import Contact
from gateway.core.errors import InvalidValue
from gateway.core.model import MOST_NAME, BlockStrategy, Job, Route, Task
from gateway.core.retry import MAX_ATTEMPTS
from gateway.core.schedule import zone_of

MISFIRE_AFTER_S = 5
_ROUTES = tuple(one for one in Route if one is not Route.WEIGHTED)
GLUE_TYPES = (
    "BEAN",
    "GLUE_GROOVY",
    "GLUE_SHELL",
    "GLUE_PYTHON",
    "GLUE_PYTHON2",
    "GLUE_NODEJS",
    "GLUE_PHP",
    "GLUE_POWERSHELL",
)
_MOST_AUTHOR, _MOST_TEXT = 64, 255
MOST_SOURCE = 1_000_000


def row(job: Job, style: Style, last_due_ms: int) -> Json:
    """The job in XXL-JOB's columns."""
    kind, text = shown(job.schedule)
    return {
        "id": job.id,
        "jobGroup": job.app_id,
        "jobDesc": job.name,
        "addTime": style.date(job.created_ms),
        "updateTime": style.date(job.updated_ms),
        "author": job.contact.author,
        "alarmEmail": job.contact.alarm_email,
        "scheduleType": kind,
        "scheduleConf": text,
        "misfireStrategy": misfire_shown(job.misfire),
        "executorRouteStrategy": _route_shown(job),
        "executorHandler": job.task.handler,
        "executorParam": job.task.params,
        "executorBlockStrategy": job.block_strategy.value,
        "executorTimeout": job.timeout_s,
        "executorFailRetryCount": job.max_attempts - 1,
        "glueType": job.task.glue_type,
        "glueSource": job.task.glue_source,
        "glueRemark": job.contact.remark,
        "glueUpdatetime": style.date(job.task.glue_updated_ms or job.created_ms),
        "childJobId": _children_shown(job),
        "triggerStatus": int(job.enabled),
        "triggerLastTime": last_due_ms if job.enabled else 0,
        "triggerNextTime": job.next_fire_at or 0 if job.enabled else 0,
    }


async def new_job(call: Call, app_id: int) -> Job:
    """Raises `InvalidValue` in the order in which the admin finds fault."""
    given, now_ms = call.given, call.ports.clock.now_ms()
    glue_type = (given.text("glueType") or "").strip()
    job = Job(
        id=0,
        namespace_id=1,
        app_id=app_id,
        part=0,
        version=1,
        name=_name(given),
        enabled=given.number("triggerStatus", 0) == 1,
        schedule={"kind": "none"},
        task=Task(""),
        misfire_after_s=MISFIRE_AFTER_S,
    )
    job = _scheduled(given, job, None, call)
    if glue_type not in GLUE_TYPES:
        raise InvalidValue("glueType", glue_type, f"one of {', '.join(GLUE_TYPES)}")
    job = replace(
        job,
        task=Task(
            handler="",
            glue_type=glue_type,
            glue_source=source_of(given, glue_type),
            glue_updated_ms=0 if glue_type == "BEAN" else now_ms,
        ),
        contact=replace(job.contact, remark=_short(given, "glueRemark", 128)),
    )
    return await _policies(call, job, None)


async def changed_job(call: Call, old: Job) -> Job:
    """A full replace, as the admin's: what is left out is emptied. The source, its type and the switch stay."""
    job = replace(old, name=_name(call.given))
    return await _policies(call, _scheduled(call.given, job, old, call), old)


def source_of(given: Parameters, glue_type: str) -> str:
    source = given.text("glueSource", most=MOST_SOURCE) or ""
    return source.replace("\r", "") if glue_type == "GLUE_SHELL" else source


def _scheduled(given: Parameters, job: Job, old: Job | None, call: Call) -> Job:
    """With the author, the mail addresses and the schedule."""
    author = _short(given, "author", _MOST_AUTHOR).strip()
    if not author and (old is None or old.contact.author):  # the API makes jobs without one
        raise InvalidValue("author", author, "who answers for the job")
    contact = Contact(author, _short(given, "alarmEmail", _MOST_TEXT).strip(), job.contact.remark)
    timezone = call.ports.zone.name
    if old is not None and isinstance(old.schedule, dict) and old.schedule.get("timezone"):
        timezone = zone_of(old.schedule).name  # a script that changes the time does not mean the zone
    schedule, misfire = schedule_of(given, old, timezone, call.ports.clock.now_ms())
    return replace(job, contact=contact, schedule=schedule, misfire=misfire)


async def _policies(call: Call, job: Job, old: Job | None) -> Job:
    given = call.given
    handler = _short(given, "executorHandler", _MOST_TEXT).strip()
    if job.task.glue_type == "BEAN" and not handler:
        raise InvalidValue("executorHandler", handler, "the name of a handler: glueType BEAN needs one")
    route = given.text("executorRouteStrategy") or ""
    if old is None or route != _route_shown(old):
        if route not in _ROUTES:
            raise InvalidValue("executorRouteStrategy", route, f"one of {', '.join(_ROUTES)}")
        job = replace(job, route=Route(route))
    block = given.text("executorBlockStrategy") or ""
    if block not in list(BlockStrategy):
        raise InvalidValue("executorBlockStrategy", block, f"one of {', '.join(BlockStrategy)}")
    retries = given.number("executorFailRetryCount", 0)
    if not 0 <= retries < MAX_ATTEMPTS:
        raise InvalidValue("executorFailRetryCount", retries, f"0 to {MAX_ATTEMPTS - 1}")
    timeout_s = given.number("executorTimeout", 0)
    if timeout_s < 0:
        raise InvalidValue("executorTimeout", timeout_s, "seconds, 0 for none")
    return replace(
        job,
        task=replace(job.task, handler=handler, params=given.text("executorParam") or ""),
        block_strategy=BlockStrategy(block),
        timeout_s=timeout_s,
        max_attempts=retries + 1,
        children=await _children(call, job),
    )


async def _children(call: Call, job: Job) -> tuple[Child, ...]:
    """Started on success; a child that was one before keeps what it is started on."""
    text = (call.given.text("childJobId") or "").strip()
    if text == _children_shown(job):
        return job.children
    before = {child.job_id: child.on for child in job.children}
    ids: dict[int, None] = {}
    for one in filter(None, map(str.strip, text.split(","))):
        if not (one.isascii() and one.isdigit() and len(one) < 10):
            raise InvalidValue("childJobId", one, "ids of jobs, separated by commas")
        ids[int(one)] = None
    if len(ids) > MOST_CHILDREN:
        raise InvalidValue("childJobId", text[:100], f"at most {MOST_CHILDREN} jobs")
    found = await call.ports.jobs.load(ids)
    for child_id in ids:
        if child_id not in found or not call.user.may(found[child_id].app_id):
            raise InvalidValue("childJobId", child_id, f"ids of jobs: there is no job {child_id}")
    return tuple(Child(child_id, before.get(child_id, On.SUCCESS)) for child_id in ids)


def _name(given: Parameters) -> str:
    name = (given.text("jobDesc", "name") or "").strip()
    if not 0 < len(name) <= MOST_NAME:
        raise InvalidValue("jobDesc", name[:200], f"1 to {MOST_NAME} characters")
    return name


def _short(given: Parameters, name: str, most: int) -> str:
    return given.text(name, most=most) or ""


def _route_shown(job: Job) -> str:
    return Route.RANDOM.value if job.route is Route.WEIGHTED else job.route.value


def _children_shown(job: Job) -> str:
    return ",".join(str(child.job_id) for child in job.children)

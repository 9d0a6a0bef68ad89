"""Groups become apps: by appname, or by the addresses that jobs of the first releases name themselves."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field

from compat.dialects import normal_address
from gateway.core import generations
from gateway.core.errors import InvalidValue
from gateway.core.model import AddressMode, App
from importer.plan.ids import Ids
from importer.plan.notes import Notes
from importer.plan.tasks import data_of
from importer.plan.values import Finding, Verdict
from importer.source.values import Installation, SourceGroup, SourceJob

MOST_APPNAME, MOST_TITLE, MOST_ADDRESSES = 64, 128, 1000
_APPNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,255}", re.ASCII)
_INT_IDS_UP_TO = (2, 1, 0)
_DIALECTS = (
    ((1, 4, 99), generations.FORM14),
    ((1, 5, 99), generations.FORM15),
    ((1, 7, 1), generations.NETCOM16),
)


@dataclass(slots=True)
class DraftApp:
    """An app before it has its id. `registered_as`: the name that executors of its group use. `gone`: its group does not
    exist, so it has no executors.
    """

    keys: list[str]
    appname: str
    title: str
    mode: AddressMode
    addresses: tuple[str, ...]
    token: str | None = field(repr=False, default=None)
    gone: bool = False
    registered_as: str = ""
    tokenless_from: tuple[str, ...] = ()
    notes: Notes = field(default_factory=lambda: Notes("apps"))


@dataclass(frozen=True, slots=True)
class Drafts:
    """`own`: of jobs that name their addresses themselves, the draft by the job's id."""

    apps: list[DraftApp]
    own: dict[int, DraftApp]
    of_jobs: list[Finding]

    @property
    def findings(self) -> list[Finding]:
        return [*(one for draft in self.apps for one in draft.notes.findings), *self.of_jobs]


def drafts_of(installation: Installation) -> Drafts:
    names: dict[str, DraftApp] = {}
    drafts: list[DraftApp] = []
    for group in sorted(installation.groups, key=_by_number):
        draft = _draft(group)
        same = names.get(draft.appname)
        if same is not None and _joins(same, draft):
            same.keys.append(group.key)
            _merged(same, draft, group)
        else:
            if same is not None:
                _rename(draft, names, group)
            names[draft.appname] = draft
            drafts.append(draft)
    of_jobs: list[Finding] = []
    own = _by_addresses(installation.jobs, drafts, names, of_jobs)
    _placeholders(installation, drafts, names, own)
    return Drafts(drafts, own, of_jobs)


def app_of(draft: DraftApp, app_id: int, installation: Installation, now_ms: int, namespace_id: int) -> App:
    manual = draft.mode is AddressMode.MANUAL
    return App(
        id=app_id,
        namespace_id=namespace_id,
        appname=draft.appname,
        title=draft.title,
        address_mode=draft.mode,
        addresses=draft.addresses,
        created_ms=now_ms,
        updated_ms=now_ms,
        int_ids=installation.last <= _INT_IDS_UP_TO,
        tokenless_from=draft.tokenless_from,
        dialect=next((name for last, name in _DIALECTS if installation.last <= last), "") if manual else "",
    )


def id_of(draft: DraftApp, ids: Ids) -> int:
    """The lowest of its groups' ids if one of them is free; a text is none."""
    for key in draft.keys:
        if key.isascii() and key.isdecimal() and len(key) < 11:
            app_id = ids.keep(int(key))
            if app_id != int(key):
                draft.notes.note("id", key, str(app_id), "the id is taken here")
            return app_id
    return ids.another()


def group_digest(group: SourceGroup) -> str:
    """Of what its executors are found by. A list of those that register is the old admin's own, and moves by itself."""
    addresses = group.address_list if group.address_type == 1 else None
    text = json.dumps([group.appname, group.address_type, addresses, group.access_token])
    return hashlib.sha256(text.encode()).hexdigest()


def _by_number(group: SourceGroup) -> tuple[int, int, str]:
    number = group.key.isascii() and group.key.isdecimal()
    return (0, int(group.key), "") if number else (1, 0, group.key)


def _draft(group: SourceGroup) -> DraftApp:
    notes = Notes(f"app {group.key}")
    appname = _appname(group, notes)
    manual = group.address_type == 1
    if group.address_type not in (None, 0, 1):
        notes.repaired("address_type", group.address_type, "auto", "it is 0 (they register) or 1 (a list)")
    addresses: tuple[str, ...] = ()
    if manual:
        addresses = addresses_of(group.address_list, "address_list", notes)
        if not addresses:
            manual = False
            why = "a list of addresses without one: executors that register are used"
            notes.warn("address_list", group.address_list or "", "auto", why)
    elif group.address_list:
        notes.note(
            "address_list",
            group.address_list,
            "nothing",
            "a copy of who is registered: executors register here again",
        )
    if group.order is not None:
        notes.dropped("order", group.order, "it sorted the list of groups only")
    notes.extras(group.extra)
    return DraftApp(
        keys=[group.key],
        appname=appname,
        title=_title(group, appname, notes),
        mode=AddressMode.MANUAL if manual else AddressMode.AUTO,
        addresses=addresses,
        token=_token(group, notes),
        registered_as=group.appname or "",
        notes=notes,
    )


def _appname(group: SourceGroup, notes: Notes) -> str:
    told = group.appname or ""
    name = told.strip()
    if not _APPNAME.fullmatch(name):
        name = _NOT_IN_NAME.sub("-", name).lstrip("._-").rstrip("-")[:MOST_APPNAME]
        if not _APPNAME.fullmatch(name):
            name = f"app-{_NOT_IN_NAME.sub('-', group.key).strip('._-') or 'of-xxl-job'}"[:MOST_APPNAME]
        why = "an appname has 1 to 64 letters, digits, '.', '_' or '-'; executors have to register under this one"
        notes.warn("app_name", told, name, why, Verdict.CHANGED)
    elif name != told:
        notes.repaired("app_name", told, name, "blanks around a name mean nothing", Verdict.EQUIVALENT)
    return name


def _title(group: SourceGroup, appname: str, notes: Notes) -> str:
    told = group.title or ""
    title = notes.text("title", told.strip(), MOST_TITLE)
    if "<" in title or ">" in title:
        notes.note("title", told, "as it is", "markup in a title is shown as text here, and works nowhere")
    if told and title != told and len(told.strip()) <= MOST_TITLE and "\0" not in told:
        notes.note("title", told, title, "blanks around a title mean nothing")
    return title or appname


def _token(group: SourceGroup, notes: Notes) -> str | None:
    if not group.access_token or not group.access_token.strip():
        return None
    token = group.access_token.strip()
    if not _TOKEN.fullmatch(token):
        notes.warn(
            "access_token",
            "***",
            "none",
            "a token has 1 to 255 visible ASCII characters: it is sent in a header",
        )
        return None
    return token


def addresses_of(text: str | None, field_name: str, notes: Notes) -> tuple[str, ...]:
    """In their order, since FIRST and LAST depend on it; one without a scheme is http, as old admins kept them."""
    found: dict[str, None] = {}
    for item in (text or "").split(","):
        one = item.strip()
        if not one:
            continue
        try:
            address = normal_address(one if "://" in one else f"http://{one}")
        except InvalidValue as error:
            notes.dropped(field_name, item, f"no address of an executor: {error.expected}", Verdict.CHANGED)
            continue
        if address in found:
            notes.dropped(field_name, item, "it is there twice")
        elif len(found) == MOST_ADDRESSES:
            notes.dropped(field_name, item, f"an app has at most {MOST_ADDRESSES} addresses", Verdict.CHANGED)
        else:
            found[address] = None
    kept = ",".join(found)
    if kept != (text or ""):
        notes.note(field_name, text, kept, "each address in full, with http:// and a slash at its end")
    return tuple(found)


def _joins(one: DraftApp, other: DraftApp) -> bool:
    return (one.mode, one.addresses) == (other.mode, other.addresses)


def _merged(app: DraftApp, other: DraftApp, group: SourceGroup) -> None:
    app.notes.findings += other.notes.findings
    why = "two groups of one appname have the same executors: jobs of both are jobs of one app, and scripts find it by both ids"
    app.notes.note("app_name", other.appname, f"an alias of app {app.keys[0]}", f"group {group.key}: {why}")
    if other.title not in (app.title, other.appname):
        app.notes.dropped(
            "title", other.title, f"group {group.key}: the app has the title of group {app.keys[0]}"
        )
    if other.token != app.token:
        why = f"group {group.key}: the app has the token of group {app.keys[0]}"
        if app.token is None:
            app.token, why = other.token, f"group {group.key} alone has a token: the app has it"
        app.notes.warn("access_token", "***", "one token", why)


def _rename(draft: DraftApp, names: dict[str, DraftApp], group: SourceGroup) -> None:
    old = draft.appname
    draft.appname = _free(old, names)
    why = (
        f"another group has the appname {old!r} and other addresses: an app of its own keeps its jobs on theirs"
        if draft.mode is AddressMode.MANUAL
        else f"another group has the appname {old!r} and a list of addresses: executors that register under {old!r} "
        "belong to that one, so those of this group must register under the new name"
    )
    draft.notes.warn("app_name", old, draft.appname, f"group {group.key}: {why}", Verdict.CHANGED)


def _free(name: str, names: dict[str, DraftApp]) -> str:
    number = 2
    while (found := f"{name[: MOST_APPNAME - len(str(number)) - 1]}-{number}") in names:
        number += 1
    return found


def _by_addresses(
    jobs: tuple[SourceJob, ...],
    drafts: list[DraftApp],
    names: dict[str, DraftApp],
    findings: list[Finding],
) -> dict[int, DraftApp]:
    """Up to 1.4 jobs name their executors' addresses: an app for each list of a group."""
    by_group = {key: draft for draft in drafts for key in draft.keys}
    own: dict[int, DraftApp] = {}
    made: dict[tuple[str, tuple[str, ...]], DraftApp] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        told = job.executor_address or (data_of(job) or {}).get("handler_address")
        if not (told or "").strip():
            continue
        notes = Notes(f"job {job.id}")
        column = "executor_address" if job.executor_address else "job_data.handler_address"
        addresses = addresses_of(told, column, notes)
        group = job.group or ""
        draft = made.get((group, addresses))
        if draft is None and addresses:
            draft = made[group, addresses] = _app_for(group, addresses, by_group, drafts, names)
        findings += notes.findings
        if draft is not None:
            own[job.id] = draft
    for job in jobs:
        there = by_group.get(job.group or "")
        if job.id not in own and there is not None and (job.group or "", there.addresses) in made:
            notes = Notes(f"job {job.id}")
            why = "it names no address, so that it fails there; here it has those of the other jobs of its group"
            notes.warn("executor_address", "", f"app {there.appname!r}", why)
            findings += notes.findings
    return own


def _app_for(
    group: str,
    addresses: tuple[str, ...],
    by_group: dict[str, DraftApp],
    drafts: list[DraftApp],
    names: dict[str, DraftApp],
) -> DraftApp:
    """The group's own app for its first list, one beside it for each other."""
    first = by_group.get(group)
    if first is not None and first.mode is AddressMode.AUTO and not first.addresses:
        first.mode, first.addresses = AddressMode.MANUAL, addresses
        first.notes.note("executor_address", ",".join(addresses), f"the addresses of app {first.appname!r}", "jobs of this release name the addresses of their executors; here an app has them")  # fmt: skip
        return first
    appname = _free(first.appname if first is not None else "addresses", names)
    key = f"{group}@{addresses[0]}#{len(drafts)}"[-255:]
    draft = DraftApp([key], appname, appname, AddressMode.MANUAL, addresses, notes=Notes(f"app {appname}"))
    draft.notes.note("executor_address", ",".join(addresses), f"app {appname!r}", f"jobs of group {group!r} with other addresses than its first")  # fmt: skip
    drafts.append(draft)
    names[appname] = draft
    return draft


def _placeholders(
    installation: Installation,
    drafts: list[DraftApp],
    names: dict[str, DraftApp],
    own: dict[int, DraftApp],
) -> None:
    known = {key for draft in drafts for key in draft.keys}
    gone: dict[str, list[int]] = {}
    for job in installation.jobs:
        if (job.group or "") not in known and job.id not in own:
            gone.setdefault(job.group or "", []).append(job.id)
    for key, jobs in sorted(gone.items()):
        wanted = f"group-{_NOT_IN_NAME.sub('-', key).strip('._-') or 'missing'}"[:MOST_APPNAME]
        appname = wanted if wanted not in names else _free(wanted, names)
        draft = DraftApp([key], appname, appname, AddressMode.AUTO, (), gone=True, notes=Notes(f"app {key}"))
        why = f"there is no such group; its jobs ({_some(jobs)}) are kept here, disabled"
        draft.notes.warn("job_group", key, f"app {appname!r}", why, Verdict.CHANGED)
        drafts.append(draft)
        names[appname] = draft


def _some(ids: list[int]) -> str:
    text = ", ".join(map(str, ids[:10]))
    return text if len(ids) <= 10 else f"{text} and {len(ids) - 10} more"

"""What a person does after an import, or after having seen its plan."""

from __future__ import annotations

from collections.abc import Sequence

from importer.plan.values import Action
from importer.report.text import count
from importer.report.values import Report

_STANDARD_OUTPUT = "-"


def next_steps(
    report: Report, shadow: str, cutover: str, reports: Sequence[str], own_tokens: Sequence[str]
) -> tuple[str, ...]:
    """`shadow`, `cutover`: these commands as they are to be given. `own_tokens`: those of the target's settings."""
    files = [path for path in reports if path != _STANDARD_OUTPUT]
    if files:
        first = f"Look at {', '.join(files)}: what changes, what is dropped, what is to be secured."
    else:
        first = "Look at the whole plan: the same command with --dry-run --report import.html writes it as a page."
    wanting = sum(job.wants_enabled for job in report.plan.jobs)
    steps = [
        first,
        *([] if report.written else ["Import it: the same command without --dry-run."]),
        f"Try it beside the old admin, which goes on: {shadow}",
        f"Stop the old admin and switch, which enables {count(wanting, 'job')}: {cutover}",
    ]
    return tuple(f"{number}. {step}" for number, step in enumerate([*steps, *_tokens(report, own_tokens)], 1))


def _tokens(report: Report, own: Sequence[str]) -> list[str]:
    """How the apps' tokens and that of the settings go together; the texts of neither are told."""
    apps = [app for app in report.plan.apps if app.access_token]
    kept = [app.app.appname for app in apps if app.action is Action.SKIP]
    given = {app.access_token for app in apps if app.action is not Action.SKIP}
    lines = []
    if kept:
        lines.append(
            f"{len(kept):,} of the apps were here already, with the access tokens that they have: "
            "`xxljob-gateway access-tokens create --app NAME --text TOKEN` gives one the old admin's."
        )
    if given - {*own}:
        told = (
            "this gateway's XXLJOB_GATEWAY_ACCESS_TOKEN is another: executors of other apps need that one."
            if own
            else "set XXLJOB_GATEWAY_ACCESS_TOKEN to it as well, so that executors of other apps are asked for one too."
        )
        lines.append(f"The imported apps take the old admin's access token; {told}")
    return lines

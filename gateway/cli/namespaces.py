"""Commands: namespaces; and the limit of submissions, which a token has as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import WRONG_INPUT, Failure

F = TypeVar("F", bound=Callable[..., Any])


def limit_options(command: F) -> F:
    """Give a command the options of a limit of submissions."""
    command = click.option("--none", is_flag=True, help="Take the limit away.")(command)
    command = click.option("--burst", type=int, help="How many at once; a batch needs as many.")(command)
    return click.option("--per-second", type=float, help="How many a second; 0.2 is one in 5 s.")(command)


def limited(client: Client, path: str, *, per_second: float | None, burst: int | None, none: bool) -> None:
    """Do what the options of a limit say; without any, show it."""
    if (none and per_second is not None) or (burst is not None and per_second is None):
        raise Failure("give --per-second, with --burst if wanted, or --none, or nothing", WRONG_INPUT)
    if none:
        client.call("DELETE", path)
        return
    body = {"per_second": per_second} | ({} if burst is None else {"burst": burst})
    answer = client.call("GET", path) if per_second is None else client.call("PUT", path, body)
    show.one(client, answer)


@click.group()
def namespaces() -> None:
    """Tenants; `default` is there from the start."""


@namespaces.command()
@click.argument("name")
@limit_options
@calls_api
def limit(client: Client, name: str, **options: Any) -> None:
    """Show, set or take away the limit of a namespace's submissions."""
    limited(client, f"/api/v1/namespaces/{name}/limit", **options)

"""Commands: access tokens, of an app or of a namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import WRONG_INPUT, Failure

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = ("id", "kind", "valid", "executors", "author", "created", "ends")


@click.group("access-tokens")
def access_tokens() -> None:
    """What executors prove themselves by."""


def whose_options(command: F) -> F:
    """Give a command the options that say whose tokens."""
    command = click.option("--namespace", help="Of all its apps that have none of their own.")(command)
    return click.option("--app", "appname", help="Of this app alone.")(command)


@access_tokens.command("list")
@whose_options
@calls_api
def list_tokens(client: Client, appname: str | None, namespace: str | None) -> None:
    """List tokens, without their texts, and how many executors have come with each."""
    found = client.call("GET", _path(appname, namespace))["items"]
    show.rows(client, found, _COLUMNS)


@access_tokens.command()
@whose_options
@click.option("--text", help="Its text, such as the old admin's; made at random if left out.")
@click.option(
    "--old-valid",
    help="How long the one before is still valid, such as 7d; 0 ends it now; until it is removed if left out.",
)
@calls_api
def create(
    client: Client, appname: str | None, namespace: str | None, text: str | None, old_valid: str | None
) -> None:
    """Make a token and print it, this once."""
    body: dict[str, Any] = {} if text is None else {"token": text}
    if old_valid is not None:
        body["old_valid_s"] = int(old_valid) if old_valid.isdecimal() else old_valid
    answer = client.call("POST", _path(appname, namespace), body)
    show.as_json(answer) if client.as_json else click.echo(answer["token"])


@access_tokens.command()
@click.argument("token_id", type=int)
@whose_options
@calls_api
def remove(client: Client, token_id: int, appname: str | None, namespace: str | None) -> None:
    """Let a token work no more."""
    client.call("DELETE", f"{_path(appname, namespace)}/{token_id}")


def _path(appname: str | None, namespace: str | None) -> str:
    if (appname is None) == (namespace is None):
        raise Failure("give --app or --namespace", WRONG_INPUT)
    kind, name = ("apps", appname) if appname is not None else ("namespaces", namespace)
    return f"/api/v1/{kind}/{quote(name or '', safe='')}/tokens"

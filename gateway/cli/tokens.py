"""Commands: tokens of the API."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.namespaces import limit_options, limited


@click.group()
def tokens() -> None:
    """Who may use the API."""


@tokens.command("list")
@calls_api
def list_tokens(client: Client) -> None:
    """List tokens; their texts are not kept."""
    found = client.call("GET", "/api/v1/tokens")["items"]
    show.rows(client, found, ("id", "name", "created"))


@tokens.command()
@click.argument("name")
@calls_api
def create(client: Client, name: str) -> None:
    """Make a token and print it, this once."""
    answer = client.call("POST", "/api/v1/tokens", {"name": name})
    show.as_json(answer) if client.as_json else click.echo(answer["token"])


@tokens.command()
@click.argument("token_id", type=int)
@calls_api
def revoke(client: Client, token_id: int) -> None:
    """Let a token work no more."""
    client.call("DELETE", f"/api/v1/tokens/{token_id}")


@tokens.command()
@click.argument("token_id", type=int)
@limit_options
@calls_api
def limit(client: Client, token_id: int, **options: Any) -> None:
    """Show, set or take away the limit of a token's submissions."""
    limited(client, f"/api/v1/tokens/{token_id}/limit", **options)

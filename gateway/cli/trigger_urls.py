"""Commands: addresses that start a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import WRONG_INPUT, Failure

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = ("id", "kind", "methods", "schemes", "restriction", "author", "created", "rotated")


@click.group("trigger-urls")
def trigger_urls() -> None:
    """Addresses that start a job."""


@trigger_urls.command("list")
@click.argument("job_id", type=int)
@calls_api
def list_urls(client: Client, job_id: int) -> None:
    """List a job's addresses, without their secret parts, which are not kept."""
    found = client.call("GET", _path(job_id))["items"]
    show.as_json(found) if client.as_json else show.table([_shown(one) for one in found], _COLUMNS)


def rule_options(command: F) -> F:
    """Give a command the options of an address's rules."""
    for name, words in (
        ("--method", "GET, POST, PUT, PATCH, DELETE or HEAD; POST if left out (repeat it)."),
        ("--scheme", "http or https; both if left out (repeat it)."),
        ("--domain", "Only calls from pages of this host (repeat it). Weak."),
        ("--cidr", "Only calls from this network (repeat it)."),
    ):
        command = click.option(name, f"{name[2:]}s", multiple=True, help=words)(command)
    return command


@trigger_urls.command()
@click.argument("job_id", type=int)
@click.option("--private", is_flag=True, help="One that works on the private listener alone.")
@rule_options
@calls_api
def create(client: Client, job_id: int, *, private: bool, **rules: tuple[str, ...]) -> None:
    """Make an address and print it, this once."""
    body = _rules(rules) | {"kind": "private" if private else "public"}
    _new(client, client.call("POST", _path(job_id), body))


@trigger_urls.command()
@click.argument("job_id", type=int)
@click.argument("url_id", type=int)
@rule_options
@calls_api
def change(client: Client, job_id: int, url_id: int, **rules: tuple[str, ...]) -> None:
    """Give an address other rules; what is left out goes back to its default."""
    answer = client.call("PUT", f"{_path(job_id)}/{url_id}", _rules(rules))
    show.as_json(answer) if client.as_json else show.record(_shown(answer))


@trigger_urls.command()
@click.argument("job_id", type=int)
@click.argument("url_id", type=int)
@calls_api
def rotate(client: Client, job_id: int, url_id: int) -> None:
    """Give an address a new secret part and print it, this once; the old one works no more."""
    _new(client, client.call("POST", f"{_path(job_id)}/{url_id}/rotate"))


@trigger_urls.command()
@click.argument("job_id", type=int)
@click.argument("url_id", type=int)
@calls_api
def delete(client: Client, job_id: int, url_id: int) -> None:
    """Let an address work no more."""
    client.call("DELETE", f"{_path(job_id)}/{url_id}")


def _rules(given: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    if given["domains"] and given["cidrs"]:
        raise Failure("--cidr: an address has one restriction, --domain or --cidr", WRONG_INPUT)
    body: dict[str, Any] = {name: list(given[name]) for name in ("methods", "schemes") if given[name]}
    for kind in ("domain", "cidr"):
        if given[f"{kind}s"]:
            body["restriction"] = {"kind": kind, f"{kind}s": list(given[f"{kind}s"])}
    return body


def _shown(url: dict[str, Any]) -> dict[str, Any]:
    restriction = url["restriction"]
    allowed = restriction["domains"] + restriction["cidrs"]
    lists = {name: " ".join(url[name]) for name in ("methods", "schemes")}
    return {**url, **lists, "restriction": " ".join([restriction["kind"], *allowed])}


def _new(client: Client, url: dict[str, Any]) -> None:
    show.as_json(url) if client.as_json else click.echo(url["url"])


def _path(job_id: int) -> str:
    return f"/api/v1/jobs/{job_id}/trigger-urls"

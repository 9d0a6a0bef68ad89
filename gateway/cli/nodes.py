"""Commands: the nodes of this database."""

from __future__ import annotations

import time
from typing import Any

import click

from gateway.cli import show
from gateway.cli.client import Client, calls_api
from gateway.cli.root import Failure

COLUMNS = ("name", "state", "parts", "control_address", "version", "clock_offset_ms", "seen")
LOOK_S = 0.25


@click.group()
def nodes() -> None:
    """The processes that share this database."""


@nodes.command("list")
@calls_api
def list_nodes(client: Client) -> None:
    """List nodes, and how many of the 128 parts of the jobs each schedules."""
    found = client.call("GET", "/api/v1/nodes")["nodes"]
    show.rows(client, found, COLUMNS)


@nodes.command()
@click.argument("name")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0), default=30, help="seconds to wait until it owns nothing"
)
@calls_api
def drain(client: Client, name: str, wait_s: float) -> None:
    """Have a node give its jobs to the others; what runs goes on, and results are taken.

    It owns parts again after `nodes resume`, or after its next start.
    """
    answer = client.call("POST", f"/api/v1/nodes/{name}/drain")
    ends = time.monotonic() + wait_s  # noqa: TID251 – a command has no clock of its own to be given
    while answer["parts"] and time.monotonic() < ends:  # noqa: TID251
        time.sleep(LOOK_S)
        answer = _find(client, name)
    show.row(client, answer, COLUMNS)
    if answer["parts"] and wait_s:
        raise Failure(f"node {name!r} still owns {answer['parts']} parts after {wait_s:g} s")


@nodes.command()
@click.argument("name")
@calls_api
def resume(client: Client, name: str) -> None:
    """Let a drained node own parts again."""
    answer = client.call("POST", f"/api/v1/nodes/{name}/resume")
    show.row(client, answer, COLUMNS)


def _find(client: Client, name: str) -> dict[str, Any]:
    for one in client.call("GET", "/api/v1/nodes")["nodes"]:
        if one["name"] == name:
            found: dict[str, Any] = one
            return found
    raise Failure(f"node {name!r} has left")

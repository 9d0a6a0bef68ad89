"""The commands that run a node on this machine: serve, check, migrate."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.root import FAILED, Failure
from gateway.cli.target import database_failure, database_options, run_loop, settings_of
from gateway.core.errors import GatewayError

if TYPE_CHECKING:
    from gateway.settings import Settings


@click.command()
@click.option("--host", help="address to listen on (127.0.0.1)")
@click.option("--port", type=int, help="port to listen on (8080)")
@click.option("--workers", type=int, help="processes that share the port (1); more than one need MySQL")
@click.option("--node-name", help="this node's name among all of the database")
@click.option("--control-host", help="address on which the other nodes reach this one (127.0.0.1)")
@click.option("--advertise", help="HOST:PORT at which executors up to 1.7.1 find this gateway")
@click.option("--control-port", type=int, help="port for the other nodes (any free one)")
@click.option("--demo", is_flag=True, default=None, help="also start a small executor with two jobs")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--log-format", type=click.Choice(["auto", "text", "json"]))
@database_options
def serve(**options: Any) -> int:
    """Run the gateway until SIGTERM or Ctrl-C."""
    from gateway.app.open_files import raise_limit

    given = dict(options)
    settings = settings_of(options)
    _configure_logs(settings)
    raise_limit()
    if settings.workers == 1:
        # What is imported and built from here on stays; once it runs, the node decides when garbage is collected.
        gc.disable()
    code: int = run_loop(_serve(settings) if settings.workers == 1 else _serve_workers(settings, given))
    return code


async def _serve(settings: Settings) -> int:
    from gateway.app import is_worker, parent_gone, running, say_ready

    stop, speaks = _stop_signal(), not is_worker()
    try:
        async with running(settings) as node:
            if speaks:
                _greet(settings, node.urls[0], node.first_token)
            say_ready()
            await _first(stop.wait(), node.fatal.wait(), parent_gone())
    except GatewayError:
        raise
    except Exception as error:
        raise database_failure(error) from None
    if node.fatal_error is not None:
        raise Failure(f"{node.fatal_error} This node has stopped.")
    return 0


async def _serve_workers(settings: Settings, given: dict[str, Any]) -> int:
    from gateway.app import running_workers

    given.pop("config", None)
    stop = _stop_signal()
    try:
        async with running_workers(settings, given) as workers:
            _greet(settings, workers.urls[0], workers.first_token)
            await _first(stop.wait(), workers.failed.wait())
    except GatewayError:
        raise
    except Exception as error:
        raise database_failure(error) from None
    if workers.failure:
        raise Failure(workers.failure)
    return 0


def _stop_signal() -> asyncio.Event:
    """Set by SIGTERM and Ctrl-C."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _first(*ends: Coroutine[Any, Any, object]) -> None:
    """Return when one of them has."""
    waiting = [asyncio.ensure_future(end) for end in ends]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()


def _greet(settings: Settings, url: str, first_token: str | None) -> None:
    """What a person needs after a start; logs go to standard error, this to standard output."""
    lines = [f"xxljob-gateway is listening on {url}", ""]
    if first_token:
        lines += [
            f"API token (shown this once, kept in {settings.data_dir / 'token'}):",
            f"  {first_token}",
            "",
        ]
    elif settings.admin_token is None and (settings.data_dir / "token").exists():
        lines += [f"API token: in {settings.data_dir / 'token'}, if it was not revoked", ""]
    lines += [
        "Put this into an executor's configuration:",
        f"  xxl.job.admin.addresses={_reach(settings, url)}/xxl-job-admin",
    ]
    if settings.access_tokens:
        lines.append(
            "  xxl.job.accessToken=<the access token of this gateway>    (from 2.5.0: xxl.job.admin.accessToken)"
        )
    else:
        lines.append("  no access token is needed; XXLJOB_GATEWAY_ACCESS_TOKEN asks executors for one")
    if settings.database_url is None:
        lines += [
            "",
            f"Database: SQLite in {settings.data_dir} (one node). MySQL/MariaDB: --database-url mysql+aiomysql://…",
        ]
    if settings.demo:
        lines += [
            "",
            "Demo: two jobs fire within 10 s, each run is a line below. To look at them from another terminal:",
        ]
        lines += [f"  {_client_command(settings, url)} runs list"]
    click.echo("\n".join(lines) + "\n")
    sys.stdout.flush()


def _reach(settings: Settings, url: str) -> str:
    """Where executors reach this node: by the machine's name if it listens on every address."""
    from gateway.app import EVERYWHERE

    return url.replace("127.0.0.1", socket.gethostname()) if settings.host in EVERYWHERE else url


def _client_command(settings: Settings, url: str) -> str:
    """The command line of another terminal of this machine, with what it cannot guess."""
    from gateway.cli.client import DEFAULT_URL
    from gateway.settings import PREFIX
    from gateway.settings import Settings as AllSettings

    words: list[str] = []
    if url != DEFAULT_URL:
        words.append(f"{PREFIX}URL={url}")
    if settings.admin_token is not None:
        words.append(f"{PREFIX}TOKEN=<the admin token>")
    elif settings.data_dir != AllSettings.model_fields["data_dir"].get_default(call_default_factory=True):
        words.append(f'{PREFIX}TOKEN="$(cat {shlex.quote(str(settings.data_dir.absolute() / "token"))})"')
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        words.append(f"{shlex.quote(sys.executable)} -m gateway")
    else:
        words.append(program.name if shutil.which(program.name) else shlex.quote(str(program)))
    return " ".join(words)


@click.command()
@database_options
def check(**options: Any) -> int:
    """Print the settings, and what is wrong with them and with the database."""
    from gateway.app import check_database
    from gateway.settings import masked

    settings = settings_of(options)
    for name, value in masked(settings).items():
        click.echo(f"{name} = {value}")
    errors, warnings = run_loop(check_database(settings))
    if settings.access_token is None:
        warnings.append(
            "access_token is not set: every program that reaches the port can register as an executor"
        )
    for line in warnings:
        click.echo(f"warning: {line}")
    for line in errors:
        click.echo(f"error: {line}", err=True)
    if not errors:
        click.echo("ok")
    return FAILED if errors else 0


@click.command()
@database_options
def migrate(**options: Any) -> None:
    """Bring the database's schema to this version's."""
    from gateway.app import migrate_database

    before, after = run_loop(migrate_database(settings_of(options)))
    click.echo(f"schema {after}" + (" already" if before == after else f", was {before or 'empty'}"))


def _configure_logs(settings: Settings) -> None:
    import structlog

    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ,
            exception_formatter=structlog.dev.plain_traceback,
        )
        if as_text
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if as_text else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("aiohttp.server").addFilter(_broken_http_in_one_line)


def _broken_http_in_one_line(record: logging.LogRecord) -> bool:
    """What a caller sent that is no HTTP is its fault, not ours: no trace."""
    from aiohttp.http_exceptions import HttpProcessingError
    from aiohttp.web_protocol import RequestPayloadError

    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (HttpProcessingError, RequestPayloadError)):
        record.exc_info = None
        record.msg, record.args = f"{record.getMessage()}: {' '.join(str(error).split())[:200]}", ()
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True

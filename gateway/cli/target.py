"""What the commands share that open the database of a gateway themselves."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cli.root import WRONG_INPUT, Failure
from gateway.core.errors import GatewayError, InvalidValue

if TYPE_CHECKING:
    from gateway.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

_DATABASE = "sqlite+aiosqlite:///PATH or mysql+aiomysql://USER:PASSWORD@HOST:PORT/DATABASE"


def database_options(command: F) -> F:
    for option in (
        click.option(
            "--database-url", metavar="URL", help=f"{_DATABASE}; default: SQLite in the data directory"
        ),
        click.option(
            "--data-dir", type=click.Path(file_okay=False), help="embedded database, spool, node name"
        ),
        click.option("--config", type=click.Path(dir_okay=False), help="a TOML file with settings"),
    ):
        command = option(command)
    return command


def settings_of(options: dict[str, Any]) -> Settings:
    """The settings, with these options of `database_options` (and others that are settings) on top."""
    from gateway.settings import CONFIG_VARIABLE, load_settings
    from gateway.store.engine import database_url

    config = options.pop("config", None)
    if config is not None:
        if not Path(config).is_file():
            raise InvalidValue("--config", config, "the path of a TOML file")
        os.environ[CONFIG_VARIABLE] = config
    settings = load_settings(options)
    database_url(settings.effective_database_url)
    return settings


def target_words(options: Mapping[str, Any]) -> tuple[str, ...]:
    """These options of `database_options` for another command line; an address may hold a password, so it is left out."""
    words: list[str] = []
    for name in ("data_dir", "config"):
        if options.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    if options.get("database_url") is not None:
        words += ["--database-url", "URL"]
    return tuple(words)


def words_for(settings: Settings) -> str:
    """The target, for people."""
    from gateway.store.engine import database_url

    url = database_url(settings.effective_database_url)
    if url.get_backend_name() == "sqlite":
        return f"SQLite, {url.database}"
    return f"{url.database}@{url.host or ''}:{url.port or 3306}"


def run_loop(main: Any) -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def database_failure(error: Exception, code: int | None = None) -> Exception:
    """What a person is told about an error of a database or a disk; any other error as it is."""
    from gateway.cli.root import FAILED
    from gateway.store.engine import SQLAlchemyError

    if isinstance(error, (SQLAlchemyError, OSError)):
        said = getattr(error, "orig", None) or error
        return Failure(f"the database cannot be used: {said}", FAILED if code is None else code)
    return error


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Whatever a command of the move meets that is no mistake of ours ends it with one line and exit code 2."""
    try:
        yield
    except (GatewayError, Failure) as error:
        raise Failure(str(error), WRONG_INPUT) from None
    except BrokenPipeError:
        raise
    except Exception as error:
        raise database_failure(error, WRONG_INPUT) from None

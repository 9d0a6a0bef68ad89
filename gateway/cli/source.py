"""What the commands share that read an xxl-job database."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cli.root import WRONG_INPUT, Failure
from gateway.core.errors import InvalidValue

if TYPE_CHECKING:
    from importer.source.source import SourceOptions
    from importer.source.url import SourceUrl

F = TypeVar("F", bound=Callable[..., Any])

MOST_NAME = 191
_URL = (
    "mysql://USER:PASSWORD@HOST:PORT/DATABASE; without :PASSWORD it comes from "
    "XXLJOB_GATEWAY_SOURCE_PASSWORD, or is asked for"
)


@dataclass(frozen=True, slots=True)
class GivenSource:
    """`name`: under which the target remembers it. `shown`: its address as it was given, without the password. `words`:
    the options that name it, for a command line; `zone_words`: its time zone.
    """

    url: SourceUrl
    options: SourceOptions
    name: str
    shown: str
    words: tuple[str, ...] = ()
    zone_words: tuple[str, ...] = ()


release_option = click.option(
    "--source-release", metavar="VERSION", help="of the old admin, e.g. 3.1.0, where its tables leave it open"
)
report_option = click.option(
    "--report",
    "reports",
    multiple=True,
    metavar="FILE",
    help="also as .json, .md or .html; - is JSON on stdout",
)


def source_options(command: F) -> F:
    for option in (
        click.option(
            "--source-charset", metavar="NAME", help="latin1: the old admin wrote UTF-8 as if it were latin1"
        ),
        click.option(
            "--table-map",
            multiple=True,
            metavar="OLD=NEW",
            help="a table, or a beginning, that a fork renamed",
        ),
        click.option(
            "--timezone", metavar="ZONE", help="of the old admin's clock (found, else Asia/Shanghai)"
        ),
        click.option("--name", help="under which the source is remembered here (DATABASE@HOST:PORT)"),
        # `import --undo` needs none; all else is refused by `source_of`.
        click.option("--source", metavar="URL", help=_URL),
    ):
        command = option(command)
    return command


def source_of(options: dict[str, Any]) -> GivenSource:
    """Takes its options out of these. Raises `InvalidValue` for one that is wrong. May ask for the password."""
    from dataclasses import replace

    from importer.plan.zones import zone_named
    from importer.source.source import SourceOptions
    from importer.source.text import checked_charset
    from importer.source.url import parse_source, without_password

    text = options.pop("source")
    if text is None:
        raise Failure("--source: it is missing: mysql://USER:PASSWORD@HOST:PORT/DATABASE", WRONG_INPUT)
    url = parse_source(text)
    charset, timezone = options.pop("source_charset"), options.pop("timezone")
    checked_charset(charset)
    if timezone is not None:
        zone_named(timezone, "--timezone")
    tables, name = options.pop("table_map"), options.pop("name")
    table_map = table_map_of(tables)
    if name is not None and not (name == name.strip() and name.isprintable() and 0 < len(name) <= MOST_NAME):
        raise InvalidValue("--name", name, f"1 to {MOST_NAME} visible characters")
    if not url.password and _asks(text):
        url = replace(
            url,
            password=click.prompt(
                f"Password of {url.user}", hide_input=True, default="", show_default=False, err=True
            ),
        )
    shown = without_password(text)
    words = ["--source", shown]
    words += ["--name", name] if name else []
    words += [word for one in tables for word in ("--table-map", one)]
    words += ["--source-charset", charset] if charset else []
    return GivenSource(
        url,
        SourceOptions(table_map=table_map, charset=charset, timezone=timezone),
        name or url.name,
        shown,
        tuple(words),
        ("--timezone", timezone) if timezone else (),
    )


def release_of(text: str | None) -> tuple[int, ...] | None:
    """Raises `InvalidValue`."""
    if text is None:
        return None
    parts = text.strip().removeprefix("v").split(".")
    if not (len(parts) in {2, 3} and all(part.isascii() and part.isdigit() for part in parts)):
        raise InvalidValue("--source-release", text, "a release of xxl-job-admin, such as 3.1.0")
    return tuple(int(part) for part in parts)


def table_map_of(given: Iterable[str]) -> dict[str, str]:
    """Raises `InvalidValue`."""
    from importer.source.names import checked_map

    return checked_map(_pairs(given))


def _pairs(given: Iterable[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in given:
        old, equals, new = one.partition("=")
        if not (equals and old.strip() and old.strip().lower() not in pairs):
            raise InvalidValue(
                "--table-map", one, "OLD=NEW, each OLD once: xxl_job_info=my_jobs or xxl_job_=sched_"
            )
        pairs[old.strip().lower()] = new
    return pairs


def _asks(text: str) -> bool:
    """Whether there is somebody to ask for a password that stands nowhere."""
    from importer.source.url import PASSWORD_VARIABLE

    credentials = text.partition("://")[2].rpartition("@")[0]
    return ":" not in credentials and PASSWORD_VARIABLE not in os.environ and sys.stdin.isatty()

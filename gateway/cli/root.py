"""The group of all commands, and how they fail: one line on standard error, and an exit code.

2 means that the input is wrong and the line names it; 1 means everything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from gateway.core.errors import GatewayError, InvalidValue

WRONG_INPUT = 2
FAILED = 1


class Failure(Exception):
    """Ends a command with a line and an exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class OneLineErrors(click.Group):
    """A command returns None, or an exit code of its own."""

    def main(  # type: ignore[override]  # click overloads it by standalone_mode, which is always on here
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        extra.pop("standalone_mode", None)
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
        except Failure as error:
            _leave(str(error), error.code)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(WRONG_INPUT)
        except click.UsageError as error:
            where = f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
            _leave(error.format_message() + where, WRONG_INPUT)
        except click.ClickException as error:
            _leave(error.format_message(), WRONG_INPUT)
        except InvalidValue as error:
            _leave(str(error), WRONG_INPUT)
        except GatewayError as error:
            _leave(str(error), FAILED)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(130)
        except BrokenPipeError:
            # Who reads us has gone: nothing is left to say, also not at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        sys.exit(code if isinstance(code, int) else 0)


def _leave(message: str, code: int) -> NoReturn:
    from importer.report.text import visible

    click.echo(f"error: {visible(' '.join(message.split()))}", err=True)
    sys.exit(code)


@click.group(
    cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="xxljob-gateway", message="%(version)s")
def cli() -> None:
    """A scheduler that XXL-JOB executors connect to unchanged."""


def main() -> NoReturn:
    cli.main(prog_name="xxljob-gateway")

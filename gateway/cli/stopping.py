"""Ctrl-C in commands of the move: one line that says what was done by then, and exit code 2."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import click

from gateway.cli.root import WRONG_INPUT, Failure

UNTOUCHED = "nothing was read or written"


def load(*modules: str) -> None:
    """Import what a command needs, before it begins. Modules that Ctrl-C ends in the middle may make the process die of it."""
    stops = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if stops:
            signal.signal(signal.SIGINT, _too_early)
        with contextlib.suppress(ImportError):
            importlib.import_module("uvloop")
        for name in modules:
            importlib.import_module(name)
    finally:
        if stops:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _too_early(_number: int, _frame: object) -> NoReturn:
    click.echo(f"error: stopped: {UNTOUCHED}", err=True)
    raise SystemExit(WRONG_INPUT)


@contextlib.contextmanager
def answerable() -> Iterator[None]:
    """For a question inside of an event loop: the handler of the loop waits for the loop, which waits for the answer."""
    of_loop = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, of_loop)


@contextlib.contextmanager
def stoppable(state: str | Callable[[], str]) -> Iterator[None]:
    """`state`: what was done when it is stopped in the block."""
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty():
            click.echo(err=True)  # behind the ^C
        told = state if isinstance(state, str) else state()
        raise Failure(f"stopped: {told}", WRONG_INPUT) from None

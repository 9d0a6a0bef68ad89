"""Fixtures every kind of test may use."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from typing import NoReturn

import hypothesis  # noqa: F401 – else its plugin imports it in the summary, which CPython 3.11 can refuse after many crash tests
import pytest
import structlog

from tests.kit import mariadb

_database_numbers = itertools.count(1)

# The processes that tests start would compile every module anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Without colours and without pictures of tracebacks, which take a second each.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def skip_for_lack(reason: str) -> NoReturn:
    """Skip with that reason; where everything must run (CI=true) it is a failure."""
    __tracebackhide__ = True
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it all: {reason}", pytrace=False)
    pytest.skip(reason)


def require_tool(name: str, reason: str) -> str:
    """The path of a program; a skip saying what it is needed for when the machine has none."""
    __tracebackhide__ = True
    path = mariadb.find_program(name) or shutil.which(name)
    if path is None:
        skip_for_lack(f"no {name} here: {reason}")
    return path


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mariadb.MariadbServer]:
    """One server for the whole session; tests that stop or freeze it leave it running."""
    for program in ("mariadbd", "mariadb-install-db"):
        require_tool(program, "tests on MariaDB start a server of their own (Debian: mariadb-server-core)")
    server = mariadb.MariadbServer(tmp_path_factory.mktemp("mariadb"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def mariadb_url(mariadb_server: mariadb.MariadbServer) -> Iterator[str]:
    """A fresh database, dropped afterwards."""
    name = f"test_{os.getpid()}_{next(_database_numbers)}"
    yield mariadb_server.create_database(name)
    mariadb_server.drop_database(name)

"""A server of its own, that need not survive a power cut, with xxl-job databases of every release."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.kit.mariadb import MariadbServer
from tests.kit.xxl_databases import XxlDatabase, create_xxl_database


@pytest.fixture(scope="session")
def source_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    for program in ("mariadbd", "mariadb-install-db"):
        require_tool(program, "xxl-job databases are read from a real server (Debian: mariadb-server-core)")
    memory = Path("/dev/shm")
    is_roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    directory = (
        Path(tempfile.mkdtemp(prefix="source-", dir=memory))
        if is_roomy
        else tmp_path_factory.mktemp("source")
    )
    server = MariadbServer(
        directory,
        options=[
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF",
            "--innodb-flush-method=nosync",
            "--innodb-file-per-table=OFF",
        ],
    )
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def make(source_server: MariadbServer) -> Iterator[Callable[..., XxlDatabase]]:
    """Makes databases of a release. They go with the server; only a name that a test has chosen is free again."""
    named: list[XxlDatabase] = []

    def create(release: str, **options: object) -> XxlDatabase:
        database = create_xxl_database(source_server, release, **options)
        if "name" in options:
            named.append(database)
        return database

    yield create
    for database in named:
        database.drop()

"""A server of its own, that need not survive a power cut, with xxl-job databases of every release."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.kit.mariadb import MariadbServer
from tests.kit.xxl_databases import XxlDatabase, create_xxl_database


def make_certificate(directory: Path) -> Path | None:
    """Signed by itself, for 127.0.0.1, its key beside it; None without the program that makes it."""
    openssl, certificate = shutil.which("openssl"), directory / "cert.pem"
    if openssl is None:
        return None
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "30", "-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(directory / "key.pem"), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate


@pytest.fixture(scope="session")
def source_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def source_server(
    tmp_path_factory: pytest.TempPathFactory, source_certificate: Path | None
) -> Iterator[MariadbServer]:
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
            *_tls(source_certificate),
        ],
    )
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)


def _tls(certificate: Path | None) -> list[str]:
    if certificate is None:
        return []
    return [f"--ssl-cert={certificate}", f"--ssl-key={certificate.with_name('key.pem')}"]


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

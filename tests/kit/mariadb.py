"""A private MariaDB server in a temporary directory, with the faults the tests need."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pymysql
from pymysql.connections import Connection

from tests.kit.process import Process, free_port, listens

USER = "gateway"
PASSWORD = "gateway-test"


def find_program(name: str) -> str | None:
    """Debian keeps the server in /usr/sbin, which is not on every user's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class MariadbServer:
    """Loopback only, same port and data directory over all restarts, durable commits."""

    def __init__(self, directory: Path, *, options: Sequence[str] = ()) -> None:
        self.directory = directory
        self.port = free_port()
        # A socket path may have 107 bytes at most: pytest's directories can be longer.
        self._socket_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
        self._socket = self._socket_dir / "s"
        self._data = directory / "data"
        self._created = False
        user = ["--user=root"] if os.geteuid() == 0 else []
        mariadbd, installer = find_program("mariadbd"), find_program("mariadb-install-db")
        if mariadbd is None or installer is None:
            raise FileNotFoundError("mariadbd, mariadb-install-db")
        self._install = [
            installer,
            "--no-defaults",
            f"--datadir={self._data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=16M",
            *user,
        ]
        self._process = Process(
            [
                mariadbd,
                "--no-defaults",
                *user,
                f"--datadir={self._data}",
                "--bind-address=127.0.0.1",
                f"--port={self.port}",
                f"--socket={self._socket}",
                # A server that starts removes all temporary tables that it finds, another one's too.
                f"--tmpdir={self._socket_dir}",
                f"--pid-file={directory / 'pid'}",
                "--skip-name-resolve",
                "--character-set-server=utf8mb4",
                "--innodb-flush-log-at-trx-commit=1",
                "--innodb-log-file-size=64M",
                "--innodb-buffer-pool-size=128M",
                "--innodb-buffer-pool-load-at-startup=OFF",
                "--innodb-buffer-pool-dump-at-shutdown=OFF",
                "--max-connections=400",
                *options,
            ],
            log=directory / "mariadbd.log",
        )

    def start(self, timeout_s: float = 30) -> None:
        """Create the data directory the first time; return when the server answers."""
        if not self._created:
            self.directory.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(self._install, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"mariadb-install-db: {done.stdout}\n{done.stderr}")
        self._process.start()
        self._process.wait_ready(self._answers, timeout_s=timeout_s, what="MariaDB to answer")
        if not self._created:
            self.execute(f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
            self._created = True

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        try:
            self.execute("SELECT 1")
        except pymysql.err.OperationalError:
            return False
        return True

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """As root over the socket, autocommit. Without TLS: its preparation alone costs 60 ms."""
        connection = pymysql.connect(
            unix_socket=str(self._socket), user="root", autocommit=True, ssl_disabled=True
        )
        with connection:
            yield connection

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def create_database(self, name: str) -> str:
        """Create an empty database; its URL for the gateway's user."""
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        self.execute(f"GRANT ALL ON `{name}`.* TO '{USER}'@'127.0.0.1'")
        return f"mysql+aiomysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def drop_database(self, name: str) -> None:
        """Also when somebody still holds its tables: his connections are closed first."""
        for (connection_id,) in self.execute(
            f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
        ):
            with contextlib.suppress(pymysql.err.OperationalError):  # it ended by itself
                self.execute(f"KILL CONNECTION {connection_id}")
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")

    @property
    def alive(self) -> bool:
        return self._process.alive

    def stop(self) -> None:
        """In order (SIGTERM)."""
        self._process.terminate(30)

    def kill(self) -> None:
        """As a power cut would: SIGKILL."""
        self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nobody answers. Returns when it stands still."""
        self._process.freeze()
        status = Path(f"/proc/{self._process.pid}/stat")
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.005)

    def thaw(self) -> None:
        self._process.signal(signal.SIGCONT)

    def close(self) -> None:
        """Its data is thrown away, so it need not end in order."""
        self._process.kill()
        shutil.rmtree(self._socket_dir, ignore_errors=True)
        shutil.rmtree(self._data, ignore_errors=True)

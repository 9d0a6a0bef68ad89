"""The database of a stage as the bench sees it: SQL past the gateway, and what the server counts."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from tests.kit.mariadb import MariadbServer

# What MariaDB counts: all statements, and those that only begin or end a transaction.
COUNTED = ("Questions", "Com_begin", "Com_commit", "Com_rollback", "Innodb_data_fsyncs")
Run = Callable[[str], Sequence[Any]]


class _Statements(ABC):
    """What both databases answer alike, given a session."""

    @abstractmethod
    def session(self) -> AbstractContextManager[Run]:
        """Statement after statement over one connection."""

    def query(self, sql: str) -> Sequence[Any]:
        with self.session() as run:
            return run(sql)

    def execute(self, *statements: str) -> None:
        """In one transaction."""
        with self.session() as run:
            run("BEGIN")
            for sql in statements:
                run(sql)
            run("COMMIT")


class MariadbSql(_Statements):
    """One database of a private server. Every call is a connection of its own, as root."""

    is_mariadb = True

    def __init__(self, server: MariadbServer, name: str) -> None:
        self._server = server
        self._name = name
        once, twice = self._status(), self._status()
        self._asking = {name: twice[name] - once[name] for name in COUNTED}

    @contextmanager
    def session(self) -> Iterator[Run]:
        with self._server.connect() as connection, connection.cursor() as cursor:
            connection.select_db(self._name)

            def run(sql: str) -> Sequence[Any]:
                cursor.execute(sql)
                return cursor.fetchall()

            yield run

    def counts(self) -> dict[str, int]:
        """The server's counters since its start, as `between` wants them."""
        return self._status()

    def between(self, before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
        """What happened from one count to the next, without the asking itself."""
        return {name: max(0, after[name] - before[name] - self._asking[name]) for name in after}

    def _status(self) -> dict[str, int]:
        found = dict(self._server.execute("SHOW GLOBAL STATUS"))
        return {name: int(str(found[name])) for name in COUNTED}


class SqliteSql(_Statements):
    """A file that the gateway has open as well. It counts nothing."""

    is_mariadb = False

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def session(self) -> Iterator[Run]:
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as connection:
            yield lambda sql: connection.execute(sql).fetchall()

    def counts(self) -> dict[str, int]:
        return {}

    def between(self, before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
        return {}


Sql = MariadbSql | SqliteSql

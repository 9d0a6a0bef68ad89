"""The database that a command opens by itself."""

from __future__ import annotations

import re
import resource
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from gateway.app.data_dir import lock_data_dir, lock_embedded_database
from gateway.app.target import looking_at, refuse_if_unwritable, working_on
from gateway.cli.root import WRONG_INPUT, Failure
from gateway.cli.target import one_line, settings_of
from gateway.core.errors import InvalidValue, Refused
from gateway.store import schema
from gateway.store.engine import database_url, open_database
from importer.move import Move
from importer.source.source import SourceOptions
from importer.source.url import parse_source
from tests.kit.mariadb import MariadbServer


async def test_an_embedded_database_is_made_as_serve_makes_it(tmp_path: Path):
    settings = settings_of({"data_dir": str(tmp_path / "new")})
    async with working_on(settings) as db:
        assert await schema.revision(db) == schema.HEAD
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    async with looking_at(settings) as db:
        assert db is not None


async def test_a_look_makes_nothing(tmp_path: Path):
    async with looking_at(settings_of({"data_dir": str(tmp_path / "new")})) as db:
        assert db is None
    assert list(tmp_path.iterdir()) == []


async def test_a_look_at_an_empty_file_finds_no_database(tmp_path: Path):
    (tmp_path / "gateway.db").touch()
    async with looking_at(settings_of({"data_dir": str(tmp_path)})) as db:
        assert db is None
    assert (tmp_path / "gateway.db").stat().st_size == 0


async def test_a_directory_that_could_not_be_made_is_refused_before_anything_is_read(tmp_path: Path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x", Path("/dev/null/x/y")):
        url = parse_source("mysql://u:p@127.0.0.1:1/x")
        move = Move(url, SourceOptions(), settings_of({"data_dir": str(path)}), "x")
        with pytest.raises(InvalidValue, match=r"data_dir: .* a directory this user can write"):
            await move.see(to_write=True)
    refuse_if_unwritable(settings_of({"data_dir": str(tmp_path / "new" / "one")}))
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("held", ["directory", "file"])
async def test_a_running_gateway_is_named_and_to_be_stopped(tmp_path: Path, held: str):
    lock = lock_data_dir(tmp_path) if held == "directory" else lock_embedded_database(tmp_path / "gateway.db")
    with closing(lock), pytest.raises(Refused, match=r"another gateway is running .* stop it for the moment"):
        async with working_on(settings_of({"data_dir": str(tmp_path)})):
            pass
    async with working_on(settings_of({"data_dir": str(tmp_path)})):
        pass


@pytest.mark.mariadb
async def test_another_database_is_never_made_or_upgraded(
    mariadb_server: MariadbServer, mariadb_url: str, tmp_path: Path
):
    settings = settings_of({"database_url": mariadb_url, "data_dir": str(tmp_path)})
    async with looking_at(settings) as db:
        assert db is None
    with pytest.raises(Refused, match="run `xxljob-gateway migrate`"):
        async with working_on(settings):
            pass
    probe = open_database(database_url(mariadb_url))
    assert await schema.revision(probe) is None
    await probe.close()
    mariadb_server.drop_database(str(database_url(mariadb_url).database))
    async with looking_at(settings) as db:
        assert db is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OperationalError("INSERT …", {}, Exception("database or disk is full")), "database or disk is full"),
        (Refused("no"), "no"),
        (InvalidValue("--x", 1, "2"), "--x: 1 is not valid: 2"),
    ],
)
def test_what_a_command_meets_is_one_line_and_exit_code_2(error: Exception, said: str):
    with pytest.raises(Failure, match=said) as failed, one_line():
        raise error
    assert failed.value.code == WRONG_INPUT
    assert "INSERT" not in str(failed.value)


async def test_a_full_disk_is_told_with_the_file_and_what_to_do(tmp_path: Path):
    """A limit on the size of files stands in for it: what SQLite keeps beside the database cannot grow either."""
    settings = settings_of({"data_dir": str(tmp_path)})
    async with working_on(settings):
        pass
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for use in (looking_at, working_on):
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))
        try:
            with pytest.raises(Refused) as raised:
                async with use(settings):
                    pass
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        told = str(raised.value)
        assert re.search(rf"the database {tmp_path}/\S+ cannot be used \(disk I/O error\)", told)
        assert re.search(r"no room left \([\d,]+ bytes are free\); make some", told)
    async with looking_at(settings) as db:
        assert db is not None

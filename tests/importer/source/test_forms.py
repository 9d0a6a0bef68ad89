"""Forms in which servers and old texts differ, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import InvalidValue
from importer.source.catalog import Column, read_tables, table_names
from importer.source.cells import Cells
from importer.source.connection import Connection, NoSuchStatement, UnknownVariable
from importer.source.names import checked_map, name_here
from importer.source.text import checked_charset, repaired
from importer.source.url import SourceUrl
from importer.source.values import Oddity


class ScriptedServer:
    """Answers statements by the table they read; keeps what it was asked."""

    def __init__(self, answers, *, has_expiry=True):
        self.answers = answers
        self.has_expiry = has_expiry
        self.asked = []

    async def rows(self, sql, values=()):
        self.asked.append(sql)
        if "information_schema_stats_expiry" in sql:
            if not self.has_expiry:
                raise UnknownVariable
            return []
        return next(rows for part, rows in self.answers.items() if f"information_schema.{part} " in f"{sql} ")


@pytest.mark.parametrize("has_expiry", [True, False])
@pytest.mark.parametrize("form", [str, str.encode])
async def test_metadata_as_text_and_as_bytes(form, has_expiry):
    """MySQL 8 gives some of it as bytes, types without lengths, and keeps counters for a day unless told."""
    server = ScriptedServer(
        {
            "columns": [
                (form("XXL_Job_Info"), form("Id"), form("INT"), form("NO"), form("select,insert")),
                (form("XXL_Job_Info"), form("job_desc"), form("varchar"), form("YES"), form("insert")),
                (form("XXL_Job_Info"), form("author"), form("text"), form("YES"), None),
            ],
            "statistics": [
                (form("XXL_Job_Info"), form("PRIMARY"), 0, form("Id")),
                (form("XXL_Job_Info"), form("i"), 1, form("job_desc")),
                (form("XXL_Job_Info"), form("i"), 1, form("Id")),
            ],
            "tables": [(form("XXL_Job_Info"), form("InnoDB"), None, None)],
        },
        has_expiry=has_expiry,
    )
    (table,) = (await read_tables(server, ["XXL_Job_Info"])).values()
    assert table.name == "XXL_Job_Info"
    assert table.columns == {
        "id": Column("Id", "int", False, True),
        "job_desc": Column("job_desc", "varchar", True, False),
        "author": Column("author", "text", True, True),
    }
    assert (table.auto_increment, table.rows, table.engine) == (0, 0, "InnoDB")
    assert (table.indexes, table.unique) == ((("id",), ("job_desc", "id")), (("id",),))
    assert (table.column("id"), table.starts_index("id"), table.starts_index("name")) == ("`Id`", True, False)
    assert "information_schema_stats_expiry=0" in server.asked[0]
    named = ScriptedServer({"tables": [(form("b`"),), (form("a"),)]})
    assert await table_names(named) == ["a", "b`"]


async def test_a_server_that_cannot_say_read_only():
    """Not MySQL or MariaDB, but what speaks their protocol."""

    class OldServer(Connection):
        def __init__(self):
            super().__init__(SourceUrl("h", 1, "u", "d"), timeout_s=1, connect_timeout_s=1)
            self.asked = []

        async def _ensure_open(self):
            self._raw = self

        async def rows(self, sql, values=()):
            if "READ ONLY" in sql:
                raise NoSuchStatement
            self.asked.append(sql)
            return []

    server = OldServer()
    async with server.snapshot():
        server.asked.append("…")
    assert server.asked == [
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "…",
        "ROLLBACK",
    ]


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_through_a_latin1_connection_comes_back(text):
    """The oracle is the code page itself, with the control characters in its holes."""
    mangled = "".join(
        chr(byte) if byte in {0x81, 0x8D, 0x8F, 0x90, 0x9D} else bytes([byte]).decode("cp1252")
        for byte in text.encode("utf-8", "replace")
    )
    assert repaired(mangled) == text.encode("utf-8", "replace").decode()


def test_text_that_never_went_through_one_stays():
    assert repaired("每晚") == "每晚"
    assert repaired("Müller") is None


@pytest.mark.parametrize(
    ("charset", "is_latin1"),
    [
        (None, False),
        ("utf8mb4", False),
        ("UTF-8", False),
        ("latin1", True),
        ("ISO-8859-1", True),
        ("cp1252", True),
    ],
)
def test_names_of_charsets(charset, is_latin1):
    assert checked_charset(charset) is is_latin1


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        (5, 5),
        (True, 1),
        (b"\x01", 1),
        (b"\x00", 0),
        (b"12", 12),
        ("12", 12),
        (" 12 ", 12),
        (12.0, 12),
    ],
)
def test_numbers(value, number):
    cells = Cells()
    assert cells.number("job 1", "c", value) == number
    assert cells.oddities == []


@pytest.mark.parametrize("value", ["", "x", "1.5", 1.5])
def test_what_is_no_number_is_told(value):
    cells = Cells()
    assert cells.number("job 1", "c", value) is None
    assert cells.oddities == [Oddity("job 1", "c", str(value), "nothing")]


def test_bytes_as_text():
    cells = Cells()
    assert cells.text("job 1", "c", "每".encode()) == "每"
    assert cells.oddities == []
    assert cells.text("job 1", "c", b"\xff") == "ÿ"
    assert [oddity.taken for oddity in cells.oddities] == ["each byte as a letter of latin1"]


def test_secrets_that_are_no_text_are_told_of_but_not_shown():
    cells = Cells()
    assert cells.others("group 1", {"owner": b"o\xff", "secret_key": b"s\xff"}) == {
        "owner": "oÿ",
        "secret_key": "sÿ",
    }
    cells.others("user 1", {"mfa": b"s\xff"}, are_secret=True)
    assert [(one.column, one.value) for one in cells.oddities] == [
        ("owner", "b'o\\xff'"),
        ("secret_key", "***"),
        ("mfa", "***"),
    ]


def test_a_number_where_a_time_should_be():
    cells = Cells()
    assert cells.moment("job 1", "c", 20240101) is None
    assert cells.oddities == [Oddity("job 1", "c", "20240101", "nothing")]


def test_names_of_tables():
    table_map = checked_map({"xxl_job_": "a_", "XXL_JOB_QRTZ_": "q_", "xxl_job_info": "jobs"})
    assert name_here("xxl_job_info", table_map) == "jobs"
    assert name_here("xxl_job_log", table_map) == "a_log"
    assert name_here("xxl_job_qrtz_triggers", table_map) == "q_triggers"
    assert name_here("xxl_job_info", {}) == "xxl_job_info"


@pytest.mark.parametrize("table_map", [{"orders": "x"}, {" ": "x"}, {"xxl_job_log": ""}])
def test_names_that_no_release_has(table_map):
    with pytest.raises(InvalidValue, match="--table-map"):
        checked_map(table_map)

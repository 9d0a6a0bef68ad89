"""The quoter against the database that reads it, and statements that stay within limits."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import NewRun, TriggerKind
from gateway.core.states import RunState
from gateway.store.sqltext import (
    MAX_TEXT,
    insert_runs,
    join_addresses,
    quote_mysql,
    quote_sqlite,
    split_addresses,
    update_by_id,
)

TEXT = st.text(st.characters(codec=None), max_size=60) | st.text(
    alphabet="'\"\\\0\n\r\x1a%;-?:`é🎉\ud800", max_size=40
)


def stored(value: str) -> str:
    return value.encode("utf-8", "replace").decode().replace("\0", "�")


@given(TEXT)
def test_sqlite_reads_back_what_was_quoted(value):
    with sqlite3.connect(":memory:") as conn:
        ((back, kind),) = conn.execute(f"SELECT {quote_sqlite(value)}, typeof({quote_sqlite(value)})")
    assert (back, kind) == (stored(value), "text")


@given(st.integers(-(1 << 63), (1 << 63) - 1) | st.none())
def test_numbers_and_nothing(value):
    with sqlite3.connect(":memory:") as conn:
        assert conn.execute(f"SELECT {quote_sqlite(value)}").fetchone() == (value,)
    assert quote_mysql(value) == quote_sqlite(value)


@given(TEXT)
def test_a_mysql_literal_ends_where_it_should(value):
    """By the server's own rule: a backslash takes the next character with it, a quote ends the literal."""
    literal = quote_mysql(value)
    assert literal[0] == literal[-1] == "'"
    inner = literal[1:-1]
    plain = {"0": "\0", "n": "\n", "r": "\r", "Z": "\x1a"}
    read = ""
    at = 0
    while at < len(inner):
        assert inner[at] != "'"
        if inner[at] == "\\":
            at += 1
            read += plain.get(inner[at], inner[at])
        else:
            read += inner[at]
        at += 1
    assert read == value.encode("utf-8", "replace").decode()


def test_an_enum_is_its_number():
    assert quote_mysql(RunState.RUNNING) == quote_sqlite(RunState.RUNNING) == "4"


values = st.integers(0, 3) | st.sampled_from(["a", "'b'", None])


@given(st.dictionaries(st.integers(1, 400), st.tuples(values, values), max_size=40), st.data())
def test_an_update_gives_each_row_its_own_values(rows, data):
    with sqlite3.connect(":memory:") as conn:
        conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, state INTEGER DEFAULT 1)")
        conn.executemany("INSERT INTO t (id, a, b) VALUES (?, 'old', 'old')", [(n,) for n in range(1, 401)])
        away = data.draw(st.sets(st.sampled_from(sorted(rows)))) if rows else set()
        conn.executemany("UPDATE t SET state = 2 WHERE id = ?", [(n,) for n in away])
        matched = expected = 0
        for sql, count in update_by_id(
            "t", "id", sorted(rows.items()), ("a", "b"), " AND state IN (1)", quote_sqlite
        ):
            matched += conn.execute(sql).rowcount
            expected += count
        found = {
            row[0]: row[1:]
            for row in conn.execute("SELECT id, a, b FROM t WHERE a IS NOT 'old' OR b IS NOT 'old'")
        }
    assert (matched, expected) == (len(rows) - len(away), len(rows))
    assert found == {n: pair for n, pair in rows.items() if n not in away}


def run(run_id: int, **changes: object) -> NewRun:
    return NewRun(
        run_id, 1, 1, 1, 1, run_id, run_id, 1, TriggerKind.MANUAL, RunState.QUEUED, run_id, **changes
    )


def test_statements_stay_short():
    rows = [run(n, params="p'" * 20_000) for n in range(1, 60)] + [run(n) for n in range(60, 9000)]
    texts = list(insert_runs(rows, quote_mysql))
    texts += [
        sql
        for sql, _ in update_by_id(
            "run", "id", [(n, ("m'" * 20_000 + str(n),)) for n in range(1, 60)], ("message",), "", quote_mysql
        )
    ]
    assert max(map(len, texts)) <= 2 * MAX_TEXT + 200_000


def test_one_row_may_be_longer_than_a_statement_should():
    (text,) = insert_runs([run(1, params="x" * (2 * MAX_TEXT))], quote_mysql)
    assert len(text) > 2 * MAX_TEXT


@given(st.lists(st.from_regex(r"https?://[a-z0-9.:/-]{1,30}", fullmatch=True), max_size=5))
def test_addresses(addresses):
    assert split_addresses(join_addresses(addresses)) == (tuple(addresses) or None) or not addresses

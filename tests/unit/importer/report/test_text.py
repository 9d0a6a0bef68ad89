"""Text of a foreign database, made fit to be shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer.report.text import Cleaner, count, line_of, pad, places, ranges, width, wrap


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link", "link"),
        ("\x1bPdevice\x1b\\x", "x"),
        ("\x9b2Jgone", "gone"),
        ("a\x00b\x08c\x7f", "abc"),
        ("line\r\n\tnext\u2028end", "line next end"),
        ("in\u202egnp.exe\u202c", "ingnp.exe"),
        ("每日\x1b[5m对账", "每日对账"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        (7, "7"),
    ],
)
def test_a_terminal_is_not_steered(raw: object, shown: str):
    assert Cleaner()(raw) == shown


@settings(deadline=None)
@given(st.text())
def test_only_visible_text_is_left(text: str):
    shown = Cleaner()(text)
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_a_long_value_says_how_long_it_was():
    assert Cleaner()("x" * 70_000, most=10) == "xxxxxxxxxx… (70,000 characters)"
    assert Cleaner()("x" * 10, most=10) == "x" * 10


def test_secrets_are_never_shown():
    clean = Cleaner({"s3cret-token", "s3cret-token-2", ""})
    assert clean("a s3cret-token-2 and s3cret-token.") == "a *** and ***."
    assert clean("x" * 299 + "s3cret-token") == "x" * 299 + "*… (302 characters)"


def test_a_short_secret_does_not_mask_the_words_it_occurs_in():
    assert Cleaner({"admin"})("user admin") == "user admin"


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("每日对账", 8), ("e\u0301", 1), ("ｗｉｄｅ", 8), ("日a", 3)]
)
def test_chinese_takes_two_columns(text: str, columns: int):
    assert width(text) == columns
    assert width(pad(text, 12)) == width(pad(text, 12, right=True)) == 12


@settings(deadline=None)
@given(st.text(alphabet="ab 每日对账-é", max_size=80), st.integers(2, 30))
def test_wrapped_lines_fit_and_lose_nothing(text: str, columns: int):
    lines = wrap(text, columns)
    assert all(width(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@settings(deadline=None)
@given(st.sets(st.integers(0, 60)))
def test_ranges_name_exactly_the_numbers(numbers: set[int]):
    named: set[int] = set()
    for part in filter(None, ranges(numbers).split(", ")):
        first, _, last = part.partition("–")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == numbers


def test_a_long_list_says_how_many_more_there_are():
    assert ranges([1, 2, 3, 5, 7, 8, 9, 11], most=2) == "1–3, 5 and 4 more"
    assert ranges([1, 3], most=2) == "1, 3"


def test_places_are_told_in_few_words():
    assert (
        places(["job 1", "job 3", "job 2", "user admin", "job 9", "user admin"]) == "jobs 1–3, 9; user admin"
    )
    assert places(["job 7", "registry", "app a b", "app c"]) == "job 7; apps a b, c; registry"
    assert places([f"user u{number}" for number in range(30)]).endswith("u18, u19 and 10 more")
    assert places([]) == ""
    assert (count(1, "job"), count(2000, "job"), count(0, "entry", "entries")) == (
        "1 job",
        "2,000 jobs",
        "0 entries",
    )


def test_a_line_keeps_the_blanks_at_its_beginning():
    assert line_of("  job 7 (a\x1b[2J\u202eb)") == "  job 7 (ab)"
    assert line_of("") == ""

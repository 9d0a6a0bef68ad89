from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.durations import parse_duration_ms
from gateway.core.errors import InvalidValue


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (30, 30_000),
        (0, 0),
        (0.5, 500),
        (0.1, 100),
        (Decimal("1.25"), 1250),
        ("30", 30_000),
        ("1.5", 1500),
        ("30s", 30_000),
        ("500ms", 500),
        ("7 days", 604_800_000),
        ("1h30m", 5_400_000),
        ("1h 30 min", 5_400_000),
        (" 2 Weeks ", 1_209_600_000),
        ("1.5h", 5_400_000),
        ("1d 2h 3m 4s 5ms", 93_784_005),
    ],
)
def test_what_is_read(value, milliseconds):
    assert parse_duration_ms(value, field="every") == milliseconds


def test_a_bare_number_counts_the_unit_of_the_field():
    assert parse_duration_ms(250, field="delay_ms", unit="ms") == 250
    assert parse_duration_ms("2", field="keep_d", unit="d") == 172_800_000
    assert parse_duration_ms("2s", field="keep_d", unit="d") == 2000


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "s",
        "abc",
        "-5",
        "-5s",
        "5x",
        "5 s s",
        "30m1h",
        "1h1h",
        "1h,30m",
        "1e3",
        "٣s",
        "PT30S",
        "1..5s",
        *(None, True, -1, float("nan"), float("inf"), Decimal("sNaN"), [30], {"s": 30}, b"30s"),
    ],
)
def test_what_is_refused(value):
    with pytest.raises(
        InvalidValue, match=r"^every_s: .* is not valid: a duration: a number \(of s\) or text such as"
    ):
        parse_duration_ms(value, field="every_s")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.5ms", "whole milliseconds"),
        (0.0001, "whole milliseconds"),
        ("5300 weeks", "at most 100 years"),
        (10**30, "at most 100 years"),
        ("9" * 18 + "d", "at most 100 years"),
    ],
)
def test_sizes_are_bounded(value, expected):
    with pytest.raises(InvalidValue) as refused:
        parse_duration_ms(value, field="every")
    assert refused.value.expected == expected


@given(st.integers(0, 10**12))
def test_milliseconds_come_back(milliseconds):
    seconds, rest = divmod(milliseconds, 1000)
    assert parse_duration_ms(f"{seconds}s{rest}ms", field="x") == milliseconds
    assert parse_duration_ms(milliseconds, field="x", unit="ms") == milliseconds
    assert parse_duration_ms(Decimal(milliseconds) / 1000, field="x") == milliseconds

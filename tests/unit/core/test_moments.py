from datetime import datetime

import pytest

from gateway.core.errors import InvalidValue
from gateway.core.moments import parse_moment
from gateway.core.zones import resolve_zone

BERLIN = resolve_zone("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-07-01 18:00:00", "2026-07-01T18:00:00+02:00"),
        ("2026-07-01T18:00", "2026-07-01T18:00:00+02:00"),
        ("2026-07-01T18:00:00Z", "2026-07-01T18:00:00+00:00"),
        ("2026-07-01T18:00:00.250+08:00", "2026-07-01T18:00:00.250+08:00"),
        ("2026-10-25 02:30:00", "2026-10-25T02:30:00+02:00"),  # it comes twice: the first of both
        ("1782921600000", "2026-07-01T18:00:00+02:00"),
        (1782921600000, "2026-07-01T18:00:00+02:00"),
    ],
)
def test_instants_as_people_write_them(text, iso):
    assert parse_moment(text, BERLIN, field="at") == datetime.fromisoformat(iso).timestamp() * 1000


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "tomorrow",
        "2026-07-01",
        "18:00:00",
        "2026-13-01 00:00:00",
        0,
        -5,
        1.5,
        True,
        10**15,
        "9" * 30,
        "2026-03-29 02:30:00",
        "1969-12-31 00:00:00",
        [],
        "2026-07-01 18:00:00 Mars",
    ],
)
def test_what_is_no_instant(value):
    with pytest.raises(InvalidValue, match="at: "):
        parse_moment(value, BERLIN, field="at")

import itertools
import zoneinfo
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, _zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidValue
from gateway.core.zones import Zone, next_instant, resolve_zone

PLACES = [
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # its clocks changed at midnight
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",  # lost a whole day in 2011
    "Pacific/Kwajalein",  # lost a day in 1993
    "Europe/Dublin",  # negative daylight saving
    "Africa/Casablanca",  # twice a year around Ramadan
    "America/St_Johns",  # at one minute past midnight
    "Pacific/Chatham",
    "America/Metlakatla",
    "UTC",
]
EPOCHS = st.integers(-3_000_000_000, 6_000_000_000)


def local(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def instant(text):
    return int(datetime.fromisoformat(text).timestamp())


@given(st.sampled_from(PLACES), EPOCHS)
def test_the_offset_is_the_one_of_zoneinfo(place, epoch):
    wanted = datetime.fromtimestamp(epoch, ZoneInfo(place)).utcoffset().total_seconds()
    assert resolve_zone(place).offset_s(epoch) == wanted


@given(st.sampled_from(PLACES), EPOCHS)
def test_a_span_holds_its_offset_to_both_ends_and_knows_repeated_times(place, epoch):
    zone, tz = resolve_zone(place), ZoneInfo(place)
    start, end, offset, repeats_until = zone.span(epoch)
    assert start <= epoch < end
    for inside in (max(start, -(10**10)), min(end - 1, 10**11)):
        moment = datetime.fromtimestamp(inside, tz)
        assert moment.utcoffset().total_seconds() == offset
        assert moment.fold == (inside < repeats_until)
    assert datetime.fromtimestamp(epoch, tz).fold == (epoch < repeats_until)


@given(st.sampled_from(PLACES), st.integers(0, 4_000_000_000))
def test_a_local_time_maps_to_each_instant_that_shows_it(place, local_s):
    tz = ZoneInfo(place)
    wall = datetime.fromtimestamp(local_s, UTC).replace(tzinfo=None)
    wanted = {
        at
        for fold in (0, 1)
        if datetime.fromtimestamp(at := int(wall.replace(tzinfo=tz, fold=fold).timestamp()), tz).replace(
            tzinfo=None
        )
        == wall
    }
    assert resolve_zone(place).instants(local_s) == tuple(sorted(wanted))


@pytest.mark.parametrize(
    ("place", "wall", "wanted"),
    [
        ("Europe/Berlin", "2026-03-29T01:59:59", ["2026-03-29T00:59:59+00:00"]),
        ("Europe/Berlin", "2026-03-29T02:00:00", []),
        ("Europe/Berlin", "2026-03-29T02:59:59", []),
        ("Europe/Berlin", "2026-10-25T02:30:00", ["2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"]),
        ("Europe/Berlin", "2026-10-25T03:00:00", ["2026-10-25T02:00:00+00:00"]),
        (
            "Australia/Lord_Howe",
            "2024-04-07T01:45:00",
            ["2024-04-06T14:45:00+00:00", "2024-04-06T15:15:00+00:00"],
        ),
        ("Australia/Lord_Howe", "2024-10-06T02:15:00", []),
        ("America/Sao_Paulo", "2018-11-04T00:30:00", []),
        (
            "America/Sao_Paulo",
            "2018-02-17T23:30:00",
            ["2018-02-18T01:30:00+00:00", "2018-02-18T02:30:00+00:00"],
        ),
        ("Pacific/Apia", "2011-12-30T12:00:00", []),
        ("UTC+8", "2026-01-01T08:00:00", ["2026-01-01T00:00:00+00:00"]),
    ],
)
def test_skipped_and_doubled_local_times(place, wall, wanted):
    assert resolve_zone(place).instants(local(wall)) == tuple(map(instant, wanted))


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("UTC", 0),
        ("utc", 0),
        ("Z", 0),
        ("UTC-5", -18_000),
        ("GMT+8", 28_800),
        ("GMT+08:00", 28_800),
        ("gmt-0330", -12_600),
        ("+05:30", 19_800),
        ("Etc/GMT+8", -28_800),  # IANA's own names count westwards
        ("Asia/Shanghai", 28_800),
    ],
)
def test_names_and_offsets(name, offset):
    assert resolve_zone(name).offset_s(1_795_000_000) == offset


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "America",
        "CST",
        "UTC+19",
        "GMT+8:99",
        "../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "x" * 9999,
        *("right/UTC", "posix/UTC", "localtime", "tzdata.zi", "UTC+8 ", "UTC+８", None, 8, ["UTC"]),
    ],
)
def test_unknown_zones_are_named(name):
    with pytest.raises(
        InvalidValue, match=r"tz: .* is not valid: an IANA time zone such as 'Asia/Shanghai', or"
    ) as e:
        resolve_zone(name, field="tz")
    assert e.value.value is name


def test_a_zone_is_shared_and_compared_by_name():
    assert resolve_zone("Asia/Tokyo") is resolve_zone("Asia/Tokyo")
    assert resolve_zone("UTC+1") == Zone("UTC+1", 3600) != resolve_zone("UTC+2")
    assert len({resolve_zone("UTC+1"), Zone("UTC+1", 3600)}) == 1
    assert repr(resolve_zone("UTC+1")) == "Zone('UTC+1')"


def test_probes_are_closer_together_than_any_two_changes():
    """The search for changes of offset relies on this, for every zone of the installed database."""
    for name in zoneinfo.available_timezones():
        if not name.startswith(("right/", "posix/")) and name not in {"localtime", "posixrules"}:
            rules = _zoneinfo.ZoneInfo.no_cache(name)
            changes, offset = [], None
            for at, info in zip(rules._trans_utc, rules._ttinfos, strict=True):
                if info.utcoff != offset:
                    changes.append(at)
                offset = info.utcoff
            assert all(later - at > 1 << 18 for at, later in itertools.pairwise(changes)), name


def test_far_past_and_far_future_have_an_answer():
    zone = resolve_zone("Europe/Berlin")
    assert zone.offset_s(-(10**15)) == zone.offset_s(-(10**11))
    assert zone.offset_s(10**15) in {3600, 7200}
    hourly = lambda at, _: -(-at // 3600) * 3600  # noqa: E731 - one line says it
    assert next_instant(zone, 10**15, hourly, both_passes=True) is None
    assert next_instant(zone, -(10**15), hourly, both_passes=True) is not None

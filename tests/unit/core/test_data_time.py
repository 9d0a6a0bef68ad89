from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.data_time import filled
from gateway.core.zones import resolve_zone

AT = 1_796_065_200_000  # 2026-12-01T03:00:00+08:00


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ("${data_time}", "2026-12-01T03:00:00+08:00"),
        ("a=${data_time_ms},b=${data_time:yyyyMMdd}", "a=1796065200000,b=20261201"),
        ("${data_time:yyyy-MM-dd HH:mm:ss}${data_time:x yyy}", "2026-12-01 03:00:00x yyy"),
        ("${data_time:}", ""),
        ("${other} $data_time ${data_times} ${data_time", "${other} $data_time ${data_times} ${data_time"),
    ],
)
def test_how_params_name_it(params, wanted):
    assert filled(params, AT, resolve_zone("Asia/Shanghai")) == wanted


@given(
    st.integers(0, 4_000_000_000),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]),
)
def test_it_is_what_the_clock_of_the_zone_shows(at_s, name):
    local = datetime.fromtimestamp(at_s, ZoneInfo(name))
    found = filled("${data_time}|${data_time:ss-mm-HH-dd-MM-yyyy}", at_s * 1000, resolve_zone(name))
    assert found == f"{local.isoformat()}|{local:%S-%M-%H-%d-%m-}{local.year:04}"

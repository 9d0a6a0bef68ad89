"""What the old database says becomes what the shadow takes: kinds of rows, schedules, instants."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.core.zones import resolve_zone
from importer.plan.around import Around
from importer.shadow.kinds import kind_of, shard_of
from importer.shadow.reading import Reader
from importer.shadow.values import Kind
from importer.source.values import LogHead, QuartzState, SourceJob, SourceSign

NOW = 1_790_000_000_000


def reader(zone="Asia/Shanghai", first=(2, 3, 0), last=(2, 4, 2), now_ms=NOW, **more):
    return Reader(Around(first=first, last=last, zone=resolve_zone(zone), now_ms=now_ms), **more)


def job(**more):
    return SourceJob(
        **{"id": 7, "group": "1", "description": "bill", "schedule_type": "CRON", "trigger_status": 1} | more
    )


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("Cron触发", Kind.SCHEDULE),
        ("手动触发", Kind.MANUAL),
        ("父任务触发", Kind.PARENT),
        ("API触发", Kind.API),
        ("失败重试触发", Kind.RETRY),
        ("调度过期补偿", Kind.MISFIRE),
        ("手動觸發", Kind.MANUAL),
        ("父任務觸發", Kind.PARENT),
        ("失敗重試觸發", Kind.RETRY),
        ("調度過期補償", Kind.MISFIRE),
        ("Cron觸發", Kind.SCHEDULE),
        ("Cron trigger", Kind.SCHEDULE),
        ("Manual trigger", Kind.MANUAL),
        ("Parent job trigger", Kind.PARENT),
        ("Fail retry trigger", Kind.RETRY),
        ("Misfire compensation trigger", Kind.MISFIRE),
        ("Api trigger", Kind.API),
        ("something else", Kind.UNTOLD),
    ],
)
@pytest.mark.parametrize("label", ["任务触发类型：", "Trigger Type: "])
def test_the_kind_is_told_by_the_words_of_three_languages(label, word, kind):
    assert kind_of(f"{label}{word}<br>any：thing<br>失败重试触发") is kind


@pytest.mark.parametrize("text", [None, "", "<br>Cron", "no colon at all", "label：" + "x" * 41 + " cron"])
def test_a_text_without_a_word_tells_nothing(text):
    assert kind_of(text) is Kind.UNTOLD
    assert kind_of(text, retries_left=1, retries=3) is Kind.RETRY  # fewer left than the job has
    assert kind_of(text, retries_left=3, retries=3) is Kind.UNTOLD


@pytest.mark.parametrize(
    ("text", "shard"), [(None, -1), ("", -1), ("0/3", 0), ("2/3", 2), ("x/3", -1), ("2", -1)]
)
def test_a_broadcast_names_its_shard(text, shard):
    assert shard_of(text) == shard


def test_a_cron_job_has_the_slots_of_its_zone_and_its_policy():
    version = reader().version(job(schedule_conf="0 30 2 * * ?", misfire="FIRE_ONCE_NOW"))
    slot = version.slots.next_after(NOW)
    assert datetime.fromtimestamp(slot / 1000, UTC).strftime("%H:%M") == "18:30"
    assert version.fires_once
    assert version.misfire_after_ms == 5000
    assert version.text == "0 30 2 * * ?"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"schedule_type": "NONE"}, "without a schedule"),
        ({"schedule_type": "FIX_DELAY", "schedule_conf": "5"}, "that count from the end of their runs"),
        ({"schedule_conf": "nonsense"}, "with a schedule that is not enabled here"),
        ({"schedule_type": "FIX_RATE", "schedule_conf": "0"}, "with a schedule that is not enabled here"),
    ],
)
def test_jobs_without_slots_say_why(more, why):
    version = reader().version(job(**more))
    assert version.slots is None
    assert not version.rate_ms
    assert version.why_none == why


def test_a_fixed_rate_has_its_seconds():
    version = reader().version(job(schedule_type="FIX_RATE", schedule_conf="40"))
    assert (version.rate_ms, version.slots, version.text) == (40_000, None, "FIX_RATE 40")


def test_an_old_release_fires_by_the_expression_and_zone_of_its_trigger_and_forgives_a_minute():
    old = SourceJob(7, "1", cron="0 0 1 * * ?", quartz=QuartzState("WAITING", "0 0 5 * * ?", "UTC"))
    version = reader(first=(1, 9, 2), last=(2, 0, 1)).version(old)
    assert datetime.fromtimestamp(version.slots.next_after(NOW) / 1000, UTC).hour == 5
    assert version.misfire_after_ms == 60_000
    assert not version.stops_marked


def test_the_last_day_of_a_month_is_explained_by_the_release_that_skips_it():
    """Releases 3.2.0 to 3.3.2 are told by their tables; they fire L only in months with 31 days."""
    version = reader("UTC", (3, 2, 0), (3, 3, 2)).version(job(schedule_conf="0 0 0 L * ?"))
    june = int(datetime(2026, 6, 30, tzinfo=UTC).timestamp() * 1000)
    july = int(datetime(2026, 7, 31, tzinfo=UTC).timestamp() * 1000)
    (reading,) = version.readings
    assert version.slots.next_after(june - 1) == june
    assert not reading.is_slot(june)
    assert "skip every month without 31 days" in reading.why(june)
    assert reading.is_slot(july)


def test_where_the_clocks_go_back_the_other_pass_is_explained():
    version = reader("Europe/Berlin").version(job(schedule_conf="0 30 2 * * ?"))
    first = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp() * 1000)
    (reading,) = version.readings
    assert version.slots.next_after(first - 1) == first
    assert not reading.is_slot(first)
    assert reading.is_slot(first + 3_600_000)
    assert "the clocks change" in reading.why(first)


def head(number, local, **more):
    return LogHead(number, datetime.fromisoformat(local), 7, **more)


def test_rows_are_instants_on_the_old_admins_clock():
    (row,) = reader().rows(
        [head(1, "2026-09-21 22:13:20", message="任务触发类型：Cron触发<br>", sharding="1/2")]
    )
    assert (row.at_ms, row.kind, row.shard) == (NOW, Kind.SCHEDULE, 1)


def test_rows_of_an_old_release_are_named_by_group_and_name():
    one = reader(ids_by_name={("shop", "bill"): 9})
    heads = [LogHead(1, datetime(2026, 9, 21, 22), None, "shop", "bill"), LogHead(2, None, 7)]
    assert [row.job_id for row in one.rows(heads)] == [9]


@pytest.mark.parametrize(("read_at", "hour"), [("00:31", 0), ("01:31", 1)])
def test_of_a_time_that_comes_twice_the_pass_is_meant_in_which_it_is_read(read_at, hour):
    now_ms = int(datetime.fromisoformat(f"2026-10-25T{read_at}+00:00").timestamp() * 1000)
    (row,) = reader("Europe/Berlin").rows([head(1, "2026-10-25 02:30:00")], now_ms)
    assert datetime.fromtimestamp(row.at_ms / 1000, UTC).hour == hour


def test_two_rows_of_one_local_time_are_told_apart_by_their_passes():
    one = reader("Europe/Berlin")
    first = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp() * 1000)
    found = [
        one.rows([head(n, "2026-10-25 02:30:00")], first + n * 3_600_000 + 20_000)[0].at_ms for n in range(2)
    ]
    assert found == [first, first + 3_600_000]


def test_in_a_past_range_rows_before_it_tell_the_second_pass_and_else_it_is_not_known():
    one = reader("Europe/Berlin")
    rows = one.rows(
        [head(1, "2026-10-25 02:10:00"), head(2, "2026-10-25 02:50:00"), head(3, "2026-10-25 02:05:00")]
    )
    assert [datetime.fromtimestamp(row.at_ms / 1000, UTC).strftime("%H:%M") for row in rows] == [
        "00:10",
        "00:50",
        "01:05",
    ]
    assert one.doubled


def test_a_job_is_called_by_its_description_and_the_name_of_its_app():
    one = reader(groups={"1": "shop"})
    seen = one.job(job(schedule_conf="0 0 1 * * ?", retries=2), SourceSign(7, is_running=True, next_ms=5))
    assert (seen.name, seen.app, seen.sign.running, seen.sign.next_ms) == ("bill", "shop", True, 5)
    assert one.retries == {7: 2}

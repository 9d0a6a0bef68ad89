"""Random rows of old admins, with what databases really hold among them: a strategy for each kind, and for a whole database."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from importer.source.values import (
    Counters,
    Installation,
    QuartzState,
    SourceExecutor,
    SourceGlue,
    SourceGroup,
    SourceJob,
    SourceUser,
)

NOW_MS = 1_795_246_652_000
RELEASES = [
    ((1, 2, 0), (1, 2, 0)),
    ((1, 5, 0), (1, 5, 2)),
    ((1, 7, 2), (1, 7, 2)),
    ((2, 0, 2), (2, 0, 2)),
    ((2, 2, 0), (2, 2, 0)),
    ((2, 3, 0), (3, 1, 1)),
    ((3, 4, 0), (3, 4, 2)),
    ((3, 5, 0), (3, 5, 0)),
]

texts = st.one_of(
    st.sampled_from(
        ["", " ", "a", "0", "1", ",", "\0", "名", "<b>x</b>", "x" * 300, " a,b ,,a", "😀", "{}", "null"]
    ),
    st.text(max_size=12),
)
numbers = st.one_of(st.sampled_from([0, 1, -1, 2, 30, 2**31 - 1, 2**31, 2**63 - 1]), st.integers(-5, 5000))
moments = st.one_of(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
    st.sampled_from([datetime(2024, 3, 10, 2, 30), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)]),
    st.datetimes(datetime(1970, 1, 2), datetime(2037, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
)
crons = st.one_of(
    st.sampled_from(
        [
            "0 0 2 * * ?",
            " 0 0 2 L * ? ",
            "0 0 0 1,L * ?",
            "*/5 * * * *",
            "0 0 2 30 2 ?",
            "0 0 2 1 1 ? 2019",
            "@daily",
            "0 0 2 * * ? * *",
            "0 0 0 ? * MON-fri",
            "0/0 * * * * ?",
            "，",
            "0 0 2 31W * ?",
            "* * * * * *",
            "0 0 0 0 0 0",
        ]
    ),
    texts,
)
job_ids = st.one_of(st.integers(1, 6), numbers)
groups = st.sampled_from(["1", "2", "3", "orders", "7", "", "x_1"])
quartz = st.builds(
    QuartzState,
    state=st.sampled_from(["WAITING", "PAUSED", "ERROR", "", "ACQUIRED"]),
    cron=st.none() | crons,
    timezone=st.none()
    | st.sampled_from(["Asia/Shanghai", "PRC", "GMT+08:00", "CTT", "America/New_York", "Mars", ""]),
    next_ms=st.none() | numbers,
    previous_ms=st.none() | numbers,
    scheduler=texts,
)
jobs = st.builds(
    SourceJob,
    id=job_ids,
    group=st.none() | groups,
    name=st.none() | texts,
    description=st.none() | texts,
    author=st.none() | texts,
    alarm_email=st.none() | st.sampled_from(["a@b.c", " a@b.c,a@b.c,,", ",", "x" * 5000]) | texts,
    alarm_threshold=st.none() | numbers,
    cron=st.none() | crons,
    schedule_type=st.none() | st.sampled_from(["CRON", "FIX_RATE", "FIX_DELAY", "NONE", "WEEKLY", ""]),
    schedule_conf=st.none()
    | crons
    | st.sampled_from(["30", "0", "-5", "1.5", " 30", "2147484", "9999999999", "4e3"]),
    misfire=st.none() | st.sampled_from(["DO_NOTHING", "FIRE_ONCE_NOW", "LATER"]) | texts,
    route=st.none() | st.sampled_from(["FIRST", "SHARDING_BROADCAST", "WEIGHTED", "NEAREST"]) | texts,
    handler=st.none() | texts,
    param=st.none() | texts | st.just("x" * 70_000),
    block=st.none() | st.sampled_from(["COVER_EARLY", "CONCURRENT"]) | texts,
    timeout_s=st.none() | numbers,
    retries=st.none() | numbers,
    fail_strategy=st.none() | st.sampled_from(["FAIL_RETRY", "FAIL_ALARM", "FAIL"]) | texts,
    glue_type=st.none() | st.sampled_from(["BEAN", "GLUE_SHELL", "GLUE_RUBY", "bean"]) | texts,
    glue_switch=st.none() | st.sampled_from([0, 1, 2]),
    glue_source=st.none() | texts | st.just("echo\r\n\r\n"),
    glue_remark=st.none() | texts,
    glue_updated=st.none() | moments,
    child_ids=st.none() | st.sampled_from(["1", "1,,2", "2, 3", "99", "1,1", ",", "x", "1.5"]) | texts,
    child_keys=st.none() | st.sampled_from(["1_2", "orders_a", "9_9", "_", "1_x"]) | texts,
    trigger_status=st.none() | st.sampled_from([0, 1, 2, -1]),
    last_ms=st.none() | numbers,
    next_ms=st.none() | numbers | st.just(NOW_MS + 17_500),
    added=st.none() | moments,
    updated=st.none() | moments,
    executor_address=st.none()
    | st.sampled_from(["10.0.0.1:9999", "http://h:1,h:2", " h:1 ,h:1", "nonsense"])
    | texts,
    job_class=st.none() | st.sampled_from(["com.xxl.job.RemoteHttpJobBean", "com.acme.Own"]) | texts,
    job_data=st.none()
    | st.sampled_from(
        ['{"handler_name":"h","handler_params":["a","b"],"handler_address":"h:1","z":1}', "{", "[1]"]
    )
    | texts,
    quartz=st.none() | quartz,
    extra=st.dictionaries(st.sampled_from(["tenant", "level"]), texts),
)
source_groups = st.builds(
    SourceGroup,
    key=groups,
    appname=st.none() | st.sampled_from(["orders", "orders", " orders", "Orders", "订单", "a" * 80]) | texts,
    title=st.none() | texts,
    address_type=st.none() | st.sampled_from([0, 1, 2]),
    address_list=st.none() | st.sampled_from(["10.0.0.1:9999", "http://h:1/,h:2", ",", "x y"]) | texts,
    order=st.none() | st.integers(0, 3),
    access_token=st.none() | st.sampled_from(["default_token", "abc", "", "中"]),
    extra=st.dictionaries(st.sampled_from(["tenant"]), texts),
)
glue_rows = st.builds(
    SourceGlue,
    id=st.integers(1, 99),
    job_id=st.none() | job_ids,
    group=st.none() | groups,
    name=st.none() | texts,
    glue_type=st.none() | st.sampled_from(["GLUE_SHELL", "GLUE_GROOVY", "x", ""]),
    source=st.none() | texts,
    remark=st.none() | texts,
    added=st.none() | moments,
    updated=st.none() | moments,
)
users = st.builds(
    SourceUser,
    id=job_ids,
    username=st.sampled_from(["admin", "Admin", " admin", "", "x" * 90, "a\nb", "名"]) | texts,
    password=st.none() | st.sampled_from(["e" * 32, "F" * 64, "x" * 32, ""]),
    role=st.none() | st.sampled_from([0, 1, 2, -1]),
    permission=st.none() | st.sampled_from(["1,2", "1, 9", "x", ",", "01"]),
    has_session=st.booleans(),
    extra=st.dictionaries(st.sampled_from(["phone"]), texts),
)
releases = st.sampled_from(RELEASES)


@st.composite
def installations(draw: st.DrawFn) -> Installation:
    first, last = draw(releases)
    return Installation(
        *("db@h:3306", "MariaDB", "some", first, last, NOW_MS, {}),
        groups=tuple(draw(st.lists(source_groups, max_size=4, unique_by=lambda one: one.key))),
        jobs=tuple(draw(st.lists(jobs, max_size=4, unique_by=lambda one: one.id))),
        glue=tuple(draw(st.lists(glue_rows, max_size=4, unique_by=lambda one: one.id))),
        users=tuple(draw(st.lists(users, max_size=3, unique_by=lambda one: one.id))),
        executors=tuple(draw(st.lists(st.builds(SourceExecutor, texts, texts, st.none()), max_size=2))),
        counters=draw(st.builds(Counters, numbers, numbers, numbers, numbers)),
        timezones=tuple(draw(st.lists(st.sampled_from(["Asia/Tokyo", "Mars", ""]), max_size=2, unique=True))),
    )

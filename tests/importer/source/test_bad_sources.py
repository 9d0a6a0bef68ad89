"""Each thing that can be wrong with a source: one clear line, and never a password in it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from gateway.core.errors import InvalidValue
from importer.errors import SourceError, SourceLost
from importer.source.connection import Connection
from importer.source.source import SourceOptions, open_source
from importer.source.url import SourceUrl, parse_source
from tests.conftest import require_tool
from tests.importer.conftest import make_certificate
from tests.importer.source.reading import GROUP, JOB, before_reading, opened, read
from tests.kit.process import free_port
from tests.kit.xxl_databases import READER_PASSWORD
from tests.kit.xxl_schemas import PLAIN_QUARTZ, schema, table_sql

pytestmark = pytest.mark.mariadb
ACCOUNT, PASSWORD = "xxl_some", "hunter2"
_accounts = itertools.count(1)


async def refused(old, *told, url=None, **options):
    with pytest.raises(SourceError) as raised:
        async with open_source(parse_source(url or old.url), SourceOptions(**options)) as source:
            await source.installation()
    text = str(raised.value)
    assert "\n" not in text
    assert READER_PASSWORD not in text
    assert PASSWORD not in text
    for part in told:
        assert part in text, text
    return text


@pytest.fixture
def account(source_server):
    """Accounts with rights of the test's choice; their URLs for a database."""
    made = []

    def create(old, *grants):
        name = f"{ACCOUNT}{next(_accounts)}"
        made.append(name)
        with source_server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
            for grant in grants:
                cursor.execute(grant.format(db=f"`{old.name}`", account=f"'{name}'@'127.0.0.1'"))
        return f"mysql://{name}:{PASSWORD}@127.0.0.1:{source_server.port}/{old.name}"

    yield create
    for name in made:
        source_server.execute(f"DROP USER '{name}'@'127.0.0.1'")


async def test_nobody_listens(source_server):
    port = free_port()
    await refused(
        None, f"127.0.0.1:{port} cannot be reached", url=f"mysql://u:{PASSWORD}@127.0.0.1:{port}/xxl_job"
    )


async def test_a_wrong_password_and_none(make):
    old = make("3.4.2")
    wrong = old.url.replace(READER_PASSWORD, PASSWORD)
    await refused(old, "does not let the user 'xxl_reader' in with this password", url=wrong)
    none = old.url.replace(f":{READER_PASSWORD}", ":")
    await refused(old, "without a password", "XXLJOB_GATEWAY_SOURCE_PASSWORD", url=none)


async def test_a_database_that_is_not_there(make, source_server, account):
    old = make("3.4.2")
    # Who has no right on a database is not told whether it exists.
    await refused(
        old,
        "the user 'xxl_reader' may not use the database 'nowhere': GRANT SELECT ON `nowhere`.* TO ",
        url=old.url.replace(old.name, "nowhere"),
    )
    everywhere = account(old, "GRANT SELECT ON *.* TO {account}").replace(old.name, "nowhere")
    await refused(old, f"127.0.0.1:{source_server.port} has no database 'nowhere'", url=everywhere)


async def test_another_kind_of_database(make):
    old = make("3.4.2")
    old.execute(f"DROP TABLE {', '.join(schema('3.4.2'))}")
    await refused(
        old, "is not an xxl-job database", "xxl_job_info", "XXL_JOB_QRTZ_TRIGGER_INFO", "it is empty"
    )
    old.execute("CREATE TABLE orders (id int)", "CREATE TABLE customers (id int)")
    await refused(old, "it has customers, orders", "--table-map")


async def test_plain_quartz(make):
    await refused(make(PLAIN_QUARTZ), "only tables of Quartz", "1.0 and 1.1", "upgrade")


@pytest.mark.parametrize("kind", ["info", "group", "user", "log"])
async def test_no_right_on_one_table(make, account, kind):
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[JOB])
    others = [table for table in schema("3.4.2") if table != f"xxl_job_{kind}"]
    url = account(old, *(f"GRANT SELECT ON {{db}}.{table} TO {{account}}" for table in others))
    text = await refused(old, f"no table xxl_job_{kind}, or this account has no right to see it", url=url)
    # What is to be done stands there in full: it is done.
    grant = re.search(r"GRANT SELECT ON .*", text)[0]
    old.server.execute(grant)
    assert [job.id for job in (await read(old)).jobs] == [7]
    async with open_source(parse_source(url)) as source:
        assert [job.id for job in (await source.installation()).jobs] == [7]


async def test_no_right_on_the_triggers_of_quartz(make, account):
    old = make("2.0.2")
    others = [table for table in old.names if table != "XXL_JOB_QRTZ_TRIGGERS"]
    url = account(old, *(f"GRANT SELECT ON {{db}}.`{table}` TO {{account}}" for table in others))
    await refused(
        old,
        "no table XXL_JOB_QRTZ_TRIGGERS",
        f"GRANT SELECT ON `{old.name}`.`XXL_JOB_QRTZ_TRIGGERS` TO",
        url=url,
    )


async def test_a_table_that_may_only_be_written(make, account):
    old = make("3.4.2")
    tables = [table for table in schema("3.4.2") if table != "xxl_job_group"]
    url = account(
        old,
        *(f"GRANT SELECT ON {{db}}.{table} TO {{account}}" for table in tables),
        "GRANT INSERT ON {db}.xxl_job_group TO {account}",
    )
    await refused(old, "may not read the table xxl_job_group: GRANT SELECT ON", url=url)


async def test_some_columns_only(make, account):
    old = make("3.4.2")
    seen = [f"`{column}`" for column in schema("3.4.2")["xxl_job_info"] if column != "author"]
    tables = [table for table in schema("3.4.2") if table != "xxl_job_info"]
    url = account(
        old,
        *(f"GRANT SELECT ON {{db}}.{table} TO {{account}}" for table in tables),
        f"GRANT SELECT ({', '.join(seen)}) ON {{db}}.xxl_job_info TO {{account}}",
    )
    await refused(
        old,
        "xxl_job_info has no column author, or this account has no right to see it: GRANT SELECT ON",
        url=url,
    )


async def test_a_fork_without_columns_that_are_needed(make):
    old = make("3.4.2")
    old.execute("ALTER TABLE xxl_job_info DROP COLUMN schedule_conf, DROP COLUMN trigger_status")
    await refused(old, "the table xxl_job_info has no column schedule_conf, trigger_status")
    old.execute("ALTER TABLE xxl_job_info ADD COLUMN schedule_conf text, ADD COLUMN trigger_status int")
    await read(old)
    old.execute("ALTER TABLE xxl_job_group DROP COLUMN app_name")
    await refused(old, "the table xxl_job_group has no column app_name")


@pytest.mark.parametrize(
    ("release", "kind", "columns"),
    [
        (
            "2.2.0",
            "info",
            "executor_route_strategy executor_handler executor_param executor_block_strategy executor_timeout",
        ),
        (
            "2.2.0",
            "info",
            "executor_fail_retry_count glue_type glue_source child_jobid trigger_status job_cron",
        ),
        ("3.4.2", "info", "executor_handler misfire_strategy schedule_type schedule_conf"),
        ("3.4.2", "group", "address_type address_list"),
        ("1.3.1", "info", "job_data glue_switch glue_source job_cron"),
        ("1.4.0", "info", "executor_handler executor_param child_jobkey"),
        ("1.6.0", "info", "executor_route_strategy child_jobkey glue_switch"),
        ("1.8.0", "info", "executor_block_strategy executor_fail_strategy glue_type"),
        ("2.0.2", "info", "executor_timeout executor_fail_retry_count executor_block_strategy child_jobid"),
    ],
)
async def test_a_fork_without_a_column_that_decides_how_jobs_run(make, release, kind, columns):
    for column in columns.split():
        old = make(release)
        table = old.table(kind)
        old.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        # Which of both schedules a release has goes by the one that is there.
        told = "job_cron" if column == "schedule_type" else column
        text = await refused(old, f"the table {table.strip('`')} has no column ", told)
        assert re.search(rf"has no column .*\b{told}\b.*: it is one of a fork", text)


async def test_the_way_out_of_a_fork_is_a_view(make):
    """What is to be done stands there in full: it is done."""
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[replace(JOB, handler="one")])
    old.execute("ALTER TABLE xxl_job_info CHANGE executor_handler bean_name varchar(255)")
    text = await refused(old, "has no column executor_handler")
    old.execute(re.search(r"CREATE VIEW .* t(?=, then)", text)[0].replace("VALUE", "bean_name"))
    stock, _, here = re.search(r"--table-map (\S+)=(\S+);", text).group(0)[12:-1].partition("=")
    found = await read(old, table_map={stock: here})
    assert [(job.id, job.handler) for job in found.jobs] == [(7, "one")]


async def test_a_table_that_may_be_hidden_is_no_table_that_is_not_there(make):
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[JOB])
    old.execute("DROP TABLE xxl_job_user")
    (note,) = (await read(old)).notes
    assert "no table xxl_job_user: no users; or this account has no right to see it" in note
    assert "SHOW GRANTS" in note
    assert f"GRANT SELECT ON `{old.name}`.`xxl_job_user` TO 'xxl_reader'@'127.0.0.1'" in note


async def test_a_fork_without_columns_that_are_not_needed(make):
    old = make("3.4.2")
    old.execute("ALTER TABLE xxl_job_info DROP COLUMN author, DROP COLUMN glue_remark")
    old.fill(groups=[GROUP])
    old.execute("INSERT INTO xxl_job_info (id, job_group, job_desc, glue_type) VALUES (7, 1, '', 'BEAN')")
    found = await read(old)
    assert [job.id for job in found.jobs] == [7]
    assert found.notes == ("xxl_job_info has no author, glue_remark, as all releases have",)


@pytest.mark.parametrize(
    ("release", "statements", "told"),
    [
        # Renamed in part.
        (
            "2.0.2",
            ["RENAME TABLE XXL_JOB_QRTZ_TRIGGER_INFO TO xxl_job_info"],
            ["xxl_job_info", "XXL_JOB_QRTZ_TRIGGER_GROUP"],
        ),
        (
            "2.0.2",
            ["RENAME TABLE XXL_JOB_QRTZ_TRIGGER_GROUP TO xxl_job_group"],
            ["XXL_JOB_QRTZ_TRIGGER_GROUP", "xxl_job_group"],
        ),
        (
            "2.0.2",
            ["RENAME TABLE XXL_JOB_QRTZ_TRIGGER_LOG TO xxl_job_log"],
            ["XXL_JOB_QRTZ_TRIGGER_LOG", "xxl_job_log"],
        ),
        # Jobs of one era, logs of another.
        (
            "1.6.0",
            ["DROP TABLE XXL_JOB_QRTZ_TRIGGER_LOG", "log of 1.5.2"],
            ["XXL_JOB_QRTZ_TRIGGER_LOG", "job_id"],
        ),
        (
            "1.5.2",
            ["DROP TABLE XXL_JOB_QRTZ_TRIGGER_LOG", "log of 1.6.0"],
            ["XXL_JOB_QRTZ_TRIGGER_LOG", "job_name"],
        ),
        # Columns that are there, but not filled.
        (
            "2.3.1",
            ["ALTER TABLE xxl_job_info ADD COLUMN job_cron varchar(128) DEFAULT '0 0 1 * * ?'", "job"],
            ["schedule_type", "job_cron"],
        ),
        # Groups have got numbers, jobs do not know it yet.
        (
            "1.4.2",
            [
                "job",
                "CREATE TABLE XXL_JOB_QRTZ_TRIGGER_GROUP (id int, app_name varchar(64))",
                "INSERT INTO XXL_JOB_QRTZ_TRIGGER_GROUP VALUES (1, 'a')",
            ],
            ["XXL_JOB_QRTZ_TRIGGER_GROUP has rows", "job_group"],
        ),
    ],
)
async def test_the_middle_of_an_upgrade(make, release, statements, told):
    old = make(release)
    for statement in statements:
        if statement == "job":
            old.insert("info", {"id": 7, "job_group": 1})
        elif statement.startswith("log of "):
            old.execute(table_sql(statement.removeprefix("log of "), "XXL_JOB_QRTZ_TRIGGER_LOG"))
        else:
            old.execute(statement)
    await refused(old, f"{old.name} is in the middle of an upgrade: ", *told)


async def test_jobs_whose_states_are_gone(make):
    old = make("2.0.2")
    old.execute("DROP TABLE XXL_JOB_QRTZ_TRIGGERS")
    await refused(old, "has no table XXL_JOB_QRTZ_TRIGGERS: without it nobody knows which jobs are running")


async def test_tables_renamed_while_they_are_read(make):
    old = make("2.2.0")
    old.fill(groups=[GROUP], jobs=[JOB])
    async with opened(old) as source:
        before_reading(
            source, "FROM `xxl_job_group`", lambda: old.execute("ALTER TABLE xxl_job_group DROP COLUMN title")
        )
        with pytest.raises(SourceError, match="changed while"):
            await source.installation()
        assert [group.appname for group in (await source.installation()).groups] == ["app"]


async def test_the_right_is_taken_away_in_the_middle(make, account):
    old = make("2.2.0")
    url = account(old, *(f"GRANT SELECT ON {{db}}.{table} TO {{account}}" for table in schema("2.2.0")))
    async with open_source(parse_source(url)) as source:
        name = parse_source(url).user
        old.server.execute(f"REVOKE SELECT ON `{old.name}`.xxl_job_log_report FROM '{name}'@'127.0.0.1'")
        with pytest.raises(SourceError, match=r"may not read the table xxl_job_log_report: GRANT SELECT ON "):
            await source.days()


async def test_the_connection_is_lost_in_the_middle_and_comes_back(make, source_server):
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[JOB])
    async with opened(old) as source:
        before_reading(
            source,
            "FROM `xxl_job_group`",
            lambda: source_server.execute(f"KILL CONNECTION {source._connection.id}"),
        )
        with pytest.raises(SourceLost, match=r"the connection to .* was lost"):
            await source.installation()
        assert [job.id for job in (await source.installation()).jobs] == [7]
        # Lost between two calls: nobody notices.
        source_server.execute(f"KILL CONNECTION {source._connection.id}")
        assert (await source.signs()).last_log_id == 0


async def test_a_server_that_stands_still(make, source_server):
    old = make("3.4.2")
    async with opened(old, timeout_s=0.2, connect_timeout_s=0.2) as source:
        before_reading(source, "START TRANSACTION", source_server.freeze)
        try:
            with pytest.raises(SourceLost, match=r"has not answered a statement for 0\.2 s"):
                await source.installation()
            with pytest.raises(SourceError, match=r"does not answer within 0\.2 s"):
                await source.signs()
        finally:
            source_server.thaw()
        assert (await source.installation()).jobs == ()


async def test_a_password_that_must_be_encrypted():
    """The driver can only do that with a package that the gateway does not need otherwise."""
    connection = Connection(SourceUrl("h", 3306, "u", "d", PASSWORD), timeout_s=1, connect_timeout_s=1)
    told = str(connection._not_opened(RuntimeError("'cryptography' package is required for …")))
    assert "?ssl=true" in told
    assert "pip install cryptography" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"table_map": {"my_jobs": "xxl_job_info"}}, "--table-map"),
        ({"table_map": {"": "x"}}, "--table-map"),
        ({"table_map": {"xxl_job_info": " "}}, "--table-map"),
        ({"charset": "klingon"}, "--source-charset"),
        ({"timezone": "Mars/Phobos"}, "--timezone"),
    ],
)
async def test_options_that_are_wrong(options, told):
    with pytest.raises(InvalidValue, match=told):
        async with open_source(SourceUrl("127.0.0.1", 1, "u", "d"), SourceOptions(**options)):
            pass


async def test_a_server_that_wants_tls(make, account, source_certificate, tmp_path):
    require_tool("openssl", "makes a certificate for the server")
    old = make("3.4.2")
    url = account(old, "GRANT SELECT ON {db}.* TO {account} REQUIRE SSL")
    await refused(old, "does not let the user", "if it wants TLS: ?ssl=true", url=url)
    for option in ("ssl=true", f"ssl_ca={source_certificate}"):
        async with open_source(parse_source(f"{url}?{option}")) as source:
            assert (await source.installation()).jobs == ()
    other = make_certificate(tmp_path)
    told = await refused(
        old, "cannot be reached: its certificate is not accepted", url=f"{url}?ssl_ca={other}"
    )
    assert "self" in told  # … signed certificate


async def test_a_file_of_certificates_that_is_none(tmp_path):
    url = SourceUrl("127.0.0.1", free_port(), "u", "d", tls=True, ca=str(tmp_path / "none.pem"))
    with pytest.raises(InvalidValue, match=r"ssl_ca: .*none\.pem"):
        async with open_source(url):
            pass


async def test_a_mapped_table_that_is_not_there(make):
    await refused(
        make("3.4.2"),
        "--table-map",
        "has no table my_users (for xxl_job_user)",
        table_map={"xxl_job_user": "my_users"},
    )

"""How much of a source is held at once: of long histories the newest versions; of tables without an end nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from importer.errors import SourceError
from importer.plan.make import PlanOptions, make_plan
from importer.plan.target import Target
from importer.source.values import SourceGlue
from tests.importer.source.reading import GROUP, JOB, opened, read

pytestmark = pytest.mark.mariadb


async def refused(old, *told, **options):
    with pytest.raises(SourceError) as raised:
        await read(old, **options)
    for part in told:
        assert part in str(raised.value)


async def test_of_a_long_history_the_newest_versions_are_kept(make):
    """Of older ones nothing but that they exist: a million of them has no place in memory."""
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[JOB, replace(JOB, id=8)])
    old.execute(
        "INSERT INTO xxl_job_logglue (id, job_id, glue_type, glue_source, glue_remark, add_time, update_time) "
        "SELECT seq, 7 + seq % 2, 'GLUE_SHELL', CONCAT('echo ', seq), CONCAT('r', seq), NOW(), NOW() FROM seq_1_to_200"
    )
    glue = (await read(old)).glue
    assert [one.id for one in glue] == list(range(1, 201))
    assert [one.source for one in glue] == [None] * 140 + [f"echo {number}" for number in range(141, 201)]
    assert {one.remark for one in glue[:140]} == {None}
    assert [one.job_id for one in glue[:3]] == [8, 7, 8]


async def test_versions_of_jobs_that_have_but_names(make):
    old = make("1.5.2")
    job = replace(JOB, group="1", name="seven")
    old.fill(groups=[GROUP], jobs=[job], glue=[SourceGlue(n, 7, source=f"s{n}") for n in range(1, 34)])
    glue = (await read(old)).glue
    assert [one.source for one in glue] == [None] * 3 + [f"s{number}" for number in range(4, 34)]


@pytest.mark.parametrize("release", ["1.5.2", "3.4.2"])
async def test_a_long_history_gives_the_versions_and_the_list_of_those_that_are_gone(make, release):
    """As if all of it had been read."""
    rows = tuple(
        SourceGlue(n, 7, glue_type="GLUE_SHELL", source=f"s{n}", remark="r" * n) for n in range(1, 41)
    )
    old = make(release)
    job = replace(JOB, glue_type="GLUE_SHELL", glue_source="s40")
    old.fill(groups=[GROUP], jobs=[job], glue=rows)
    found = await read(old)
    whole = replace(
        found, glue=tuple(replace(one, source=f"s{one.id}", remark="r" * one.id) for one in found.glue)
    )
    options = PlanOptions(source=found.name)
    made, expected = (make_plan(one, Target(), options, found.read_ms) for one in (found, whole))
    assert made == expected
    assert made.jobs[0].history[0].task.glue_source == "s11"
    assert "10 older versions of the source, ids 1 to 10" in str(made)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("logglue", "seq % 9 AS job_id, 'GLUE_SHELL' AS glue_type, 'x' AS glue_source"),
        ("user", "seq AS username, '' AS password"),
        ("group", "seq AS app_name, 0 AS address_type, '' AS address_list"),
        ("registry", "'a' AS registry_key, seq AS registry_value"),
    ],
)
async def test_a_table_without_an_end(make, monkeypatch, kind, columns):
    """Refused after so many rows: what is still to come is not waited for."""
    monkeypatch.setattr("importer.source.bounds.MOST_ROWS", 3000)
    monkeypatch.setattr("importer.source.bounds.MOST_VERSIONS", 3000)
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[JOB])
    old.execute(f"CREATE VIEW endless AS SELECT seq AS id, {columns} FROM seq_1_to_10000000")
    table_map = {f"xxl_job_{kind}": "endless"}
    await refused(old, "the table endless has more than 3,000 rows", "--table-map", table_map=table_map)
    old = make("3.4.2")  # as many as that are read
    old.fill(groups=[GROUP], jobs=[JOB])
    old.execute(f"CREATE VIEW endless AS SELECT seq AS id, {columns} FROM seq_1_to_3000")
    found = await read(old, table_map=table_map)
    assert 3000 in {len(found.glue), len(found.users), len(found.groups), len(found.executors)}


async def test_texts_without_an_end(make, monkeypatch):
    """Those that are held at once count, of all tables together; not those of versions that are too old to be kept."""
    monkeypatch.setattr("importer.source.bounds.MOST_CHARACTERS", 100_000)
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[replace(JOB, glue_source="x" * 40_000)])
    version = "INSERT INTO xxl_job_logglue (job_id, glue_type, glue_source, glue_remark, add_time, update_time) SELECT {}, "
    version += "'GLUE_SHELL', REPEAT('v', 1000), '', NOW(), NOW() FROM seq_1_to_{}"
    old.execute(version.format(7, 200))
    assert len((await read(old)).glue) == 200
    old.execute(version.format(8, 30))
    await refused(old, "the texts of the table xxl_job_logglue", "are longer than 100,000 characters")


async def test_a_connection_that_was_left_in_the_middle_is_opened_anew(make, monkeypatch):
    monkeypatch.setattr("importer.source.bounds.MOST_ROWS", 10)
    old = make("3.4.2")
    old.fill(groups=[GROUP], jobs=[replace(JOB, id=number) for number in range(1, 300)])
    async with opened(old) as source:
        with pytest.raises(SourceError, match="xxl_job_info has more than 10 rows"):
            await source.installation()
        monkeypatch.setattr("importer.source.bounds.MOST_ROWS", 1000)
        assert len((await source.installation()).jobs) == 299

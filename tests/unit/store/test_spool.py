"""Results on disk: there before anybody is answered, in order, and whole lines only.

What every spool does is asked of the one that the simulation uses as well.
"""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.core.model import ExecutorResult
from gateway.core.ports import Spool
from gateway.store import spool as spool_module
from gateway.store.spool import FileSpool
from tests.kit.life import MemorySpool


def result(run_id: int, message: str | None = "text") -> ExecutorResult:
    return ExecutorResult(run_id, 200, message, 5, 6, True)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[FileSpool]:
    made = FileSpool(tmp_path / "spool", 1 << 20)
    yield made
    made.close()


@pytest.fixture(params=["files", "memory"])
def any_spool(request: pytest.FixtureRequest) -> Spool:
    return request.getfixturevalue("spool") if request.param == "files" else MemorySpool()


async def everything(spool: Spool) -> list[int]:
    ids: list[int] = []
    while (batch := await spool.oldest()) is not None:
        name, entries = batch
        ids += [one.run_id for one, _ in entries]
        await spool.forget(name)
    return ids


async def test_what_went_in_comes_out_in_order(any_spool):
    entries = [result(1, "é🎉\n'\\\0"), result(2, None), result(3, "half \ud83c")]
    await any_spool.append(entries[:2], "java")
    await any_spool.append(entries[2:], "go")
    found = []
    while (batch := await any_spool.oldest()) is not None:
        found += batch[1]
        await any_spool.forget(batch[0])
    assert found == [(entries[0], "java"), (entries[1], "java"), (entries[2], "go")]


async def test_it_survives_the_process(tmp_path, spool):
    await spool.append([result(1)], "java")
    again = FileSpool(tmp_path / "spool", 1 << 20)
    assert again.size == spool.size > 0
    await again.append([result(2)], "java")
    assert await everything(again) == [1, 2]
    assert again.size == 0
    again.close()


async def test_many_at_once(any_spool):
    await asyncio.gather(*(any_spool.append([result(n)], "java") for n in range(200)))
    assert await everything(any_spool) == list(range(200))


async def test_appending_goes_on_while_it_is_replayed(any_spool):
    await any_spool.append([result(1)], "java")
    oldest = await any_spool.oldest()
    await any_spool.append([result(2)], "java")
    assert await any_spool.oldest() == oldest
    await any_spool.forget(oldest[0])
    assert await everything(any_spool) == [2]


async def test_the_name_of_a_file_that_was_forgotten_is_free(any_spool):
    """Nobody may keep by that name how far he is in a file."""
    names = set()
    for n in range(2):
        await any_spool.append([result(n)], "java")
        names.add((await any_spool.oldest())[0])
        assert await everything(any_spool) == [n]
    assert len(names) == 1


async def test_a_line_cut_off_by_a_crash_was_never_acknowledged(tmp_path, spool):
    await spool.append([result(1), result(2)], "java")
    (file,) = (tmp_path / "spool").glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-9])
    assert await everything(FileSpool(tmp_path / "spool", 1 << 20)) == [1]


async def test_full(tmp_path):
    small = FileSpool(tmp_path / "spool", 300)
    await small.append([result(1)], "java")
    with pytest.raises(StoreError, match="full"):
        await small.append([result(2, "x" * 300)], "java")
    assert await everything(small) == [1]
    await small.append([result(3)], "java")
    small.close()


async def test_rotation(spool, monkeypatch, tmp_path):
    monkeypatch.setattr(spool_module, "ROTATE_BYTES", 200)
    for n in range(6):
        await spool.append([result(n)], "java")
    assert len(list((tmp_path / "spool").glob("*.jsonl"))) > 1
    assert await everything(spool) == list(range(6))


async def test_a_disk_that_is_full_for_a_while(spool):
    """Nothing of the refused append is left, neither whole nor half, and the next one is readable."""
    await spool.append([result(1)], "java")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.size + 50, hard))
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            await spool.append([result(2, "x" * 200)], "java")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    await spool.append([result(3)], "java")
    assert await everything(spool) == [1, 3]

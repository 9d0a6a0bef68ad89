"""Results on disk while the database is away: one JSON object a line, fsynced before anybody is answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

import structlog

from gateway.core.errors import StoreError
from gateway.core.model import ExecutorResult

log = structlog.get_logger(__name__)

ROTATE_BYTES = 16 << 20


class FileSpool:
    """Implements `core.ports.Spool` in a directory. Files are numbered; the newest may be open for writing.

    Appends that arrive while the disk is busy share one fsync. A line cut off by a crash was never
    acknowledged, so reading skips it.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._file: FileIO | None = None
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._bytes = sum(path.stat().st_size for path in self._paths())

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._bytes

    async def append(self, results: Sequence[ExecutorResult], client: str) -> None:
        lines = b"".join(_line(result, client) for result in results)
        if self._bytes + len(lines) > self._max_bytes:
            raise StoreError(f"the spool is full ({self._max_bytes} bytes)")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((lines, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await loop.run_in_executor(self._disk, self._write, b"".join(lines for lines, _ in batch))
            except Exception as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(StoreError(f"the spool cannot be written: {error}"))
            else:
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)
        self._flushing = None

    def _write(self, data: bytes) -> None:
        if self._file is None:
            numbers = [int(path.stem) for path in self._paths()]
            path = self._directory / f"{max(numbers, default=0) + 1:08d}.jsonl"
            self._file = path.open("ab", buffering=0)
            _sync_directory(self._directory)
        start = self._file.tell()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            # What was not acknowledged must not be replayed, and half a line must not spoil what comes later:
            # the next append begins a new file.
            with contextlib.suppress(OSError):
                self._file.truncate(start)
            self._close()
            raise
        self._bytes += len(data)
        if self._file.tell() > ROTATE_BYTES:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def oldest(self) -> tuple[str, list[tuple[ExecutorResult, str]]] | None:
        if not self._bytes:
            return None
        return await asyncio.get_running_loop().run_in_executor(self._disk, self._oldest)

    def _oldest(self) -> tuple[str, list[tuple[ExecutorResult, str]]] | None:
        self._close()
        paths = self._paths()
        if not paths:
            self._bytes = 0
            return None
        entries: list[tuple[ExecutorResult, str]] = []
        for number, line in enumerate(paths[0].read_bytes().splitlines(), 1):
            try:
                entries.append(_entry(line))
            except (ValueError, KeyError, TypeError):
                log.warning("spool_line_unreadable", file=paths[0].name, line=number)
        return paths[0].name, entries

    async def forget(self, name: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, self._forget, name)

    def _forget(self, name: str) -> None:
        path = self._directory / name
        size = path.stat().st_size
        path.unlink()
        self._bytes = max(0, self._bytes - size)

    def close(self) -> None:
        self._disk.submit(self._close).result()
        self._disk.shutdown()

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob("*.jsonl"))


def _line(result: ExecutorResult, client: str) -> bytes:
    fields = {
        "run_id": result.run_id,
        "code": result.code,
        "message": result.message,
        "log_time_ms": result.log_time_ms,
        "received_ms": result.received_ms,
        "strict_time": result.strict_time,
        "client": client,
    }
    return json.dumps(fields).encode() + b"\n"


def _entry(line: bytes) -> tuple[ExecutorResult, str]:
    fields = json.loads(line)
    client = str(fields.pop("client"))
    return ExecutorResult(**fields), client


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

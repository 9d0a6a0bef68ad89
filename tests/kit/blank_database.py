"""A SQLite file with all tables and no rows. They are made once a process: to make them for each test took longer than most tests."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from sqlalchemy import create_engine

from gateway.store.tables import metadata


@functools.cache
def blank() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "blank.db"
        engine = create_engine(f"sqlite:///{path}")
        metadata.create_all(engine)
        engine.dispose()
        return path.read_bytes()


def blank_database(directory: Path) -> str:
    """The URL of a new one in that directory."""
    path = directory / "gateway.db"
    path.write_bytes(blank())
    return f"sqlite+aiosqlite:///{path}"

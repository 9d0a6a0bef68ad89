"""Jobs are spread over a fixed number of parts; a node owns whole parts."""

from __future__ import annotations

import zlib

from gateway.core.model import PARTS


def part_of(job_id: int) -> int:
    """The part of a job, 0 … 127, unless its app has a limit. Stored in rows, so it never changes."""
    return zlib.crc32(str(job_id).encode()) % PARTS


def part_of_app(app_id: int) -> int:
    """The part of all jobs of an app that has a limit."""
    return zlib.crc32(f"app {app_id}".encode()) % PARTS

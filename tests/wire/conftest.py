"""The admin web endpoints for clients, which see bytes and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kit.admin_site import AdminSite, admin_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    """With the user of most examples."""
    async with admin_site(tmp_path) as made:
        await made.user("admin", "123456", old_cookie=True)
        yield made

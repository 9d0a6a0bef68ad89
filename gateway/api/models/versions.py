"""Versions of a job."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway.api.models.base import MAX_ID, Answer, Body, Iso, JsonObject, Paging


class VersionQuery(Paging):
    pass


class VersionItem(Answer):
    version: int
    author: str = Field(description="The name of the token that made the change; `system` for the gateway.")
    created: Iso
    created_ms: int
    name: str
    enabled: bool
    changed: list[str] = Field(description="The fields that differ from the version before.")


class VersionList(Answer):
    """Newest first."""

    items: list[VersionItem]
    next_cursor: str | None


class VersionAnswer(Answer):
    job_id: int
    version: int
    author: str
    created: Iso
    created_ms: int
    glue_updated: Iso | None = Field(description="When the GLUE source of that version was last changed.")
    glue_updated_ms: int | None
    definition: JsonObject = Field(description="The body that would create the job as it was.")


class ChangeAnswer(Answer):
    field: str
    old: Any
    new: Any


class DiffAnswer(Answer):
    job_id: int
    old_version: int
    new_version: int
    changes: list[ChangeAnswer]


class RollbackBody(Body):
    """Which version to go back to. It becomes the newest one; none is lost."""

    version: int = Field(ge=1, le=MAX_ID)
    enabled: bool | None = Field(None, description="Instead of what that version had.")

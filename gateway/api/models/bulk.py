"""Many jobs at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gateway.api.models.base import MAX_ID, Answer, Body, JsonObject, Text, refusal

MAX_JOBS = 10_000


class BulkFilter(Body):
    """Jobs by what they are; all of what is given must fit."""

    app: str | None = Field(None, description="The appname.")
    name: Text | None = Field(None, min_length=1, description="A part of the name, in any case.")
    enabled: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> BulkFilter:
        if self.app is None and self.name is None and self.enabled is None:
            raise refusal("at least one of app, name, enabled")
        return self


class BulkBody(Body):
    """Which jobs, by `ids` or by `filter`, and what becomes of each."""

    ids: (
        Annotated[list[Annotated[int, Field(ge=1, le=MAX_ID)]], Field(min_length=1, max_length=MAX_JOBS)]
        | None
    ) = None
    filter: BulkFilter | None = None
    action: Literal["enable", "disable", "delete", "change"]
    change: JsonObject | None = Field(None, description="For `change`: a JSON merge patch, as of one job.")
    keep_history: bool = Field(default=False, description="For `delete`.")
    dry_run: bool = Field(default=False, description="Tell what would become of each, and change nothing.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> BulkBody:
        if (self.ids is None) == (self.filter is None):
            raise refusal("either ids or a filter", at="ids", value=self.ids)
        if self.action == "change" and not self.change:
            raise refusal("the fields to change, with their new values", at="change", value=self.change)
        if self.action != "change" and self.change is not None:
            raise refusal("left out: only the action 'change' has it", at="change", value=self.change)
        for name in ("app", "version"):
            if self.change is not None and name in self.change:
                raise refusal("left out: it cannot be changed", at=f"change.{name}", value=self.change[name])
        if self.keep_history and self.action != "delete":
            raise refusal("left out: only the action 'delete' has it", at="keep_history", value=True)
        return self


class BulkItem(Answer):
    id: int
    result: Literal["changed", "unchanged", "failed"]
    error: str | None = None


class BulkAnswer(Answer):
    """With `dry_run`, what would be."""

    dry_run: bool
    changed: int
    unchanged: int
    failed: int
    items: list[BulkItem]

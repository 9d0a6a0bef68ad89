"""Apps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gateway.api.models.base import APPNAME, Address, Answer, Body, Iso, Paging, refusal


class AppBody(Body):
    """A group of executors that can run the same jobs."""

    appname: str = Field(
        min_length=1,
        max_length=64,
        pattern=APPNAME,
        description="The name its executors register under. Cannot be changed.",
    )
    title: str = Field("", max_length=128)
    address_mode: Literal["auto", "manual"] = Field(
        "auto", description="`auto`: whoever registers; `manual`: `addresses`, whoever registers."
    )
    addresses: list[Address] = Field(default=[], max_length=1000)
    max_running: int | None = Field(
        None, ge=1, le=1_000_000, description="Most runs of this app at once, over all jobs; others wait."
    )
    starts_per_second: float | None = Field(
        None, ge=0.001, le=100_000, description="Most starts in any second; 0.2 is one in 5 s. Others wait."
    )

    @model_validator(mode="after")
    def _addresses_by_mode(self) -> AppBody:
        if self.address_mode == "manual" and not self.addresses:
            raise refusal("at least one address in the address mode 'manual'", at="addresses", value=[])
        if self.address_mode == "auto" and self.addresses:
            raise refusal("none in the address mode 'auto'", at="addresses", value=self.addresses)
        return self


class AppAnswer(Answer):
    id: int
    appname: str
    title: str
    address_mode: str
    addresses: list[str]
    max_running: int | None = None
    starts_per_second: float | None = None
    created: Iso
    created_ms: int
    updated: Iso
    updated_ms: int


class AppList(Answer):
    items: list[AppAnswer]
    next_cursor: str | None


class AppQuery(Paging):
    pass

"""Apps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gateway.api.models.base import APPNAME, Address, Answer, Body, Iso, Network, Paging, Text, refusal

Dialect = Literal[
    "form14",
    "form15",
    "netcom16",
    "netcom17",
    "netcom18",
    "netcom19",
    "xxlrpc20",
    "xxlrpc21",
    "rest",
    "rest35",
]


class AppBody(Body):
    """A group of executors that can run the same jobs."""

    appname: str = Field(
        min_length=1,
        max_length=64,
        pattern=APPNAME,
        description="The name its executors register under. Cannot be changed.",
    )
    title: Text = Field("", max_length=128)
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

    int_log_ids: bool = Field(
        False,
        description="Whether runs get log ids of 32 bits, which executors up to 2.1.0 need. "
        "Set by itself when one registers.",
    )
    dialect: Dialect | None = Field(
        None,
        description="The generation of executors at `addresses` that do not register: "
        "`form14` 1.4, `form15` 1.5, `netcom16` 1.6.0 to 1.7.1. null: 2.2.0 and later.",
    )
    tokenless_from: list[Network] = Field(
        default=[],
        max_length=64,
        description="Addresses or networks from which executors up to 1.8.0, which cannot send a token, are let in.",
    )

    @model_validator(mode="after")
    def _addresses_by_mode(self) -> AppBody:
        if self.address_mode == "manual" and not self.addresses:
            raise refusal("at least one address in the address mode 'manual'", at="addresses", value=[])
        if self.address_mode == "auto" and self.addresses:
            raise refusal("none in the address mode 'auto'", at="addresses", value=self.addresses)
        if self.dialect and self.address_mode == "auto":
            raise refusal(
                "null in the address mode 'auto': who registers says it", at="dialect", value=self.dialect
            )
        return self


class AppAnswer(Answer):
    id: int
    other_ids: list[int] = Field(
        [], description="Ids that scripts know it by as well: XXL-JOB let several groups have one appname."
    )
    appname: str
    title: str
    address_mode: str
    addresses: list[str]
    max_running: int | None = None
    starts_per_second: float | None = None
    int_log_ids: bool
    dialect: str | None
    tokenless_from: list[str]
    created: Iso
    created_ms: int
    updated: Iso
    updated_ms: int


class AppList(Answer):
    items: list[AppAnswer]
    next_cursor: str | None


class AppQuery(Paging):
    pass

"""Addresses that start a job, and the bodies of calls to them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from gateway.api.models.base import Answer, Body, Iso, Network, Text, refusal
from gateway.core.envs import MAX_TOTAL, MAX_VALUE, MOST, NAME
from gateway.core.trigger_url import MAX_REPLICAS

_DOMAIN = re.compile(r"(\*\.)?([a-z0-9-]{1,63}\.)*[a-z0-9-]{1,63}")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
Scheme = Literal["http", "https"]


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value.lower()):
        raise refusal("a host such as example.com, or *.example.com for all names below it")
    return value.lower()


def _once(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise refusal("each value once")
    return values


class RestrictionBody(Body):
    """Who may call."""

    kind: Literal["none", "domain", "cidr"] = "none"
    domains: list[Annotated[str, Field(max_length=253), AfterValidator(_domain)]] = Field(
        [],
        max_length=20,
        description="For domain: the host of Origin or Referer. Weak: any program can say it.",
    )
    cidrs: list[Network] = Field([], max_length=50, description="For cidr: the networks of callers.")

    @model_validator(mode="after")
    def _fits(self) -> RestrictionBody:
        for kind, name, values in (("domain", "domains", self.domains), ("cidr", "cidrs", self.cidrs)):
            if self.kind == kind and not values:
                raise refusal(f"at least 1 item: kind {kind} needs it", at=name, value=values)
            if self.kind != kind and values:
                raise refusal(f"an empty list: kind {self.kind} takes none", at=name, value=values)
        return self


class UrlRulesBody(Body):
    """How an address may be called."""

    methods: Annotated[list[Method], AfterValidator(_once)] = Field(["POST"], min_length=1)
    schemes: Annotated[list[Scheme], AfterValidator(_once)] = Field(["http", "https"], min_length=1)
    restriction: RestrictionBody = RestrictionBody()


class UrlBody(UrlRulesBody):
    kind: Literal["public", "private"] = Field(
        "public", description="private: works only on the listener of private_trigger_listen."
    )


class RestrictionAnswer(Answer):
    kind: str
    domains: list[str]
    cidrs: list[str]


class UrlAnswer(Answer):
    id: int
    job_id: int
    kind: str
    methods: list[str]
    schemes: list[str]
    restriction: RestrictionAnswer
    author: str
    created: Iso
    created_ms: int
    rotated: Iso | None
    rotated_ms: int | None


class NewUrlAnswer(UrlAnswer):
    path: str = Field(description="Shown this once; only a hash of it is kept.")
    url: str


class UrlList(Answer):
    items: list[UrlAnswer]
    next_cursor: None = None


class EnvBody(Body):
    name: str = Field(pattern=NAME)
    value: Text = Field(max_length=MAX_VALUE)


def _names_once(envs: list[EnvBody]) -> list[EnvBody]:
    seen: set[str] = set()
    for env in envs:
        if env.name in seen:
            raise refusal(f"each name once: {env.name!r} is given twice")
        seen.add(env.name)
    total = sum(len(env.name) + len(env.value) for env in envs)
    if total > MAX_TOTAL:
        raise refusal(f"at most {MAX_TOTAL} characters in all names and values: these have {total}")
    return envs


EnvBodies = Annotated[list[EnvBody], Field(max_length=MOST), AfterValidator(_names_once)]


def _replicas(value: object) -> int:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 4:
        text = int(text)
    if not isinstance(text, int) or isinstance(text, bool) or not 1 <= text <= MAX_REPLICAS:
        raise refusal(f"a whole number from 1 to {MAX_REPLICAS}, or text with one")
    return text


class CallBody(Body):
    """What a call of an address may say."""

    Envs: EnvBodies = Field([], description="Values by name; they go over the job's own.")
    Replicas: (
        Annotated[
            int,
            BeforeValidator(_replicas),
            WithJsonSchema(
                {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS}, {"type": "string"}]}
            ),
        ]
        | None
    ) = Field(None, description="One parent with so many shard runs.")

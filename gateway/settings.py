"""Configuration: an option of the command line, else the environment, else the file, else the default."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.core.errors import InvalidValue

PREFIX = "XXLJOB_GATEWAY_"
CONFIG_VARIABLE = PREFIX + "CONFIG"

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")


class Settings(BaseSettings):
    """All settings, with defaults that let `serve` start on an empty machine."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", validate_default=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on")
    data_dir: Path = Field(
        default_factory=lambda: (
            Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "xxljob-gateway"
        ),
        description="embedded database, spool and the name of this node",
    )
    database_url: SecretStr | None = Field(
        None, description="mysql+aiomysql://USER:PASSWORD@HOST:PORT/DATABASE; SQLite in data_dir when absent"
    )
    admin_token: SecretStr | None = Field(
        None, description="the first API token; made and printed once when absent"
    )
    access_token: SecretStr | None = Field(
        None,
        description="the token executors must send (xxl.job.accessToken); several, separated by commas, rotate",
    )
    job_api_shared_tokens: bool = Field(
        False,
        description="whether /api/addJob and its kind take access_token, or a namespace's, instead of an app's own",
    )
    register_unknown_apps: bool = Field(
        False, description="whether an executor of an unknown app creates the app instead of being refused"
    )
    timezone: str = Field("UTC", description="zone of schedules that name none")
    workers: int = Field(
        1, ge=1, le=64, description="processes that share the port; more than one need MySQL"
    )
    node_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,57}$",
        description="this node's name among all of the database; made from the machine's name when absent",
    )
    control_host: str = Field(
        "127.0.0.1", description="address on which the other nodes reach this one; not for the public"
    )
    control_port: int = Field(0, ge=0, le=65535, description="port for the other nodes; 0: any free one")
    advertise: str | None = Field(
        None,
        description="HOST:PORT at which executors up to 1.7.1 find this gateway: it is sent to them with each run",
    )
    private_trigger_listen: str | None = Field(
        None, description="HOST:PORT of a second listener, for private trigger URLs alone; none when absent"
    )
    trusted_proxies: str = Field(
        "",
        description="networks of proxies whose X-Forwarded-For and X-Forwarded-Proto count, by commas; none when empty",
    )
    demo: bool = Field(False, description="start a small executor and two jobs to look at")
    executor_timeout_s: float = Field(3.0, gt=0, le=60, description="how long an executor may take to answer")
    executor_tls_verify: bool = Field(
        True, description="whether the certificates of https executors are checked"
    )
    connections_per_executor: int = Field(16, ge=1, le=1000, description="most connections to one executor")
    spool_max_mb: int = Field(
        1024, ge=1, description="most megabytes of results kept on disk while the database is away"
    )
    stop_grace_s: float = Field(
        5.0, ge=0, le=600, description="how long results are still taken after SIGTERM"
    )
    retention_days: int = Field(
        30, ge=1, le=3650, description="how many days finished runs are kept; a job may have its own"
    )
    event_days: int = Field(365, ge=1, le=3650, description="how many days events are kept")
    lease_s: float = Field(
        2.0,
        ge=1,
        le=60,
        description="how long a node's ownership lasts without a renewal; the same on all nodes",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="auto: text on a terminal, else JSON"
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        from gateway.core.zones import resolve_zone

        resolve_zone(value)
        return value

    @field_validator("access_token")
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        from gateway.core.access import TEXT

        for one in value.get_secret_value().split(",") if value else ():
            if one.strip() and not re.fullmatch(TEXT, one.strip()):
                raise ValueError(
                    "tokens of up to 255 printable ASCII characters without blanks: they are sent in a header"
                )
        return value

    @field_validator("private_trigger_listen", "advertise")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is not None:
            host, _, port = value.rpartition(":")
            if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
                raise ValueError("HOST:PORT, such as 10.0.0.7:8081")
        return value

    @field_validator("advertise")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        host = (value or "").rpartition(":")[0]
        if value is not None and (not _HOST.fullmatch(host) or host in {"0.0.0.0", "[::]"}):  # noqa: S104 – refused
            raise ValueError("HOST:PORT that executors can call, such as 10.0.0.7:8080; IPv6 in brackets")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for one in filter(None, map(str.strip, value.split(","))):
            try:
                ip_network(one)
            except ValueError:
                raise ValueError(f"networks such as 10.0.0.7/32, by commas; {one!r} is none") from None
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 – part of the signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get(CONFIG_VARIABLE)
        file = (TomlConfigSettingsSource(settings_cls, Path(path)),) if path else ()
        return (init_settings, env_settings, *file)

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(one.strip()) for one in self.trusted_proxies.split(",") if one.strip())

    @property
    def private_address(self) -> tuple[str, int] | None:
        """Where private trigger URLs are listened for."""
        if self.private_trigger_listen is None:
            return None
        host, _, port = self.private_trigger_listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def effective_database_url(self) -> str:
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data_dir / 'gateway.db'}"

    @property
    def access_tokens(self) -> tuple[str, ...]:
        if self.access_token is None:
            return ()
        return tuple(one.strip() for one in self.access_token.get_secret_value().split(",") if one.strip())


def load_settings(options: Mapping[str, Any]) -> Settings:
    """Settings from everywhere. `options` of the command line that are None count as absent.

    Raises `InvalidValue` that names the setting, its value and what would be right.
    """
    path = os.environ.get(CONFIG_VARIABLE)
    if path and not Path(path).is_file():
        raise InvalidValue(CONFIG_VARIABLE, path, "the path of a TOML file")
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
        and name not in _OTHER_VARIABLES
    )
    if unknown:
        raise InvalidValue(
            unknown[0], os.environ[unknown[0]], "the name of a setting, which docs/operations.md lists"
        )
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        field = Settings.model_fields.get(name)
        secret = field is not None and "SecretStr" in str(field.annotation)
        expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        raise InvalidValue(name, "***" if secret else first["input"], expected) from None
    except ValueError as error:
        raise InvalidValue(CONFIG_VARIABLE, path, f"a readable TOML file ({error})") from None


_OTHER_VARIABLES = frozenset(
    PREFIX + name
    for name in (
        "CONFIG",
        "URL",
        "TOKEN",
        "SOURCE_PASSWORD",
        "SOURCE_ACCESS_TOKEN",
        "CRASH_POINT",
        "CRASH_MARKER",
        "LISTEN_FD",
        "PRIVATE_FD",
        "READY_FD",
        "PARENT_PID",
    )
)


def masked(settings: Settings) -> dict[str, str]:
    """Settings as text, secrets hidden."""
    shown: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name == "database_url":
            from gateway.store.engine import database_url

            shown[name] = database_url(settings.effective_database_url).render_as_string(hide_password=True)
        elif isinstance(value, SecretStr):
            shown[name] = "***"
        else:
            shown[name] = "" if value is None else str(value)
    return shown

"""Where an xxl-job database is: what people write, checked, and what of it may be shown."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from gateway.core.errors import InvalidValue

PASSWORD_VARIABLE = "XXLJOB_GATEWAY_SOURCE_PASSWORD"  # noqa: S105 – a variable's name
EXPECTED = "mysql://USER:PASSWORD@HOST:PORT/DATABASE"
_SCHEMES = {"mysql", "mysql+aiomysql", "mysql+pymysql", "mariadb", "mariadb+aiomysql", "mariadb+pymysql"}
_OTHER_DATABASES = ("sqlite", "postgres", "oracle", "mssql", "sqlserver", "jdbc:postgres", "jdbc:oracle")
_PORT = 3306
_YES, _NO = {"true", "yes", "1"}, {"false", "no", "0"}
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
_PLAIN_PLACE = re.compile(r"[\w.:\[\]-]+/[\w-]+")


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """`socket` is the path of a Unix socket, used instead of host and port. `ca` is the path of a PEM file."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False, default="")
    socket: str = ""
    tls: bool = False
    ca: str = ""

    @property
    def name(self) -> str:
        """What the source is called in reports, and where the target remembers it."""
        return f"{self.database}@{self.socket or f'{self.host}:{self.port}'}"

    def __str__(self) -> str:
        return f"mysql://{self.user}:***@{self.host}:{self.port}/{self.database}"


def parse_source(text: str, field: str = "--source", environ: Mapping[str, str] | None = None) -> SourceUrl:
    """Check the address of a source. Raises `InvalidValue` for `field`; its text never shows a password.

    A password that is left out is taken from the environment.
    """
    text = text.strip()
    if not _is_printable(unquote(text)):
        raise InvalidValue(field, _masked(text), f"{EXPECTED}: there is a control character in it")
    scheme, colon, rest = text.partition("://")
    _refuse_other_kinds(text, scheme if colon else "", field)
    credentials, _, place = rest.rpartition("@")
    user, has_password, password = credentials.partition(":")
    if not user:
        raise InvalidValue(field, _masked(text), f"{EXPECTED}: it names no user")
    if not has_password:
        password = (os.environ if environ is None else environ).get(PASSWORD_VARIABLE, "")
    else:
        password = unquote(password)
    authority, _, tail = place.partition("/")
    database, _, query = tail.partition("?")
    if not database or "/" in database:
        raise InvalidValue(field, _masked(text), f"{EXPECTED}: it names no database")
    host, port = _host_and_port(authority, text, field)
    socket, tls, ca = _options(query, text, field)
    return SourceUrl(
        host=host,
        port=port,
        user=unquote(user),
        database=unquote(database),
        password=password,
        socket=socket,
        tls=tls,
        ca=ca,
    )


def without_password(text: str) -> str:
    """An address that `parse_source` takes, for a command line: as it was written, but for the password."""
    scheme, separator, rest = text.strip().partition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{credentials.partition(':')[0]}{at}{place}"


def _refuse_other_kinds(text: str, scheme: str, field: str) -> None:
    lowered = text.lower()
    if lowered.startswith(("jdbc:mysql:", "jdbc:mariadb:")):
        place = text.partition("//")[2].partition("?")[0].rpartition("@")[2]
        place = place if _PLAIN_PLACE.fullmatch(place) else "HOST:PORT/DATABASE"
        raise InvalidValue(
            field, _masked(text), f"this is an address for Java, write mysql://USER:PASSWORD@{place}"
        )
    if lowered.startswith(_OTHER_DATABASES):
        raise InvalidValue(
            field,
            _masked(text),
            f"{EXPECTED}: only MySQL, MariaDB and what speaks their protocol can be read",
        )
    if scheme.lower() not in _SCHEMES:
        raise InvalidValue(field, _masked(text), EXPECTED)


def _host_and_port(authority: str, text: str, field: str) -> tuple[str, int]:
    if authority.startswith("["):
        host, closed, rest = authority[1:].partition("]")
        port = rest.removeprefix(":")
        valid = bool(closed) and (not rest or rest.startswith(":"))
    else:
        host, _, port = authority.partition(":")
        valid = True
    if not valid or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise InvalidValue(field, _masked(text), f"{EXPECTED}: a port is a number from 1 to 65535")
    return host or "127.0.0.1", int(port or _PORT)


def _options(query: str, text: str, field: str) -> tuple[str, bool, str]:
    """What stands behind the `?`: unix_socket, ssl, ssl_ca."""
    socket, tls, ca = "", False, ""
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key == "unix_socket" and value:
            socket = value
        elif key == "ssl_ca" and value:
            tls, ca = True, value
        elif key == "ssl" and value.lower() in _YES | _NO:
            tls = value.lower() in _YES
        else:
            raise InvalidValue(
                field,
                _masked(text),
                f"{_shown_option(key, value)} is not known; unix_socket=PATH, ssl=true and ssl_ca=PATH may stand behind the ?",
            )
    return socket, tls, ca


def _shown_option(key: str, value: str) -> str:
    """Any value may be a password, whatever its key is called; so may a word that has none."""
    return f"{key}=***" if value else "***"


def _is_printable(text: str) -> bool:
    return not any(unicodedata.category(letter) in _UNPRINTABLE for letter in text)


def _masked(text: str) -> str:
    """That address without anything that may be a password, on one line."""
    text = "".join(letter if _is_printable(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, separator, rest = "", "", text
    credentials, at, place = rest.rpartition("@")
    if at:
        user, colon, _ = credentials.partition(":")
        rest = f"{user}:***@{place}" if colon else f"{user}@{place}"
    else:
        authority, slash, tail = rest.partition("/")
        host, colon, port = authority.partition(":")
        rest = f"{host}{colon}{port if port.isdigit() else '***'}{slash}{tail}" if colon else rest
    head, question, _ = rest.partition("?")
    if "=" in head:  # as some addresses for Java have it
        head = "***"
    return f"{scheme}{separator}{head}{question}{'***' if question else ''}"

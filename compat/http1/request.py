"""Requests as finished bytes: a head per address, a body per job version, the numbers spliced in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

_DEFAULT_PORT = {"http": 80, "https": 443}
_TARGET = re.compile(r"/[!-~]*")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")


class Origin(NamedTuple):
    """Where connections lead: what a pool keeps apart."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORT[self.scheme] else f"{host}:{self.port}"


def split_address(url: str) -> tuple[Origin, str]:
    """An executor's address as origin and path prefix; the prefix begins and ends with a slash.

    ValueError when it is no http or https URL with a host, or carries what executors compare
    literally and would refuse (a query, a fragment).
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in _DEFAULT_PORT or not parts.hostname:
        raise ValueError(f"address {url!r}: expected http://host:port/ or https://host:port/")
    if parts.query or parts.fragment:
        raise ValueError(f"address {url!r}: a query or fragment cannot be called")
    port = _DEFAULT_PORT[parts.scheme] if parts.port is None else parts.port
    return Origin(parts.scheme, parts.hostname, port), parts.path.rstrip("/") + "/"


def request_head(origin: Origin, path: str, headers: Mapping[str, str]) -> bytes:
    """Everything of a POST up to the number of Content-Length, which `PreparedBody` appends."""
    if not _TARGET.fullmatch(path):
        raise ValueError(f"path {path!r}: expected printable ASCII that begins with /")
    lines = [f"POST {path} HTTP/1.1", f"Host: {origin.authority}", "Connection: keep-alive"]
    for name, value in headers.items():
        if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"header {name!r}: {value!r} cannot be sent")
        lines.append(f"{name}: {value}")
    lines.append("Content-Length: ")
    return "\r\n".join(lines).encode("latin-1")


def request_bytes(origin: Origin, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """One whole POST, for calls that are not worth preparing."""
    return b"%b%d\r\n\r\n%b" % (request_head(origin, path, headers), len(body), body)


class PreparedBody:
    """A body with gaps for whole numbers: `PreparedBody(b'{"logId":', b',"logDateTime":', b"}")`."""

    __slots__ = ("_format",)

    def __init__(self, *pieces: bytes) -> None:
        self._format = b"%d".join(piece.replace(b"%", b"%%") for piece in pieces)

    def request(self, head: bytes, *numbers: int) -> bytes:
        """The finished request; `head` comes from `request_head`. About 0.5 µs for 300 bytes."""
        body = self._format % numbers
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)

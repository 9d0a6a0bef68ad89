"""Who is calling: the dialect and the client of an executor, and the one spelling of its address."""

from __future__ import annotations

import re
from collections.abc import Mapping

from compat.http1 import split_address
from gateway.core.errors import InvalidValue
from gateway.core.generations import NETCOM16, NETCOM17, NETCOM18, NETCOM19, REST, REST35, XXLRPC20, XXLRPC21

TOKEN_HEADER = "XXL-JOB-ACCESS-TOKEN"  # noqa: S105  # a header's name
OLD_TOKEN_HEADER = "XXL-RPC-ACCESS-TOKEN"  # noqa: S105  # 2.1.1 and 2.1.2
APPNAME_HEADER = "XXL-JOB-APPNAME"

_LOG_IS_REAL = frozenset({NETCOM16, NETCOM17, NETCOM18, NETCOM19, XXLRPC20, XXLRPC21, REST35})

OWN_CLIENT = "xxljob-gateway"  # compat.executor's User-Agent

MAX_ADDRESS = 255
_MAX_CLIENT = 64
_BARE = re.compile(r"(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[0-9a-z._-]+|\[[0-9a-f:.]+\])(?P<port>:\d{1,5})?(?P<path>/[!-~]*)?",
    re.IGNORECASE,
)
_RUN_METHOD = {REST: "run", REST35: "trigger"}


def dialect_of(headers: Mapping[str, str], address: str = "http://", *, is_old: bool = False) -> str:
    """The dialect, from a registration in JSON: its headers, its address, and whether it spells a field the old way."""
    if is_old:
        return NETCOM17
    if "://" not in address:
        return XXLRPC21
    return REST35 if APPNAME_HEADER in headers else REST


def sends_no_token(headers: Mapping[str, str]) -> bool:
    """Whether this is the JSON of 1.7.2 or 1.8.0: by a content coding that there is not, which they name."""
    is_coded = headers.get("Content-Encoding", "").upper() == "UTF-8"
    is_theirs = headers.get("User-Agent", "").startswith("Apache-HttpClient/")
    return is_coded and is_theirs and TOKEN_HEADER not in headers


def client_of(headers: Mapping[str, str]) -> str:
    """A short name of the client: `java/17.0.15`, `go`, `node`, `pyxxl`, or what it calls itself."""
    # What is no ASCII comes as half a surrogate pair, which no database takes.
    agent = headers.get("User-Agent", "").encode("ascii", "replace").decode()
    product, _, _ = agent.partition(" ")
    name, _, version = product.partition("/")
    name = name.lower()
    if name == "java":
        return f"java/{version}"[:_MAX_CLIENT]
    if name == "go-http-client":
        return "go"
    if name in {"axios", "node", "node-fetch", "undici"}:
        return "node"
    if name == "python" and " aiohttp/" in agent:
        return "pyxxl"
    return name[:_MAX_CLIENT] or "unknown"


def repeats_log_time(client: str) -> bool:
    """Whether its callbacks carry the `logDateTime` of the run, so that another one means another admin's run.

    pyxxl, Node and Rust put their own clock there; of the others only Java was seen to share retry files.
    """
    return client.startswith("java/")


def log_is_real(dialect: str, client: str) -> bool:
    """Whether `/log` tells a run that was received from one that was not.

    Java's and pyxxl's log file begins with the run. Go answers one canned text for all runs unless the
    user has set a handler, Node has logs only in one of its settings, Rust none; of the rest nothing is known.
    """
    return dialect in _LOG_IS_REAL or client == "pyxxl" or client.startswith(("java/", OWN_CLIENT))


def run_method(dialect: str) -> str:
    """What `/run` is called there."""
    return _RUN_METHOD.get(dialect, "run")


def normal_address(value: str) -> str:
    """The address with exactly one slash at its end: with and without are one executor.

    A path is kept, it is where the executor's server lives. Releases before 2.2.0 register a host and a port alone.
    Raises InvalidValue.
    """
    if _BARE.fullmatch(value.strip()):
        value = f"http://{value.strip()}/"
    match = _ADDRESS.fullmatch(value.strip())
    if match is None or "?" in value or "#" in value:
        expected = "expected http://host:port/ or https://host:port/, with a path if need be but no query"
        raise InvalidValue("registryValue", value[:MAX_ADDRESS], expected)
    port = match["port"] or ""
    path = (match["path"] or "").rstrip("/")
    address = f"{match['scheme'].lower()}://{match['host'].lower()}{port}{path}/"
    if len(address) > MAX_ADDRESS:
        raise InvalidValue("registryValue", value[:MAX_ADDRESS], f"expected at most {MAX_ADDRESS} characters")
    try:
        origin, _ = split_address(address)
    except ValueError as error:
        raise InvalidValue("registryValue", value, f"expected a host and a port: {error}") from None
    if not origin.port:
        raise InvalidValue("registryValue", value, "expected a port from 1 to 65535")
    return address

"""Calls of the API, with the standard library alone so that a command starts at once."""

from __future__ import annotations

import functools
import http.client
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import click

from gateway.cli.root import FAILED, WRONG_INPUT, Failure

F = TypeVar("F", bound=Callable[..., Any])
Json = Any

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 60
_WRONG_INPUT_STATUS = {400, 401, 404, 413, 422}


class Client:
    """One connection a call. Every failure is a `Failure` that says what to do."""

    def __init__(self, url: str, token: str | None, *, as_json: bool) -> None:
        parts = urlsplit(url)
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            self._port = parts.port
        except ValueError:
            usable = False
        if not usable:
            raise Failure(f"--url: {url!r} is not valid: an address such as {DEFAULT_URL}", WRONG_INPUT)
        self._url = url
        self._https = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self.as_json = as_json

    def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The JSON of a good answer, None for an empty one."""
        status, text = self.ask(method, path, body, query=query, headers=headers)
        if status >= 300:
            raise Failure(_message(status, text), WRONG_INPUT if status in _WRONG_INPUT_STATUS else FAILED)
        return json.loads(text) if text else None

    def ask(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Status and text of any answer."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = self._prefix + path + (f"?{urlencode(given)}" if given else "")
        headers = {"Accept": "application/json", **(headers or {})}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request(method, target, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except ConnectionRefusedError:
            raise Failure(
                f"nobody listens at {self._url}: start the gateway with `xxljob-gateway serve`, "
                "or give its address with --url or XXLJOB_GATEWAY_URL"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Failure(f"{self._url} cannot be asked: {str(error) or type(error).__name__}") from None
        except (UnicodeError, ValueError):
            raise Failure("--token, --key: only ASCII characters can be sent", WRONG_INPUT) from None
        finally:
            connection.close()

    def items(self, path: str, *, query: Mapping[str, object], limit: int) -> Iterator[Json]:
        """Up to `limit` items of a list, page after page."""
        cursor = None
        while limit > 0:
            page = self.call("GET", path, query={**query, "limit": min(limit, 500), "cursor": cursor})
            yield from page["items"]
            limit -= len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return


def _message(status: int, text: str) -> str:
    try:
        problem = json.loads(text)
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "detail" not in problem:
        return f"the answer was {status}: {text[:200]}"
    if errors := problem.get("errors"):
        return "; ".join(
            f"{one['field']}: {json.dumps(one['value'], ensure_ascii=False)} is not valid: {one['expected']}"
            for one in errors
        )
    if status == 401:
        return f"{problem['detail']}: give one with --token or XXLJOB_GATEWAY_TOKEN"
    return str(problem["detail"])


def _token_on_disk() -> str | None:
    """The first token, which `serve` keeps beside its data for whoever may read that."""
    directory = os.environ.get("XXLJOB_GATEWAY_DATA_DIR")
    if directory is None:
        home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        directory = f"{home}/xxljob-gateway"
    try:
        return (Path(directory).expanduser() / "token").read_text().strip() or None
    except OSError:
        return None


def calls_api(command: F) -> F:
    """Give a command the options of a call, and a `Client` as its first argument."""

    @click.option(
        "--url",
        envvar="XXLJOB_GATEWAY_URL",
        default=DEFAULT_URL,
        show_default=True,
        help="Address of the gateway.",
    )
    @click.option(
        "--token",
        envvar="XXLJOB_GATEWAY_TOKEN",
        help="API token; else XXLJOB_GATEWAY_TOKEN, or the data directory's.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @functools.wraps(command)
    def with_client(*args: Any, url: str, token: str | None, as_json: bool, **options: Any) -> Any:
        return command(Client(url, token or _token_on_disk(), as_json=as_json), *args, **options)

    return with_client  # type: ignore[return-value]

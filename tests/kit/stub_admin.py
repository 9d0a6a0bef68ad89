"""The admin side of the wire, just enough to try an executor without the gateway: to tell whose fault it is."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

OK = b'{"code":200,"msg":null,"content":null}'


class StubAdmin:
    """Answers every call with success and keeps it; `call` plays the admin towards an executor."""

    def __init__(self, token: str = "", port: int = 0) -> None:
        self.token = token
        self.registered: list[dict[str, Any]] = []
        self.removed: list[dict[str, Any]] = []
        self.callbacks: list[dict[str, Any]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.take(self.path.rpartition("/")[2], body)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(OK)))
                self.end_headers()
                self.wfile.write(OK)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/xxl-job-admin"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, method: str, body: Any) -> None:
        match method:
            case "registry":
                self.registered.append(body)
            case "registryRemove":
                self.removed.append(body)
            case "callback":
                self.callbacks.extend(body)
            case _:
                raise ValueError(f"an executor called {method}")

    def result(self, run_id: int) -> tuple[int, str] | None:
        """Code and message of the first callback for that log id, in either form."""
        for item in self.callbacks:
            if item["logId"] == run_id:
                if "handleCode" in item:
                    return item["handleCode"], item.get("handleMsg", "")
                return item["executeResult"]["code"], item["executeResult"].get("msg", "")
        return None

    def call(self, address: str, method: str, body: dict[str, Any]) -> dict[str, Any]:
        target = urllib.parse.urlsplit(address)
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=5)
        try:
            connection.request(
                "POST",
                f"{target.path.rstrip('/')}/{method}",
                json.dumps(body).encode(),
                {"Content-Type": "application/json;charset=UTF-8", "XXL-JOB-ACCESS-TOKEN": self.token},
            )
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    def run(
        self, address: str, run_id: int, handler: str, *, at_ms: int, job_id: int = 1, **changes: object
    ) -> dict[str, Any]:
        """`/run` with all twelve fields; `changes` replace some of them by their wire names."""
        body: dict[str, Any] = {
            "jobId": job_id,
            "executorHandler": handler,
            "executorParams": "",
            "executorBlockStrategy": "SERIAL_EXECUTION",
            "executorTimeout": 0,
            "logId": run_id,
            "logDateTime": at_ms,
            "glueType": "BEAN",
            "glueSource": "",
            "glueUpdatetime": 0,
            "broadcastIndex": 0,
            "broadcastTotal": 1,
        }
        return self.call(address, "run", {**body, **changes})

"""The executors of a fault run: released ones (tests/e2e/peers.py) and our own that misbehave on command."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from tests.e2e.gateway_process import ACCESS_TOKEN
from tests.e2e.peers import Peer, make_peer
from tests.kit.process import free_port, wait_until

PROGRAM = Path(__file__).parent / "executor_program.py"


class Event(NamedTuple):
    """A line of an executor's own file. `admin` and `code` only where our own executor tells them."""

    event: str  # receive | start | end | interrupt | acked | not_taken
    run_id: int
    job_id: int
    at_ms: int
    handler: str
    param: str | None
    shard: int
    executor: str
    pid: int
    admin: str | None
    code: int | None


class OwnExecutor(Peer):
    """`executor_program.py` as a process. It may register another address than it listens on: a proxy's."""

    name = "own"

    def __init__(
        self,
        admins: str,
        appname: str,
        directory: Path,
        *,
        port: int | None = None,
        address: str | None = None,
        host: str = "127.0.0.1",
        beat_s: float = 30,
        retry_s: float = 5,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._control = free_port()
        self._registered = address
        self._host = host
        self._beat_s = beat_s
        self._retry_s = retry_s
        super().__init__(admins, appname, ACCESS_TOKEN, directory, port=port)

    def _argv(self) -> list[str]:
        return [
            *(sys.executable, str(PROGRAM), "--appname", self.appname, "--host", self._host),
            *("--port", str(self.port), "--address", self.address, "--admins", self.admin_url),
            *("--token", self.token, "--counter", str(self.counter), "--control-port", str(self._control)),
            *("--beat-s", str(self._beat_s), "--retry-s", str(self._retry_s)),
        ]

    @property
    def address(self) -> str:
        return self._registered or f"http://127.0.0.1:{self.port}"

    def mode(self, name: str) -> None:
        """normal, mute, deaf or refuse."""
        self._tell(f"mode?{name}")

    def leave(self) -> None:
        """Take the registration back and go on listening."""
        assert self._tell("leave")["removed"]

    def stats(self) -> dict[str, Any]:
        return self._tell("stats")

    def _tell(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._control}/{what}", timeout=15) as answer:
            said: dict[str, Any] = json.loads(answer.read())
            return said


def make_executor(kind: str, admins: str, appname: str, directory: Path, **options: Any) -> Peer:
    """`own` or one of PEERS, not started. PeerUnavailableError when this machine cannot."""
    if kind == "own":
        return OwnExecutor(admins, appname, directory, **options)
    return make_peer(kind, admins, appname, ACCESS_TOKEN, directory, **options)


def events_of(peer: Peer) -> list[Event]:
    """All complete lines of its file, in order."""
    if not peer.counter.exists():
        return []
    found = []
    for line in peer.counter.read_text("ascii").split("\n")[:-1]:
        said = json.loads(line)
        found.append(
            Event(
                said["event"],
                said["runId"],
                said["jobId"],
                said["startMs"],
                said["handler"],
                said["param"],
                said["shardIndex"],
                peer.address,
                said["pid"],
                said.get("admin"),
                said.get("code"),
            )
        )
    return found


def wait_registered(peers: list[Peer], online: Any, *, timeout_s: float = 30) -> None:
    """`online(appname)` gives the addresses that the scheduler would send runs to."""
    for appname in sorted({peer.appname for peer in peers}):
        expected = {peer.address for peer in peers if peer.appname == appname}
        wait_until(
            lambda name=appname, all_=expected: online(name) >= all_,  # type: ignore[misc]
            timeout_s=timeout_s,
            what=f"executors of {appname} to be registered",
        )

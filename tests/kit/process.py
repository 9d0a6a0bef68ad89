"""A child process of the tests: output in a file, signals by name, never left behind."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_started: set[Process] = set()
_handed_out: set[int] = set()


def free_port() -> int:
    """A free TCP port on loopback, below the range of outgoing connections.

    A port of that range could be taken as the local end of a client that polls a server which is down for
    a moment: on loopback such a client can even connect to itself.
    """
    for _ in range(200):
        port = random.randint(20000, 31999)
        if port in _handed_out:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _handed_out.add(port)
        return port
    raise RuntimeError("no free port between 20000 and 31999")


def wait_until(check: Callable[[], object], *, timeout_s: float, what: str, every_s: float = 0.05) -> None:
    """Return when `check` gives something true; AssertionError saying `what` was waited for, otherwise."""
    end = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(every_s)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """Started with `start`, ended by `terminate` or `kill`, and by the kernel when the tests are killed."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.argv = list(argv)
        self.log = log
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.alive:
            raise RuntimeError(f"{self.argv[0]} runs already")
        argv = self.argv
        # The kernel's death signal belongs to the thread that forked, hence only from the main thread.
        if shutil.which("setpriv") and threading.current_thread() is threading.main_thread():
            argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
            )
        _started.add(self)

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError("not started")
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """None while running; negative: ended by that signal."""
        return None if self._child is None else self._child.poll()

    def signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, timeout_s: float) -> int:
        if self._child is None:
            raise RuntimeError("not started")
        code = self._child.wait(timeout_s)
        _started.discard(self)
        return code

    def terminate(self, timeout_s: float = 15) -> int | None:
        """SIGTERM, then SIGKILL when it has not ended in time."""
        if not self.alive:
            return self.returncode
        self.thaw()
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.argv[0]} did not end within {timeout_s:g} s of SIGTERM") from None

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            _started.discard(self)

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output().splitlines()[-lines:])

    def wait_ready(self, check: Callable[[], object], *, timeout_s: float, what: str) -> None:
        """As `wait_until`, and AssertionError with the end of the output when the process ends before."""

        def ready() -> object:
            if not self.alive:
                raise AssertionError(f"{what}: ended with {self.returncode}")
            return check()

        try:
            wait_until(ready, timeout_s=timeout_s, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None


@atexit.register
def _kill_all() -> None:
    for process in list(_started):
        with contextlib.suppress(OSError):
            process.kill()

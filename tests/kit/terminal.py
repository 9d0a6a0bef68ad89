"""A command on a terminal of its own, as somebody types there."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

from tests.e2e.gateway_process import REPOSITORY


class Terminal:
    """The command on a terminal of its own, 80 columns wide."""

    def __init__(self, *args: str) -> None:
        self._fd, inner = pty.openpty()
        env = {name: value for name, value in os.environ.items() if not name.startswith("XXLJOB_GATEWAY_")}
        self._process = subprocess.Popen(
            # A session of its own, so that keys of this terminal become signals.
            ["setsid", "--ctty", sys.executable, "-m", "gateway", *args],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            cwd=REPOSITORY,
            env={**env, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80", "LINES": "24", "TERM": "xterm"},
        )
        os.close(inner)
        self.shown = ""
        self.typed = 0

    def wait_for(self, text: str, timeout_s: float = 25) -> None:
        end = time.monotonic() + timeout_s
        while text not in self.shown:
            if time.monotonic() > end:
                self._process.kill()
                raise AssertionError(f"not shown: {text}\n{self.shown}")
            if not self._read(1.0):
                raise AssertionError(f"ended before: {text}\n{self.shown}")

    def _read(self, timeout_s: float, keys: str = "") -> bool:
        """False at the end. `keys`: to be typed if there was nothing to read."""
        if select.select([self._fd], [], [], timeout_s)[0]:
            try:
                piece = os.read(self._fd, 65536)
            except OSError:  # what Linux says when the other side is closed
                return False
            self.shown += piece.decode("utf-8", "replace").replace("\r\n", "\n")
            return bool(piece)
        self.type(keys)
        return True

    def type(self, keys: str) -> None:
        self.typed += bool(keys)
        os.write(self._fd, keys.encode())

    def end(self, keys: str = "", timeout_s: float = 60) -> int:
        """These are typed, and again when nothing follows: Python can miss a Ctrl-C just before it waits for a line."""
        end = time.monotonic() + timeout_s
        self.type(keys)
        while self._read(5.0, keys):
            if time.monotonic() > end:
                self._process.kill()
                raise AssertionError(f"does not end\n{self.shown}")
        os.close(self._fd)
        return self._process.wait(timeout_s)

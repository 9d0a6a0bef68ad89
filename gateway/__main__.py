"""`xxljob-gateway`, and `python -m gateway`."""

from __future__ import annotations

import os
import signal
import sys

# What they do can be undone or gone on with, so that how they ended matters: Ctrl-C is 2, as all that keeps them from their end.
MOVES = frozenset({"import", "shadow", "export", "apply", "cutover"})


def main() -> None:
    """Until modules are loaded Ctrl-C is a line, and no traceback of whichever module that was."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _too_early)
    from gateway.cli import main as run

    if signal.getsignal(signal.SIGINT) is _too_early:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _too_early(_number: int, _frame: object) -> None:
    os.write(
        sys.__stderr__.fileno() if sys.__stderr__ else 2, b"error: stopped: nothing was read or written\n"
    )
    os._exit(2 if MOVES.intersection(sys.argv[1:2]) else 130)


if __name__ == "__main__":
    main()

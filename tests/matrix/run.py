"""Drive every client of the matrix, and write docs/compatibility.md: python tests/matrix/run.py [CLIENT …] [--write]"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.matrix.clients import CLIENTS, DOZEN  # noqa: E402 – after the path
from tests.matrix.drive import LACK, NO, YES  # noqa: E402
from tests.matrix.page import PAGE, page  # noqa: E402
from tests.matrix.suite import drive_all, gateway_in, mixed  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", nargs="*", help="names such as java-2.1.2, pyxxl, node; all if left out")
    parser.add_argument("--dozen", action="store_true", help="those that every run of all tests drives")
    parser.add_argument("--at-once", type=int, default=8, help="how many clients side by side")
    parser.add_argument("--write", action="store_true", help="write docs/compatibility.md; needs all clients")
    parser.add_argument("--keep", help="a directory for all logs, which stays")
    chosen = parser.parse_args()
    names = list(DOZEN) if chosen.dozen else chosen.clients or list(CLIENTS)
    if unknown := [name for name in names if name not in CLIENTS]:
        parser.error(f"no client is called {unknown[0]}: {', '.join(CLIENTS)}")
    if chosen.write and set(names) != set(CLIENTS):
        parser.error("--write needs all clients")
    with contextlib.ExitStack() as stack:
        directory = chosen.keep or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="matrix-", ignore_cleanup_errors=True)
        )
        gateway = gateway_in(Path(directory))
        gateway.start()
        try:
            results = drive_all(
                gateway, names, Path(directory), at_once=chosen.at_once, patient=True, say=lambda text: print(text, flush=True)
            )  # fmt: skip
            together = mixed(gateway, Path(directory)) if chosen.write else None
        finally:
            gateway.kill()
    if together is not None:
        PAGE.write_text(page(results, together), "utf-8")
        print(f"written: {PAGE.relative_to(ROOT)}")
        print(f"several releases in one app: {together.mark} {together.note}")
    return int(
        (together is not None and together.mark != YES)
        or any(one.mark in {NO, LACK} for of_one in results.values() for one in of_one.values())
    )


if __name__ == "__main__":
    sys.exit(main())

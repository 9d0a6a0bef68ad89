"""Every module can be the first one that a process imports, and none of ours causes a warning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "compat", "importer")
# Run when they are imported: the program, and what lives inside Alembic.
NOT_A_MODULE = {"gateway.__main__", "gateway.store.migrations.env"}

# A process that has imported the libraries forks for each module: as fresh as a new one for our own modules, and
# a hundred times cheaper. Warnings of libraries about themselves are theirs.
PROGRAM = """
import importlib, json, os, sys, traceback, warnings
for library in ("aiohttp.web", "alembic.command", "click", "croniter", "prometheus_client", "pydantic_settings",
                "sqlalchemy.ext.asyncio", "structlog"):
    importlib.import_module(library)
warnings.simplefilter("ignore")
warnings.filterwarnings("error", module=r"(gateway|compat|importer)(\\.|$)")
running = set()
for name in json.load(sys.stdin):
    if len(running) == os.cpu_count():
        running.discard(os.wait()[0])
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            print(name, traceback.format_exc(), sep="\\n", flush=True)
            os._exit(1)
        os._exit(0)
    running.add(child)
while running:
    running.discard(os.wait()[0])
"""


def modules() -> list[str]:
    """All modules of the wheel, by name."""
    names = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in names if name not in NOT_A_MODULE]


def test_each_module_can_be_imported_first() -> None:
    names = modules()
    assert len(names) > 60
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        input=json.dumps(names),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

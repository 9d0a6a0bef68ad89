"""Every module can be the first one that a process imports, and none of ours causes a warning.

The first is shown by there being no circle: whatever is imported first finds all that it needs.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "compat", "importer")
# Run when they are imported: the program, and what lives inside Alembic.
NOT_A_MODULE = {"gateway.__main__", "gateway.store.migrations.env"}

PROGRAM = """
import importlib, json, sys, warnings
for library in ("aiohttp.web", "alembic.command", "click", "croniter", "prometheus_client", "pydantic_settings",
                "sqlalchemy.ext.asyncio", "structlog"):
    importlib.import_module(library)  # warnings of libraries about themselves are theirs
warnings.simplefilter("ignore")
warnings.filterwarnings("error", module=r"(gateway|compat|importer)(\\.|$)")
for name in json.load(sys.stdin):
    importlib.import_module(name)
"""


def modules() -> dict[str, Path]:
    """All modules of the wheel, by name."""
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in found.items() if name not in NOT_A_MODULE}


def statements(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that are executed with the module itself."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from statements(node.body)
            yield from statements(node.orelse)
        elif isinstance(node, ast.Try):
            yield from statements([*node.body, *(one for handler in node.handlers for one in handler.body)])


def imported(source: str, known: set[str]) -> set[str]:
    found: set[str] = set()
    for node in statements(ast.parse(source).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, "relative"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
            found |= inner
            if len(inner) < len(node.names):
                found.add(node.module or "")
    return found & known


def test_no_module_needs_itself_to_be_imported_first() -> None:
    known = modules()
    graph = {name: imported(path.read_text(), set(known)) for name, path in known.items()}
    assert sum(map(len, graph.values())) > 500
    tuple(TopologicalSorter(graph).static_order())


def test_a_circle_would_be_found() -> None:
    known = {"gateway.a", "gateway.b"}
    graph = {
        "gateway.a": imported("if x:\n    from gateway.b import y", known),
        "gateway.b": imported("from gateway import a", known),
    }
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(graph).static_order())


def test_a_node_starts_without_what_nobody_has_asked_for() -> None:
    """Alembic is for upgrades, and the models of bodies are built when one is first used."""
    code = (
        "import sys, gateway.app.node\n"
        "from gateway.api.models.jobs import JobAnswer, JobBody\n"
        "print('alembic' in sys.modules, JobBody.__pydantic_complete__, JobAnswer.__pydantic_complete__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"] * 3


def test_no_module_causes_a_warning() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        input=json.dumps(list(modules())),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

"""docs/map.md names every folder and module, and nothing that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SKIPPED = {"__pycache__", "__init__.py"}
ONE_LINE = {"tests/data/captures", "tests/data/cron", "tests/e2e/java"}  # not what is in them


def entries() -> list[str]:
    """The paths in the first column of the tables; a folder ends with a slash."""
    text = (ROOT / "docs" / "map.md").read_text("utf-8")
    return re.findall(r"^\| `((?:gateway|compat|importer|tests)/[^`]*)` \|", text, re.MULTILINE)


def kept(path: Path) -> bool:
    own = path.relative_to(ROOT)
    return not SKIPPED.intersection(own.parts) and not ONE_LINE.intersection(map(str, own.parents))


def test_each_folder_and_module_has_a_line() -> None:
    wanted = set()
    for top in ("gateway", "compat", "importer", "tests"):
        wanted.add(f"{top}/")
        for path in filter(kept, (ROOT / top).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.is_dir():
                wanted.add(f"{name}/")
            elif path.suffix == ".py" and (top != "tests" or name.startswith("tests/kit/")):
                wanted.add(name)
    assert wanted - set(entries()) == set()


def test_each_line_names_something_that_exists_once() -> None:
    named = entries()
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert [name for name in named if (ROOT / name).is_dir() != name.endswith("/")] == []
    assert sorted(named) == sorted(set(named))

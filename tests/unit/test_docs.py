"""What the pages say about states, settings and files is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.core.states import FINAL, MOVES, PUBLIC_WORDS, RunState
from gateway.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def table(page: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading: the code in the first cell, then the other cells."""
    text = (ROOT / page).read_text("utf-8").split(f"\n## {heading}\n", 1)[1]
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
            rows[first.strip("` ")] = [cell.rstrip(" |") for cell in others]
        elif rows:
            break
    return rows


def test_the_states_have_their_public_words() -> None:
    words = {state: cells[0] for state, cells in table("docs/states.md", "States").items()}
    assert words == {state.word: word for state, word in PUBLIC_WORDS.items()}


def test_the_moves_are_those_of_the_code() -> None:
    told = {
        source: set(re.findall(r"`(\w+)`", cells[0]))
        for source, cells in table("docs/states.md", "Moves").items()
    }
    assert told == {
        source.word: {state.word for state in MOVES[source]} for source in RunState if MOVES[source]
    }


def test_the_picture_shows_allowed_moves_only() -> None:
    text = (ROOT / "docs/states.md").read_text("utf-8")
    arrows = re.findall(r"^  (\w+|\[\*\]) --> (\w+|\[\*\])", text, re.MULTILINE)
    by_word = {state.word: state for state in RunState}
    assert len(arrows) > 15
    for source, target in arrows:
        if target == "[*]":
            assert by_word[source] in FINAL
        elif source != "[*]":
            assert by_word[target] in MOVES[by_word[source]], (source, target)


def test_the_settings_and_their_defaults_are_those_of_the_code() -> None:
    told = {name: (cells[0], cells[1]) for name, cells in table("docs/operations.md", "Settings").items()}
    wanted = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        if name == "data_dir":
            shown = "`~/.local/share/xxljob-gateway`"
        elif default is None:
            shown = "–"
        else:
            shown = f"`{str(default).lower() if isinstance(default, bool) else default}`"
        wanted[name] = (shown, field.description or told[name][1])
    assert told == wanted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, target


def test_the_readme_gives_the_command_that_ci_runs() -> None:
    assert "\nbash tests/run\n" in (ROOT / "README.md").read_text("utf-8")
    assert "exec bash tests/run" in (ROOT / ".ci/run").read_text("utf-8")


def test_the_image_runs_the_readmes_command() -> None:
    blocks = re.findall(r"```sh\n(.+?)\n```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    install, _, serve = blocks[0].rpartition(" && ")
    image = (ROOT / "docker/Dockerfile").read_text("utf-8")
    assert f"\nRUN {install}\n" in image
    program, *arguments = serve.split()
    assert f'\nENTRYPOINT ["{program}"]\n' in image
    assert "\nCMD [" + ", ".join(f'"{word}"' for word in arguments) + "]\n" in image

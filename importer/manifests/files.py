"""Files of documents: found, read, and cut into entries that know where they stand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from importer.manifests.errors import ManifestError, Wrong
from importer.manifests.shapes import FORMAT, SECTIONS, Value
from importer.manifests.yaml_text import Document, documents_in, written
from importer.report.text import visible

_ENDINGS = (".yaml", ".yml")
_HEAD = {"format": FORMAT}
CALENDARS_FILE = "calendars.yaml"
APPS_FOLDER = "apps"
MOST_BYTES = 64 << 20
"""Of all files together: ten thousand jobs take a tenth of it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One job, app or calendar as a file has it. `where` is for people: file, line, section, and what it is called."""

    where: str
    value: Value


@dataclass(frozen=True, slots=True)
class Entries:
    calendars: tuple[Entry, ...] = ()
    apps: tuple[Entry, ...] = ()
    jobs: tuple[Entry, ...] = ()


@dataclass(slots=True)
class _Found:
    calendars: list[Entry] = field(default_factory=list)
    apps: list[Entry] = field(default_factory=list)
    jobs: list[Entry] = field(default_factory=list)


# ------------------------------------------------------------ reading


def read(paths: Sequence[str]) -> Entries:
    """All entries of these files and folders; `-` is standard input. Raises `ManifestError`."""
    found = _Found()
    wrong: list[Wrong] = []
    for name, text in _texts(paths):
        for document in documents_in(text, name):
            wrong += _take(found, name, document)
    if wrong:
        raise ManifestError(wrong)
    if not (found.calendars or found.apps or found.jobs):
        raise ManifestError(f"{', '.join(paths)}: nothing is in there: no calendars, apps or jobs")
    return Entries(tuple(found.calendars), tuple(found.apps), tuple(found.jobs))


def _texts(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    room = MOST_BYTES
    for name, file in _named(paths):
        try:
            if file is None:
                data = sys.stdin.buffer.read(room + 1)
            else:
                with file.open("rb") as opened:
                    data = opened.read(room + 1)
        except OSError as error:
            raise ManifestError(f"{name}: it cannot be read: {error.strerror}") from None
        room -= len(data)
        if room < 0:
            raise ManifestError(
                f"{name}: that is too much: at most {MOST_BYTES >> 20} MiB are read at once, of all files together"
            )
        try:
            yield name, data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ManifestError(f"{name}: text in UTF-8 is needed") from None


def _named(paths: Sequence[str]) -> Iterator[tuple[str, Path | None]]:
    for path in paths:
        if path == "-":
            yield "standard input", None
        else:
            for file in _files(Path(path)):
                yield str(file), file


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise ManifestError(f"{path}: there is no such file or folder")
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in _ENDINGS and file.is_file())
    found = [file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    if not found:
        raise ManifestError(f"{path}: there is no file in this folder whose name ends with .yaml or .yml")
    return found


def _take(found: _Found, name: str, document: Document) -> list[Wrong]:
    value, where = document.value, f"{name}, line {document.line}"
    if not isinstance(value, Mapping):
        return [Wrong(where, "", value, f"a document that begins with `format: {FORMAT}`")]
    if value.get("format") != FORMAT:
        return [Wrong(where, "format", value.get("format"), f"{FORMAT}: what this version reads")]
    if unknown := [str(one) for one in value if one not in ("format", *SECTIONS)]:
        return [Wrong(where, unknown[0], value[unknown[0]], f"a section: {', '.join(SECTIONS)}")]
    wrong: list[Wrong] = []
    for section in SECTIONS:
        listed = value.get(section)
        if listed is None:
            continue
        if not isinstance(listed, list):
            wrong.append(Wrong(where, section, listed, "a list"))
            continue
        lines = document.lines.get(section, ())
        for index, one in enumerate(listed):
            line = lines[index] if index < len(lines) else document.line
            at = f"{name}, line {line}, {section}[{index}]"
            if isinstance(one, Mapping):
                getattr(found, section).append(Entry(at + _called(one), dict(one)))
            else:
                wrong.append(Wrong(at, "", one, "fields with values"))
    return wrong


def _called(value: Mapping[str, Any]) -> str:
    name = value.get("name") or value.get("appname")
    return f" ({visible(name)})" if isinstance(name, str) else ""


# ------------------------------------------------------------ writing


def as_text(sections: Mapping[str, Sequence[Value]]) -> str:
    """One document; sections without entries are left out."""
    text = written(_HEAD)
    for name in SECTIONS:
        if sections.get(name):
            # An empty line after a text that ends in such lines would be one more of them.
            gap = "" if text.endswith("\n\n") else "\n"
            text += gap + written({name: list(sections[name])})
    return text


def as_files(sections: Mapping[str, Sequence[Value]]) -> dict[str, str]:
    """Texts by path: the calendars in one, and each app with its jobs in one."""
    found: dict[str, str] = {}
    if sections.get("calendars"):
        found[CALENDARS_FILE] = as_text({"calendars": sections["calendars"]})
    jobs: dict[str, list[Value]] = {}
    for job in sections.get("jobs", ()):
        jobs.setdefault(job["app"], []).append(job)
    taken: set[str] = set()
    for app in sections.get("apps", ()):
        name = _file_name(app["appname"], taken)
        text = as_text({"apps": [app], "jobs": jobs.pop(app["appname"], [])})
        found[f"{APPS_FOLDER}/{name}.yaml"] = text
    return found


def _file_name(appname: str, taken: set[str]) -> str:
    """Some file systems take `A` and `a` for one name."""
    name, number = appname, 2
    while name.lower() in taken:
        name, number = f"{appname}~{number}", number + 1
    taken.add(name.lower())
    return name


def save(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Write them where they differ. Returns the other YAML files that are there, which `apply` would read as well."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != text.encode():
            path.write_text(text, encoding="utf-8", newline="\n")
    mine = {folder / name for name in files}
    return [str(one.relative_to(folder)) for one in _others(folder) if one not in mine]


def _others(folder: Path) -> Iterable[Path]:
    return sorted(one for one in folder.rglob("*") if one.suffix in _ENDINGS and one.is_file())

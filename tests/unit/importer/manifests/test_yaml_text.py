"""Text: the same bytes each time, the same value back, for our reader and for the library's own."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from importer.manifests.errors import ManifestError
from importer.manifests.files import as_text
from importer.manifests.yaml_text import documents_in, written

LINES = [
    "\tint x;",
    "  y ",
    "",
    "a: b",
    "# c",
    "中文",
    "\x85",
    "- x",
    "'",
    '"',
    "\r",
    "😀",
    " ",
    "---",
    "...",
]
WORDS = [
    *(
        "on",
        "yes",
        "22:00",
        "0777",
        "1e3",
        "0E0",
        "2026-01-31",
        "null",
        "~",
        "1_000",
        "0x1f",
        ".5",
        "=",
        "<<",
    ),
    *("1:30", "-", "?", "on: x", "%", "@a", "`", "!x", "&a", "*a", "\ufeff", "\u2028", "0o17", ".inf"),
]
TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.lists(st.sampled_from(LINES), max_size=6).map("\n".join)
    | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "on", "x y"]), VALUES, min_size=1))
@example({"a": "\t\n x\n"})
@example({"a": " \n\n x"})
def test_what_is_written_is_read_again(value):
    text = written(value)
    assert written(value) == text
    (document,) = documents_in(text, "f")
    assert document.value == value
    assert yaml.safe_load(text) == value


SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.dictionaries(st.sampled_from(["a", "on", "x y"]), VALUES, min_size=1), max_size=2)
        for name in ("calendars", "apps", "jobs")
    },
)


@settings(deadline=None)
@given(SECTIONS)
@example({"calendars": [{"a": "x\n\n"}], "apps": [{"a": "\n\n"}], "jobs": [{"a": "x\n\n\n"}]})
@example({"calendars": [{"a": "x\n"}], "jobs": [{"a": ["x\n...\n\n"]}]})
def test_sections_that_are_written_are_read_again(sections):
    text = as_text(sections)
    (document,) = documents_in(text, "f")
    assert document.value == {"format": 1, **{name: one for name, one in sections.items() if one}}
    assert yaml.safe_load(text) == document.value
    # More may stand after it in the same file.
    first, second = documents_in(f"{text}---\n{text}", "f")
    assert first.value == second.value == document.value


def test_a_script_is_a_block():
    assert written({"a": "x\n\n", "b": "y\n\n"}) == "a: |+\n  x\n\nb: |+\n  y\n\n"
    assert written({"a": "if x:\n\ty = 1  \n\n中文\n"}) == "a: |\n  if x:\n  \ty = 1  \n\n  中文\n"


def test_people_mean_what_they_write():
    text = "on: 22:00\nday: 2026-01-31\nport: 010\nyes: no\nrate: 0.5\nfull: true\nnothing:\nhex: 0x1f\nbig: 1_000\n"
    (document,) = documents_in(text, "f")
    assert document.value == {
        "on": "22:00",
        "day": "2026-01-31",
        "port": 10,
        "yes": "no",
        "rate": 0.5,
        "full": True,
        "nothing": None,
        "hex": "0x1f",
        "big": "1_000",
    }


def test_several_documents_know_their_lines():
    first, second = documents_in("a: 1\n---\n\njobs:\n- x: 1\n\n- y: 1\n---\n", "f")
    assert (first.line, second.line) == (1, 4)
    assert second.lines == {"jobs": [5, 7]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "f: 'c' stands twice, in line 3 and in line 4: it may stand once"),
        ("a: [1\n", "f: line 2, column 1: this is not YAML"),
        (
            'a: !!python/object/apply:os.system ["ls"]\n',
            "f: line 1: !!python/object/apply:os.system is no type",
        ),
        ("a: 1\nb: !!binary aGk=\n", "f: line 2: !!binary is no type here"),
        ("a: !!bool x\n", "f: this is not YAML"),
        ("a: \x01\n", "f: the character"),
        ("? [a]\n: 1\n", "f: line 1: the name of a field must be a text"),
        ("a: &x [*x]\n", "f: line 1: what stands here is named with & and meant again with *"),
        ("a: 1\nb: &x c\nd: *x\n", "f: line 2: what stands here is named with &"),
        ("a: *x\n", "f: line 1, column 4: this is not YAML"),
    ],
)
def test_what_cannot_be_read(text, expected):
    with pytest.raises(ManifestError) as found:
        list(documents_in(text, "f"))
    assert str(found.value).startswith(expected)


def test_references_within_references_are_not_written_out_first():
    lines = ["a0: &a0 x"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    with pytest.raises(ManifestError, match=r"f: line \d+: what stands here is named with & and meant again"):
        list(documents_in("\n".join(lines), "f"))

"""YAML as text: the same value always gives the same bytes, and what people write is read as they mean it.

Written is what every reader of YAML 1.1 and 1.2 takes alike. Read is 1.2: `on` is a name and no truth, `22:00` a text
and no number of seconds, a date a text. A key that stands twice is refused, where YAML's libraries take the last.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import yaml

from importer.manifests.errors import ManifestError

_INDENT = 2
_WIDTH = 1 << 20  # a long value stays on its line: folded, it would change in many places at once
_LITERAL = re.compile(
    r"[\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010fffe]*"
)
_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")


_YAML = "tag:yaml.org,2002:"
_TAGS = {_YAML + kind for kind in ("str", "int", "float", "bool", "null", "seq", "map")}


class Document(NamedTuple):
    """One document of a file. `line` is where it begins, `lines` where the items of each of its lists do."""

    line: int
    value: Any
    lines: dict[str, list[int]]


class _Writer(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - nothing is written as a reference
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - lists stand in from their key
        super().increase_indent(flow, indentless=False)

    def expect_document_start(self, first: bool = False) -> None:
        """The end of a text that ends in empty lines is that of the file, or what stands next: no `...` is needed."""
        self.open_ended = False
        super().expect_document_start(first)

    def analyze_scalar(self, scalar: str) -> Any:
        """Scripts have tabs, and blanks at ends of lines: a literal block keeps both, though this library avoids it."""
        found = super().analyze_scalar(scalar)
        if found.multiline and not found.allow_block and _LITERAL.fullmatch(scalar):
            found.allow_block = True
        return found


def _text(writer: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    lines = value.splitlines()
    # An indentation cannot be told from blanks that a text begins with; a first line of blanks is read wrongly by some.
    literal = "\n" in value and bool(lines) and bool(lines[0].strip()) and lines[0][0] not in " \t"
    if _BREAKS.search(
        value
    ):  # what some take for the end of a line is escaped, which only double quotes allow
        style: str | None = '"'
    else:
        style = "|" if literal else None
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Writer.add_representer(str, _text)


def written(value: Any) -> str:
    """One document, without the line that begins one."""
    text: str = yaml.dump(
        value,
        Dumper=_Writer,
        allow_unicode=True,
        sort_keys=False,
        default_flow_style=False,
        indent=_INDENT,
        width=_WIDTH,
    )
    return text


# The same in C reads four times as fast; not every build of the library has it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Reader(_Base):  # type: ignore[misc]  # as above
    # Those of YAML 1.1 are not taken along: which words mean something else than themselves is said below.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as the library has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[object, int] = {}
        for key, _ in node.value:
            name = getattr(key, "value", None)
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise _At(line, f"line {line}: the name of a field must be a text")
            if name in seen:
                raise _At(
                    line, f"{name!r} stands twice, in line {seen[name]} and in line {line}: it may stand once"
                )
            seen[name] = line
        found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return found


class _At(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


for _tag, _pattern, _first in (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+",
        "-+0123456789.",
    ),
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
):
    for _kind in (_Reader, _Writer):  # what either would take for something else is written in quotes
        _kind.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def _whole_number(_reader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(node.value)  # a leading zero means nothing here, octal there


def _decimal(_reader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(node.value)


_Reader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Reader.add_constructor("tag:yaml.org,2002:float", _decimal)


def _lines(node: yaml.Node) -> dict[str, list[int]]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {
        str(key.value): [item.start_mark.line + 1 for item in value.value]
        for key, value in node.value
        if isinstance(value, yaml.SequenceNode)
    }


def _check(root: yaml.Node) -> None:
    """A value that stands in several places by reference can be a billion in a kilobyte, or hold itself."""
    seen: set[int] = set()
    left = [root]
    while left:
        node = left.pop()
        line = node.start_mark.line + 1
        if id(node) in seen:
            raise _At(
                line,
                f"line {line}: what stands here is named with & and meant again with *: write it out at each place",
            )
        seen.add(id(node))
        if node.tag not in _TAGS:
            kind = node.tag.replace(_YAML, "!!")
            raise _At(
                line, f"line {line}: {kind} is no type here: texts, numbers, true and false, lists, fields"
            )
        if isinstance(node, yaml.SequenceNode):
            left += node.value
        elif isinstance(node, yaml.MappingNode):
            for pair in node.value:
                left += pair


def documents_in(text: str, name: str) -> Iterator[Document]:
    """The documents of a file, empty ones left out. Raises `ManifestError` that names the file and the line."""
    reader = None
    try:
        reader = _Reader(text)
        while reader.check_node():
            node = reader.get_node()
            if node is None:
                continue
            _check(node)
            value = reader.construct_document(node)
            if value is not None:
                yield Document(node.start_mark.line + 1, value, _lines(node))
    except _At as error:
        raise ManifestError(f"{name}: {error}") from None
    except yaml.reader.ReaderError as error:
        what = f"the character {error.character!r} at position {error.position}"
        raise ManifestError(
            f"{name}: {what} cannot stand in YAML: write it as \\x.. in double quotes"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ManifestError(f"{name}: {where}this is not YAML: {error.problem or error.context}") from None
    except (ValueError, KeyError, RecursionError) as error:
        raise ManifestError(f"{name}: this is not YAML: {error}") from None
    finally:
        if reader is not None:
            reader.dispose()

"""Facts about the tables of every release of XXL-JOB, as tests/data/xxl-schemas has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

# Tables of Quartz in which XXL-JOB's jobs leave nothing.
UNUSED = {
    f"xxl_job_qrtz_{kind}"
    for kind in ("blob_triggers", "calendars", "fired_triggers", "locks", "paused_trigger_grps")
} | {"xxl_job_qrtz_simple_triggers", "xxl_job_qrtz_simprop_triggers"}
DATA = Path(__file__).parents[1] / "data" / "xxl-schemas"


def version(release: str) -> tuple[int, ...]:
    return (3, 5, 0) if release == "HEAD" else tuple(int(part) for part in release.split("."))


RELEASES: tuple[str, ...] = tuple(
    sorted((path.stem for path in DATA.glob("*.json") if not path.stem.startswith("_")), key=version)
)
PLAIN_QUARTZ = "1.0.0.0"
READABLE = tuple(release for release in RELEASES if release != PLAIN_QUARTZ)


@cache
def _facts(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())


def schema(release: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Tables, columns, what is known of each."""
    return _facts(release)


def has_quartz(release: str) -> bool:
    return version(release) < (2, 1, 0)


def stock_table(release: str, kind: str) -> str | None:
    """What that release calls its `info`, `group`, `log` … table; Quartz's by their own names, e.g. `triggers`."""
    names = (
        (f"xxl_job_qrtz_trigger_{kind}", f"xxl_job_qrtz_{kind}")
        if has_quartz(release)
        else (f"xxl_job_{kind}",)
    )
    return next((table for name in names for table in schema(release) if table.lower() == name), None)


def columns_of(release: str, kind: str) -> dict[str, dict[str, Any]]:
    """By their names in lower case; empty if the release has no such table."""
    table = stock_table(release, kind)
    return {} if table is None else {name.lower(): facts for name, facts in schema(release)[table].items()}


def table_sql(release: str, table: str, name: str | None = None) -> str:
    """The statement that makes that table, under another name if one is given."""
    lines = [f"`{column}` {_column(facts)}" for column, facts in schema(release)[table].items()]
    for index, facts in _facts("_indexes").get(release, {}).get(table, {}).items():
        listed = ", ".join(f"`{column}`" for column in facts["columns"])
        unique = "UNIQUE KEY" if facts["unique"] else "KEY"
        lines.append(f"PRIMARY KEY ({listed})" if index == "PRIMARY" else f"{unique} `{index}` ({listed})")
    collation = _facts("_collations")[release][table].replace("utf8mb3", "utf8")
    charset = collation.partition("_")[0]
    return f"CREATE TABLE `{name or table}` ({', '.join(lines)}) ENGINE=InnoDB DEFAULT CHARACTER SET {charset} COLLATE {collation}"


def _column(facts: Mapping[str, Any]) -> str:
    text = f"{facts['type']} {'NULL' if facts['nullable'] else 'NOT NULL'}"
    default, extra = facts["default"], facts.get("extra") or ""
    if default is not None:
        text += " DEFAULT CURRENT_TIMESTAMP" if "current_timestamp" in default else f" DEFAULT '{default}'"
    elif facts["nullable"]:
        text += " DEFAULT NULL"
    return f"{text} {extra.replace('()', '')}"

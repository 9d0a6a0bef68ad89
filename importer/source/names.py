"""What releases call their tables, and what a fork calls them instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.errors import InvalidValue

# By logical table. Since 2.1; from 1.2 to 2.0; those of Quartz, beside the latter.
NEW = {
    kind: f"xxl_job_{kind}"
    for kind in ("info", "group", "log", "logglue", "registry", "user", "log_report", "lock")
}
OLD = {kind: f"xxl_job_qrtz_trigger_{kind}" for kind in ("info", "group", "log", "logglue", "registry")}
QUARTZ = {kind: f"xxl_job_qrtz_{kind}" for kind in ("triggers", "cron_triggers", "scheduler_state")}
STOCK = frozenset({*NEW.values(), *OLD.values(), *QUARTZ.values()})


def checked_map(table_map: Mapping[str, str], field: str = "--table-map") -> dict[str, str]:
    """A map from stock names, or beginnings of such, to those here. Raises `InvalidValue`."""
    checked = {}
    for stock, here in table_map.items():
        key = stock.strip().lower()
        if not key or not any(name.startswith(key) for name in STOCK):
            raise InvalidValue(
                field,
                f"{stock}={here}",
                "XXL-JOB's own name of a table, or the beginning of such names, comes first: "
                "xxl_job_info=my_jobs or xxl_job_=sched_",
            )
        if key in STOCK and not here.strip():
            raise InvalidValue(field, f"{stock}={here}", "the name of a table in the source comes second")
        checked[key] = here.strip()
    return checked


def name_here(stock: str, table_map: Mapping[str, str]) -> str:
    """What a table is called in the source; the longest matching beginning counts."""
    if stock in table_map:
        return table_map[stock]
    beginnings = [key for key in table_map if key not in STOCK and stock.startswith(key)]
    if not beginnings:
        return stock
    longest = max(beginnings, key=len)
    return table_map[longest] + stock[len(longest) :]


def spellings(name: str, names: Sequence[str]) -> list[str]:
    """Tables of that name in any case; capitals first, which are of the later ones of the old releases."""
    return sorted(candidate for candidate in names if candidate.lower() == name.lower())

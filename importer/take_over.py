"""Executors that were registered with the old admin, where the gateway takes its address over: they need not come first."""

from __future__ import annotations

from collections.abc import Mapping

from compat.dialects import normal_address
from gateway.core.errors import InvalidValue
from gateway.core.generations import REST, XXLRPC21
from gateway.core.model import Executor
from gateway.core.registry import DEAD_AFTER_MS
from gateway.core.zones import Zone
from importer.source.signs import instant_ms
from importer.source.values import Installation

# Of releases whose columns tell no more than a range the dialect must be the same all over it.
_DIALECTS = (((2, 2, 0), (3, 4, 9), REST), ((2, 1, 1), (2, 1, 2), XXLRPC21))
_CLIENT = "java"


def executors_of(
    installation: Installation, app_ids: Mapping[str, int], zone: Zone, now_ms: int
) -> list[Executor]:
    """Those that beat until the end, as if they had beaten here now: what they really are their next beat tells.

    `app_ids`: by the key of a group.
    """
    dialect = dialect_of(installation)
    if dialect is None:
        return []
    ids_of: dict[str, set[int]] = {}
    for group in installation.groups:
        if group.appname and group.key in app_ids:
            ids_of.setdefault(group.appname, set()).add(app_ids[group.key])
    beats = [(one, instant_ms(one.beat, zone)) for one in installation.executors]
    newest_ms = max((at_ms for _, at_ms in beats), default=0)
    found: dict[tuple[int, str], Executor] = {}
    for one, at_ms in beats:
        address = _address(one.address)
        if address is None or at_ms <= newest_ms - DEAD_AFTER_MS:
            continue
        for app_id in ids_of.get(one.appname, ()):
            found[app_id, address] = Executor(app_id, address, dialect, _CLIENT, now_ms, now_ms)
    return [found[key] for key in sorted(found)]


def dialect_of(installation: Installation) -> str | None:
    """What its executors speak, where that is one thing for all; executors of the oldest do not register over the wire."""
    for first, last, dialect in _DIALECTS:
        if first <= installation.first and installation.last <= last:
            return dialect
    return None


def _address(text: str) -> str | None:
    try:
        return normal_address(text)
    except InvalidValue:
        return None

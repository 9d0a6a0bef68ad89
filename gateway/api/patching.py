"""What a partial change makes of what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.overlap import Overlap

_GROWING = ("initial_interval_s", "backoff_coefficient", "maximum_interval_s")


def changed_job(body: Mapping[str, Any], patch: Mapping[str, Any]) -> object:
    """A job's body after a merge patch. What only the old way had goes when a patch says another way."""
    body = dict(body)
    old, new = body.get("schedule"), patch.get("schedule")
    if isinstance(old, dict) and isinstance(new, dict) and new.get("kind", old["kind"]) != old["kind"]:
        body["schedule"] = {name: old[name] for name in ("timezone", "misfire") if name in old}
    waits = patch.get("retry")
    if isinstance(waits, dict):
        listed = waits.get("intervals_s") is not None
        grown = any(waits.get(name) is not None for name in _GROWING)
        gone = _GROWING if listed and not grown else ("intervals_s",) if grown and not listed else ()
        body["retry"] = {name: value for name, value in body["retry"].items() if name not in gone}
    if (
        patch.get("max_concurrency") is not None
        and "overlap" not in patch
        and body["overlap"] == Overlap.ALLOW
    ):
        del body["overlap"]
    return merged(body, patch)


def merged(target: object, patch: object) -> object:
    """JSON merge patch (RFC 7396): objects are merged, null takes a field back to its default."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result

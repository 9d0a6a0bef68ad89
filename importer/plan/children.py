"""The jobs that a job's success starts: by their ids, or by the names that old releases gave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.core.children import Child
from importer.plan.around import Around
from importer.plan.notes import Notes
from importer.plan.values import Level, Verdict
from importer.source.values import SourceJob

_SKIPS_ITSELF = (2, 5)
_STOCK = "the old admin passes over it as well"


def children_of(job: SourceJob, around: Around, notes: Notes) -> tuple[Child, ...]:
    """Good items count, whatever stands beside them; bad ones are told of."""
    found: dict[int, None] = {}
    for column, text, key in (
        ("child_jobid", job.child_ids, False),
        ("child_jobkey", job.child_keys, True),
    ):
        if text and not text.replace(",", "").strip():
            notes.dropped(column, repr(text), "it names no job")
            continue
        for item in (text or "").split(","):
            old_id = _one(item, column, job, around, notes, by_key=key)
            if old_id is None:
                continue
            if old_id in found:
                notes.dropped(column, item, "it is there twice, and starts once")
            found[old_id] = None
    children = tuple(Child(around.job_ids[one]) for one in found)
    mapped = [f"{one} → {around.job_ids[one]}" for one in found if around.job_ids[one] != one]
    if mapped:
        notes.add(Level.NOTE, "child_jobid", job.child_ids or job.child_keys, ", ".join(str(one.job_id) for one in children), f"jobs have other ids here: {', '.join(mapped)}", Verdict.EQUIVALENT)  # fmt: skip
    return children


def _one(item: str, column: str, job: SourceJob, around: Around, notes: Notes, *, by_key: bool) -> int | None:
    name = item.strip()
    if not name:
        return None
    old_id = around.by_key.get(name) if by_key else None
    if old_id is None:
        number = name.rpartition("_")[2] if by_key else name
        if not (number.isascii() and number.isdecimal() and len(number) < 11 and int(number) > 0):
            notes.dropped(column, item, f"it names no job; {_STOCK}")
            return None
        old_id = int(number)
    if old_id not in around.job_ids:
        notes.dropped(column, item, f"there is no such job; {_STOCK}")
        return None
    if old_id == job.id and around.last >= _SKIPS_ITSELF:
        why = "a job that starts itself would never end; releases from 2.5 on pass over it"
        notes.dropped(
            column, item, why, Verdict.IDENTICAL if around.first >= _SKIPS_ITSELF else Verdict.CHANGED
        )
        return None
    if item != name:
        notes.note(column, repr(item), name, "blanks around an id mean nothing here")
    return old_id


def cycles(links: Mapping[int, Iterable[int]]) -> list[list[int]]:
    """The groups of jobs that lead to each other, each by ascending ids: Tarjan's components without recursion."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on_stack: set[int] = set()
    stack: list[int] = []
    found: list[list[int]] = []
    for root in sorted(links):
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        walk = [(root, iter(sorted(links[root])))]
        while walk:
            one, following = walk[-1]
            for child in following:
                if child not in links:
                    continue
                if child not in index:
                    index[child] = low[child] = len(index)
                    stack.append(child)
                    on_stack.add(child)
                    walk.append((child, iter(sorted(links[child]))))
                    break
                if child in on_stack:
                    low[one] = min(low[one], index[child])
            else:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[one])
                if low[one] == index[one]:
                    group = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        group.append(member)
                        if member == one:
                            break
                    if len(group) > 1 or one in links[one]:
                        found.append(sorted(group))
    return found

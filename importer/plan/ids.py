"""Which id each thing has here: its own when that is free, else the next above all that were ever used."""

from __future__ import annotations

from collections.abc import Iterable

MAX_ID = (1 << 31) - 1


class Ids:
    """Ids of one kind. `taken` are of other things; `floor` is above all that the source has ever given out."""

    def __init__(self, taken: Iterable[int], floor: int) -> None:
        self._used = {0, *taken}
        self._reserved: set[int] = set()
        self._next = min(max(floor, max(self._used) + 1, 1), MAX_ID)

    def reserve(self, ids: Iterable[int]) -> None:
        """Ids that things of the source will ask for: nothing else gets them."""
        self._reserved.update(one for one in ids if 0 < one <= MAX_ID)
        top = max((one for one in self._reserved if one < MAX_ID), default=0)
        self._next = max(self._next, top + 1)

    def keep(self, wanted: int) -> int:
        """The id itself, or another where it is taken or none that fits."""
        if not 0 < wanted <= MAX_ID or wanted in self._used:
            return self.another()
        self._used.add(wanted)
        return wanted

    def another(self) -> int:
        at = self._next
        while at in self._used or at in self._reserved or at > MAX_ID:
            at = 1 if at >= MAX_ID else at + 1
        self._used.add(at)
        self._next = min(at + 1, MAX_ID)
        return at

    def first_free(self) -> int:
        """Above all of them."""
        return min(max(self._next, max(self._used) + 1), MAX_ID)

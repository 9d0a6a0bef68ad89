"""Moves of one shape as one statement: what they set, under which guard, and whether one of them has been done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gateway.core.states import OPEN
from gateway.core.work import Move, Value


def by_shape(moves: Iterable[Move]) -> Iterable[tuple[frozenset[Any], tuple[str, ...], list[Move]]]:
    """Group moves that set the same columns under the same guard; each group stays in the order of ids.

    `moves` are in the order of ids; a run's second move is in a later group than its first.
    """
    groups: dict[tuple[Any, ...], list[Move]] = {}
    turn, previous = 0, 0
    for move in moves:
        turn = turn + 1 if move.run_id == previous else 0
        previous = move.run_id
        is_guarded = move.claim is not None
        key = (
            turn, move.sources, tuple(move.values), move.to, is_guarded, move.optional, move.belated, move.sequels,
        )  # fmt: skip
        groups.setdefault(key if move.belated else (*key[:3], move.to in OPEN, *key[4:]), []).append(move)
    for (_, sources, names, *_), group in sorted(groups.items(), key=lambda item: item[0][0]):
        is_open = group[0].to in OPEN or "open_part" in names
        head = ("state",) if is_open else ("state", "open_part")
        yield sources, (*head, *names), group


def without_state(moves: Sequence[Move]) -> Iterable[tuple[frozenset[Any], tuple[str, ...], list[Move]]]:
    """As `by_shape`, for moves that leave the state alone."""
    for sources, columns, group in by_shape(moves):
        yield sources, columns[1:], group


def values_of(move: Move, columns: tuple[str, ...]) -> tuple[Value, ...]:
    """A belated move has no state among its columns: the statement says on what the state depends."""
    own = tuple(move.values.values())
    if len(columns) == len(own):
        return own
    return (int(move.to), *own) if len(columns) == len(own) + 1 else (int(move.to), None, *own)


def fits(move: Move, state: int, claim: int, sequel: int) -> bool:
    """Whether a row that says this lets itself be moved so."""
    return (
        state in move.sources
        and (move.claim is None or move.claim == claim)
        and (move.sequels is None or sequel in move.sequels)
    )


def variants(move: Move) -> Iterator[Move]:
    """The move, and what is to be tried instead, in order."""
    one: Move | None = move
    while one is not None:
        yield one
        one = one.otherwise


def fits_row(move: Move, rows: Mapping[int, tuple[int, int, int, int]]) -> bool:
    """As `fits`, for rows of (state, claim, finished, sequel) by run."""
    state, claim, _, sequel = rows.get(move.run_id, (0, 0, 0, 0))
    return fits(move, state, claim, sequel)


def row_after(move: Move, claim: int, finished: int, sequel: int) -> tuple[int, int, int, int]:
    """The (state, claim, finished, sequel) of a run after this move; `finished` is that of before it."""
    token, follows = move.values.get("claim_token", claim), move.values.get("sequel", sequel)
    return (
        move.to,
        token if isinstance(token, int) else claim,
        finished,
        follows if isinstance(follows, int) else sequel,
    )


def is_applied(move: Move, state: int, claim: int, finished: int) -> bool:
    """Whether a commit of unknown outcome has done this move: the row carries what only it would have set."""
    if state != move.to:
        return False
    if "claim_token" in move.values:
        return claim == move.values["claim_token"]
    if "finished_ms" in move.values:
        return finished == move.values["finished_ms"]
    return True


def applied_one(move: Move, state: int, claim: int, finished: int) -> Move | None:
    """The one of its variants that has been done so, if any."""
    return next((one for one in variants(move) if is_applied(one, state, claim, finished)), None)

"""Who should own what: equal shares, whatever comes and goes, and nobody called dead too early."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.cluster import (
    FREE,
    Division,
    Holder,
    Holding,
    Member,
    Roster,
    Watch,
    candidates,
    divide,
    farewell,
    quotas,
)
from gateway.core.model import PARTS

NAMES = "abcde"


def member(name: str, **changes: Any) -> Member:
    return replace(Member(name, 1, 1, address=f"http://{name}"), **changes)


def roster(*members: Member, **owned: int | range | list[int]) -> Roster:
    """`owned`: by the node's name, how many parts in a row, or which."""
    known = {one.name: one for one in members}
    holders: dict[int, Holder] = {}
    following = 0
    for name, which in owned.items():
        parts = range(following, following + which) if isinstance(which, int) else which
        following += which if isinstance(which, int) else 0
        holders.update((part, known[name].holder) for part in parts)
    return Roster(known, holders)


# ------------------------------------------------------------ shares


@given(st.sets(st.text(min_size=1), min_size=1, max_size=PARTS + 20))
def test_quotas_are_equal_and_give_out_all_parts(names):
    found = quotas(names)
    assert found.keys() == names
    assert sum(found.values()) == PARTS
    assert max(found.values()) - min(found.values()) <= 1


def test_no_nodes_have_no_quotas():
    assert quotas([]) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "abc"),
        ({"b": {"draining": True}}, "ac"),
        ({"b": {"fit": False}}, "ac"),
        ({"a": {"draining": True}, "b": {"draining": True}, "c": {"draining": True}}, "abc"),
        ({"a": {"draining": True}, "b": {"fit": False}, "c": {"fit": False}}, "a"),
    ],
)
def test_candidates(changes, expected):
    members = [member(name, **changes.get(name, {})) for name in "abc"]
    assert "".join(candidates(roster(*members), set("abc"))) == expected
    assert "".join(candidates(roster(*members, member("dead")), set("abc"))) == expected


def test_where_no_clock_of_several_is_right_all_go_on():
    """The database's own clock is the wrong one then; a single node owns no more than it does."""
    wrong = [member(name, fit=False) for name in "abc"]
    assert candidates(roster(*wrong, a=64, b=64), set("abc")) == ["a", "b", "c"]
    assert candidates(roster(*wrong, a=64, b=64), set("b")) == ["b"]
    assert candidates(roster(*wrong, a=64, b=64), set("c")) == []


# ------------------------------------------------------------ one step


def test_the_first_node_takes_all():
    assert divide(roster(member("a")), {"a"}, "a") == Division(dict.fromkeys(range(PARTS), FREE), {})


def test_a_newcomer_is_given_its_share_and_takes_nothing_itself():
    found = roster(member("a"), member("b"), a=128)
    assert divide(found, set("ab"), "b") == Division()
    division = divide(found, set("ab"), "a")
    assert division.take == {}
    assert {to: len(parts) for to, parts in division.give.items()} == {"b": 64}


def test_parts_of_the_dead_are_divided_without_a_word():
    """Each survivor takes another half, so that no guarded update is in vain."""
    dead = member("c", live=False, epoch=2)
    holders = dict.fromkeys(range(PARTS), ("c", 1))
    found = Roster({"a": member("a"), "b": member("b"), "c": dead}, holders)
    mine, other = divide(found, set("ab"), "a").take, divide(found, set("ab"), "b").take
    assert mine.keys() | other.keys() == set(range(PARTS))
    assert not mine.keys() & other.keys()
    assert set(mine.values()) | set(other.values()) == {("c", 1)}


def test_parts_under_an_earlier_lease_are_nobodys():
    found = Roster({"a": member("a", epoch=5)}, dict.fromkeys(range(PARTS), ("a", 4)))
    assert divide(found, {"a"}, "a").take == dict.fromkeys(range(PARTS), ("a", 4))


def test_what_has_been_nobodys_for_long_is_taken_by_anyone():
    """Whoever it is meant for may be unable to take it."""
    found = roster(member("a"), member("b"), a=64)
    free = set(range(64, PARTS))
    assert divide(found, set("ab"), "a") == Division()
    assert divide(found, set("ab"), "a", overdue={70, 71}).take.keys() == {70, 71}
    assert divide(found, set("ab"), "b").take.keys() == free


def test_a_node_that_drains_gives_all_and_takes_nothing():
    found = roster(member("a", draining=True), member("b"), a=100)
    assert divide(found, set("ab"), "a").take == {}
    assert len(divide(found, set("ab"), "b").take) == 28
    found = roster(member("a", draining=True), member("b"), a=100, b=28)
    assert {to: len(parts) for to, parts in divide(found, set("ab"), "a").give.items()} == {"b": 100}


def test_nobody_gives_for_a_node_that_is_silent():
    """It may be dead, or alive and at work: its parts are divided once its lease has been ended."""
    found = roster(member("a"), member("b"), member("c"), a=43, b=43, c=42)
    assert divide(found, set("ab"), "a") == Division()
    assert divide(found, set("ab"), "b") == Division()


# ------------------------------------------------------------ a farewell


def test_a_farewell_fills_up_the_emptiest_first():
    found = roster(member("a"), member("b"), member("c"), a=60, b=60, c=8)
    gifts = farewell(found, set("abc"), "a")
    load = {name: len(found.parts_of(found.members[name])) + len(gifts[name]) for name in "bc"}
    assert load == {"b": 64, "c": 64}


def test_nobody_is_there_for_a_farewell():
    found = roster(member("a"), member("b", live=False), a=128)
    assert farewell(found, {"a"}, "a") == {}
    assert farewell(found, set("a"), "z") == {}


def test_a_farewell_passes_over_who_drains_unless_there_is_nobody_else():
    found = roster(member("a"), member("b", draining=True), member("c"), a=128)
    assert set(farewell(found, set("abc"), "a")) == {"c"}
    assert set(farewell(found, set("ab"), "a")) == {"b"}


# ------------------------------------------------------------ holding


def test_holding():
    held = Holding(range(4))
    held.add([9])
    held.remove([0, 77])
    assert (sorted(held), 9 in held, 0 in held, len(held)) == ([1, 2, 3, 9], True, False, 4)
    assert not held.is_all
    held.add(range(PARTS))
    assert held.is_all
    held.clear()
    assert not held


# ------------------------------------------------------------ any history


@dataclass
class Cluster:
    """The database of several nodes: guarded updates, and looks that may be old when they are acted upon."""

    members: dict[str, Member] = field(default_factory=dict)
    holders: dict[int, Holder] = field(default_factory=lambda: dict.fromkeys(range(PARTS), FREE))
    alive: set[str] = field(default_factory=set)
    looks: dict[str, tuple[Roster, frozenset[str], int]] = field(default_factory=dict)
    moves: Counter[int] = field(default_factory=Counter)

    def do(self, what: str, name: str) -> None:
        known = self.members.get(name)
        if what == "join" and name not in self.alive:
            self.alive.add(name)
            self.members[name] = member(name, epoch=known.epoch + 1 if known else 1)
        elif what == "die":
            self.alive.discard(name)
            self.looks.pop(name, None)
        elif what == "fence" and known is not None and name not in self.alive and known.live:
            self.members[name] = replace(known, live=False, epoch=known.epoch + 1)
        elif what in ("drain", "resume") and known is not None:
            self.members[name] = replace(known, draining=what == "drain")
        elif what in ("clock wrong", "clock right") and known is not None:
            self.members[name] = replace(known, fit=what == "clock right")
        elif what == "look" and name in self.alive:
            own = self.members[name].epoch
            self.looks[name] = Roster(dict(self.members), dict(self.holders)), frozenset(self.alive), own
        elif what == "act" and name in self.looks:
            self._act(name, *self.looks.pop(name))

    def _act(self, name: str, seen: Roster, alive: frozenset[str], epoch: int) -> None:
        if self.members[name].epoch != epoch:
            return  # its lease is another one by now: every write of the old one fails
        division = divide(seen, alive, name)
        for part, holder in division.take.items():
            if self.holders[part] == holder:
                self._set(part, (name, epoch))
        for to, parts in division.give.items():
            for part in parts:
                if self.holders[part] == (name, epoch):
                    self._set(part, seen.members[to].holder)

    def _set(self, part: int, holder: Holder) -> None:
        self.holders[part] = holder
        self.moves[part] += 1

    def roster(self) -> Roster:
        return Roster(dict(self.members), dict(self.holders))

    def is_stable(self) -> bool:
        return all(divide(self.roster(), self.alive, name) == Division() for name in self.alive)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("join", "join", "die", "fence", "drain", "resume", "clock wrong", "clock right"),
                *("look", "look", "act", "act"),
            ]
        ),
        st.sampled_from(NAMES),
    ),
    max_size=60,
)


def after(history: list[tuple[str, str]]) -> Cluster:
    """That history, and then somebody is alive, and the leases of the dead are over."""
    cluster = Cluster()
    for what, name in history:
        cluster.do(what, name)
    if not cluster.alive:
        cluster.do("join", "a")
    for name in NAMES:
        cluster.do("fence", name)
    return cluster


def assert_shared_equally(cluster: Cluster) -> None:
    found = cluster.roster()
    wanted = candidates(found, cluster.alive)
    owned = Counter(owner.name for part in range(PARTS) if (owner := found.owner(part)) is not None)
    if not wanted:
        assert not owned  # no clock is right, and none of them owned anything
        return
    assert sum(owned.values()) == PARTS
    assert set(owned) <= set(wanted)
    shares = [owned[name] for name in wanted]
    assert max(shares) - min(shares) <= 1


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.data())
def test_every_history_ends_in_equal_shares(history, data):
    """In whatever order the nodes look and act, also upon looks that are old by then."""
    cluster = after(history)
    order = st.permutations([(what, name) for what in ("look", "act") for name in sorted(cluster.alive)])
    for _ in range(6):
        for what, name in data.draw(order):
            cluster.do(what, name)
    for _ in range(3):  # each looks and acts at once, as nodes do
        for name in data.draw(st.permutations(sorted(cluster.alive))):
            cluster.do("look", name)
            cluster.do("act", name)
    assert cluster.is_stable()
    assert_shared_equally(cluster)


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.data())
def test_no_part_moves_twice_between_fresh_looks(history, data):
    """Nothing goes to and fro."""
    cluster = after(history)
    cluster.moves.clear()
    for _ in range(4):
        for name in data.draw(st.permutations(sorted(cluster.alive))):
            cluster.do("look", name)
            cluster.do("act", name)
    assert max(cluster.moves.values(), default=0) <= 1
    assert cluster.is_stable()
    assert_shared_equally(cluster)


# ------------------------------------------------------------ who is silent

LONGEST_S = 1.0


def looked(*looks: tuple[float, int], took_s: float = 0.0, watch: Watch | None = None) -> Watch:
    """A watch that looked at these instants and found those beats."""
    watch = watch or Watch(LONGEST_S)
    for now, beat in looks:
        watch.look([member("a", beat=beat)], now, took_s=took_s)
    return watch


def test_silence_is_counted_from_the_first_look_that_found_the_beat():
    assert looked((0, 5), (0.5, 5), (1.0, 5)).silent_s("a") == pytest.approx(1.0)
    assert looked((0, 5)).silent_s("a") == 0
    assert looked((0, 5), (0.5, 5), (1.0, 6), (1.5, 6)).silent_s("a") == pytest.approx(0.5)
    assert looked((0, 5)).silent_s("nobody") == 0


def test_another_epoch_is_a_sign_of_life():
    watch = looked((0, 5), (0.5, 5))
    watch.look([member("a", beat=5, epoch=2)], 1.0)
    assert watch.silent_s("a") == 0


def test_a_long_gap_between_two_looks_accuses_nobody():
    assert looked((0, 5), (60, 5)).silent_s("a") == 0
    assert looked((0, 5), (60, 5), (60.5, 5)).silent_s("a") == pytest.approx(0.5)


def test_a_look_that_took_long_accuses_nobody():
    watch = looked((0, 5), (0.5, 5))
    watch.look([member("a", beat=5)], 1.0, took_s=5.0)
    assert watch.silent_s("a") == pytest.approx(0.5)


def test_who_was_away_for_a_look_begins_anew():
    watch = looked((0, 5), (0.5, 5))
    watch.look([], 1.0)
    assert looked((1.5, 5), watch=watch).silent_s("a") == 0


TENTHS = st.integers(0, 12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(TENTHS, TENTHS, TENTHS), min_size=2, max_size=12), st.sets(st.integers(0, 100)))
def test_nobody_is_called_silent_for_longer_than_it_was(looks, beats):
    """Whenever within a look the database read the beat: that a node which lost its lease sends nothing hangs on this."""
    watch = Watch(LONGEST_S)
    now = 0
    for pause, took, read in looks:  # in tenths of a second
        begun = now + pause
        now = begun + took
        before = [at for at in beats if at <= min(begun + read, now)]
        watch.look([member("a", beat=len(before))], begun / 10, took_s=took / 10)
        assert watch.silent_s("a") <= max(begun - max(before, default=0), 0) / 10 + 1e-9

"""Limits of submissions: what several nodes grant together, against what a limit means."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import TooMany
from gateway.core.quota import Draw, Limited, Limits, Rate, draw
from gateway.flow.quotas import SharedQuotas
from tests.kit.operations import StillClock

rates = st.builds(Rate, st.sampled_from([0.01, 0.7, 3.0, 40.0, 1000.0]), st.integers(1, 200))
calls = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3000), st.sampled_from([1, 1, 1, 2, 30, 201])), max_size=60
)


class Shared:
    """Implements `QuotaStore` in memory: the row that all nodes share."""

    def __init__(self, clock: StillClock, *limited: tuple[str, Rate]) -> None:
        self.clock = clock
        self.full_at_us: dict[str, int] = {}
        self.draws = 0
        found = [Limited(name, name, rate) for name, rate in limited]
        self.all = Limits({"me": found[0]}, dict(enumerate(found[1:], 1)))

    async def limits(self) -> Limits:
        return self.all

    async def draw(self, name: str, rate: Rate, wanted: int) -> Draw:
        self.draws += 1
        drawn = draw(self.full_at_us.get(name, 0), self.clock.now_ms() * 1000, rate, wanted)
        self.full_at_us[name] = drawn.full_at_us
        return drawn


@settings(max_examples=150, deadline=None)
@given(rates, calls)
def test_several_nodes_never_grant_more_than_the_limit(rate: Rate, made: list[tuple[int, int, int]]) -> None:
    """In any span: the burst, what the rate gives meanwhile, and at most a block for each node that was not used."""
    clock = StillClock()
    store = Shared(clock, ("a", rate))
    nodes = [SharedQuotas(clock, store) for _ in range(3)]
    granted: list[tuple[int, int]] = []
    for node, wait_ms, count in made:
        clock.ms += wait_ms
        try:
            asyncio.run(nodes[node].take(1, "me", count))
        except TooMany as error:
            assert (error.wait_s is None) == (count > rate.burst)  # noqa: PT017 – some are refused
        else:
            granted.append((clock.ms, count))
    for first, (begin_ms, _) in enumerate(granted):
        total = 0
        for end_ms, count in granted[first:]:
            total += count
            spare = 0 if rate.block == 1 else 3 * rate.block
            assert total <= rate.burst + (end_ms - begin_ms) / 1000 * rate.per_second + spare + 1e-6


@settings(max_examples=60, deadline=None)
@given(rates, st.integers(1, 60))
def test_who_waits_as_long_as_it_is_told_is_taken(rate: Rate, count: int) -> None:
    clock = StillClock()
    quotas = SharedQuotas(clock, Shared(clock, ("a", rate)))
    count = min(count, rate.burst)
    for _ in range(6):
        try:
            asyncio.run(quotas.take(1, "me", count))
        except TooMany as error:
            assert error.wait_s is not None  # noqa: PT017 – some have to wait
            clock.ms += int(error.wait_s * 1000) + 1
            asyncio.run(quotas.take(1, "me", count))


def test_a_call_that_is_refused_takes_nothing():
    clock = StillClock()
    store = Shared(clock, ("token", Rate(1, 5)), ("namespace", Rate(1, 3)))
    quotas = SharedQuotas(clock, store)
    for _ in range(3):
        asyncio.run(quotas.take(1, "me"))
    for _ in range(4):
        refused = _refused(quotas, 1, "me")
        assert "namespace" in str(refused)
    asyncio.run(quotas.take(2, "me", 2))  # another namespace, without a limit: the token has two left
    assert "token" in str(_refused(quotas, 2, "me"))


def _refused(quotas: SharedQuotas, namespace_id: int, token: str) -> TooMany:
    try:
        asyncio.run(quotas.take(namespace_id, token))
    except TooMany as error:
        return error
    raise AssertionError("it was taken")


def test_a_node_asks_the_store_a_few_times_a_second_at_most():
    clock = StillClock()
    store = Shared(clock, ("a", Rate(1000, 1000)))
    quotas = SharedQuotas(clock, store)
    taken = 0
    for _ in range(4000):
        clock.ms += 1
        try:
            asyncio.run(quotas.take(1, "me"))
        except TooMany:
            continue
        taken += 1
    assert taken == 4000
    assert store.draws <= 45


def test_a_refusal_is_remembered_until_somebody_may_be_taken():
    clock = StillClock()
    store = Shared(clock, ("a", Rate(0.5, 1)))
    quotas = SharedQuotas(clock, store)
    asyncio.run(quotas.take(1, "me"))
    for _ in range(100):
        clock.ms += 10
        assert _refused(quotas, 1, "me").wait_s <= 2
    assert store.draws == 2


def test_another_rate_begins_anew():
    clock = StillClock()
    store = Shared(clock, ("a", Rate(0.001, 1)))
    quotas = SharedQuotas(clock, store)
    asyncio.run(quotas.take(1, "me"))
    assert _refused(quotas, 1, "me").wait_s > 900
    store.all.tokens["me"] = Limited("a", "a", Rate(10, 10))
    store.full_at_us.clear()
    asyncio.run(quotas.take(1, "me"))


def test_without_a_limit_nothing_is_asked():
    clock = StillClock()
    store = Shared(clock, ("a", Rate(1, 1)))
    for _ in range(100):
        asyncio.run(SharedQuotas(clock, store).take(7, "somebody else"))
    assert store.draws == 0

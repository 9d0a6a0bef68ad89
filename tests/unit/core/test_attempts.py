"""How often somebody may be wrong."""

from __future__ import annotations

from gateway.core.attempts import FORGET_S, LONGEST_WAIT_S, MOST_KEPT, Attempts, Known


def test_the_first_failures_cost_nothing_and_the_others_more_and_more():
    attempts, now = Attempts(free=3), 100.0
    waits = []
    for _ in range(30):
        attempts.failed("a", now)
        waits.append(attempts.wait_s("a", now))
    assert waits[:6] == [0, 0, 1, 2, 4, 8]
    assert max(waits) == LONGEST_WAIT_S
    assert attempts.wait_s("a", now + LONGEST_WAIT_S) == 0
    assert attempts.wait_s("b", now) == 0


def test_what_is_forgotten_and_forgiven():
    attempts = Attempts(free=1)
    attempts.failed("a", 0)
    assert attempts.wait_s("a", 0) == 1
    attempts.forgive("a", 0)
    assert attempts.wait_s("a", 0) == 0
    attempts.failed("a", 0)
    attempts.succeeded("a")
    attempts.failed("a", 0)
    assert attempts.wait_s("a", 0) == 1
    assert attempts.wait_s("a", FORGET_S) == 0
    attempts.failed("a", FORGET_S)
    assert attempts.wait_s("a", FORGET_S) == 1
    attempts.forgive("nobody", 0)


def test_what_is_forgiven_makes_nobody_wait():
    attempts = Attempts(free=1)
    attempts.failed("a", 0)
    attempts.failed("a", 1)
    assert attempts.wait_s("a", 1) == 2
    attempts.failed("a", 5)
    attempts.forgive("a", 5)
    assert attempts.wait_s("a", 5) == 0
    attempts.failed("a", 6)
    attempts.failed("a", 7)
    attempts.forgive("a", 6)  # somebody has failed since
    assert attempts.wait_s("a", 7) == 4


def test_memory_is_bounded():
    attempts = Attempts(free=1)
    for number in range(MOST_KEPT + 5):
        attempts.failed(str(number), 0)
    assert attempts.wait_s("0", 0) == 0
    assert attempts.wait_s(str(MOST_KEPT), 0) == 1


def test_what_was_right_before():
    known = Known(b"key")
    known.add("ann", "secret")
    assert known.has("ann", "secret")
    assert not known.has("ann", "Secret")
    assert not known.has("bob", "secret")
    assert not known.has("an", "n secret")
    assert "secret" not in repr(vars(known))
    known.discard("ann", "secret")
    known.discard("ann", "secret")
    assert not known.has("ann", "secret")
    for number in range(MOST_KEPT + 1):
        known.add("ann", str(number))
    assert [known.has("ann", "0"), known.has("ann", "1")] == [False, True]

"""Users and their sessions, on every database."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from gateway.core.errors import Conflict, NotFound
from gateway.core.model import AddressMode, App
from gateway.core.users import LONGEST_SESSION_S, SESSION_S, Role, User
from gateway.store import sessions
from gateway.store.apps import AppStore
from gateway.store.history import HistoryStore
from gateway.store.ids import app_ids
from gateway.store.passwords import Passwords
from gateway.store.sessions import SessionStore
from gateway.store.tables import event, user_account, user_session
from gateway.store.users import UserStore

ALICE = User(0, "alice", Role.NORMAL, frozenset({3, 11}))


@pytest.fixture
def users(db, clock):
    return UserStore(db, clock, Passwords(memory_kib=64))


@pytest.fixture
def opened(db, clock):
    return SessionStore(db, clock)


async def test_what_is_kept_of_a_user(users, rows):
    made = await users.create(ALICE, "let-me-in-77")
    assert replace(made, id=0, created_ms=0, updated_ms=0) == ALICE
    assert await users.get("alice") == await users.by_id(made.id) == made
    assert await users.all_users() == [made]
    (row,) = await rows(user_account)
    assert row["password_hash"].startswith("$argon2id$")
    assert row["cookie_hash"] == ""
    assert "let-me-in" not in str(await rows(event))
    with pytest.raises(Conflict):
        await users.create(ALICE, "other")
    await users.create(replace(ALICE, username="Alice"), "other")
    for missing in (users.get("bob"), users.by_id(99), users.remove(99), users.update(replace(made, id=99))):
        with pytest.raises(NotFound):
            await missing


async def test_rights_to_an_app_end_with_it(db, clock, users, opened):
    """Another may get its id."""
    apps = AppStore(db, clock, app_ids(db, clock))
    kept, gone = [
        await apps.create(App(0, 1, name, "", AddressMode.AUTO, (), 0, 0)) for name in ("kept", "gone")
    ]
    alice = await users.create(replace(ALICE, app_ids=frozenset({kept.id, gone.id})), "let-me-in-77")
    bob = await users.create(User(0, "bob", Role.NORMAL, frozenset({kept.id})), "let-me-in-77")
    await apps.delete(gone.id)
    assert (await users.get("alice")).app_ids == {kept.id}
    assert await users.get("bob") == bob
    assert (await users.get("alice")).updated_ms == alice.updated_ms


async def test_passwords(users):
    made = await users.create(ALICE, "päss wörd")
    assert await users.with_password("alice", "päss wörd") == made
    assert await users.with_password("alice", "pass word") is None
    assert await users.with_password("bob", "päss wörd") is None
    await users.set_password(made, "another")
    assert await users.with_password("alice", "päss wörd") is None
    assert await users.with_password("alice", "another") is not None


async def test_digests_only_of_accounts_that_allow_them(users):
    def md5(text):
        return hashlib.md5(text.encode()).hexdigest()

    made = await users.create(ALICE, "first")
    assert await users.with_digest("alice", md5("first")) is None
    made = await users.set_password(replace(made, old_cookie=True), "second")
    for _ in range(2):
        assert await users.with_digest("alice", md5("second")) == made
        assert await users.with_digest("alice", md5("first")) is None
    await users.set_password(made, "third")
    assert await users.with_digest("alice", md5("second")) is None
    assert await users.with_digest("alice", md5("third")) is not None


async def test_sessions(users, opened, clock, rows):
    alice = await users.create(ALICE, "first")
    text = await opened.open(alice, "g2")
    assert text not in str(await rows(user_session))
    found = await opened.find(text)
    assert (found.user.id, found.user.app_ids, found.style) == (alice.id, alice.app_ids, "g2")
    await opened.restyle(text, "g3a")
    await users.update(replace(alice, role=Role.ADMIN, app_ids=frozenset()))
    found = await opened.find(text)
    assert (found.user.role, found.style) == (Role.ADMIN, "g3a")
    assert await opened.find("nothing") is None
    clock.ms += SESSION_S * 1000 - 1
    assert await opened.find(text) is not None
    clock.ms += SESSION_S * 1000 - 1
    assert await opened.find(text) is not None
    clock.ms += SESSION_S * 1000
    assert await opened.find(text) is None


async def test_no_session_is_longer_than_the_longest(users, opened, clock):
    text = await opened.open(await users.create(ALICE, "first"), "g2")
    for _ in range(LONGEST_SESSION_S // (73 * 86_400) - 1):
        for _ in range(4):
            clock.ms += 73 * 86_400_000 // 4
            assert await opened.find(text) is not None
    clock.ms += 73 * 86_400_000 // 4
    assert await opened.find(text) is not None
    clock.ms += 73 * 86_400_000 * 3 // 4
    assert await opened.find(text) is None


async def test_what_ends_sessions(users, opened, rows):
    alice = await users.create(ALICE, "first")
    bob = await users.create(replace(ALICE, username="bob"), "first")
    one, two, other = [await opened.open(user, "g2") for user in (alice, alice, bob)]
    await users.set_password(alice, "second", keep=two)
    assert [await opened.find(text) is not None for text in (one, two, other)] == [False, True, True]
    await opened.close(two)
    assert await opened.find(two) is None
    await users.remove(bob.id)
    assert await rows(user_session) == []


async def test_an_account_has_so_many_sessions(users, opened, clock, monkeypatch):
    monkeypatch.setattr(sessions, "MOST_OF_A_USER", 3)
    alice = await users.create(ALICE, "first")
    texts = []
    for _ in range(5):
        clock.ms += 1
        texts.append(await opened.open(alice, "g2"))
    assert [await opened.find(text) is not None for text in texts] == [False, False, True, True, True]


async def test_sessions_that_are_over_go(db, users, opened, clock, rows):
    alice = await users.create(ALICE, "first")
    await opened.open(alice, "g2")
    clock.ms += SESSION_S * 1000
    await opened.open(alice, "g2")
    clock.ms += 1
    await HistoryStore(db, clock).sweep(clock.ms, 30, 365)
    assert len(await rows(user_session)) == 1

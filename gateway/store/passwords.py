"""Passwords as argon2id, computed beside the event loop and a few at a time.

19 MiB, two passes: what OWASP names as the least. More memory would let a few logins push the scheduler out of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

AT_ONCE = 2


class Passwords:
    """`memory_kib` is for tests: what is kept says how it was made."""

    def __init__(self, memory_kib: int = 19_456, at_once: int = AT_ONCE) -> None:
        self._memory_kib = memory_kib
        self._turns = asyncio.Semaphore(at_once)
        self._nobody = ""

    @cached_property
    def _hasher(self) -> PasswordHasher:
        from argon2 import PasswordHasher

        return PasswordHasher(time_cost=2, memory_cost=self._memory_kib, parallelism=1)

    async def hashed(self, text: str) -> str:
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, _bytes(text))

    async def matches(self, kept: str | None, text: str) -> bool:
        """`kept` is None for a name that nobody has: it takes as long, and tells nothing."""
        if kept is None:
            self._nobody = kept = self._nobody or await self.hashed("")
        async with self._turns:
            return await asyncio.to_thread(self._matches, kept, text)

    def _matches(self, kept: str, text: str) -> bool:
        from argon2.exceptions import Argon2Error, InvalidHashError

        try:
            return self._hasher.verify(kept, _bytes(text))
        except (Argon2Error, InvalidHashError):
            return False


def md5_of(password: str) -> str:
    """What an xxl-job-admin before 3.2 keeps of a password, and puts into its cookie."""
    return hashlib.md5(_bytes(password), usedforsecurity=False).hexdigest()


def in_scheme(scheme: str, password: str) -> str:
    """What is hashed of a password: itself, or what an old admin kept of it."""
    if scheme == "md5":
        return md5_of(password)
    return sha256_of(password) if scheme == "sha256" else password


def sha256_of(password: str) -> str:
    """What an xxl-job-admin from 3.2 on keeps of a password."""
    return hashlib.sha256(_bytes(password)).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")

"""Calls to the control listeners of other nodes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog

from gateway.core.cluster import Member
from gateway.core.errors import Conflict, Unreachable
from gateway.core.model import Beat, ExecutorResult
from gateway.core.ports import StopReport
from gateway.core.states import RunState
from gateway.peers.listener import FOR_NODE

log = structlog.get_logger(__name__)

TIMEOUT_S = 1.0
STOP_TIMEOUT_S = 10.0
GONE_TIMEOUT_S = 0.2
PASS_TIMEOUT_S = 0.3  # executors wait as little as a second, and the spool may still have to be written
ENDED_AT_ONCE = 20_000


class PeerCaller:
    """Implements `core.ports.Peers`. Of what nobody waits for, one call a node is under way; the next says the rest."""

    def __init__(self, secret: str) -> None:
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"})
        self._members: dict[str, Member] = {}
        self._ended: dict[str, list[int]] = {}
        self._nudged: set[str] = set()
        self._beats: set[asyncio.Task[None]] = set()
        self._telling: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        tasks = (*self._telling.values(), *self._beats)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    # ------------------------------------------------------------ nobody waits

    def nudge(self, member: Member) -> None:
        self._nudged.add(member.name)
        self._tell(member)

    def tell_ended(self, member: Member, run_ids: Sequence[int]) -> None:
        waiting = self._ended.setdefault(member.name, [])
        if len(waiting) < ENDED_AT_ONCE:  # what is left out is found by the owner's sweep
            waiting.extend(run_ids)
        self._tell(member)

    def _tell(self, member: Member) -> None:
        self._members[member.name] = member
        if member.address and member.name not in self._telling:
            self._telling[member.name] = asyncio.get_running_loop().create_task(self._tell_all(member.name))

    async def _tell_all(self, name: str) -> None:
        try:
            while name in self._nudged or self._ended.get(name):
                run_ids = self._ended.pop(name, [])
                self._nudged.discard(name)
                path, body = ("ended", {"runs": run_ids}) if run_ids else ("look", {})
                with contextlib.suppress(Unreachable):
                    await self._post(self._members[name], path, body, TIMEOUT_S)
        finally:
            del self._telling[name]

    def pass_beat(self, member: Member, beat: Beat) -> None:
        task = asyncio.get_running_loop().create_task(self._pass_beat(member, beat))
        self._beats.add(task)
        task.add_done_callback(self._beats.discard)

    async def _pass_beat(self, member: Member, beat: Beat) -> None:
        with contextlib.suppress(Unreachable):
            await self._post(member, "beat", asdict(beat), TIMEOUT_S)

    # ------------------------------------------------------------ somebody waits

    async def pass_results(self, member: Member, results: Sequence[ExecutorResult], client: str) -> bool:
        body = {"client": client, "results": [asdict(result) for result in results]}
        answer = await self._post(member, "results", body, PASS_TIMEOUT_S)
        return answer["durable"] is True

    async def jobs_changed(self, member: Member, job_ids: Collection[int]) -> None:
        await self._post(member, "jobs", {"jobs": sorted(job_ids)}, TIMEOUT_S)

    async def app_changed(self, member: Member, app_id: int) -> None:
        await self._post(member, "apps", {"apps": [app_id]}, TIMEOUT_S)

    async def pauses_changed(self, member: Member) -> None:
        await self._post(member, "pauses", {}, TIMEOUT_S)

    async def stop(self, member: Member, run_id: int) -> StopReport:
        answer = await self._post(member, "stop", {"runs": [run_id]}, STOP_TIMEOUT_S)
        try:
            return StopReport(answer["run"], RunState(answer["state"]), tuple(answer["also"]))
        except (KeyError, TypeError, ValueError):
            raise Unreachable(member.name, f"its answer makes no sense: {str(answer)[:100]}") from None

    async def is_gone(self, member: Member) -> bool:
        """Only a refused connection says so: silence may be the network's."""
        host, _, port = member.address.removeprefix("http://").rpartition(":")
        if not host:
            return False
        try:
            async with asyncio.timeout(GONE_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except ConnectionRefusedError:
            return True
        except OSError as error:
            return error.errno == errno.ECONNREFUSED
        except (TimeoutError, ValueError):
            return False
        writer.close()
        return False

    async def _post(self, member: Member, path: str, body: dict[str, Any], timeout_s: float) -> Any:
        """The JSON of the answer. Raises `Unreachable`, and what the other node refused."""
        if not member.address:
            raise Unreachable(member.name, "it has no control listener")
        try:
            async with self._session.post(
                f"{member.address}/control/{path}",
                json=body,
                headers={FOR_NODE: member.name},
                timeout=aiohttp.ClientTimeout(timeout_s),
                allow_redirects=False,
            ) as answer:
                if answer.status == 204:
                    return None
                if answer.status in (200, 409):
                    found = await answer.json()
                    if answer.status == 200:
                        return found
                    if found["error"] == "Conflict":
                        raise Conflict(found["message"])
                    raise Unreachable(member.name, found["message"])
                raise Unreachable(member.name, f"it answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
            raise Unreachable(member.name, repr(error)[:120] + _hint(member.address)) from None


def _hint(address: str) -> str:
    host = urlsplit(address).hostname or ""
    if host != "localhost" and not host.startswith("127.") and host != "::1":
        return ""
    return f"; {host} is every machine's own: if it runs on another one, set control_host there to an address of it"

"""A token of one app, rotated under executors that refuse any other than their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_for_lack
from tests.e2e.gateway_process import GatewayProcess
from tests.e2e.peers import Peer, PeerUnavailableError, make_peer
from tests.kit.process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

APP = "rotated"
TOKENS = f"/api/v1/apps/{APP}/tokens"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    process = GatewayProcess(tmp_path / "gateway")
    try:
        process.start()
        yield process
    finally:
        process.kill()


@pytest.fixture
def executor(gateway: GatewayProcess, tmp_path: Path) -> Iterator[Callable[[str, str], Peer]]:
    """`executor(release, token)`: of the app, started and known, or at least listening if its token is wrong."""
    started: list[Peer] = []

    def start(release: str, token: str, *, known: bool = True) -> Peer:
        try:
            peer = make_peer(f"java-{release}", gateway.admin_url, APP, token, tmp_path / str(len(started)))
        except PeerUnavailableError as lack:
            skip_for_lack(str(lack))
        peer.start()
        started.append(peer)
        peer.wait_listening(60)
        if known:
            wait_until(
                lambda: peer.address in gateway.api.online(APP), timeout_s=20, what="the executor to be known"
            )
        return peer

    yield start
    for peer in started:
        peer.kill()


def new_token(gateway: GatewayProcess, **body: object) -> int:
    made: int = gateway.api.call("POST", TOKENS, body, expect=(201,))["id"]
    return made


def state_on(gateway: GatewayProcess, job_id: int, peer: Peer) -> tuple[str, str]:
    run = gateway.api.wait_run(gateway.api.trigger(job_id, addresses=[f"{peer.address}/"]))
    return run["state"], f"{run['message']} {run['reason']}"


@pytest.mark.parametrize(("release", "other"), [("2.1.2", "3.3.2")])
def test_rotation_stops_nothing(
    gateway: GatewayProcess, executor: Callable[..., Peer], release: str, other: str
) -> None:
    gateway.api.create_app(APP)
    old = new_token(gateway, token="first", old_valid_s=0)
    job_id = gateway.api.create_job(APP, "okHandler")
    before = executor(release, "first")
    assert state_on(gateway, job_id, before)[0] == "succeeded"
    # The new one is valid, and who has the old one is still called by it.
    new_token(gateway, token="second")
    assert state_on(gateway, job_id, before)[0] == "succeeded"
    after = executor(other, "second")
    assert [state_on(gateway, job_id, peer)[0] for peer in (before, after)] == ["succeeded"] * 2
    listed = gateway.api.call("GET", TOKENS)["items"]
    assert [(one["kind"], one["executors"]) for one in listed] == [("own", 1), ("own", 1)]
    # Nobody is called by the old one any more, nor let in with it.
    assert gateway.api.request("DELETE", f"{TOKENS}/{old}")[0] == 204
    assert state_on(gateway, job_id, after)[0] == "succeeded"
    state, said = state_on(gateway, job_id, before)
    assert state == "failed"
    assert "access token" in said
    intruder = executor(other, "first", known=False)
    wait_until(lambda: refusals(gateway), timeout_s=20, what="the event of the refusal")
    assert intruder.address not in gateway.api.online(APP)
    log = gateway.process.output()
    assert "first" not in log
    assert "second" not in log


def refusals(gateway: GatewayProcess) -> list[object]:
    found: list[object] = gateway.api.call("GET", "/api/v1/events?reason=token_refused")["items"]
    return found

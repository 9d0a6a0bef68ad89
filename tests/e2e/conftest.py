"""Gateways and executors as fixtures; what this machine cannot start is skipped with the reason."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_for_lack
from tests.e2e.gateway_process import ACCESS_TOKEN, GatewayProcess
from tests.e2e.peers import Peer, PeerUnavailableError, make_peer

_numbers = itertools.count(1)

DatabaseMaker = Callable[[str], str | None]
PeerMaker = Callable[..., Peer]


@pytest.fixture(scope="session")
def make_database(request: pytest.FixtureRequest) -> DatabaseMaker:
    """`make_database("mariadb")` gives the URL of a fresh database, "sqlite" none: the gateway's default."""

    def make(kind: str) -> str | None:
        if kind == "sqlite":
            return None
        server = request.getfixturevalue("mariadb_server")
        url: str = server.create_database(f"e2e_{os.getpid()}_{next(_numbers)}")
        return url

    return make


def start_peer(
    name: str, gateway: GatewayProcess, appname: str, directory: Path, *, port: int | None = None
) -> Peer:
    """Started, not waited for."""
    try:
        peer = make_peer(name, gateway.admin_url, appname, ACCESS_TOKEN, directory, port=port)
    except PeerUnavailableError as lack:
        skip_for_lack(str(lack))
    peer.start()
    return peer


@pytest.fixture
def extra_peer(tmp_path: Path) -> Iterator[PeerMaker]:
    """`extra_peer(name, gateway, appname)`: an executor of this test alone, killed at its end."""
    started: list[Peer] = []

    def make(name: str, gateway: GatewayProcess, appname: str, *, port: int | None = None) -> Peer:
        peer = start_peer(name, gateway, appname, tmp_path / f"peer-{len(started)}", port=port)
        started.append(peer)
        peer.wait_listening()
        return peer

    yield make
    for peer in started:
        peer.kill()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows the end of the gateway's log."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    gateway = getattr(item, "funcargs", {}).get("gateway")
    if report.failed and isinstance(gateway, GatewayProcess):
        report.sections.append(("gateway.log", gateway.process.tail(60)))

"""Released clients of every generation against the gateway, and the page that says what works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_for_lack
from tests.e2e.gateway_process import GatewayProcess
from tests.matrix.clients import CLIENTS, DOZEN, FEATURES
from tests.matrix.drive import LACK, NO, YES, Result
from tests.matrix.page import PAGE, marks, page
from tests.matrix.suite import Results, drive_all, gateway_in, mixed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    process = gateway_in(tmp_path_factory.mktemp("gateway"))
    process.start()
    yield process
    process.kill()


@pytest.fixture(scope="module")
def results(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return drive_all(gateway, DOZEN, tmp_path_factory.mktemp("matrix"), at_once=len(DOZEN))


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("name", DOZEN)
def test_does_what_the_page_says(results: Results, name: str, feature: str) -> None:
    found = results[name]
    if found["register"].mark == LACK:
        skip_for_lack(found["register"].note)
    assert feature in found, f"not reached: {found}"
    assert found[feature].mark != NO, found[feature].note
    assert found[feature].mark == marks(PAGE.read_text("utf-8"))[CLIENTS[name].title][feature]


def test_several_releases_in_one_app(gateway: GatewayProcess, results: Results, tmp_path: Path) -> None:
    """After `results`, so that not all machines of Java start at once."""
    assert results
    found = mixed(gateway, tmp_path)
    if found.mark == LACK:
        skip_for_lack(found.note)
    assert found.mark == YES, found.note
    assert f"\n{YES}: one broadcast to " in PAGE.read_text("utf-8")


def test_the_page_has_all_clients_and_columns() -> None:
    told = marks(PAGE.read_text("utf-8"))
    assert list(told) == [client.title for client in CLIENTS.values()]
    assert all(list(cells) == list(FEATURES) for cells in told.values())


def test_what_is_missing_or_bad_is_never_shown_as_good() -> None:
    results = {name: dict.fromkeys(FEATURES, Result(YES)) for name in CLIENTS}
    results["pyxxl"] |= {"log": Result(NO, "why"), "kill": Result(LACK, "no pip here")}
    del results["node"], results["java-2.2.0"]["late"]
    told = marks(page(results, Result(NO)))
    assert told[CLIENTS["java-1.9.1"].title] == dict.fromkeys(FEATURES, YES)
    assert told[CLIENTS["node"].title] == dict.fromkeys(FEATURES, NO)
    assert told[CLIENTS["java-2.2.0"].title]["late"] == NO
    assert {told[CLIENTS["pyxxl"].title][feature] for feature in ("log", "kill")} == {NO}
    assert f"\n{NO}: one broadcast to " in page(results, Result(NO))

"""Released clients of every generation against the gateway, and the page that says what works."""

from __future__ import annotations

import pytest

from tests.conftest import skip_for_lack
from tests.matrix.clients import CLIENTS, DOZEN, FEATURES, WAITING
from tests.matrix.drive import LACK, NO
from tests.matrix.page import PAGE, marks, page
from tests.matrix.suite import Results, drive_all, gateway_in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    directory = tmp_path_factory.mktemp("matrix")
    gateway = gateway_in(directory)
    gateway.start()
    try:
        return drive_all(gateway, DOZEN, directory, at_once=len(DOZEN))
    finally:
        gateway.kill()


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("name", DOZEN)
def test_does_what_the_page_says(results: Results, name: str, feature: str) -> None:
    found = results[name]
    if found["register"].mark == LACK:
        skip_for_lack(found["register"].note)
    assert feature in found, f"not reached: {found}"
    assert found[feature].mark != NO, found[feature].note
    assert found[feature].mark == marks(PAGE.read_text("utf-8"))[CLIENTS[name].title][feature]


def test_the_page_has_all_clients_and_columns() -> None:
    told = marks(PAGE.read_text("utf-8"))
    assert list(told) == [client.title for client in CLIENTS.values()]
    assert all(list(cells) == list(FEATURES) for cells in told.values())
    assert not WAITING & set(DOZEN)


def test_a_page_says_what_was_found_and_what_was_not_run(results: Results) -> None:
    """A result that is missing or bad is never shown as a good one."""
    bad = {
        name: {feature: one for feature, one in of.items() if feature != "log"}
        for name, of in results.items()
    }
    told = marks(page(bad))
    for name, client in CLIENTS.items():
        wanted = NO if name in DOZEN else "not yet" if name in WAITING else NO
        assert told[client.title]["log"] == wanted

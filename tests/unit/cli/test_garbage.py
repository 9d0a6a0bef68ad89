"""The collector while a command makes much that stays."""

from __future__ import annotations

import gc

import pytest

from gateway.cli.garbage import keeping


def test_nothing_is_looked_for_until_all_is_made():
    with keeping() as all_made:
        assert not gc.isenabled()
        all_made()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_all_is_as_before_whatever_happens():
    with pytest.raises(KeyboardInterrupt), keeping():
        raise KeyboardInterrupt
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0

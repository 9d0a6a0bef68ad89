"""Asking before something is written."""

from __future__ import annotations

import io
import sys

import pytest

from gateway.cli.root import Failure
from gateway.cli.writeback import ask


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("said", "agreed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_somebody_is_asked(said, agreed, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Terminal(said))
    if agreed:
        ask("Do this?", yes=False)
    else:
        with pytest.raises(Failure, match="nothing was changed"):
            ask("Do this?", yes=False)
    found = capsys.readouterr()
    assert found.out == ""
    assert "Do this? [y/N]" in found.err


def test_nobody_is_there(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(Failure, match="give --yes"):
        ask("Do this?", yes=False)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    with pytest.raises(Failure, match="give --yes"):
        ask("Do this?", yes=False, readable=False)
    ask("Do this?", yes=True)

"""Asking before something is written."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest

from gateway.cli.root import Failure
from gateway.cli.writeback import ask, write_back
from importer.writeback import run
from importer.writeback.values import Doing, JobRow, There, WritePlan


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


@pytest.fixture
def back(monkeypatch):
    """Writes these jobs back: by id, whether each is started there and what becomes of it. Tells whether that was done."""

    def go(jobs, answers="", *, yes=False):
        rows = tuple(
            JobRow(n, "billing", {"job_desc": "x", "trigger_status": status}, doing=doing)
            for n, status, doing in jobs
        )
        plan = WritePlan("db@h:3306", "3.4.2", "UTC", (), rows, There({}, {}))
        done = []

        async def planned(*_):
            return plan

        async def written(*_):
            done.append(plan)

        monkeypatch.setattr(run, "planned", planned)
        monkeypatch.setattr(run, "written", written)
        monkeypatch.setattr(sys, "stdin", Terminal(answers))
        options = {"timezone": None, "existing": None, "table_map": (), "enabled": True, "dry_run": False}
        client = SimpleNamespace(as_json=False)
        with suppress(Failure):
            write_back(client, (), to_xxljob="mysql://a:b@h/db", yes=yes, **options)
        return bool(done)

    return go


ASKS = "Start there what stays enabled here, so that both would fire it?"


def test_jobs_that_both_sides_would_fire_are_told_of_and_asked_for(back, capsys):
    started = [(7, 1, Doing.INSERT), (8, 1, Doing.UPDATE), (9, 0, Doing.INSERT), (10, 1, Doing.SKIP)]
    assert not back(started, "n\n")
    found = capsys.readouterr()
    assert "2 jobs would be started there and stay enabled here" in found.out
    assert "`xxljob-gateway cutover --back`" in found.out
    assert "`xxljob-gateway jobs bulk disable 7 8`" in found.out
    assert ASKS in found.err
    assert not back(started, "y\nn\n")
    assert back(started, "y\ny\n")
    assert back(started, yes=True)


def test_nothing_more_is_asked_where_nothing_fires_twice(back, capsys):
    assert back([(9, 0, Doing.INSERT), (10, 1, Doing.SKIP)], "y\n")
    found = capsys.readouterr()
    assert "stay enabled here" not in found.out
    assert ASKS not in found.err

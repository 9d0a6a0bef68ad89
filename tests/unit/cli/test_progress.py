"""How far something is, where no terminal is."""

from __future__ import annotations

from gateway.cli.progress import Progress


def test_lines_now_and_then(capsys):
    progress = Progress()
    for done in range(1001):
        progress("log", done, 1000)
    assert not progress.end()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["log: 0 of 1,000", "log: 100 of 1,000"]
    assert (len(lines), lines[-1]) == (11, "log: 1,000 of 1,000")


def test_each_thing_begins_anew(capsys):
    progress = Progress()
    progress("passwords", 2, 2)
    progress("writing", 0, 1)
    progress("writing", 0, 0)
    assert capsys.readouterr().err.splitlines() == ["passwords: 2 of 2", "writing: 0 of 1", "writing: 0 of 0"]

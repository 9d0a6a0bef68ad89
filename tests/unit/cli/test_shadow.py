"""What `shadow` does beside watching: its reports are written now and then."""

from __future__ import annotations

import json

from gateway.cli.shadow import SAVED_EVERY_S, Saved
from gateway.core.zones import resolve_zone
from importer.shadow.report import About, report_of
from importer.shadow.watch import Watch


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


def test_reports_are_written_every_ten_minutes_and_a_full_disk_ends_nothing(tmp_path, capsys):
    clock, path = Clock(), tmp_path / "out.json"
    saved = Saved(clock, (str(path), str(tmp_path / "gone" / "out.md"), "-"))
    asked = []

    def found():
        asked.append(clock.now)
        return report_of(Watch(1000, 2000), About("old@db:3306", "3.4.0", resolve_zone("UTC"), "given"))

    for clock.now in range(0, 3 * SAVED_EVERY_S, 30):
        saved.tell(found)
    assert asked == [SAVED_EVERY_S, 2 * SAVED_EVERY_S]
    assert json.loads(path.read_text("utf-8"))["source"] == "old@db:3306"
    assert capsys.readouterr().err.count("out.md was not written: No such file or directory") == 2

"""Files: how much of them is read."""

from __future__ import annotations

import pytest

from importer.manifests import files
from importer.manifests.errors import ManifestError
from importer.manifests.files import read

TEXT = "format: 1\napps:\n- appname: billing\n"


def test_only_so_much_is_read_of_all_files_together(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 2 << 20)
    half = TEXT + "#" * (1 << 20)
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(half)
    assert len(read([str(tmp_path / "a.yaml")]).apps) == 1
    with pytest.raises(ManifestError, match=r"b\.yaml: that is too much: at most 2 MiB are read"):
        read([str(tmp_path)])


def test_what_has_no_end_is_refused():
    with pytest.raises(ManifestError, match=r"/dev/zero: that is too much: at most 64 MiB are read"):
        read(["/dev/zero"])


def test_a_byte_order_mark_and_ends_of_lines_of_windows_mean_nothing(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    (app,) = read([str(path)]).apps
    assert app.value == {"appname": "billing"}

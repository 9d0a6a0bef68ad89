"""Commands of the move end with one line: after Ctrl-C, from the first module on, and whatever names they meet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import cli
from gateway.cli.client import Client
from gateway.cli.manifests import _do
from gateway.cli.root import FAILED, Failure
from importer.manifests.steps import Plan

# Sends itself the signal when that module begins to be loaded.
PROGRAM = """
import os, signal, sys

class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

module = sys.argv.pop(1)
sys.meta_path.insert(0, Sender())
import gateway.__main__
gateway.__main__.main()
"""
SOURCE = ("--source", "mysql://u:p@127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("module", "words", "code"),
    [
        ("gateway.cli.importing", ("import", *SOURCE, "--yes"), 2),
        ("importer.plan.values", ("import", *SOURCE, "--yes"), 2),
        ("importer.way_back", ("cutover", "--old-admin-is-stopped", "--yes"), 2),
        ("importer.shadow.values", ("shadow", *SOURCE), 2),
        ("importer.manifests.present", ("export",), 2),
        ("importer.writeback.values", ("export", "--to-xxljob", SOURCE[1]), 2),
        ("importer.manifests.plan", ("apply", "none.yaml"), 2),
        ("gateway.cli.node", ("serve",), 130),
    ],
)
def test_while_modules_load(module: str, words: tuple[str, ...], code: int) -> None:
    command = [sys.executable, "-c", PROGRAM, module, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (code, "error: stopped: nothing was read or written\n")


class Stopped:
    def __call__(self, *_given: object, **_options: object) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def _stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "ask", Stopped())


@pytest.mark.usefixtures("_stopped")
def test_while_the_gateway_is_asked(tmp_path: Path) -> None:
    document = tmp_path / "a.yaml"
    document.write_text("format: 1\napps: [{appname: shop}]\n")
    for words, told in (
        (("export",), "nothing was changed"),
        (("export", "--output", "out.yaml"), "out.yaml may hold a part"),
        (("apply", str(document), "--yes"), "nothing was changed"),
    ):
        done = CliRunner().invoke(cli, list(words))
        assert (done.exit_code, done.output) == (2, f"error: stopped: {told}\n")


def test_while_a_plan_is_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def carried_out(_client: object, _plan: object):
        yield "created app shop"
        raise KeyboardInterrupt

    monkeypatch.setattr("importer.manifests.carry_out.carry_out", carried_out)
    with pytest.raises(Failure, match=r"stopped: 1 of the steps above are done.*apply again") as told:
        _do(Client("http://127.0.0.1:1", None, as_json=False), Plan(steps=()))
    assert told.value.code == FAILED  # the other code says that nothing was changed


def test_an_error_steers_no_terminal(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["apply", str(tmp_path / "a\x1b[2J\u202eb.yaml"), "--yes"])
    assert done.exit_code == 2
    assert "ab.yaml: there is no such file" in done.output
    assert done.output.rstrip("\n").isprintable()

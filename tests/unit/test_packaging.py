"""The wheel holds three import packages and nothing else; names as common as these are easily mixed up."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import compat
import gateway
import importer
from tests.conftest import skip_for_lack

ROOT = Path(__file__).parents[2]
PACKAGES = {"gateway", "compat", "importer"}
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel built from this tree."""
    if subprocess.run([sys.executable, "-c", "import hatchling"], capture_output=True).returncode:
        skip_for_lack("no hatchling here: the wheel is built with it")
    place = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-c", BUILD, str(place)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(place / done.stdout.split()[-1]).namelist()


def test_the_packages_lie_beside_each_other() -> None:
    folders = {Path(str(package.__file__)).parent for package in (gateway, compat, importer)}
    assert folders == {ROOT / name for name in PACKAGES}


def test_the_wheel_has_our_packages_only(wheel: list[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_has_every_module_and_what_lies_beside_them(wheel: list[str]) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours == {name for name in wheel if ".dist-info/" not in name}
    assert {"gateway/py.typed", "gateway/store/migrations/script.py.mako"} <= ours


def test_the_wheel_has_the_licence(wheel: list[str]) -> None:
    assert [name for name in wheel if name.endswith(".dist-info/licenses/LICENSE")]

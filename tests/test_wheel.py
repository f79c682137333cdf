"""The names that a wheel installs, and its plug-ins.

All plug-ins are found in an installed wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench import registry

ROOT = Path(__file__).parent.parent
LOADED = """
import bench.registry as registry
assert registry.__file__.startswith({target!r}), registry.__file__
for kind in registry.KINDS:
    print(kind, *registry.names(kind))
from attribution_bench.attacks.ifia_topk import IfiaTopk
assert registry.load("attacks", "ifia-topk") is IfiaTopk
registry.load("metrics", "kendall")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


def test_it_installs_no_package_named_attacks_or_metrics(wheel: Path) -> None:
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    packages = {name for name in top if not name.endswith(".dist-info")}
    assert packages == {"attribution_bench", "bench", "leaderboard", "model_zoo"}


def test_every_plugin_of_the_checkout_is_in_it(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(target)
    environment = os.environ | {"PYTHONPATH": str(target)}
    command = [sys.executable, "-c", LOADED.format(target=str(target))]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert found == {kind: registry.names(kind) for kind in registry.KINDS}

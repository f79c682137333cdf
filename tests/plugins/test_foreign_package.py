"""A package of somebody else, built and installed by pip.

Its plug-ins are listed, run and loaded like ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from bench.core.compute.rng import Rng
from model_zoo.tensors import export_weights
from model_zoo.training.initial_weights import initialize
from tests.support.tiny import residual_content, write_entry

ROOT = Path(__file__).parent.parent.parent
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "elsewhere-robustness"
version = "0.3"

[project.entry-points."attribution_bench.attacks"]
still-life = "elsewhere.still_life:StillLife"

[project.entry-points."attribution_bench.architectures"]
shallow = "elsewhere.shallow:build"

[tool.setuptools]
packages = ["elsewhere"]
"""
ATTACK = '''
from typing import ClassVar
from pydantic.dataclasses import dataclass
from bench.core.contracts import Attack

@dataclass(frozen=True, kw_only=True)
class StillLife(Attack):
    """Brightens every pixel by the same amount."""
    version: ClassVar[int] = 4
    knowledge: ClassVar[str] = "none"
    source: ClassVar[str] = "nobody"
    share: float = 0.5

    def perturb(self, victim, images, labels, *, threat, rng):
        return images + self.share * float(threat.epsilon)
'''
ARCHITECTURE = '''
from torch import nn

VERSION = 2

def build(num_classes, *, hidden=8):
    """A network of one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH into which pip installed the distribution `elsewhere-robustness`."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "elsewhere").mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "elsewhere" / "__init__.py").touch()
    (source / "elsewhere" / "still_life.py").write_text(ATTACK)
    (source / "elsewhere" / "shallow.py").write_text(ARCHITECTURE)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    command += ["--disable-pip-version-check", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an entry of the other distribution's architecture, with weights."""
    folder = tmp_path_factory.mktemp("models")
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 6), nn.ReLU(), nn.Linear(6, 10))
    initialize(network, Rng(0))
    content = residual_content(folder, "theirs") | {"architecture": {"name": "shallow", "params": {"hidden": 6}}}
    weights = export_weights(network, folder / "theirs.safetensors")
    return write_entry(folder, content | {"weights": weights.model_dump(exclude_none=True)})


def python(installed: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_plugins_are_listed_beside_ours(installed: Path) -> None:
    for kind, name, ours in (("attacks", "still-life", "ifia-topk"), ("architectures", "shallow", "wide-resnet")):
        rows = json.loads(python(installed, "-m", "bench.cli", "list", kind, "--json"))[kind]
        summaries = {row["name"]: row["summary"] for row in rows}
        assert summaries[name] == "from elsewhere-robustness"
        assert ours in summaries


def test_its_attack_runs_on_its_architecture_and_the_record_names_both(
    installed: Path, entry: Path, tmp_path: Path
) -> None:
    words = ["run", "--model", f"file:{entry}", "--attack", "still-life", "--limit", "1", "--device", "cpu", "--json"]
    records = json.loads(
        python(installed, "-m", "bench.cli", *words, "--results", str(tmp_path), "--set", "share=0.25")
    )
    spec = records[-1]["spec"]
    assert spec["attack"] == {"name": "still-life", "version": 4, "params": {"share": 0.25}}
    assert spec["model"]["architecture"] == {"name": "shallow", "version": 2, "params": {"hidden": 6}}
    assert spec["model"]["reference"] == "file:theirs.toml"
    assert not spec["on_protocol"]
    assert len(list(tmp_path.glob("*/theirs/still-life/*.json"))) == 1

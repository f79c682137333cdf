"""The skeletons of `bench new` pass the contract tests unchanged.

They need only the files that CONTRIBUTING.md names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.commands.new import COPIED, WRITTEN
from tests.support.commands import invoke

ROOT = Path(__file__).parent.parent.parent
KINDS = [*WRITTEN, *COPIED]
PACKAGES = ("attacks", "bench", "leaderboard", "metrics", "model_zoo", "tests")
ROW = re.compile(r"^\| (\w+) \| (\d+) \|", re.MULTILINE)


def python(root: Path, *words: str) -> str:
    """Run Python with our copied packages first on its path."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


MAKE = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
from bench.cli import bench
from tests.plugins.test_new import contents

root, found, before = Path.cwd(), {}, contents(Path.cwd())
for kind in sys.argv[1:]:
    done = CliRunner().invoke(bench, ["new", kind, f"made-up-{kind}"])
    assert done.exit_code == 0, done.output
    after = contents(root)
    found[kind] = [name for name, content in after.items() if before.get(name) != content]
    before = after
print(json.dumps(found))
"""
"""Begins a plug-in of each kind, and prints the files that each one changes."""


def contents(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found if path.suffix != ".safetensors"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, with the weights of one small network."""
    root = tmp_path_factory.mktemp("checkout")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.safetensors"))
    weights = Path("model_zoo") / "weights"
    (root / weights).mkdir(exist_ok=True)
    shutil.copy(ROOT / weights / "natural-linear.safetensors", root / weights)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.fixture(scope="module")
def costs(copy: Path) -> dict[str, list[str]]:
    """Return the files that a new plug-in of each kind changes."""
    found: dict[str, list[str]] = json.loads(python(copy, "-c", MAKE, *KINDS))
    return found


def test_each_skeleton_is_as_many_files_as_the_table_says(costs: dict[str, list[str]]) -> None:
    said = {kind: int(count) for kind, count in ROW.findall((ROOT / "CONTRIBUTING.md").read_text())}
    assert {kind: len(files) for kind, files in costs.items()} == said


def test_the_skeletons_pass_the_contract_tests(copy: Path, costs: dict[str, list[str]]) -> None:
    assert set(costs) == set(KINDS)
    words = ["-m", "pytest", "-n", "0", "-vv", "-p", "no:cacheprovider", "-k", "made-up"]
    said = python(copy, *words, "tests/contracts", "tests/plugins/test_protocols.py")
    assert "failed" not in said
    for kind in KINDS:
        assert re.search(rf"made-up-{kind}.*PASSED", said), f"expected a contract test of {kind}"


def test_a_protocol_of_the_skeleton_runs_an_attack_of_the_skeleton(copy: Path, costs: dict[str, list[str]]) -> None:
    assert costs["protocol"] == ["bench/protocols/made-up-protocol-v1.toml"]
    words = ["run", "--model", "hub:natural-linear", "--attack", "made-up-attack", "--protocol", "made-up-protocol-v1"]
    said = python(copy, "-m", "bench.cli", *words, "--limit", "1", "--device", "cpu", "--json")
    assert '"name": "made-up-attack"' in said


def test_a_file_elsewhere_is_named_for_an_entry_point(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = invoke(capsys, "new", "attack", "my-attack", "--folder", str(tmp_path))
    assert code == 0
    assert (tmp_path / "my_attack.py").is_file()
    assert '[project.entry-points."attribution_bench.attacks"]: my-attack = "my_package.my_attack:MyAttack"' in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("attack", "ifia-topk"), "expected a new name, got 'ifia-topk'"),
        (("attack", "My_Attack"), "expected a name of lower-case words with dashes"),
        (("model", "my-model"), "bench submit convert"),
    ],
)
def test_what_cannot_be_begun_is_one_sentence(
    words: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = invoke(capsys, "new", *words)
    assert code == 2
    assert said in " ".join(error.split())

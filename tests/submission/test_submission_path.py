"""A foreign checkpoint becomes a row on a board.

The test uses the commands of the README in an empty home folder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.core.schemas.entry import ModelEntry
from bench.core.storage.store import Store
from bench.core.storage.toml import parse_toml
from model_zoo.architectures import wide_resnet
from model_zoo.build import build
from tests.support.foreign import foreign_state_dict
from tests.support.tiny import residual_content, tiny_count, tiny_network

ROOT = Path(__file__).parent.parent.parent


def commands() -> list[list[str]]:
    """The words of the commands below "## Submit a model"."""
    section = (ROOT / "docs/submit.md").read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL)
    return [shlex.split(line) for line in block.strip().splitlines()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with nothing but the checkpoint and the citation."""
    torch.save({"epoch": 3, "state_dict": foreign_state_dict(tiny_network())}, tmp_path / "my-model.pth")
    (tmp_path / "my-paper.bib").write_text("@article{me2026,\n  title = {Mine},\n}\n")
    return tmp_path


def claimed(folder: Path) -> float:
    """Return the tiny network's true accuracy on its images."""
    content = residual_content(folder)
    return tiny_count(folder, content) / 20


def test_the_commands_of_the_readme_make_a_row(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    accuracy = claimed(tmp_path_factory.mktemp("tiny"))
    program = "import sys\nfrom bench import cli\n" + (
        "for words in __import__('json').loads(sys.argv[1]):\n"
        "    try: cli.main(words)\n"
        "    except SystemExit as stop: assert not stop.code, (words, stop.code)\n"
    )
    found = commands()
    assert 1 <= len(found) <= 5
    assert all(words[0] == "bench" for words in found)
    lines = json.dumps([_adapted(words[1:], accuracy) for words in found])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("BENCH_", "HF_", "XDG_"))} | {
        "HOME": str(home / "home"),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program, lines], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 of 11 checks passed" in done.stdout

    page = (home / "site" / "index.html").read_text()
    assert '<a href="models/my-model.html">my-model</a>' in page, "the board knows the model from its records alone"
    assert "@article{me2026," in (home / "site" / "data" / "models.bib").read_text()
    runs = list(Store(home / "results").runs())
    assert {run.record.spec.attack.name for run in runs} == {"ifia-topk", "random-noise"}
    entry = parse_toml(home / "runs" / "my-model" / "my-model.toml", ModelEntry)
    assert all(run.record.entry == entry for run in runs)
    assert {path.name for path in (home / "runs/my-model/published/hub").iterdir()} >= {"README.md", "entry.toml"}

    model = build(entry, wide_resnet.build, home / "runs/my-model/my-model.safetensors", device=torch.device("cpu"))
    images = torch.linspace(0, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (entry.mean, entry.std))
    with torch.no_grad():
        expected = tiny_network()((images - mean) / std)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


def _adapted(words: list[str], accuracy: float) -> list[str]:
    """Run the same command for a tiny untrained network.

    Its own accuracy and two images are given.
    """
    if words[:2] == ["submit", "run"]:
        return [*words, "--limit", "2"]
    if "--clean" in words:
        place = words.index("--clean") + 1
        return [*words[:place], str(accuracy), *words[place + 1 :]]
    return words

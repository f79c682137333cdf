"""The numbers of `bench.benchmark` are those of `bench run`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import bench
from bench import registry
from bench.core.compute.rng import Rng
from bench.core.storage.stored_run import read_run
from model_zoo.build import Normalize
from model_zoo.tensors import export_weights
from model_zoo.training.initial_weights import initialize
from tests.support.callers import Foreign, strided
from tests.support.commands import invoke
from tests.support.tiny import tiny_content, write_entry

ROOT = Path(__file__).parents[2]


def test_a_name_gives_the_numbers_of_bench_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = bench.benchmark("natural-linear", limit=2, device="cpu")
    words = ["--model", "hub:natural-linear", "--attack", "ifia-topk", "--limit", "2", "--device", "cpu", "--json"]
    code, out, _ = invoke(capsys, "run", *words, "--results", str(tmp_path / "results"))
    assert code == 0
    floor, filed = json.loads(out)
    assert result.record.spec.model_dump(mode="json") == filed["spec"]
    assert result.record.run_id == filed["run_id"]
    assert result.record.rows_sha256 == filed["rows_sha256"], "the same rows to the bit"
    assert result.floor is not None
    assert result.floor.record.rows_sha256 == floor["rows_sha256"]
    (path,) = (tmp_path / "results").glob("*/*/ifia-topk/*.json")
    pd.testing.assert_frame_equal(result.rows, read_run(path).rows())
    mean = result.record.summaries["correct"]["kendall"].mean
    assert result.summary.loc["kendall", "mean"] == mean
    assert "natural-linear under ifia-topk, cifar10-smoke-v1, 2 images" in repr(result)
    assert "bench run --model hub:natural-linear --attack ifia-topk --protocol cifar10-smoke-v1 --limit 2" in repr(
        result
    )


def test_a_module_in_memory_gives_the_numbers_of_its_entry(tmp_path: Path, short: str) -> None:
    network = strided(10)
    initialize(network, Rng(0))
    content = tiny_content(tmp_path) | {"architecture": {"name": "strided"}}
    content["weights"] = export_weights(network, tmp_path / "tiny.safetensors").model_dump(exclude_none=True)
    reference = f"file:{write_entry(tmp_path, content)}"
    with registry.offering("architectures", "strided", strided):
        named, loaded = bench.benchmark(reference, protocol=short, device="cpu"), bench.load_model(reference)
    inside = bench.benchmark(loaded, protocol=short, mean=0, std=1, device="cpu")
    normalisation = {"mean": content["mean"], "std": content["std"]}
    outside = bench.benchmark(loaded[1], protocol=short, **normalisation, device="cpu")  # type: ignore[index]
    for found in (inside, outside):
        pd.testing.assert_frame_equal(found.rows, named.rows, check_exact=True)
        assert found.summary.equals(named.summary)
        assert found.record.spec.model.architecture.name == "in-memory"
        assert "never ranked" in repr(found)
    assert outside.record.entry.name == "sequential"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "tiny.safetensors", "tiny.toml"], "no results/"


def test_a_module_of_the_same_weights_that_computes_otherwise_is_another(short: str) -> None:
    class Colder(Foreign):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 0.5

    options: dict[str, Any] = {"protocol": short, "mean": 0, "std": 1, "device": "cpu", "attack": "random-noise"}
    warm, cold = bench.benchmark(Foreign(), **options), bench.benchmark(Colder(), **options)
    assert warm.floor is None
    assert warm.record.spec.model.weights_sha256 == cold.record.spec.model.weights_sha256
    assert not warm.rows["confidence_before"].equals(cold.rows["confidence_before"])


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["parallel", "compiled"])
def test_what_wraps_a_network_is_taken_off(wrap: Any, short: str) -> None:
    options: dict[str, Any] = {"protocol": short, "mean": 0, "std": 1, "device": "cpu", "attack": "random-noise"}
    wrapped, plain = (bench.benchmark(network, **options) for network in (wrap(Foreign()), Foreign()))
    assert wrapped.rows.equals(plain.rows)
    assert wrapped.record.entry.name == "foreign"


def test_labels_in_another_order_raise_a_doubt() -> None:
    class Rolled(nn.Module):
        def __init__(self, by: int) -> None:
            super().__init__()
            self.network, self.by = bench.load_model("natural-linear"), by

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x).roll(self.by, 1)

    for by in (0, 1):
        found = bench.benchmark(Rolled(by), "random-noise", mean=0, std=1, device="cpu")
        doubts = [flag.detail for flag in found.record.flags if flag.name == "doubtful-accuracy"]
        assert len(doubts) == by
        assert all("labels in another order" in doubt for doubt in doubts)


def test_a_loaded_model_takes_pixels_and_is_frozen() -> None:
    model = bench.load_model("natural-linear")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert isinstance(model[0], Normalize)  # type: ignore[index]
    assert model(torch.rand(2, 3, 32, 32, generator=Rng(0).generator())).shape == (2, 10)


def test_importing_bench_imports_nothing_but_what_is_asked_for() -> None:
    script = (
        "import sys, bench\n"
        "assert {'benchmark', 'load_model', 'Result'} <= set(dir(bench))\n"
        "assert not {'torch', 'pandas', 'pydantic', 'bench.api'} & set(sys.modules), sys.modules.keys()\n"
        "assert not hasattr(bench, 'benchmrk')\n"
        "from bench import load_model\n"
        "assert 'torch' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", ["README.md", "docs/python.md"])
def test_the_examples_run(document: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(), flags=re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert names["result"].record.samples == 2
    assert "kendall" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}, "nothing is filed"

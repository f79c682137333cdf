"""The benchmark from Python: the numbers of `bench run`, for a model's name and for a module that nobody registered."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

import bench
from bench import registry
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.errors import ModelOutputError, UnknownNameError, UsageError
from bench.core.schemas.protocol import Knowledge, Protocol, ThreatModel
from bench.core.schemas.records import PluginSpec
from bench.core.storage.store import read_run
from model_zoo.build import Normalize
from model_zoo.tensors import export_weights
from model_zoo.training.loop import initialize
from tests.support.tiny import tiny_content, write_entry, write_protocol
from tests.terminal.test_cli import invoke

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A protocol of four real images and few steps."""
    return str(write_protocol(tmp_path_factory.mktemp("protocol"), "short", 4, 4))


@pytest.fixture(autouse=True)
def _clean_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


class Foreign(nn.Module):
    """A classifier as others write it: ReLU as a function, dropout, one ReLU in two places."""

    def __init__(self, num_classes: int = 10, hidden: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, hidden, 3, stride=4)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(hidden, num_classes)
        initialize(self, Rng(3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.relu(self.relu(self.conv(x)) + 0.1) - 0.2)
        return self.head(self.dropout(x).mean((2, 3)))


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


def strided(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(512, num_classes))


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


def test_the_callers_module_and_the_generators_stay_as_they_are(short: str) -> None:
    network = Foreign().double().train()
    network.conv.weight.grad = torch.ones_like(network.conv.weight)
    network.head.requires_grad_(False)
    before, modes = copy.deepcopy(network.state_dict()), [m.training for m in network.modules()]
    names, state = [type(m) for m in network.modules()], torch.get_rng_state()
    result = bench.benchmark(network, protocol=short, mean=0.5, std=(0.2, 0.3, 0.25), device="cpu")
    assert result.record.samples == 4
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.conv.weight.dtype == torch.float64
    assert [m.training for m in network.modules()] == modes
    assert [type(m) for m in network.modules()] == names
    assert network.relu.inplace
    assert [p.requires_grad for p in network.parameters()] == [True, True, False, False]
    assert torch.equal(network.conv.weight.grad, torch.ones_like(network.conv.weight))
    assert torch.equal(torch.get_rng_state(), state)


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


class Floor(Foreign):
    """A kink where no module is."""

    def forward(self, x: Tensor) -> Tensor:
        middle = x - 0.5
        return super().forward(middle + (middle * middle).sqrt())


class Pair(Foreign):
    """Two answers."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x


def locked() -> nn.Module:
    network = Foreign()
    network.lock = threading.Lock()  # type: ignore[assignment]
    return network


@pytest.mark.parametrize(
    ("network", "changes", "error", "message"),
    [
        (
            Foreign(),
            {"mean": None},
            UsageError,
            r"expected mean and std of the normalisation.*mean=0, std=1 if .*0\.4914",
        ),
        (
            Foreign(),
            {"mean": (0.5, 0.5)},
            UsageError,
            r"expected mean and std > 0 of 3 channels, got mean=\(0\.5, 0\.5\)",
        ),
        (Foreign(), {"std": 0}, UsageError, r"expected mean and std > 0 of 3 channels"),
        ("natural-linear", {}, UsageError, r"expected no mean and std of natural-linear"),
        ("naturel-linear", {"mean": None, "std": None}, UnknownNameError, r"did you mean 'natural-linear'"),
        (3, {}, UsageError, r"expected an nn\.Module or the name of a model, got int"),
        (Foreign(), {"attack": "ifia-topp"}, UnknownNameError, r"did you mean 'ifia-topk'"),
        (Foreign(5), {}, ModelOutputError, r"expected logits of shape \(2, 10\), got \(2, 5\)"),
        (Pair(), {}, ModelOutputError, r"expected floating-point logits, got tuple"),
        (Floor(), {}, UsageError, r"expected activations that attacks can follow, got a network whose second"),
        (locked(), {}, UsageError, r"expected a module that can be copied, got: cannot pickle"),
    ],
)
def test_mistakes_are_one_sentence(
    network: Any, changes: dict[str, Any], error: type[Exception], message: str, short: str
) -> None:
    options: dict[str, Any] = {"protocol": short, "mean": 0, "std": 1, "device": "cpu"} | changes
    with pytest.raises(error, match=message):
        bench.benchmark(network, **options)


@dataclass(frozen=True, kw_only=True)
class Brighten(Attack):
    """Brightens every pixel by a share of the radius."""

    version: ClassVar[int] = 2
    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "this test"

    share: float = 0.5

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        return images + self.share * float(threat.epsilon)


def test_an_attack_in_memory_runs_and_is_filed_nowhere(short: str, tmp_path: Path) -> None:
    result = bench.benchmark("natural-linear", Brighten(share=0.25), short, device="cpu")
    assert result.record.spec.attack == PluginSpec(name="brighten", version=2, params={"share": 0.25})
    assert result.rows["linf"].max() == pytest.approx(0.25 * 8 / 255, rel=1e-5)
    assert result.floor is not None
    assert "attack in memory" in result.remark
    assert "brighten" not in registry.names("attacks")


def test_an_object_of_ours_gives_the_numbers_of_its_name(short: str) -> None:
    rules: Protocol = registry.load("protocols", short)
    own = next(each for each in rules.attacks if each.name == "random-noise")
    attack = registry.instantiate("attacks", own)
    named, held = (bench.benchmark("natural-linear", each, short, device="cpu") for each in ("random-noise", attack))
    assert named.record.run_id == held.record.run_id
    assert named.rows.equals(held.rows)


def test_a_class_of_ours_with_a_name_of_ours_is_another_attack(short: str) -> None:
    other = type("RandomNoise", (Brighten,), {"version": 1, "__module__": __name__})
    made = dataclass(frozen=True, kw_only=True)(other)()
    assert bench.benchmark("natural-linear", made, short, device="cpu").record.spec.attack.name.endswith("-in-memory")


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (Brighten, "got a class; make one"),
        (3, "expected a name, or an object of a subclass of Attack, got an object of int"),
    ],
)
def test_what_is_no_attack_is_refused(attack: Any, message: str, short: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench.benchmark("natural-linear", attack, short, device="cpu")


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

"""The benchmark from Python gives the numbers of `bench run`.

Tests the name of a model and a module without an entry.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
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
from bench.core.schemas.protocol import Component, Knowledge, Protocol, ThreatModel
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
    """A classifier as others write it.

    It has ReLU as a function, dropout, and one ReLU in two places.
    """

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
        (Pair(), {}, ModelOutputError, r"expected one tensor of logits, got tuple of 2"),
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
    made: Any = dataclass(frozen=True, kw_only=True)(other)()
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


@pytest.mark.parametrize(
    "around",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.float16),
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
    ],
    ids=["no_grad", "inference_mode", "float16", "bfloat16", "device"],
)
def test_the_callers_context_changes_no_number(around: Any, short: str) -> None:
    options: dict[str, Any] = {"protocol": short, "mean": 0, "std": 1, "device": "cpu", "limit": 2}
    plain, network = bench.benchmark(Foreign(), **options), Foreign()
    with around():
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        found = bench.benchmark(network, **options)
        assert modes == (
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"),
        )  # fmt: skip
    pd.testing.assert_frame_equal(found.rows, plain.rows, check_exact=True)


def test_the_callers_defaults_and_generators_are_left_as_they_are(short: str) -> None:
    import random  # noqa: TID251

    class Drawing(nn.Module):
        """Draws from all generators, to no effect on its answers."""

        def __init__(self) -> None:
            super().__init__()
            self.network = strided(10)

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x + 0 * (torch.rand(1) + random.random() + np.random.rand()))  # noqa: NPY002

    network = Drawing()
    numpys = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    states = torch.get_rng_state(), random.getstate()
    torch.set_default_dtype(torch.float64)
    try:
        found = bench.benchmark(network, protocol=short, mean=0, std=1, device="cpu", limit=2, attack="random-noise")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(found.rows) == 2
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], numpys)  # noqa: NPY002


@pytest.mark.parametrize(
    "given",
    [
        {"mean": torch.tensor(0.5), "std": torch.tensor(0.25)},
        {"mean": np.float32(0.5), "std": np.float64(0.25)},
        {"mean": torch.full((1, 3, 1, 1), 0.5), "std": np.full((3, 1, 1), 0.25)},
        {"mean": [0.5] * 3, "std": (0.25,) * 3, "device": torch.device("cpu"), "limit": np.int64(2)},
    ],
)
def test_usual_types_of_torch_and_numpy_are_taken(given: dict[str, Any], short: str) -> None:
    options: dict[str, Any] = {"protocol": short, "attack": "random-noise", "device": "cpu", "limit": 2}
    network = Foreign()
    found, plain = (bench.benchmark(network, **options | each) for each in (given, {"mean": 0.5, "std": 0.25}))
    assert found.rows.equals(plain.rows)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"std": float("inf")}, "expected finite numbers as mean and std, got inf"),
        ({"mean": "none"}, "expected numbers as mean and std, got 'none'"),
        ({"mean": 127.5, "std": 127.5}, "in pixel units, where 1 is the full range, .* divide them by 255"),
        ({"limit": "2"}, "expected a whole number as limit, got '2'"),
        ({"limit": 1.5}, "expected a whole number as limit, got 1.5"),
    ],
)
def test_odd_values_are_refused_in_one_sentence(given: dict[str, Any], message: str, short: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench.benchmark(Foreign(), protocol=short, **{"mean": 0, "std": 1, "device": "cpu", **given})


def test_mean_and_std_in_grey_levels_are_taken_when_they_are_divided_by_255(short: str) -> None:
    options: dict[str, Any] = {"protocol": short, "attack": "random-noise", "device": "cpu", "limit": 2}
    with pytest.raises(UsageError, match="divide them by 255"):
        bench.benchmark(Foreign(), mean=127.5, std=63.75, **options)
    found, plain = (
        bench.benchmark(Foreign(), mean=mean, std=std, **options)
        for mean, std in ((127.5 / 255, 63.75 / 255), (0.5, 0.25))
    )
    assert found.rows.equals(plain.rows)


class Squashing(Foreign):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid()


def test_a_network_behind_a_sigmoid_gets_its_logits_numbers_and_the_record_says_so(short: str) -> None:
    squashed, plain = (
        bench.benchmark(each, protocol=short, mean=0, std=1, device="cpu", limit=2) for each in (Squashing(), Foreign())
    )
    said = {flag.name: flag.detail for flag in squashed.record.flags}
    assert "ends in sigmoid" in said.pop("probabilities")
    assert said.keys() == {flag.name for flag in plain.record.flags}
    assert squashed.rows.drop(columns="answers").equals(plain.rows.drop(columns="answers"))


class Rounding(Foreign):
    """Sees sixteen grey levels: its gradient is zero everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((16 * x).round() / 16)


def test_a_network_without_gradients_gets_no_numbers_and_a_flag(short: str) -> None:
    found = bench.benchmark(Rounding(), protocol=short, mean=0, std=1, device="cpu", limit=2)
    assert {"vanishing-gradient", "undefined-metric"} <= {flag.name for flag in found.record.flags}
    assert found.rows[["kendall", "topk-intersection"]].isna().all(axis=None)


class Extra(Foreign):
    def get_extra_state(self) -> dict[str, int]:
        return {"note": 1}

    def set_extra_state(self, state: object) -> None:
        pass


def traced() -> nn.Module:
    return torch.jit.trace(Foreign().eval(), torch.zeros(1, 3, 32, 32))


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))


def quantised() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    network[1] = torch.ao.nn.quantized.dynamic.Linear(3072, 10)
    return network


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "message", "remedy"),
    [
        (
            lambda: torch.jit.trace(Foreign().eval(), torch.rand(1, 3, 32, 32)),
            "got TorchScript, .*; hand in the",
            Foreign,
        ),
        (Extra, "got an extra state of Extra; take get_extra_state out", Foreign),
        (lazy, "got the lazy 0; call the module on a batch of images first", lambda: called(lazy())),
        (quantised, "got the quantised 1; hand in the network as it was before", lambda: strided(10)),
    ],
)
def test_what_no_copy_can_be_made_of_is_named_and_the_remedy_helps(
    make: Any, message: str, remedy: Any, short: str
) -> None:
    options: dict[str, Any] = {"protocol": short, "mean": 0, "std": 1, "device": "cpu", "attack": "random-noise"}
    with pytest.raises(UsageError, match=message):
        bench.benchmark(make(), **options)
    assert len(bench.benchmark(remedy(), **options).rows) == 4


def called(network: nn.Module) -> nn.Module:
    network(torch.rand((2, 3, 32, 32), generator=Rng(0).generator()))
    return network


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        lambda layer: nn.utils.prune.l1_unstructured(layer, "weight", 0.3),
        nn.utils.parametrizations.weight_norm,
    ],
    ids=["weight_norm", "spectral_norm", "prune", "parametrization"],
)
def test_computed_weights_are_those_that_the_network_answers_with(change: Any, short: str) -> None:
    """Measure the weights that a pass computes.

    Old hooks leave a stale weight after `load_state_dict`.
    """
    torch.manual_seed(0)  # noqa: TID251
    network = strided(10)
    change(network[0])  # type: ignore[index]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    network.load_state_dict(network.state_dict())
    network.eval()
    kind = type(network[0])  # type: ignore[index]
    images = registry.instantiate("datasets", Component(name="foolbox-cifar10")).load("test").images[:2].float() / 255
    expected = network(images).softmax(1).amax(1).tolist()
    found = bench.benchmark(network, protocol=short, mean=0, std=1, device="cpu", limit=2, attack="random-noise")
    assert found.rows["confidence_before"].tolist() == pytest.approx(expected, rel=1e-4)
    assert type(network[0]) is kind  # type: ignore[index]
    assert network(images).softmax(1).amax(1).tolist() == expected, "the caller's network is as it was"


def test_what_a_forward_keeps_of_a_pass_is_no_trouble(short: str) -> None:
    inner = strided(10)
    initialize(inner, Rng(0))

    class Keeping(nn.Module):
        """A network that makes constants and statistics in its passes.

        The constant is made at its first pass, the statistic at every pass.
        """

        def __init__(self) -> None:
            super().__init__()
            self.network = inner
            self.scale: Tensor | None = None
            self.register_buffer("last", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.last = x.detach().mean()
            if self.scale is None:
                self.scale = x.new_ones(1)
            return self.network(x * self.scale)

    options: dict[str, Any] = {"protocol": short, "mean": 0, "std": 1, "device": "cpu", "limit": 2}
    network = Keeping()
    found, plain = (bench.benchmark(each, **options) for each in (network, inner))
    assert found.rows["kendall"].tolist() == plain.rows["kendall"].tolist()
    assert network.scale is None, "the caller's module was never asked"


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

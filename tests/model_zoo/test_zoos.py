"""Networks of other libraries.

Their own loaders fetch them, and they are pinned and run; otherwise an error says why not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from bench import cli, registry
from bench.core.compute.rng import Rng
from bench.core.compute.vision import models
from bench.core.contracts import Announced
from bench.core.errors import EnvironmentFault, IntegrityError, NetworkError, UsageError
from bench.core.storage.files import sha256_of_file
from bench.run.plan import plan
from bench.run.request import Request
from model_zoo.build import build
from model_zoo.derivatives.prepare import surrogate
from model_zoo.extras import quickly_offline
from model_zoo.hub import resolve
from model_zoo.training.initial_weights import initialize
from model_zoo.weights_file import Resolved
from tests.support.libraries import MEAN, STD, BenchmarkDataset, FakeTimm, Small, ThreatModel, trained

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "zoos"


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> FakeTimm:
    fake = FakeTimm()
    monkeypatch.setitem(sys.modules, "timm", fake)
    return fake


@pytest.fixture
def robustbench(timm: FakeTimm, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Make RobustBench's modules that we import.

    Return what its loader was asked for.
    """
    asked: dict[str, Any] = {}

    def load_model(name: str, **where: Any) -> nn.Module:
        asked.update(where, name=name)
        return trained()

    zoo = {d: {t: {"Standard": {"model": Small}} for t in ThreatModel} for d in BenchmarkDataset}
    contents: dict[str, dict[str, Any]] = {
        "robustbench": {},
        "robustbench.model_zoo": {"model_dicts": zoo},
        "robustbench.model_zoo.enums": {"BenchmarkDataset": BenchmarkDataset, "ThreatModel": ThreatModel},
        "robustbench.utils": {"load_model": load_model},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return asked


def found(reference: str) -> Resolved:
    return resolve(reference)


def built(model: Resolved) -> nn.Module:
    return build(model.entry, registry.load("architectures", model.entry.architecture.name), model.path, device=CPU)


def images(side: int = 32) -> Tensor:
    return torch.rand((2, 3, side, side), generator=Rng(1).generator())


def test_a_network_of_timm_becomes_a_pinned_entry_that_normalises_inside(timm: FakeTimm, cache: Path) -> None:
    model = found("timm:cifar10/small")
    assert model.reference == "timm:cifar10/small.demo"
    assert model.path.parent == cache / "timm"
    assert (model.entry.name, model.entry.dataset, model.entry.num_classes) == (
        "timm-cifar10-small-demo",
        "cifar10",
        10,
    )
    assert model.entry.weights.sha256 == sha256_of_file(model.path)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    expected = trained().eval()((images() - mean) / std)
    torch.testing.assert_close(built(model)(images()), expected, rtol=1e-4, atol=1e-5)
    surrogate(built(model), 10.0, images())


def test_the_library_loads_a_network_once_and_its_entry_serves_as_a_file(timm: FakeTimm, tmp_path: Path) -> None:
    first = found("timm:cifar10/small")
    again = found("timm:cifar10/small.demo")
    assert (again.entry, timm.loaded) == (first.entry, 1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (first.path, first.path.with_suffix(".toml")):
        (elsewhere / path.name).write_bytes(path.read_bytes())
    by_file = found(f"file:{elsewhere / first.path.with_suffix('.toml').name}")
    assert by_file.entry == first.entry
    assert torch.equal(built(by_file)(images()), built(first)(images()))


def test_equal_weights_have_equal_bytes(timm: FakeTimm) -> None:
    first = found("timm:cifar10/small").entry.weights
    assert found("timm:cifar100/small").entry.weights.sha256 == first.sha256


def test_a_damaged_cache_is_an_integrity_error_and_a_lost_one_is_fetched_again(timm: FakeTimm) -> None:
    path = found("timm:cifar10/small").path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\0")
    with pytest.raises(IntegrityError, match="sha256"):
        found("timm:cifar10/small")
    path.unlink()
    assert found("timm:cifar10/small").path.read_bytes() == content
    assert timm.loaded == 2


def test_a_run_of_another_librarys_network_is_filed_under_its_full_name(
    timm: FakeTimm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--model", "timm:cifar10/small", "--attack", "random-noise", "--limit", "1", "--json"]
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--results", str(tmp_path / "results"), "--device", "cpu", "--set", "draws=1"])
    assert end.value.code == 0
    (record,) = json.loads(capsys.readouterr().out)
    model = record["spec"]["model"]
    assert model["reference"] == "timm:cifar10/small.demo"
    assert model["architecture"] == {"name": "timm", "version": 1, "params": {"model": "small.demo"}}
    assert model["weights_sha256"] == found("timm:cifar10/small").entry.weights.sha256


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("timm:smal", "models of timm, got 'smal'; did you mean 'small'"),
        ("timm:bare", "expected weights of timm's bare, got 'none'"),
        ("timm:small", "ImageNet's 1000 classes, got 10 of small.demo; write timm:DATASET/small.demo"),
        ("torchvision:resnet51", "models of torchvision, got 'resnet51'; did you mean"),
        ("torchvision:resnet18/IMAGENET1K_V9", "got 'IMAGENET1K_V9'; did you mean 'IMAGENET1K_V1'"),
        ("robustbench:Standart", "cifar10/Linf, got 'Standart'; did you mean 'Standard'"),
        ("robustbench:cifar10/Standard", "robustbench:DATASET/THREAT/NAME"),
        ("robustbench:mnist/Linf/Standard", "a data set of cifar10, cifar100, imagenet"),
        ("tim:small", r"ZOO:NAME, got 'tim:small'; .*did you mean 'timm'"),
    ],
)
def test_a_wrong_name_is_one_sentence(robustbench: dict[str, Any], reference: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        found(reference)


@pytest.mark.parametrize("library", ["timm", "robustbench"])
def test_a_library_that_is_not_installed_names_its_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(EnvironmentFault, match=rf'pip install "attribution-bench\[{library}\]"'):
        found(f"{library}:Standard")
    with pytest.raises(EnvironmentFault, match=rf'pip install "attribution-bench\[{library}\]"'):
        registry.load("architectures", library)(10)


def test_a_failed_download_is_a_network_error_and_leaves_no_entry(timm: FakeTimm, cache: Path) -> None:
    def offline() -> nn.Module:
        raise OSError("no route to host")

    timm.make = offline
    with pytest.raises(NetworkError, match=r"timm:cifar10/small\.demo .* no route to host"):
        found("timm:cifar10/small")
    assert not list(cache.rglob("*.toml"))


def test_a_network_whose_weights_do_not_tell_all_is_refused(timm: FakeTimm, cache: Path) -> None:
    def brighter() -> nn.Module:
        network = trained()
        network.brightness = 2.0
        return network

    timm.make = brighter
    with pytest.raises(IntegrityError, match="cannot be pinned"):
        found("timm:cifar10/small")
    assert not list(cache.rglob("*.toml"))


def test_a_network_of_which_the_untrained_one_is_another_is_refused(timm: FakeTimm, cache: Path) -> None:
    def wrapped() -> nn.Module:
        network = nn.Sequential(trained())
        vars(network)["num_classes"] = 10
        return network

    timm.make = wrapped
    with pytest.raises(
        IntegrityError, match=r"expected the 4 tensors of this architecture .* got 4 missing: conv\.bias"
    ):
        found("timm:cifar10/small")
    assert not list(cache.rglob("*.toml"))


@pytest.mark.parametrize("name", ["Standard", "cifar10/L2/Standard"])
def test_robustbench_loads_by_its_own_loader_and_keeps_its_normalisation(
    robustbench: dict[str, Any], name: str, cache: Path
) -> None:
    threat = "L2" if "/" in name else "Linf"
    model = found(f"robustbench:{name}")
    assert model.reference == f"robustbench:cifar10/{threat}/Standard"
    assert robustbench == {
        "name": "Standard",
        "dataset": "cifar10",
        "threat_model": threat,
        "model_dir": cache / "robustbench" / "downloads",
    }
    assert (model.entry.mean, model.entry.std) == ((0, 0, 0), (1, 1, 1))
    torch.testing.assert_close(built(model)(images()), trained().eval()(images()))


def test_torchvision_by_its_real_code_with_weights_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    network = models.get_model("shufflenet_v2_x0_5", weights=None)
    initialize(network, Rng(0))
    offered = models.get_model_weights("shufflenet_v2_x0_5")
    monkeypatch.setattr(offered, "get_state_dict", lambda *_, **__: network.state_dict())
    model = found("torchvision:shufflenet_v2_x0_5")
    assert model.reference == "torchvision:shufflenet_v2_x0_5/IMAGENET1K_V1"
    assert (model.entry.dataset, model.entry.num_classes) == ("imagenet", 1000)
    seen = offered.IMAGENET1K_V1.transforms()
    normalized = (images(64) - torch.tensor(seen.mean).view(1, 3, 1, 1)) / torch.tensor(seen.std).view(1, 3, 1, 1)
    torch.testing.assert_close(built(model)(images(64)), network.eval()(normalized), rtol=1e-3, atol=1e-5)
    surrogate(built(model), 10.0, images(64))


def test_an_unknown_network_of_a_large_library_gets_an_honest_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeTimm()
    library.list_models = lambda: [f"net{index}" for index in range(1000)]  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "timm", library)
    with pytest.raises(UsageError, match=r"'nosuch'; timm\.list_models\(\) shows them all") as caught:
        resolve("timm:nosuch")
    assert "none" not in str(caught.value)


def test_a_network_that_fits_no_protocol_is_refused_before_its_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "get_model", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(
        UsageError, match=r"expected a model of cifar10 .*, got torchvision:resnet18/IMAGENET1K_V1 of imagenet"
    ):
        plan(Request(model="torchvision:resnet18", attack="random-noise", protocol="cifar10-smoke-v1"))


def test_other_classes_are_refused_before_a_download(timm: FakeTimm) -> None:
    with pytest.raises(
        UsageError, match=r"a network of 1000 classes for .*imagenet-gradient-v1, got timm:imagenet/small.demo with 10;"
    ):
        plan(Request(model="timm:small", attack="random-noise", protocol="imagenet-gradient-v1"))
    assert not timm.loaded


def test_a_network_of_the_protocols_size_is_loaded(timm: FakeTimm) -> None:
    timm.one_size = True
    asked = Request(model="timm:cifar10/small", attack="random-noise", protocol="cifar10-smoke-v1")
    assert plan(asked).model.path.is_file()


@pytest.mark.parametrize("name", ["vit_b_16/IMAGENET1K_SWAG_E2E_V1", "maxvit_t"])
def test_a_transformer_of_torchvision_announces_its_only_size(name: str) -> None:
    zoo = registry.load("zoos", "torchvision")()
    side = 384 if "/" in name else 224
    assert zoo.announce(zoo.canonical(name)) == Announced("imagenet", 1000, (side, side))
    assert zoo.announce(zoo.canonical("resnet18")).only_size is None


def test_another_size_is_refused_before_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "get_model", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(
        UsageError,
        match=r"takes 224x224 pixels for .*, got torchvision:vit_b_16/.*, which takes only 384x384; .*--images",
    ):
        plan(
            Request(
                model="torchvision:vit_b_16/IMAGENET1K_SWAG_E2E_V1",
                attack="random-noise",
                protocol="imagenet-gradient-v1",
            )
        )


def test_a_hub_out_of_reach_is_noticed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Session:
        def __init__(self, error: Exception | None) -> None:
            self.error = error

        def head(self, url: str, *, timeout: float) -> None:
            assert timeout <= 10
            asked.append(url)
            if self.error is not None:
                raise self.error

    for error, offline in ((OSError("no route"), True), (None, False)):
        monkeypatch.setattr(huggingface_hub, "get_session", lambda error=error: Session(error))
        with quickly_offline():
            assert constants.is_offline_mode() is offline
        assert not constants.is_offline_mode()
    assert asked == [constants.ENDPOINT] * 2

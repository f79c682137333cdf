"""The registered controls are what they are said to be."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from pathlib import Path

import pytest
import torch

from bench import registry
from bench.attributions.gradient import Gradient
from bench.core.compute.heatmap import reduce
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Split
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component
from bench.core.schemas.records import RunRecord
from bench.core.storage.store import Store
from bench.flags.constant_map import contrast
from model_zoo.build import build, classifier
from model_zoo.hub import resolve
from model_zoo.training.data import partition
from model_zoo.training.initial_weights import initialize
from model_zoo.training.loop import begin

KINDS = {"untrained", "linear", "constant-map"}
RESULTS = Path(__file__).parent.parent.parent / "results"
IMAGENET = "no network of ImageNet's classes is a control yet"
TINY = "no control was trained on ten classes of Tiny ImageNet"
WITHOUT_CONTROLS = {
    "cifar10-grad-shap-v1": "one table of a paper, of three networks",
    "cifar10-stylized-v1": "one table, of the networks that a paper has",
    "cifar10-targeted-gradient-v1": "one table of a paper, of three networks",
    "cifar10-trigger-grad-cam-v1": "a layer of ResNet-20, which no control has; the clean twin stands beside",
    "cue-conflict-v1": IMAGENET,
    "fashion-mnist-linf0.1-v2": "no training images of Fashion-MNIST are to be had, so there is none",
    "flowers17-linf8-v1": "one table of two papers, of three networks",
    "horses-localisation-v1": IMAGENET,
    "imagenet-gradient-v1": IMAGENET,
    "imagenet-localisation-grad-cam-v1": IMAGENET,
    "imagenet-localisation-ig-v1": IMAGENET,
    "imagenet-localisation-layer-cam-v1": IMAGENET,
    "imagenet-localisation-smoothgrad-v1": IMAGENET,
    "imagenet-localisation-v1": IMAGENET,
    "tiny-imagenet-localisation-grad-cam-v1": TINY,
    "tiny-imagenet-localisation-v1": TINY,
    "tiny-imagenet-shape-texture-v1": TINY,
    "svhn-to-mnist-v1": "no images of SVHN are to be had, so there is none",
}
"""The boards that lack controls under some attack, and why."""
CPU = torch.device("cpu")
ENTRIES: dict[str, ModelEntry] = {name: registry.load("models", name) for name in registry.names("models")}
DATASETS = sorted({entry.dataset for entry in ENTRIES.values() if entry.control})


def kind(entry: ModelEntry) -> str:
    """Return what makes a model a control.

    It was not trained, or it is of a simple architecture.
    """
    return "untrained" if entry.training.method == "untrained" else entry.architecture.name


def control(dataset: str, wanted: str) -> ModelEntry:
    """The data set's control of a kind."""
    (found,) = (entry for entry in ENTRIES.values() if (entry.dataset, kind(entry)) == (dataset, wanted))
    return found


def gradient_maps(entry: ModelEntry) -> torch.Tensor:
    """Return (4, H, W) gradient heatmaps.

    They explain class 0 at four random images.
    """
    model = build(entry, registry.load("architectures", entry.architecture.name), weights(entry), device=CPU)
    side = 28 if entry.dataset == "mnist" else 32
    rng = SampleRng(Rng(0), ("a", "b", "c", "d"))
    images, labels = rng.uniform((len(entry.mean), side, side), 0, 1), torch.zeros(4, dtype=torch.int64)
    return reduce(Gradient().attribute(model, images, labels, rng=rng), "sum-of-abs")


def weights(entry: ModelEntry) -> Path:
    return resolve(f"hub:{entry.name}").path


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_data_set_with_controls_has_one_of_each_kind_and_no_other(dataset: str) -> None:
    own = [entry for entry in ENTRIES.values() if entry.dataset == dataset]
    controls = [entry for entry in own if entry.control]
    assert sorted(map(kind, controls)) == sorted(KINDS)
    assert not [entry.name for entry in own if kind(entry) in KINDS and not entry.control]
    for entry in controls:
        assert entry.training.recipe is not None
        recipe = registry.load("recipes", entry.training.recipe)
        assert (recipe.control, recipe.model) == (True, entry.name)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_untrained_network_is_one_of_those_that_are_trained(dataset: str) -> None:
    trained = [entry for entry in ENTRIES.values() if entry.dataset == dataset and not entry.control]
    assert control(dataset, "untrained").architecture in [entry.architecture for entry in trained]


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_linear_model_s_gradient_map_is_the_same_for_every_image_and_varies_over_pixels(dataset: str) -> None:
    maps = gradient_maps(control(dataset, "linear"))
    torch.testing.assert_close(maps, maps[:1].expand_as(maps))
    assert (contrast(maps) > 0.1).all()


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_constant_map_shows_nothing(dataset: str) -> None:
    maps = gradient_maps(control(dataset, "constant-map"))
    assert (maps > 0).all()
    assert (contrast(maps) < 1e-6).all()


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_untrained_network_is_the_start_of_its_recipe(dataset: str, tmp_path: Path) -> None:
    entry = control(dataset, "untrained")
    assert entry.training.recipe is not None
    recipe = registry.load("recipes", entry.training.recipe)
    build_network = registry.load("architectures", entry.architecture.name)
    network = build_network(entry.num_classes, **recipe.architecture.params)
    count = 2 * recipe.validation.images
    images = torch.zeros((count, len(entry.mean), 1, 1), dtype=torch.uint8)
    data = partition(Split(images, torch.arange(count) % entry.num_classes), recipe)
    objective = registry.instantiate("objectives", Component(name="natural"))
    training = begin(recipe, classifier(network, entry.mean, entry.std), data, objective, CPU, parent=False)
    begun = training.run(tmp_path, lambda *_: pytest.fail("expected no step"))
    assert training.step == 0
    initialize(network, Rng(recipe.seed).fork("initialization"))
    _, registered = build(entry, build_network, weights(entry), device=CPU).children()
    for name, tensor in network.state_dict().items():
        assert torch.equal(begun[name], tensor)
        torch.testing.assert_close(registered.state_dict()[name].to(tensor), tensor, rtol=1e-3, atol=1e-4)


def missing(runs: list[RunRecord]) -> set[tuple[str, str]]:
    """Return kinds of control and attacks that a board lacks.

    The attacks are the floor, and the attacks of all trained models.
    """
    contenders: dict[str, set[str]] = defaultdict(set)
    controls: set[tuple[str, str]] = set()
    for run in runs:
        if run.entry.control:
            controls.add((kind(run.entry), run.spec.attack.name))
        else:
            contenders[run.entry.name].add(run.spec.attack.name)
    if not contenders:
        return set()
    return set(product(KINDS, set.intersection(*contenders.values()) | {runs[0].spec.protocol.floor})) - controls


def test_every_board_shows_its_controls_under_the_attacks_that_all_its_models_have() -> None:
    """Check that each board shows untrained, linear and constant-map models."""
    boards: dict[str, list[RunRecord]] = defaultdict(list)
    ignored = (RESULTS.parent / ".gitignore").read_text().split()
    for run in Store(RESULTS).runs():
        if run.record.spec.on_protocol and f"results/{run.record.spec.protocol.key}/" not in ignored:
            boards[run.record.spec.protocol.key].append(run.record)
    on_test_images = {key for key in boards if registry.load("protocols", key).samples.split == "test"}
    lacking = {key: lack for key in on_test_images if (lack := missing(boards[key]))}
    assert {key: lack for key, lack in lacking.items() if key not in WITHOUT_CONTROLS} == {}
    assert lacking.keys() == WITHOUT_CONTROLS.keys(), "expected exceptions that are needed; remove the others"

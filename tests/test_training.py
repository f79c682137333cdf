"""Trainings: resume to the bit, refuse what does not fit, and the parts of the loop against slow oracles."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import registry
from bench.core.contracts import Objective, Split, Student
from bench.core.errors import IntegrityError, ModelOutputError, UsageError
from bench.core.protocol import Component
from bench.core.rng import Rng
from model_zoo.build import classifier
from model_zoo.training import loop
from model_zoo.training.adversary import linf_pgd
from model_zoo.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from model_zoo.training.data import augment, fingerprint, hold_out
from model_zoo.training.measure import accuracy, correct, robust_correct
from model_zoo.training.recipe import Augmentation, Recipe, Schedule
from tests.tiny import tiny_network

CPU = torch.device("cpu")
OBJECTIVES = {
    "natural": {},
    "pgd": {"epsilon": "8/255", "step_size": "4/255", "steps": 2},
    "art": {"steps": 1, "top_k": 20},
}
IDENTITIES = {
    "natural-wrn28-1": "5ee81b155ab31f8c5a080c20b0aa1cf912f5a31de5766b5f156b4c94e637dd9b",
    "pgd-wrn28-1": "fd62f1bab48bdda60fd03872dbfc91e9c3eb743fe3b63614da1de439cfbf8c95",
}
"""Of recipes whose weights or checkpoints exist."""
SIDES = {"mnist": (1, 28), "usps": (1, 16), "flowers": (3, 128), "cub": (3, 224)}
"""Channels and side of the datasets that have not 3 and 32."""


def random_split(count: int, classes: int = 3, side: int = 8) -> Split:
    generator = Rng(5).fork("images", count).generator()
    images = torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count) % classes)


def recipe(objective: str = "natural", **changes: object) -> Recipe:
    content = {
        "name": "tiny",
        "model": "tiny",
        "title": "Tiny",
        "description": "for tests",
        "dataset": "cifar10",
        "architecture": {"name": "wide-resnet", "params": {"depth": 10, "width": 1}},
        "objective": {"name": objective, "params": OBJECTIVES[objective]},
        "epochs": 2.5,
        "batch_size": 6,
        "schedule": {"peak": 0.1, "warmup": 0.2},
        "augmentation": {"crop_padding": 2},
        "validation": {"images": 10, "pgd_images": 4, "select": "accuracy"},
    }
    return Recipe.model_validate(content | changes)


def training(wanted: Recipe, objective: Objective | None = None) -> loop.Training:
    network = registry.load("architectures", "wide-resnet")(3, depth=10, width=1)
    model = classifier(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    data = loop.partition(random_split(34), wanted)
    return loop.begin(wanted, model, data, objective or made(wanted), CPU, parent=False)


def made(wanted: Recipe) -> Objective:
    objective: Objective = registry.instantiate("objectives", wanted.objective)
    return objective


def quiet(text: str, done: int, total: int) -> None:
    """No progress."""


class PowerCutError(Exception):
    """What a killed process looks like from inside."""


class UntilCut(Objective):
    """An objective during whose last allowed call the power fails."""

    def __init__(self, inner: Objective, calls: int) -> None:
        self.inner, self.calls = inner, calls

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        if not self.calls:
            raise PowerCutError
        self.calls -= 1
        return self.inner.loss(student, images, labels, rng=rng)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_training_cut_anywhere_and_resumed_ends_with_the_same_bits(
    objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    wanted = recipe(objective)
    undisturbed = training(wanted)
    weights = undisturbed.run(tmp_path / "undisturbed", quiet)
    steps = undisturbed.steps
    assert steps == 10
    for cut in (1, undisturbed.per_epoch, undisturbed.per_epoch + 2, steps - 1):
        folder = tmp_path / f"cut {cut}"
        with pytest.raises(PowerCutError):
            training(wanted, UntilCut(made(wanted), cut)).run(folder, quiet)
        resumed = training(wanted)
        resumed.resume(folder / "checkpoint.safetensors")
        assert resumed.step == cut
        same_tensors(resumed.run(folder, quiet), weights)
        same_tensors(dict(resumed.network.state_dict()), dict(undisturbed.network.state_dict()))
        assert [row["step"] for row in resumed.history] == [row["step"] for row in undisturbed.history]
        assert [row["accuracy"] for row in resumed.history] == [row["accuracy"] for row in undisturbed.history]


def same_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert not [name for name in first if not torch.equal(first[name], second[name])]


def test_a_resumed_history_reports_the_same_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    undisturbed = training(recipe())
    undisturbed.run(tmp_path / "undisturbed", quiet)
    with pytest.raises(PowerCutError):
        training(recipe(), UntilCut(made(recipe()), 6)).run(tmp_path / "cut", quiet)
    resumed = training(recipe())
    resumed.resume(tmp_path / "cut" / "checkpoint.safetensors")
    resumed.run(tmp_path / "cut", quiet)
    assert (tmp_path / "cut" / "metrics.csv").read_text() == (tmp_path / "undisturbed" / "metrics.csv").read_text()


def test_training_depends_on_the_seed_and_on_it_alone(tmp_path: Path) -> None:
    first, again, other = (training(recipe(seed=seed)).run(tmp_path, quiet) for seed in (0, 0, 1))
    same_tensors(first, again)
    assert not torch.equal(first["head.weight"], other["head.weight"])


class Recorder(Objective):
    """Natural training that remembers the images it was given."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        self.seen += [image.contiguous().numpy().tobytes() for image in images]
        return F.cross_entropy(student.model(images), labels)


def test_an_epoch_meets_every_image_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    recorder, plain = Recorder(), {"crop_padding": 0, "flip": False}
    training(recipe(epochs=2, augmentation=plain), recorder).run(tmp_path, quiet)
    first, second = recorder.seen[:24], recorder.seen[24:]
    assert len(set(first)) == len(first) == len(second) == 24
    assert set(first) == set(second)
    assert first != second


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_frozen_statistics_stay(objective: str, tmp_path: Path) -> None:
    frozen = training(recipe(objective, batch_norm="frozen", epochs=0.5))
    before = {k: v.clone() for k, v in frozen.network.state_dict().items()}
    frozen.run(tmp_path, quiet)
    after = frozen.network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if "running" in name or "tracked" in name)
    assert not torch.equal(after["head.weight"], before["head.weight"])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    training(recipe(epochs=0.5)).save(tmp_path / "checkpoint.safetensors")
    return tmp_path / "checkpoint.safetensors"


@pytest.mark.parametrize("change", [{"seed": 1}, {"weight_decay": 0.1}, {"objective": "pgd"}, {"epochs": 3}])
def test_a_checkpoint_of_another_recipe_is_refused(checkpoint: Path, change: dict[str, object]) -> None:
    training(recipe(epochs=0.5)).resume(checkpoint)
    with pytest.raises(UsageError, match="expected a checkpoint of this recipe"):
        training(recipe(**({"epochs": 0.5} | change))).resume(checkpoint)


def test_a_checkpoint_of_other_data_is_refused(checkpoint: Path) -> None:
    other = training(recipe(epochs=0.5))
    other.data.train.images[0, 0, 0, 0] += 1
    with pytest.raises(UsageError, match="expected a checkpoint of this data"):
        other.resume(checkpoint)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"\x00" * len(content),
        lambda content: b"not a checkpoint at all",
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        lambda content: content.replace(b'\\"step\\"', b'\\"stop\\"'),
        lambda content: content.replace(b'\\"recipe\\"', b'\\"recipy\\"'),
        lambda content: content.replace(b"model.stem", b"model.stim"),
    ],
    ids=["empty", "one byte short", "half", "zeros", "text", "one bit", "no step", "no recipe", "other weights"],
)
def test_a_damaged_checkpoint_is_an_integrity_error(checkpoint: Path, damage: Callable[[bytes], bytes]) -> None:
    intact = checkpoint.read_bytes()
    checkpoint.write_bytes(damage(intact))
    assert checkpoint.read_bytes() != intact
    with pytest.raises(IntegrityError, match="expected a checkpoint in"):
        training(recipe(epochs=0.5)).resume(checkpoint)


def test_a_checkpoint_of_another_parent_is_refused(tmp_path: Path) -> None:
    def child(seed: int) -> loop.Training:
        network = tiny_network(seed, num_classes=3)
        model = classifier(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        data = loop.partition(random_split(34), recipe())
        return loop.begin(recipe(), model, data, made(recipe()), CPU, parent=True)

    path = tmp_path / "checkpoint.safetensors"
    child(0).save(path)
    child(0).resume(path)
    with pytest.raises(UsageError, match="expected a checkpoint of this parent"):
        child(1).resume(path)
    with pytest.raises(UsageError, match="expected a checkpoint of this parent"):
        training(recipe()).resume(path)


def test_a_checkpoint_that_does_not_name_its_parent_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    training(recipe()).save(path)
    tensors, state = read_checkpoint(path)
    del state["parent"]
    write_checkpoint(path, Checkpoint(tensors, state))
    training(recipe()).resume(path)


@pytest.mark.parametrize("name", IDENTITIES)
def test_the_identity_of_a_used_recipe_never_changes(name: str) -> None:
    assert registry.load("recipes", name).identity == IDENTITIES[name]


def test_fewer_images_than_a_batch_are_refused() -> None:
    training(recipe(batch_size=24))
    with pytest.raises(UsageError, match=r"one batch of 25 training images, got 24 images; lower"):
        training(recipe(batch_size=25))


def test_a_class_too_small_to_hold_out_from_is_refused() -> None:
    labels = torch.tensor([0] * 20 + [1] * 4 + [2] * 20)
    split = Split(random_split(44).images, labels)
    hold_out(split, 9, Rng(0))
    with pytest.raises(UsageError, match=r"more than 4 images of class 1, .* got 4; lower the recipe's validation"):
        hold_out(split, 12, Rng(0))
    with pytest.raises(UsageError, match=r"of class 1, .* got 0"):
        hold_out(Split(split.images[:40], labels[labels != 1]), 10, Rng(0))


class Scripted(loop.Training):
    """A training whose epochs end with the accuracies of a script."""

    script: tuple[float, ...] = ()

    def _end_epoch(self, loss: float) -> None:
        super()._end_epoch(loss)
        value = self.script[len(self.history) - 1]
        self.history[-1] |= {"accuracy": value, "pgd_accuracy": value}


@pytest.mark.parametrize(
    ("validation", "script", "epochs"),
    [
        ({"stop_at_accuracy": 0.6}, (0.3, 0.5, 0.6, 0.7), 3),
        ({"stop_at_accuracy": 0.6}, (0.3, 0.5, 0.5, 0.5), 4),
        ({"stop_at_collapse": True}, (0.1, 0.3, 0.15, 0.4), 4),
        ({"stop_at_collapse": True}, (0.1, 0.3, 0.14, 0.4), 3),
        ({}, (0.9, 0.1, 0.9, 0.0), 4),
    ],
)
def test_a_training_ends_where_its_recipe_says_also_after_a_resume(
    validation: dict[str, object], script: tuple[float, ...], epochs: int, tmp_path: Path
) -> None:
    wanted = recipe(epochs=4, validation={"images": 10, "pgd_images": 4} | validation)
    watched = training(wanted)
    watched.__class__, watched.script = Scripted, script
    weights = watched.run(tmp_path, quiet)
    assert watched.step == epochs * watched.per_epoch
    resumed = training(wanted)
    resumed.resume(tmp_path / "checkpoint.safetensors")
    same_tensors(resumed.run(tmp_path, quiet), weights)
    assert resumed.step == watched.step


@pytest.mark.parametrize("wish", [{"stop_at_collapse": True}, {"select": "pgd_accuracy"}])
def test_what_pgd_accuracy_decides_needs_images_for_it(wish: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected pgd_images above 0"):
        recipe(validation={"images": 10} | wish)


def test_a_loss_that_is_not_finite_stops_the_training_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelOutputError, match=r"expected a finite training loss, got (nan|inf) at step"):
        training(recipe(schedule={"peak": 1e30})).run(tmp_path, quiet)
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero(kind: str, warmup: float) -> None:
    schedule = Schedule.model_validate({"kind": kind, "peak": 0.4, "warmup": warmup})
    rates = [loop.learning_rate(schedule, i / 100) for i in range(101)]
    top = round(100 * warmup)
    assert rates[top] == pytest.approx(0.4) == max(rates)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert loop.learning_rate(schedule, (1 + warmup) / 2) == pytest.approx(0.2), (
        "both fall through half the peak midway"
    )
    early = loop.learning_rate(schedule, warmup + (1 - warmup) / 4)
    assert early == pytest.approx(0.3 if kind == "linear" else 0.2 * (1 + math.sqrt(0.5)))


def test_steps_of_the_learning_rate() -> None:
    schedule = Schedule(kind="steps", peak=1.0, milestones=(0.5, 0.75))
    rates = [loop.learning_rate(schedule, done) for done in (0, 0.49, 0.5, 0.74, 0.75, 0.99)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("count", [10, 12, 31])
def test_held_out_images_are_stratified_disjoint_and_complete(count: int) -> None:
    split = random_split(120, classes=5)
    parts = hold_out(split, count, Rng(1))
    sizes = Counter(parts.held_out.labels.tolist())
    assert sizes == {c: count // 5 + (c < count % 5) for c in range(5)}
    keys = [[fingerprint(Split(i[None], y[None])) for i, y in zip(*part, strict=True)] for part in parts]
    assert not set(keys[0]) & set(keys[1])
    assert set(keys[0]) | set(keys[1]) == {fingerprint(Split(i[None], y[None])) for i, y in zip(*split, strict=True)}
    assert fingerprint(hold_out(split, count, Rng(1)).held_out) == fingerprint(parts.held_out)
    assert fingerprint(hold_out(split, count, Rng(2)).held_out) != fingerprint(parts.held_out)


def candidates(image: Tensor, pad: int, flip: bool) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of one padded image and its mirror image, by brute force."""
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * pad, width + 2 * pad)
    padded[:, pad : pad + height, pad : pad + width] = image
    found = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[:, top : top + height, left : left + width]
            found[crop.numpy().tobytes()] = (top, left, False)
            if flip:
                found[torch.flip(crop, (2,)).numpy().tobytes()] = (top, left, True)
    return found


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pad", [0, 1, 2])
def test_every_augmented_image_is_a_crop_and_every_crop_occurs(pad: int, flip: bool) -> None:
    images = torch.rand((600, 3, 6, 5), generator=Rng(2).generator())
    wanted = Augmentation(crop_padding=pad, flip=flip)
    out = augment(images, wanted, Rng(3))
    assert torch.equal(out, augment(images, wanted, Rng(3)))
    drawn = Counter(
        candidates(i, pad, flip)[o.contiguous().numpy().tobytes()] for i, o in zip(images, out, strict=True)
    )
    kinds = (2 * pad + 1) ** 2 * (2 if flip else 1)
    assert len(drawn) == kinds
    assert max(drawn.values()) < 3 * 600 / kinds
    if kinds > 1:
        assert not torch.equal(out, augment(images, wanted, Rng(4)))


@pytest.fixture
def trained() -> nn.Module:
    """A linear classifier that separates the three classes of `random_split` somewhat."""
    images, labels = random_split(60)
    flat = images.flatten(1).float() / 255
    layer = nn.Linear(flat.shape[1], 3)
    means = torch.stack([flat[labels == c].mean(0) for c in range(3)])
    with torch.no_grad():
        layer.weight.copy_(means)
        layer.bias.copy_(-(means**2).sum(1) / 2)
    return nn.Sequential(nn.Flatten(), layer).requires_grad_(False)


@pytest.fixture
def floats() -> tuple[Tensor, Tensor]:
    images, labels = random_split(60)
    return images.float() / 255, labels


def test_pgd_stays_in_the_ball_and_raises_the_loss(trained: nn.Module, floats: tuple[Tensor, Tensor]) -> None:
    images, labels = floats
    start = torch.rand(images.shape, generator=Rng(1).generator()) * 0.2 - 0.1
    found = linf_pgd(trained, images, labels, start=start, epsilon=0.1, step_size=0.03, steps=10)
    assert (found - images).abs().max() <= 0.1 + 1e-6
    assert (found - images).abs().max() > 0.09
    assert found.min() >= 0
    assert found.max() <= 1
    clean, attacked = (F.cross_entropy(trained(x), labels, reduction="none") for x in (images, found))
    assert (attacked > clean).all()
    still = linf_pgd(trained, images, labels, start=start, epsilon=0.0, step_size=0.03, steps=3)
    assert torch.equal(still, images)


def test_pgd_finds_the_optimum_of_a_linear_two_class_model() -> None:
    weight = torch.randn((1, 12), generator=Rng(2).generator())
    layer = nn.Linear(12, 2, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.cat([weight, -weight]))
    model, images = nn.Sequential(nn.Flatten(), layer), torch.rand((5, 3, 2, 2), generator=Rng(3).generator())
    labels, start = torch.tensor([0, 1, 0, 1, 0]), torch.zeros(5, 3, 2, 2)
    found = linf_pgd(model, images, labels, start=start, epsilon=0.1, step_size=0.05, steps=4)
    away = weight.view(1, 3, 2, 2).sign() * (2 * labels - 1).view(-1, 1, 1, 1)
    torch.testing.assert_close(found, (images + 0.1 * away).clamp(0, 1))


def test_robust_correct_is_never_above_correct(trained: nn.Module, floats: tuple[Tensor, Tensor]) -> None:
    images, labels = floats
    clean = correct(trained, images, labels, device=CPU)
    assert accuracy(trained, images, labels, device=CPU) == pytest.approx(float(clean.float().mean()))
    counts = []
    for epsilon in (0.0, 0.005, 0.02, 1.0):
        robust = robust_correct(
            trained, images, labels, epsilon=epsilon, step_size=epsilon / 4, steps=10, rng=Rng(0), device=CPU
        )
        assert not (robust & ~clean).any()
        counts.append(int(robust.sum()))
    assert counts[0] == int(clean.sum())
    assert counts == sorted(counts, reverse=True)
    assert counts[1] > counts[-1] == 0


def test_robust_correct_when_nothing_is_correct(trained: nn.Module, floats: tuple[Tensor, Tensor]) -> None:
    images, _ = floats
    wrong = trained(images).argmin(1)
    found = robust_correct(trained, images, wrong, epsilon=0.1, step_size=0.1, steps=2, rng=Rng(0), device=CPU)
    assert not found.any()


def test_robust_correct_reports_progress_to_the_end(trained: nn.Module, floats: tuple[Tensor, Tensor]) -> None:
    images, labels = floats
    seen: list[tuple[int, int]] = []
    robust_correct(
        trained,
        images,
        labels,
        epsilon=0.01,
        step_size=0.01,
        steps=3,
        rng=Rng(0),
        device=CPU,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("name", registry.names("recipes"))
def test_a_recipe_names_things_that_exist_and_fit(name: str) -> None:
    wanted: Recipe = registry.load("recipes", name)
    dataset = registry.load("datasets", wanted.dataset)
    with torch.device("meta"):
        network = registry.load("architectures", wanted.architecture.name)(
            len(dataset.classes), **wanted.architecture.params
        )
        assert network(torch.empty(2, *shape_of(wanted.dataset))).shape == (2, len(dataset.classes))


@pytest.mark.parametrize("name", [name for name in registry.names("recipes") if not name.endswith("-resnet50")])
def test_a_recipe_makes_a_step(name: str, tmp_path: Path) -> None:
    """With its own objective and precision, at its highest rate; small images, and a wide network's smallest sister."""
    wanted: Recipe = registry.load("recipes", name)
    channels, side, _ = shape_of(wanted.dataset)
    small = {"depth": 10, "width": 1} if wanted.architecture.name == "wide-resnet" else {}
    sister = wanted.architecture.model_copy(update={"params": wanted.architecture.params | small})
    one_step(wanted.model_copy(update={"architecture": sister}), (channels, min(side, 32)), tmp_path)


PAPER_SIZE = [name for name in registry.names("recipes") if name.endswith(("-wrn28-10", "-wrn40-2", "-resnet50"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER_SIZE)
def test_a_recipe_of_the_papers_size_makes_a_step_on_two_images(name: str, tmp_path: Path) -> None:
    """The whole network at the whole size; what small sisters run in full, loops and bfloat16, is cut to a round."""
    wanted: Recipe = registry.load("recipes", name)
    loops = wanted.objective.params.keys() & {"steps", "pgd_steps", "nodes", "search_nodes"}
    once = wanted.objective.model_copy(update={"params": {**wanted.objective.params, **dict.fromkeys(loops, 1)}})
    unwatched = wanted.validation.model_copy(update={"pgd_images": 0})
    brief = wanted.model_copy(update={"objective": once, "validation": unwatched, "precision": "float32"})
    one_step(brief, shape_of(wanted.dataset)[:2], tmp_path)


def one_step(wanted: Recipe, image: tuple[int, int], folder: Path) -> None:
    """Train on one batch of two random images of `image` channels and side; the last layer must move and be finite."""
    dataset = registry.load("datasets", wanted.dataset)
    classes, (channels, side) = len(dataset.classes), image
    count = 2 * classes
    images = torch.randint(256, (count, channels, side, side), generator=Rng(0).generator(), dtype=torch.uint8)
    network = registry.load("architectures", wanted.architecture.name)(classes, **wanted.architecture.params)
    validation = wanted.validation.model_copy(update={"images": 10, "pgd_images": min(2, wanted.validation.pgd_images)})
    schedule = wanted.schedule.model_copy(update={"warmup": 0.0})
    brief = wanted.model_copy(update={"batch_size": 2, "epochs": 0.01, "validation": validation, "schedule": schedule})
    data = loop.partition(Split(images, torch.arange(count) % classes), brief)
    once = loop.begin(brief, classifier(network, dataset.mean, dataset.std), data, made(wanted), CPU, parent=False)
    last = [parameter for parameter, _ in once.network.named_parameters()][-2]
    before = once.network.state_dict()[last].clone()
    once.steps = 1
    after = once.run(folder, quiet)
    assert all(torch.isfinite(weight).all() for weight in after.values())
    assert not torch.equal(after[last], before)


def shape_of(dataset: str) -> tuple[int, int, int]:
    channels, side = SIDES.get(dataset, (3, 32))
    return channels, side, side


def test_components_of_protocols_and_entries_exist() -> None:
    for name in registry.names("protocols"):
        protocol = registry.load("protocols", name)
        for kind, components in (
            ("attacks", protocol.attacks),
            ("metrics", protocol.metrics),
            ("attributions", (protocol.attribution, protocol.search_attribution)),
            ("datasets", (Component(name=protocol.samples.source), Component(name=protocol.samples.dataset))),
        ):
            for component in components:
                registry.instantiate(kind, component)
    for name in registry.names("models"):
        entry = registry.load("models", name)
        assert entry.architecture.name in registry.names("architectures")
        assert entry.training.recipe is None or entry.training.recipe in registry.names("recipes")

"""Natural image changes against closed forms and scipy.

Also tests how the judge handles a series of changes.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from attacks._fourier import radius
from attacks._series import ChangeSeries
from attacks.corruption import Corruption, Kind
from attacks.fourier_high import FourierHigh
from attacks.fourier_low import FourierLow
from attacks.fourier_random import FourierRandom
from attacks.patch_shuffle import PatchShuffle
from attacks.saturation import Saturation
from attacks.stylized import Stylized
from bench.attributions.gradient import Gradient
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Metric
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.core.schemas.protocol import ThreatModel
from bench.core.schemas.records import ROW_COLUMNS
from bench.core.storage.files import sha256_of
from bench.data.foolbox_cifar10 import FoolboxCifar10
from bench.run.attack.search import attack_shard
from bench.run.attack.views import Explainer
from bench.run.judge.measure import measure_shard
from bench.run.samples import Samples
from bench.run.setup import Setup
from metrics.accuracy import Accuracy
from metrics.accuracy_on_correct import AccuracyOnCorrect
from metrics.kendall import Kendall
from metrics.robust_accuracy import RobustAccuracy
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support.tiny import tiny_network

IDS = ("a", "b", "c", "d", "e")
RNG = SampleRng(Rng(0), IDS)
SIDE = 16
IMAGES = RNG.fork("images").uniform((3, SIDE, SIDE), 0.05, 0.95)


def spectrum(images: Tensor) -> Tensor:
    return torch.fft.fft2(images.double())


@pytest.mark.parametrize(("value", "level", "expected"), [(0.75, 4, 0.8536), (0.25, 4, 0.1464), (0.75, 1, 0.625)])
def test_saturation_by_hand(value: float, level: float, expected: float) -> None:
    (found,) = Saturation(levels=(level,)).changed(torch.full((1, 1, 1, 1), value), RNG)
    assert found.item() == pytest.approx(expected, abs=1e-4)


def test_saturation_is_the_identity_at_2_and_black_and_white_at_the_end() -> None:
    same, stark = Saturation(levels=(2, 1e6)).changed(IMAGES, RNG)
    torch.testing.assert_close(same, IMAGES, rtol=0, atol=1e-6)
    torch.testing.assert_close(stark, (IMAGES > 0.5).float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("k", [2, 4, 8])
def test_patch_shuffle_lays_the_same_patches_in_another_order(k: int) -> None:
    (found,) = PatchShuffle(levels=(k,)).changed(IMAGES, RNG)
    size = SIDE // k

    def patches(image: Tensor) -> list[bytes]:
        return [
            image[:, row : row + size, column : column + size].numpy().tobytes()
            for row in range(0, SIDE, size)
            for column in range(0, SIDE, size)
        ]

    orders = []
    for before, after in zip(IMAGES, found, strict=True):
        assert sorted(patches(before)) == sorted(patches(after))
        orders.append([patches(before).index(patch) for patch in patches(after)])
    assert len({tuple(order) for order in orders}) > 1, "each image has its own order"


def test_patch_shuffle_asks_for_a_level_that_divides_the_side() -> None:
    with pytest.raises(UsageError, match="expected levels that divide 16 x 16 pixels, got 3"):
        PatchShuffle(levels=(3,)).changed(IMAGES, RNG)


def test_low_and_high_together_are_the_image_and_its_mean_again() -> None:
    mild = 0.5 + 0.1 * (IMAGES - 0.5)  # so that nothing is clipped
    low, high = FourierLow(levels=(3.0,)).changed(mild, RNG)[0], FourierHigh(levels=(3.0,)).changed(mild, RNG)[0]
    torch.testing.assert_close(low + high - mild.mean((2, 3), keepdim=True), mild, rtol=0, atol=1e-6)
    outside = radius(SIDE, SIDE) > 3
    assert spectrum(low)[..., outside].abs().max() < 1e-4
    assert spectrum(high)[..., ~outside & (radius(SIDE, SIDE) > 0)].abs().max() < 1e-4


def test_a_wave_survives_the_filter_of_its_frequency_only() -> None:
    wave = (0.5 + 0.4 * torch.cos(2 * torch.pi * 3 * torch.arange(SIDE) / SIDE)).expand(1, 1, SIDE, SIDE)
    below, above = FourierLow(levels=(2.9, 3.1)).changed(wave, RNG)
    torch.testing.assert_close(below, torch.full_like(wave, 0.5), rtol=0, atol=1e-6)
    torch.testing.assert_close(above, wave, rtol=0, atol=1e-6)


def test_the_random_filter_drops_that_share_and_leaves_the_others_as_they_are() -> None:
    mild = 0.5 + 0.02 * (IMAGES - 0.5)
    (found,) = FourierRandom(levels=(0.3,)).changed(mild, RNG)
    before, after = spectrum(mild), spectrum(found)
    kept = (after - before).abs() < 1e-5
    assert (after[~kept].abs() < 1e-5).all()
    assert kept[..., 0, 0].all()
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=0.03)
    assert len({kept[i].numpy().tobytes() for i in range(len(IDS))}) == len(IDS), "each image has its own mask"


@pytest.mark.parametrize("change", [PatchShuffle(levels=(2,)), FourierRandom(levels=(0.5,))])
def test_what_is_random_hangs_on_the_samples_streams(change: ChangeSeries) -> None:
    here, again, there = (change.changed(IMAGES, rng)[0] for rng in (RNG, RNG, RNG.fork("other")))
    assert torch.equal(here, again)
    assert not torch.equal(here, there)


METRICS: dict[str, Metric] = {
    "robust-accuracy": RobustAccuracy(),
    "accuracy-on-correct": AccuracyOnCorrect(),
    "accuracy": Accuracy(),
}


def bench_of(metrics: dict[str, Metric]) -> Setup:
    model = freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)))
    explainer = Explainer(Gradient(), "sum-of-abs")
    return Setup(
        model=model,
        smooth=smooth_copy(model, 20.0),
        attack=Saturation(levels=(0.25, 2, 64)),
        threat=ThreatModel(norm="linf", epsilon="1", knowledge="none", keep_prediction=False),
        search=explainer,
        judge=explainer,
        metrics=metrics,
        primary="robust-accuracy",
        explain_predicted=True,
        rng=Rng(3),
        device=torch.device("cpu"),
        top_k=10,
    )


def test_a_series_is_judged_level_by_level_and_its_mean_counts() -> None:
    setup = bench_of({**METRICS, "kendall": Kendall()})
    predicted = setup.model(IMAGES).argmax(1)
    labels = torch.where(torch.tensor([True, True, True, False, False]), predicted, (predicted + 1) % 10)
    samples = Samples(IDS, IMAGES, labels)
    rows = measure_shard(setup, samples, attack_shard(setup, samples, 2, lambda n: None), frozenset(IDS[:1]))
    levels = Saturation(levels=(0.25, 2, 64)).changed(IMAGES, RNG)
    for level, images in zip(("0.25", "2", "64"), levels, strict=True):
        right = (setup.model(images).argmax(1) == labels).double().numpy()
        np.testing.assert_array_equal(rows[f"robust-accuracy@{level}"], right)
        np.testing.assert_array_equal(rows[f"accuracy-on-correct@{level}"], [*right[:3], np.nan, np.nan])
    for metric in ("robust-accuracy", "kendall"):
        at_levels = rows[[f"{metric}@{level}" for level in ("0.25", "2", "64")]]
        np.testing.assert_allclose(rows[metric], at_levels.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(rows["kendall@2"], 1, atol=1e-3)
    assert "accuracy@2" not in rows, "a neutral metric of the clean image has no levels"
    assert rows["tiles"].notna().sum() == 1
    assert rows["predicted_after"].tolist() == setup.model(levels[-1]).argmax(1).tolist()


def test_no_map_is_made_where_no_metric_reads_one() -> None:
    setup = bench_of(METRICS)
    none: Any = None
    setup = replace(setup, judge=replace(setup.judge, method=none), search=replace(setup.search, method=none))
    samples = Samples(IDS, IMAGES, torch.zeros(5, dtype=torch.int64))
    rows = measure_shard(setup, samples, attack_shard(setup, samples, 2, lambda n: None), frozenset(IDS))
    assert rows["tiles"].isna().all()
    assert set(ROW_COLUMNS) <= set(rows.columns)
    assert rows["completeness_gap_before"].isna().all()
    assert rows["map_repeatable"].all()


@pytest.fixture(scope="module")
def real() -> Tensor:
    return FoolboxCifar10().load("test").images[:3].float() / 255


def corrupted(images: Tensor, *kinds: Kind) -> Tensor:
    """(kinds, 5 severities, N, C, H, W)."""
    found = torch.stack(Corruption(kinds=kinds).changed(images, RNG.select(slice(len(images)))))
    return found.unflatten(0, (len(kinds), 5))


def test_every_kind_changes_every_image_at_every_severity(real: Tensor) -> None:
    found = corrupted(real, *Corruption().kinds)
    size = (found - real).abs().mean((3, 4, 5))
    assert size.gt(0.003).all()
    assert (found * 255).round().sub(found * 255).abs().max() < 1e-4, "8-bit images"
    growing = [
        i for i, kind in enumerate(Corruption().kinds) if kind not in ("elastic-transform", "frost", "glass-blur")
    ]
    assert size[growing].mean(2).diff(dim=1).gt(-0.005).all()


def test_noises_have_the_published_sizes() -> None:
    grey = torch.full((1, 3, 64, 64), 0.5)
    gaussian, shot, impulse = corrupted(grey, "gaussian-noise", "shot-noise", "impulse-noise")
    for found, sigma in zip(gaussian, (0.04, 0.06, 0.08, 0.09, 0.10), strict=True):
        assert float(found.std()) == pytest.approx(sigma, rel=0.05)
    for found, photons in zip(shot, (500, 250, 100, 75, 50), strict=True):
        assert float(found.std()) == pytest.approx((0.5 / photons) ** 0.5, rel=0.05)
    for found, share in zip(impulse, (0.01, 0.02, 0.03, 0.05, 0.07), strict=True):
        stark = ((found == 0) | (found == 1)).float()
        assert float(stark.mean()) == pytest.approx(share, rel=0.25)


def test_contrast_and_brightness_by_their_formulas(real: Tensor) -> None:
    contrast, bright = corrupted(real, "contrast", "brightness")
    mean = real.mean((2, 3), keepdim=True)
    torch.testing.assert_close(contrast[4], mean + 0.15 * (real - mean), rtol=0, atol=1.01 / 255)
    value, raised = real.amax(1), bright[2].amax(1)
    torch.testing.assert_close(raised, (value + 0.15).clamp(0, 1), rtol=0, atol=1.01 / 255)


def test_blurs_keep_a_plain_image_and_spread_a_point() -> None:
    plain, point = torch.full((1, 3, 32, 32), 0.4), torch.zeros(1, 3, 32, 32)
    point[..., 16, 16] = 1
    kinds: tuple[Kind, ...] = ("defocus-blur", "motion-blur", "zoom-blur", "glass-blur")
    for of_plain, of_point in zip(corrupted(plain, *kinds), corrupted(point, *kinds), strict=True):
        torch.testing.assert_close(of_plain, plain.expand_as(of_plain), rtol=0, atol=1.01 / 255)
        assert ((of_point[4] > 0).sum() > 3).all()


def test_jpeg_and_pixelate_are_pillows(real: Tensor) -> None:
    picture = Image.fromarray((real[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=40)
    small = picture.resize((20, 20), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
    jpeg, pixelated = corrupted(real[:1], "jpeg-compression", "pixelate")[:, 4, 0]
    for found, expected in ((jpeg, Image.open(sink)), (pixelated, small)):
        torch.testing.assert_close(
            found, torch.from_numpy(np.asarray(expected).copy()).permute(2, 0, 1) / 255, rtol=0, atol=1.01 / 255
        )


def test_stylized_reads_the_pinned_images_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    folder, images = tmp_path / "paintings" / "cifar10" / "test", torch.zeros(1, 3, 8, 8)
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "5.png")
    sums = f"{sha256_of((folder / '5.png').read_bytes())}  cifar10/test/5.png\n".encode()
    (tmp_path / "paintings" / "SHA256SUMS").write_bytes(sums)
    rng, threat = SampleRng(Rng(0), ("cifar10/test/5",)), ThreatModel(norm="linf", epsilon="1")

    def read(**params: str) -> Tensor:
        victim: Any = None
        labels = torch.zeros(1, dtype=torch.int64)
        return Stylized(folder="paintings", **params).perturb(victim, images, labels, threat=threat, rng=rng)

    assert torch.equal(read(sha256=sha256_of(sums)), torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0) / 255)
    with pytest.raises(IntegrityError, match="expected SHA256SUMS in paintings with the sha256 000000000000"):
        read(sha256="0" * 64)
    Image.fromarray(255 - pixels).save(folder / "5.png")
    with pytest.raises(IntegrityError, match=r"expected cifar10/test/5\.png in paintings as SHA256SUMS has it"):
        read(sha256=sha256_of(sums))
    Image.fromarray(pixels[:4]).save(folder / "5.png")
    with pytest.raises(IntegrityError, match=r"expected cifar10/test/5\.png of \(8, 8\) pixels, got \(4, 8\)"):
        read()
    (folder / "5.png").unlink()
    with pytest.raises(EnvironmentFault, match="expected a prepared image in"):
        read()

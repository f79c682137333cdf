"""Runs that fail, or whose numbers are undefined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.errors import EnvironmentFault, ModelOutputError, PluginFault
from tests.support.short_runs import completed


@pytest.mark.parametrize("seen_at_once", [True, False])
def test_nan_logits_stop_the_run_and_nothing_is_filed(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen_at_once: bool
) -> None:
    monkeypatch.setattr(
        "model_zoo.architectures.conv_small.ConvSmall.forward", lambda _, x: x[:, 0, 0, :10] * torch.nan
    )
    if not seen_at_once:  # on the images of the first look, that is
        monkeypatch.setattr("bench.run.setup.check_logits", lambda *_: None)
    with pytest.raises(ModelOutputError, match="finite"):
        completed(words, tmp_path)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("attack", ["ifia-topk", "target-map"])  # which step by signs and by sizes
def test_gradients_that_are_nan_beside_finite_logits_end_in_flags_and_no_number(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    def forward(_: object, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0, 0, :10] + (0 * x[:, 1, :1, 0]).sqrt()  # its slope at zero is infinite, times zero

    monkeypatch.setattr("model_zoo.architectures.conv_small.ConvSmall.forward", forward)
    made = completed(words, tmp_path, attack=attack, params={"steps": 2})
    assert {"vanishing-gradient", "undefined-metric"} <= {flag.name for flag in made.record.flags}
    assert (made.rows()["gradient_vanished"] == 1).all()
    assert made.record.summaries["all"]["kendall"].mean is None


def test_a_results_folder_that_cannot_be_written_says_so(words: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(EnvironmentFault, match="choose a writable folder"):
        completed(words, tmp_path)
    assert not (tmp_path / "work").exists(), "it must say so before anything is computed"


def crash(*_: object, **__: object) -> torch.Tensor:
    nothing: Any = None
    return nothing.shape


@pytest.mark.parametrize(
    ("place", "answer", "said"),
    [
        ("attacks.random_noise.RandomNoise.perturb", crash, r"attack random-noise .*py:\d+\): AttributeError: 'NoneT"),
        ("metrics.kendall.Kendall.__call__", crash, r"metric kendall .*py:\d+\): AttributeError: .*; mend it: BENCH_D"),
        ("bench.attributions._nodes.NodeMethod.attribute_with_logits", crash, r"attribution integrated-gradients \("),
        (
            "bench.attributions._nodes.NodeMethod.attribute_with_logits",
            lambda _, model, images, labels, rng: (images[:, :, 1:], model(images)),
            r"attribution integrated-gradients: expected .* shape \(1, 3, 32, 32\), got \(1, 3, 31, 32\); mend it",
        ),
        (
            "attacks.random_noise.RandomNoise.perturb",
            lambda _, victim, images, labels, threat, rng: images[:, :, 1:],
            r"attack random-noise: expected proposals of the shape \(1, 3, 32, 32\), got \(1, 3, 31, 32\); return one",
        ),
        (
            "attacks.random_noise.RandomNoise.perturb",
            lambda _, victim, images, labels, threat, rng: images * torch.nan,
            r"attack random-noise: expected finite images, got NaN or infinity in 1 of 1; mend it",
        ),
        ("attacks.random_noise.RandomNoise.perturb", lambda *_, **__: None, r"attack random-noise .*: TypeError: "),
        (
            "metrics.topk_intersection.TopkIntersection.__call__",
            lambda _, pair: torch.full((len(pair.labels),), 1.2),
            r"metric topk-intersection: expected values in its bounds \[0, 1\], got 1.2 and 2 such of 2 in all; mend",
        ),
        (
            "metrics.topk_intersection.TopkIntersection.__call__",
            lambda _, pair: torch.zeros(()),
            r"metric topk-intersection: expected one value per image, the shape \(2,\), got \(\); mend it",
        ),
    ],
)
def test_a_plugin_that_fails_or_breaks_its_contract_is_named_and_nothing_is_filed(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, answer: Any, said: str
) -> None:
    monkeypatch.setattr(place, answer)
    with pytest.raises(PluginFault, match=f"^{said}"):
        completed(words, tmp_path, attack="random-noise")
    assert not list(tmp_path.rglob("*.json"))


def test_a_value_that_is_undefined_or_rounds_beyond_its_bound_is_none_outside(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = torch.tensor([1 + 1e-5, torch.nan])
    monkeypatch.setattr("metrics.cosine.Cosine.__call__", lambda _, pair: values[: len(pair.labels)])
    assert completed(words, tmp_path, attack="random-noise").rows()["cosine"].isna().sum() == 2

"""The defined outcomes of every metric on degenerate maps.

The maps are zero, constant, full of ties or unchanged.
"""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from bench import registry
from bench.attributions.gradient import Gradient
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Pair
from bench.core.schemas.protocol import Component
from bench.run.attack.views import Explainer, JudgeProbe
from model_zoo.build import freeze

SIDE = 12
RNG = SampleRng(Rng(0), ("a", "b"))
NAN, SOME = math.nan, None
"""No value; some finite value that depends on the images."""

Case = Literal["zero", "constant", "tied", "put-back"]
Row = dict[Case, float | None]


def row(zero: float | None, constant: float | None, tied: float | None, put_back: float | None) -> Row:
    return {"zero": zero, "constant": constant, "tied": tied, "put-back": put_back}


# The gradient of a linear model, hence its map, is the same everywhere: nothing moves.
# zero: the gradient is 0 at every pixel. constant: it is 1/2 at every pixel. tied: it has two values, half the pixels
# each. put-back: many values, and the image after is the one before, because the class had changed.
OUTCOMES: dict[str, Row] = {
    # Top-k: a constant map has no top; ties go to the lower pixel index in both maps, so that equal maps agree.
    "topk-intersection": row(NAN, NAN, 1, 1),
    "topk-intersection-corrected": row(NAN, NAN, 1, 1),
    "lens-recall": row(NAN, NAN, 1, 1),
    "lens-precision": row(NAN, NAN, 1, 1),
    "topk-div-intersection": row(NAN, NAN, 1, 1),
    "lens-recall-div": row(NAN, NAN, 1, 1),
    "lens-precision-div": row(NAN, NAN, 1, 1),
    # Correlations need a map that varies, angles and shares one that is not zero.
    "kendall": row(NAN, NAN, 1, 1),
    "spearman": row(NAN, NAN, 1, 1),
    "lens-kendall": row(NAN, NAN, 1, 1),
    "lens-spearman": row(NAN, NAN, 1, 1),
    "attack-success": row(NAN, NAN, 0, 0),
    "pearson": row(NAN, NAN, 1, 1),
    "cosine": row(NAN, 1, 1, 1),
    "cosine-abs": row(NAN, 1, 1, 1),
    "ssim": row(NAN, 1, 1, 1),
    "l2-distance": row(NAN, 0, 0, 0),
    "mass-center-shift": row(NAN, 0, 0, 0),
    "entropy": row(NAN, 1, SOME, SOME),
    "gini": row(NAN, 0, SOME, SOME),
    # Classes, not maps.
    "accuracy": row(SOME, SOME, SOME, SOME),
    "confidence-change": row(0, SOME, SOME, 0),
    "prediction-kept": row(1, 1, 1, 0),
    # Stability is relative to the clean attribution.
    "max-sensitivity": row(NAN, 0, 0, 0),
    "local-lipschitz": row(NAN, 0, 0, 0),
    "relative-input-stability": row(NAN, 0, 0, 0),
    "relative-output-stability": row(NAN, 0, 0, 0),
    # Faithfulness: a zero map cannot be rescaled, a constant one orders no pixels.
    "infidelity": row(NAN, 0, 0, 0),
    "insertion": row(NAN, NAN, SOME, SOME),
    "deletion": row(NAN, NAN, SOME, SOME),
    "road": row(NAN, NAN, SOME, SOME),
    "completeness-gap": row(0, SOME, SOME, SOME),
    "input-gradient-alignment": row(NAN, 0, SOME, SOME),
    "input-gradient-alignment-abs": row(NAN, SOME, SOME, SOME),
}
UNMOVED_BY_ATTACK: dict[str, float] = {
    "max-sensitivity": 0.0,
    "local-lipschitz": NAN,
    "relative-input-stability": 0.0,
    "relative-output-stability": 0.0,
}
"""Stability metrics whose neighbour is the attacked image, where that is the clean one."""


def weights(case: Case) -> Tensor:
    """(3 * SIDE * SIDE,) of the explained class."""
    if case == "put-back":
        return torch.randn(3 * SIDE * SIDE, generator=Rng(1).generator(), dtype=torch.float64)
    high = {"zero": torch.zeros(SIDE, SIDE), "constant": torch.full((SIDE, SIDE), 0.5)}.get(case)
    if high is None:
        high = 0.25 + (torch.arange(SIDE * SIDE).view(SIDE, SIDE) % 2) / 2
    return high.double().expand(3, -1, -1).flatten()


def pair_of(case: Case) -> Pair:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2))
    linear.double()
    linear[1].weight.data = torch.stack([weights(case), torch.zeros(3 * SIDE * SIDE, dtype=torch.float64)])
    # The class of most weight wins by a margin that no neighbour overcomes.
    linear[1].bias.data = torch.tensor([1000.0, 0.0], dtype=torch.float64)
    model, labels = freeze(linear), torch.tensor([0, 0])
    before, after = (RNG.fork(side).uniform((3, SIDE, SIDE), 0, 1).double() for side in ("before", "after"))
    feasible = torch.full((2,), case != "put-back")
    explainer = Explainer(Gradient(), "sum-of-abs")
    views = [explainer.view(model, x, labels, RNG) for x in (before, before if case == "put-back" else after)]
    return Pair(views[0], views[1], labels, feasible, JudgeProbe(model, Gradient(), labels, RNG, RNG.fork("metrics")))


@pytest.mark.parametrize("case", ["zero", "constant", "tied", "put-back"])
@pytest.mark.parametrize("name", OUTCOMES)
def test_the_outcome_is_the_tables(name: str, case: Case) -> None:
    metric = registry.instantiate("metrics", Component(name=name))
    expected = OUTCOMES[name][case]
    value: Tensor = metric(pair_of(case))
    if expected is SOME:
        low, high = metric.bounds
        assert value.isfinite().all()
        assert value.ge(low).all()
        assert value.le(high).all()
    else:
        assert value.tolist() == pytest.approx([expected] * 2, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", UNMOVED_BY_ATTACK)
def test_an_attack_that_moved_nothing(name: str) -> None:
    metric = registry.instantiate("metrics", Component(name=name, params={"neighbours": "attacked"}))
    assert metric(pair_of("put-back")).tolist() == pytest.approx([UNMOVED_BY_ATTACK[name]] * 2, nan_ok=True)


def test_a_zero_map_predicts_nothing_and_may_say_so() -> None:
    for relative, outcome in ((False, 0.0), (True, NAN)):
        params = {"rescale": False, "relative": relative}
        metric = registry.instantiate("metrics", Component(name="infidelity", params=params))
        assert metric(pair_of("zero")).tolist() == pytest.approx([outcome] * 2, nan_ok=True)


def test_a_plain_image_has_no_contrast_to_align_with() -> None:
    pair = pair_of("tied")
    plain = torch.full_like(pair.before.images, 0.1)
    view = type(pair.before)(plain, pair.before.logits, pair.before.attribution, pair.before.heatmap)
    for name in ("input-gradient-alignment", "input-gradient-alignment-abs"):
        for origin, undefined in (("image-mean", True), ("black", False)):
            metric = registry.instantiate("metrics", Component(name=name, params={"origin": origin}))
            assert metric(Pair(view, view, pair.labels, None, pair.probe)).isnan().all() == undefined

"""Shape bias on answers that are known."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Annotation, Cues, Pair, View
from bench.core.schemas.protocol import Component
from bench.data._sixteen_categories import CATEGORIES
from bench.data.cue_conflict import groups_of
from metrics._cues import decision

GROUPS = torch.tensor([0, 0, 1, 1, 2, -1])


def pair_of(logits: Tensor, *cues: Cues | None) -> Pair:
    images = torch.zeros(len(logits), 3, 2, 2)
    view = View(images, logits, images, images.sum(1))
    labels = torch.zeros(len(logits), dtype=torch.int64)
    return Pair(view, view, labels, annotations=tuple(Annotation(cues=each) for each in cues))


def values(name: str, pair: Pair) -> list[float]:
    found: list[float] = registry.instantiate("metrics", Component(name=name))(pair).tolist()
    return found


def test_answers_by_shape_and_by_texture_are_counted() -> None:
    sure = 10 * torch.eye(6)
    cues = Cues(GROUPS, shape=0, texture=1)
    pair = pair_of(sure[[0, 1, 2, 4, 0]], cues, cues, cues, cues, None)
    np.testing.assert_equal(values("shape-bias", pair), [1, 1, 0, math.nan, math.nan])
    np.testing.assert_equal(values("cue-answers", pair), [1, 1, 1, 0, math.nan])


def test_an_output_of_no_category_decides_nothing() -> None:
    logits = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0, 20.0]])
    assert values("shape-bias", pair_of(logits, Cues(GROUPS, 0, 1))) == [0]


def test_a_category_of_many_classes_has_no_advantage() -> None:
    """Compare with a sum, under which the larger category would win."""
    logits = torch.log(torch.tensor([[0.2, 0.2, 0.0001, 0.0001, 0.3, 0.2998]]))
    assert decision(logits[0], GROUPS) == 2
    assert values("shape-bias", pair_of(logits, Cues(GROUPS, shape=0, texture=2))) == [0]


def test_decisions_over_the_sixteen_categories_are_those_of_a_loop() -> None:
    groups = groups_of(1000)
    assert sorted(set(groups.tolist())) == [-1, *range(16)]
    assert sum(len(classes) for classes in CATEGORIES.values()) == int((groups >= 0).sum()) == 207
    logits = 3 * torch.randn(20, 1000, generator=Rng(0).generator(), dtype=torch.float64)
    for row in logits:
        probabilities = softmax(row.numpy())
        means = [np.mean(probabilities[list(classes)]) for classes in CATEGORIES.values()]
        assert decision(row, groups) == int(np.argmax(means))

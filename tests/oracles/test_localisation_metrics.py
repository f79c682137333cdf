"""Localisation metrics on drawn maps, boxes and masks whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.measure import label as labelled
from skimage.measure import regionprops
from torch import Tensor

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Annotation, Pair, View
from bench.core.schemas.protocol import Component
from bench.run.judge.clean import measured_all
from metrics._places import box_around, overlap

SIDE = 40
PLAIN = {"clip": 0.0, "window": 1, "sigma": 0.0, "threshold": 0.5}
"""Settings under which the foreground is the drawn figure itself."""


def drawn(*rectangles: tuple[int, int, int, int]) -> Tensor:
    """(SIDE, SIDE) bool: filled rectangles, each left, top, right, lower edge."""
    canvas = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    for left, top, right, lower in rectangles:
        canvas[top:lower, left:right] = True
    return canvas


def boxes(*rectangles: tuple[float, float, float, float]) -> Annotation:
    return Annotation(boxes=torch.tensor(rectangles, dtype=torch.float64).view(-1, 4))


def view(maps: list[Tensor], predicted: list[int]) -> View:
    heatmap = torch.stack([each.double() for each in maps])
    images = torch.zeros(len(maps), 1, SIDE, SIDE)
    return View(images, torch.eye(3)[predicted], images, heatmap)


def pair_of(*samples: tuple[Tensor, Annotation, bool]) -> Pair:
    seen = view([heatmap for heatmap, _, _ in samples], [1 if right else 0 for _, _, right in samples])
    return Pair(seen, seen, torch.ones(len(samples), dtype=torch.int64), annotations=tuple(p for _, p, _ in samples))


def values(name: str, pair: Pair, **params: Any) -> list[float]:
    metric = registry.instantiate("metrics", Component(name=name, params=params))
    found: list[float] = metric(pair).tolist()
    return found


def test_a_box_counts_from_half_an_overlap_on() -> None:
    figure = drawn((10, 10, 20, 20))
    places = [boxes((10, 10, 20, 20)), boxes((10, 10, 20, 30)), boxes((10, 10, 20, 30.1)), boxes((25, 25, 35, 35))]
    pair = pair_of(*((figure, place, True) for place in places))
    assert values("gt-known-loc", pair, **PLAIN) == [1, 1, 0, 0]
    assert values("gt-known-loc", pair, **PLAIN, iou=0.51) == [1, 0, 0, 0]


def test_top1_counts_correct_classes_only() -> None:
    figure, place = drawn((10, 10, 20, 20)), boxes((10, 10, 20, 20))
    seg = Annotation(mask=figure)
    pair = pair_of((figure, place, True), (figure, place, False), (figure, boxes((0, 0, 9, 9)), True))
    assert values("gt-known-loc", pair, **PLAIN) == [1, 1, 0]
    assert values("top1-loc", pair, **PLAIN) == [1, 0, 0]
    masks = pair_of((figure, seg, True), (figure, seg, False), (figure, Annotation(mask=~figure), True))
    assert values("top1-seg", masks, **PLAIN) == [1, 0, 0]


def test_the_class_after_the_attack_counts_after_it() -> None:
    figure, place = drawn((10, 10, 20, 20)), boxes((10, 10, 20, 20))
    pair = Pair(view([figure], [1]), view([figure], [0]), torch.tensor([1]), annotations=(place,))
    assert values("top1-loc", pair, **PLAIN) == [1]
    assert values("top1-loc", pair, **PLAIN, of="after") == [0]


def test_the_largest_part_has_the_box_and_any_of_several_boxes_is_found() -> None:
    figure = drawn((2, 2, 8, 8), (20, 20, 32, 30))
    pair = pair_of((figure, boxes((2, 2, 8, 8)), True), (figure, boxes((2, 2, 8, 8), (20, 20, 32, 30)), True))
    assert values("gt-known-loc", pair, **PLAIN) == [0, 1]


def test_boxes_are_those_of_scikit_image() -> None:
    for seed in range(20):
        noise = torch.rand(SIDE, SIDE, generator=Rng(seed).generator()).numpy()
        foreground = ndimage.gaussian_filter(noise, 2) > 0.5
        regions = regionprops(labelled(foreground, connectivity=2))
        largest = max(regions, key=lambda region: region.area)
        top, left, lower, right = largest.bbox
        assert box_around(foreground).tolist() == [left, top, right, lower]


def test_overlaps_are_those_of_masks() -> None:
    for seed in range(50):
        corners = torch.randint(0, SIDE // 2, (4, 2), generator=Rng(seed).generator()).tolist()
        one, other = ((x, y, x + w + 1, y + h + 1) for (x, y), (w, h) in (corners[:2], corners[2:]))
        shared, union = int((drawn(one) & drawn(other)).sum()), int((drawn(one) | drawn(other)).sum())
        found = overlap(np.array(one, dtype=np.float64), boxes(other).boxes)
        assert found == pytest.approx(shared / union, abs=1e-12)


def test_the_foreground_is_filtered_as_the_docstring_says() -> None:
    noise = torch.rand(SIDE, SIDE, generator=Rng(5).generator(), dtype=torch.float64).square()
    low, high = torch.quantile(noise, 0.02), torch.quantile(noise, 0.98)
    scaled = torch.nn.functional.pad(
        ((noise.clamp(low, high) - low) / (high - low))[None, None], (1, 1, 1, 1), "replicate"
    )
    mean = torch.nn.functional.avg_pool2d(scaled, 3, 1)[0, 0]
    reach = torch.arange(-12, 13, dtype=torch.float64)  # scipy cuts the Gaussian at four deviations
    weights = (-0.5 * (reach / 3) ** 2).exp()
    weights = weights / weights.sum()
    mirrored = torch.cat([mean.flip(0), mean, mean.flip(0)])
    mirrored = torch.cat([mirrored.flip(1), mirrored, mirrored.flip(1)], 1)[
        SIDE - 12 : 2 * SIDE + 12, SIDE - 12 : 2 * SIDE + 12
    ]
    smooth = torch.nn.functional.conv2d(mirrored[None, None], torch.outer(weights, weights)[None, None])[0, 0]
    foreground = smooth >= 0.7 * smooth.max()
    mask = drawn((5, 5, 30, 30))
    expected = int((foreground & mask).sum()) / int((foreground | mask).sum())
    found = values("mask-iou", pair_of((noise, Annotation(mask=mask), True)), threshold=0.7)
    assert found == pytest.approx([expected], abs=1e-12)


def test_mask_iou_is_the_share_of_common_pixels() -> None:
    figure, mask = drawn((10, 10, 20, 20), (0, 0, 2, 5)), drawn((10, 10, 20, 25))
    pair = pair_of((figure, Annotation(mask=mask), True))
    assert values("mask-iou", pair, **PLAIN) == pytest.approx([100 / 160])


@pytest.mark.parametrize(("column", "row", "exact"), [(15, 15, 0.0), (9, 15, 0.5), (15, 24, 4.5), (6, 5, 32.5**0.5)])
def test_the_pointing_game_measures_from_the_center_of_the_pixel(column: int, row: int, exact: float) -> None:
    figure = drawn((column, row, column + 1, row + 1))
    pair = pair_of((figure, boxes((10, 10, 20, 20)), True), (figure, boxes((30, 0, 31, 1), (10, 10, 20, 20)), True))
    assert values("pointing-game", pair, tolerance=exact + 1e-9) == [1, 1]
    assert values("pointing-game", pair, tolerance=max(0.0, exact - 1e-9)) == [float(exact == 0)] * 2


def test_the_pointing_game_prefers_masks_to_boxes() -> None:
    figure = drawn((12, 12, 13, 13))
    place = Annotation(boxes=boxes((10, 10, 20, 20)).boxes, mask=drawn((16, 12, 20, 20)))
    pair = pair_of((figure, place, True))
    assert values("pointing-game", pair) == [0]
    assert values("pointing-game", pair, tolerance=3.9) == [0]
    assert values("pointing-game", pair, tolerance=4) == [1]


def test_max_box_acc_has_the_accuracy_at_each_threshold() -> None:
    steep = 0.2 * drawn((0, 0, 40, 40)).double() + 0.3 * drawn((5, 5, 25, 25)) + 0.5 * drawn((10, 10, 20, 20))
    pair = pair_of((steep, boxes((0, 0, 40, 40)), True), (steep, boxes((5, 5, 25, 25)), False))
    metric = registry.instantiate(
        "metrics", Component(name="max-box-acc", params={"clip": 0.0, "window": 1, "sigma": 0.0, "thresholds": 3})
    )
    found = {name: column.tolist() for name, column in measured_all({"m": metric}, pair).items()}
    # Scaled to [0, 1], the rings have the values 0, 0.375 and 1.
    assert found == {"m": [0, 1], "m@0.25": [0, 1], "m@0.5": [0, 0], "m@0.75": [0, 0]}


@pytest.mark.parametrize("name", ["gt-known-loc", "top1-loc", "max-box-acc", "mask-iou", "top1-seg", "pointing-game"])
def test_what_is_not_defined_is_nan(name: str) -> None:
    figure = drawn((10, 10, 20, 20))
    both = Annotation(boxes=boxes((10, 10, 20, 20)).boxes, mask=figure)
    broken = figure.double().clone()
    broken[0, 0] = torch.nan
    pair = pair_of(
        (figure, both, True), (figure, Annotation(), True), (figure, boxes(), True), (0 * figure, both, True)
    )
    assert np.isnan(values(name, pair)).tolist() == [False, True, True, True]
    assert np.isnan(values(name, pair_of((broken, both, True)))).tolist() == [True]
    if name == "max-box-acc":
        levels = registry.instantiate("metrics", Component(name=name)).by_level(pair_of((figure, Annotation(), True)))
        assert len(levels) == 19
        assert all(column.isnan().all() for column in levels.values())

"""The object's place as a heatmap shows it, and as annotations say.

Places are found on the CPU in float64, one map after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import ndimage
from torch import Tensor

from bench.core.contracts import Annotation, Metric, Pair
from bench.core.errors import BenchError
from bench.core.schemas.protocol import Direction

from ._sides import OneSided, Side, view_of

Map = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Box = npt.NDArray[np.float64]
Value = Callable[[Map, Annotation, bool], float | Map]
"""A function of heatmap (H, W), annotation, and whether the class is right."""


@dataclass(frozen=True, kw_only=True)
class Localisation(OneSided):
    """A metric that compares a heatmap's place with an annotation.

    A map is clipped to its percentiles, scaled to [0, 1], filtered by a mean and by a Gaussian, divided by its largest
    value, and cut at a threshold.
    """

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"

    of: Side = "before"
    """Which map is measured: the map before the attack, or the map after it."""
    clip: float = Field(default=2.0, ge=0, lt=50)
    """Percentile below which, and above 100 minus which, values are clipped; 0 clips nothing."""
    window: int = Field(default=3, ge=1)
    """Side of the mean filter's square in pixels; 1 filters nothing."""
    sigma: float = Field(default=3.0, ge=0)
    """Standard deviation of the Gaussian filter in pixels; 0 filters nothing."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [0, 1].

        NaN where the sample has no annotation of a needed kind, or the heatmap is constant or not finite.
        """
        return self.each(pair, self.value)

    def each(self, pair: Pair, value: Value) -> Tensor:
        """(N, ...) float64: a value per sample, NaN where undefined."""
        view = view_of(pair, self.of)
        right = (view.logits.argmax(1) == pair.labels).tolist()
        maps = view.heatmap.detach().double().cpu().numpy()
        found = {
            index: value(heatmap, place, correct)
            for index, (heatmap, place, correct) in enumerate(zip(maps, annotations_of(self, pair), right, strict=True))
            if _defined(heatmap) and any(map(place.has, self.needs))
        }
        shape = np.shape(next(iter(found.values()), 0.0))
        values = [found.get(index, np.full(shape, np.nan)) for index in range(len(maps))]
        return torch.from_numpy(np.array(values, dtype=np.float64)).to(view.heatmap.device)

    def value(self, heatmap: Map, place: Annotation, correct: bool) -> float:
        """Return one sample's value.

        Args:
            heatmap: (H, W) float64, not constant.
            place: the sample's annotation.
            correct: whether the image of this side is classified correctly.
        """
        raise NotImplementedError

    def filtered(self, heatmap: Map) -> Map:
        """(H, W): the filtered map, whose largest value is 1."""
        low, high = np.percentile(heatmap, (self.clip, 100 - self.clip))
        if low == high:  # more equal pixels than the percentiles leave
            low, high = heatmap.min(), heatmap.max()
        scaled = (heatmap.clip(low, high) - low) / (high - low)
        smooth = ndimage.gaussian_filter(ndimage.uniform_filter(scaled, self.window, mode="nearest"), self.sigma)
        found: Map = smooth / smooth.max()
        return found


@dataclass(frozen=True, kw_only=True)
class Thresholded(Localisation):
    """A localisation metric with one threshold."""

    threshold: float = Field(default=0.2, gt=0, lt=1)
    """Share of the filtered map's largest value from which on a pixel belongs to the object."""

    def foreground(self, heatmap: Map) -> Mask:
        """(H, W): the pixels that the map shows as the object."""
        found: Mask = self.filtered(heatmap) >= self.threshold
        return found


def annotations_of(metric: Metric, pair: Pair) -> tuple[Annotation, ...]:
    """Return the annotations of a pair's samples.

    Raises:
        BenchError: if the data set has none.
    """
    if len(pair.annotations) != len(pair.labels):
        raise BenchError(
            f"expected {' or '.join(metric.needs)} of {len(pair.labels)} samples for {type(metric).__name__}, got "
            f"{len(pair.annotations)} annotations; choose a data set that has them, or leave the metric out"
        )
    return pair.annotations


def box_around(foreground: Mask) -> Box:
    """(4,): left, top, right and lower edge of the largest connected part.

    Pixels are connected also by their corners. Among parts of equal size the first in the order of rows counts.
    """
    parts, count = ndimage.label(foreground, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    rows, columns = ndimage.find_objects(parts)[int(sizes.argmax())]
    return np.array([columns.start, rows.start, columns.stop, rows.stop], dtype=np.float64)


def overlap(box: Box, boxes: Tensor | None) -> float:
    """Return the largest intersection over union of a box with others.

    The others are (B, 4).
    """
    assert boxes is not None
    others = boxes.double().cpu().numpy()
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(min=0).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return float((shared / union).max())


def mask_overlap(foreground: Mask, mask: Tensor | None) -> float:
    """Return the intersection over union of two (H, W) masks."""
    assert mask is not None
    other: Mask = mask.cpu().numpy()
    union = (foreground | other).sum()
    return float((foreground & other).sum() / union)


def _defined(heatmap: Map) -> bool:
    return bool(np.isfinite(heatmap).all() and heatmap.max() > heatmap.min())

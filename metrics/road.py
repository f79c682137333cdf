"""Mean probability of the explained class while pixels are imputed away."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from bench.core.contracts import Pair, Role
from bench.core.schemas.protocol import Direction

from ._ablation import falling_ranks
from ._probe import probe_of
from ._sides import OneSided, Side, view_of
from ._sums import sum_by_halves
from ._undefined import nan_where_constant

Floats = npt.NDArray[np.float64]

NEIGHBOURS = {
    (down, right): 1 / 12 if down and right else 1 / 6
    for down in (-1, 0, 1)
    for right in (-1, 0, 1)
    if (down, right) != (0, 0)
}
"""Weights of a pixel's eight neighbours, by their offsets."""


@dataclass(frozen=True, kw_only=True)
class Road(OneSided):
    """Mean of p_y over images whose pixels are removed in order.

    A removed pixel becomes the weighted mean of its neighbours, removed or not, plus a little noise: the mask is hard
    to see, so that it tells the network little about the class. With "most-first" (MoRF) the most important pixels go
    first and a faithful map has a low value; with "least-first" (LeRF) it has a high value. Nothing is retrained.
    Neutral: it says how good a map is, not how far it moved.

    Source:
        Rong, Leemann, Borisov, Kasneci, Kasneci 2022 (ROAD). Reference code: tleemann/road_evaluation.
        Differs: the probability of the explained class instead of the accuracy; values are clipped to [0, 1].
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    asks_model: ClassVar[bool] = True
    role: ClassVar[Role] = "faithfulness"
    place: ClassVar[int] = 4

    of: Side = "before"
    order: Literal["most-first", "least-first"] = "most-first"
    """Which pixels are removed first: the most important or the least important."""
    steps: int = Field(default=10, ge=2)
    """The shares of removed pixels are 1/steps, 2/steps, …, (steps - 1)/steps."""
    noise: float = Field(default=0.01, ge=0)
    """Standard deviation of the noise on imputed pixels, in pixel units."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 means in [0, 1].

        NaN where the heatmap is constant or holds a NaN, as such a map has no order.
        """
        probe, view = probe_of(self, pair), view_of(pair, self.of)
        images, pixels = view.images, view.heatmap.shape[1:].numel()
        ranks = falling_ranks(view.heatmap)
        if self.order == "least-first":
            ranks = pixels - 1 - ranks
        noise = self.noise * probe.rng.fork("road").normal(tuple(images.shape[1:])).to(images)
        found = []
        for step in range(1, self.steps):
            gone = ranks < (pixels * step + self.steps // 2) // self.steps
            filled = torch.where(gone.unsqueeze(1), (imputed(images, gone) + noise).clamp(0, 1), images)
            probabilities = probe.logits(filled).double().softmax(1)
            found.append(probabilities.gather(1, probe.labels.unsqueeze(1)).squeeze(1))
        mean = sum_by_halves(torch.stack(found, 1)) / len(found)
        return nan_where_constant(mean.clamp(0, 1), view.heatmap)


def imputed(images: Tensor, gone: Tensor) -> Tensor:
    """Return images whose removed pixels are means of their neighbours.

    Args:
        images: (N, C, H, W).
        gone: (N, H, W) bool: the pixels that are removed; at least one pixel of an image must be left.
    Returns:
        (N, C, H, W): every removed pixel is the weighted mean of its neighbours inside the image.
    """
    planes, masks = images.detach().double().cpu().numpy(), gone.cpu().numpy()
    filled = [_filled(plane, mask) for plane, mask in zip(planes, masks, strict=True)]
    return torch.from_numpy(np.stack(filled)).to(images)


def _filled(image: Floats, gone: npt.NDArray[np.bool_]) -> Floats:
    """Return a (C, H, W) image with its removed pixels solved for."""
    height, width = gone.shape
    rows, columns = np.nonzero(gone)
    number = np.full(gone.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    total, known = np.zeros(len(rows)), np.zeros((len(rows), len(image)))
    entries: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]] = []
    for (down, right), weight in NEIGHBOURS.items():
        y, x = rows + down, columns + right
        inside = np.nonzero((y >= 0) & (y < height) & (x >= 0) & (x < width))[0]
        total[inside] += weight
        left = inside[~gone[y[inside], x[inside]]]
        known[left] += weight * image[:, y[left], x[left]].T
        unknown = inside[gone[y[inside], x[inside]]]
        entries.append((unknown, number[y[unknown], x[unknown]], np.full(len(unknown), -weight)))
    diagonal = np.arange(len(rows))
    parts = [(diagonal, diagonal, total), *entries]
    at, of, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    system = sparse.csc_matrix((values, (at, of)), shape=(len(rows), len(rows)))
    changed = image.copy()
    changed[:, rows, columns] = spsolve(system, known).reshape(len(rows), -1).T
    return changed

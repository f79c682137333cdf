"""Whether the heatmap's largest value lies on the object."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import ndimage
from torch import Tensor

from bench.core.contracts import Annotation, AnnotationKind

from ._places import Localisation, Map


@dataclass(frozen=True, kw_only=True)
class PointingGame(Localisation):
    """Hit of the object by the largest value, 1 or 0.

    1 if the center of the pixel with the largest value is at most `tolerance` pixels from the mask, or, without a mask,
    from one of the boxes; else 0. Among equal pixels the first in the order of rows counts. Neutral: it says how good a
    map is, not how far it moved.

    Source:
        Zhang et al. 2016 (excitation backprop), section 4.2; they allow 15 pixels.
        Differs: one class per image, that of the label; the map is not filtered unless the protocol asks for it.
    """

    version: ClassVar[int] = 1
    needs: ClassVar[tuple[AnnotationKind, ...]] = ("boxes", "mask")

    clip: float = Field(default=0.0, ge=0, lt=50)
    window: int = Field(default=1, ge=1)
    sigma: float = Field(default=0.0, ge=0)
    tolerance: float = Field(default=0.0, ge=0)
    """Largest distance from the object of a hit, in pixels."""

    def value(self, heatmap: Map, place: Annotation, correct: bool) -> float:  # noqa: ARG002 - the class is known
        """Return 1 for a hit, else 0."""
        row, column = np.unravel_index(self.filtered(heatmap).argmax(), heatmap.shape)
        if place.mask is not None:
            away = float(ndimage.distance_transform_edt(~place.mask.cpu().numpy())[row, column])
        else:
            away = _distance(np.array([column + 0.5, row + 0.5]), place.boxes)
        return float(away <= self.tolerance)


def _distance(point: Map, boxes: Tensor | None) -> float:
    """Return the distance from a point (x, y) to the nearest box."""
    assert boxes is not None
    edges = boxes.double().cpu().numpy()
    beyond = np.maximum(edges[:, :2] - point, point - edges[:, 2:]).clip(min=0)
    return float(np.sqrt((beyond**2).sum(1)).min())

"""Mean probability of the explained class while important pixels come first."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from bench.core.contracts import Role

from ._ablation import AblationMetric


@dataclass(frozen=True, kw_only=True)
class Insertion(AblationMetric):
    """Area under p_y(share of pixels inserted), from 0 to 1.

    Pixels come in the heatmap's falling order, so a faithful map has a high value. With `of = "after", image =
    "before"` it is adversarial insertion: does the attacked map still find what the clean image is recognised by?
    Neutral: it says how good a map is, not how far it moved.

    Source:
        Petsiuk, Das, Saenko 2018 (RISE); adversarial insertion: Joo et al. 2023 (RobustAGA), 20 ratios.
        Differs: pixels are inserted into an image of its channels' means, where RISE takes a blurred image and
        RobustAGA the data set's mean; trapezoids over 20 steps of equal size.
    """

    version: ClassVar[int] = 1
    inserts: ClassVar[bool] = True
    role: ClassVar[Role] = "faithfulness"
    place: ClassVar[int] = 2

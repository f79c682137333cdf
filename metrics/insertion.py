"""Mean probability of the explained class while pixels come, the most important first."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from ._ablation import AblationMetric


@dataclass(frozen=True, kw_only=True)
class Insertion(AblationMetric):
    """Area under p_y(share of pixels inserted), 0 to 1, pixels in the heatmap's falling order: high for a faithful map.

    With `of = "after", image = "before"` it is adversarial insertion: does the attacked map still find what the clean
    image is recognised by? Neutral: it says how good a map is, not how far it moved.

    Source:
        Petsiuk, Das, Saenko 2018 (RISE); adversarial insertion: Joo et al. 2023 (RobustAGA), 20 ratios.
        Differs: pixels are inserted into the mean of each of the image's channels, where RISE takes a blurred image and
        RobustAGA the data set's mean; trapezoids over 20 steps of equal size.
    """

    version: ClassVar[int] = 1
    inserts: ClassVar[bool] = True

"""Mean probability of the explained class while important pixels go first."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from bench.core.contracts import Role

from ._ablation import AblationMetric


@dataclass(frozen=True, kw_only=True)
class Deletion(AblationMetric):
    """Area under p_y(share of pixels deleted), from 0 to 1.

    Pixels go in the heatmap's falling order, so a faithful map has a low value. With `of = "after", image = "before"`
    it is adversarial deletion: the attacked map's order, on the clean image. Neutral: it says how good a map is, not
    how far it moved.

    Source:
        Petsiuk, Das, Saenko 2018 (RISE); Samek et al. 2017 (AOPC is p_y(x) less this area, for pixels as regions).
        Differs: what is deleted takes the mean of the image's channel, where RISE takes grey; trapezoids over 20 steps
        of equal size.
    """

    version: ClassVar[int] = 1
    inserts: ClassVar[bool] = False
    role: ClassVar[Role] = "faithfulness"
    place: ClassVar[int] = 3

"""Locality-sensitive diverse top-k: how much of the attacked diverse top lies in windows around the clean one."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from ._near_top import NearTop


@dataclass(frozen=True, kw_only=True)
class LensRecallDiv(NearTop):
    """|N_w(D) and D'| / k: the share of the diverse top after the attack that lies near the clean diverse top.

    D and D' are the largest pixel, then the largest outside of its window, k times; N_w the pixels at most w rows and
    columns away, the same w. Where k windows cover much of the image, unrelated maps reach much.

    Source:
        Kamath et al. 2024 (LENS). Reference code: ksandeshk/LENS, scripts/imagenet_topk_div_eps.py.
        Differs: the reference's windows wrap around at row ends, pixel 0 cannot be picked, the second pick is thrown
        away, and only the 6000 to 25000 largest pixels are looked at; here windows end at the border and every pixel
        may be picked. Where fewer than k are so far apart, the share is of those.
    """

    version: ClassVar[int] = 1
    share_of: ClassVar[Literal["before", "after"]] = "after"
    diverse: ClassVar[bool] = True

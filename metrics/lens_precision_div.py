"""Locality-sensitive diverse top-k: the share of the clean top near the attacked."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from ._near_top import NearTop


@dataclass(frozen=True, kw_only=True)
class LensPrecisionDiv(NearTop):
    """Share of the clean diverse top that lies near the attacked one.

    |D and N_w(D')| / k. D (before) and D' (after the attack) are the largest pixel, then the largest outside of its
    window, k times. N_w are the pixels at most w rows and columns away, with the same w. Where k windows cover much of
    the image, unrelated maps have high values.

    Source:
        Kamath et al. 2024 (LENS). Reference code: ksandeshk/LENS, scripts/imagenet_topk_div_eps.py.
        Differs: the reference's windows wrap around at row ends, pixel 0 cannot be picked, the second pick is thrown
        away, and only the 6000 to 25000 largest pixels are looked at; here windows end at the border and every pixel
        may be picked. Where fewer than k pixels are far enough apart, the share is taken over these.
    """

    version: ClassVar[int] = 1
    share_of: ClassVar[Literal["before", "after"]] = "before"
    diverse: ClassVar[bool] = True

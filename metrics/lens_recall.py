"""Locality-sensitive top-k: the share of the attacked top near the clean top."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from ._near_top import NearTop


@dataclass(frozen=True, kw_only=True)
class LensRecall(NearTop):
    """Share of the attacked top that lies near the clean top.

    |N_w(S) and S'| / k. S and S' are the k largest pixels before and after the attack, N_w the pixels at most w rows
    and columns away. With w = 0 it is top-k intersection; unrelated maps reach more than k/N.

    Source:
        Kamath et al. 2024 (LENS). Reference code: ksandeshk/LENS.
        Differs: the reference's windows wrap around at row ends and leave out pixel 0; here they end at the border.
    """

    version: ClassVar[int] = 1
    share_of: ClassVar[Literal["before", "after"]] = "after"

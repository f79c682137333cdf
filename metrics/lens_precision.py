"""Locality-sensitive top-k: the share of the clean top near the attacked top."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from ._near_top import NearTop


@dataclass(frozen=True, kw_only=True)
class LensPrecision(NearTop):
    """Share of the clean top that lies near the attacked top.

    |S and N_w(S')| / k. S and S' are the k largest pixels before and after the attack, N_w the pixels at most w rows
    and columns away. With w = 0 it is top-k intersection; unrelated maps reach more than k/N.

    Source:
        Kamath et al. 2024 (LENS). Reference code: ksandeshk/LENS.
        Differs: the reference's windows wrap around at row ends and leave out pixel 0; here they end at the border.
    """

    version: ClassVar[int] = 1
    share_of: ClassVar[Literal["before", "after"]] = "before"

"""Infidelity of the attribution of the attacked image."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from ._sides import Side
from .infidelity import Infidelity


@dataclass(frozen=True, kw_only=True)
class InfidelityAfter(Infidelity):
    """`infidelity` with `of = "after"`.

    For protocols that show both sides of an attack beside each other.

    Source:
        As of `infidelity`.
        Differs: the side alone.
    """

    version: ClassVar[int] = 1

    of: Side = "after"

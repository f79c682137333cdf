"""Insertion by the map of the attacked image, on that image."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from ._sides import Side
from .insertion import Insertion


@dataclass(frozen=True, kw_only=True)
class InsertionAfter(Insertion):
    """`insertion` with `of = "after"`.

    For protocols that show both sides of an attack beside each other.

    Source:
        As of `insertion`.
        Differs: the side alone.
    """

    version: ClassVar[int] = 1

    of: Side = "after"

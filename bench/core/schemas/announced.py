"""The schema of what is known of a network before its download."""

from __future__ import annotations

from typing import NamedTuple


class Announced(NamedTuple):
    """What a library says of a network before its download."""

    dataset: str | None = None
    """The data set that it classifies; None if unknown."""
    num_classes: int | None = None
    """None if unknown."""
    only_size: tuple[int, int] | None = None
    """(H, W) if it takes images of no other size."""

"""Which side of the attack a metric of one map looks at."""

from __future__ import annotations

from typing import Literal

from bench.core.contracts import Pair, View

Side = Literal["before", "after"]


def view_of(pair: Pair, side: Side) -> View:
    """Return the images, logits and maps of one side."""
    return pair.before if side == "before" else pair.after

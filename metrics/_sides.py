"""Which side of the attack a metric of one map looks at."""

from __future__ import annotations

from typing import Literal

from bench.core.contracts import Metric, Pair, View

Side = Literal["before", "after"]


def view_of(pair: Pair, side: Side) -> View:
    """Return the images, logits and maps of one side."""
    return pair.before if side == "before" else pair.after


class OneSided(Metric):
    """A metric of one map, whose field `of` says which side's."""

    of: Side
    """Whose map is measured: the one before the attack, or the one after it."""

    @property
    def looks_at_clean_alone(self) -> bool:
        """Whether its side is the one before."""
        return self.of == "before"

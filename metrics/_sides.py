"""The side of the attack that a metric of one map measures."""

from __future__ import annotations

from typing import Literal

from bench.core.contracts import Metric, Pair, View

Side = Literal["before", "after"]


def view_of(pair: Pair, side: Side) -> View:
    """Return the images, logits and maps of one side."""
    return pair.before if side == "before" else pair.after


class OneSided(Metric):
    """A metric of one map, before or after the attack."""

    of: Side
    """Which map is measured: the map before the attack, or the map after it."""

    @property
    def looks_at_clean_alone(self) -> bool:
        """Return whether the map before the attack is measured."""
        return self.of == "before"

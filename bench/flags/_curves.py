"""Rules that flags of audits share.

A curve does not fall, or a point is stronger than the protocol's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import pairwise

from bench.core.schemas.flags import MATERIAL, Audit, AuditFlag, Curve, Point


class CurveFlag(AuditFlag):
    """A flag that the curve of one knob raises."""

    @abstractmethod
    def decide(self, curve: Curve) -> str | None:
        """Return the reason in words if the curve raises it, else None."""

    def find(self, audit: Audit) -> Iterator[tuple[str, str]]:
        """Yield each attack whose curve raises the flag."""
        for curve in audit.curves:
            if curve.knob == self.knob and (detail := self.decide(curve)) is not None:
                yield curve.attack, f"{detail} ({curve.samples} samples)"


class NotFalling(CurveFlag):
    """A flag of a curve that does not fall."""

    def decide(self, curve: Curve) -> str | None:
        """Return a rise of the curve, or a missing fall, in words.

        A rise is from one point to the next. A fall is missing if the last point surely is not lower than the first.
        """
        points = curve.counting
        for first, second in pairwise(points):
            if (rise := second.gain(first)).holds:
                return f"{_at(curve, first)}, {_at(curve, second)}; more robust by {rise}"
        if len(points) > 1 and (fall := points[0].gain(points[-1])).high < MATERIAL:
            return f"{_at(curve, points[0])}, {_at(curve, points[-1])}; less robust by {fall}"
        return None


class Stronger(CurveFlag):
    """A flag of a curve with an attack stronger than the protocol's."""

    def others(self, curve: Curve) -> list[Point]:
        """Return the points to compare with the protocol's: those at larger values."""
        return [point for point in curve.counting if point.value > curve.own.value]

    def decide(self, curve: Curve) -> str | None:
        """Return the strongest point in words, or None.

        It must leave the map significantly less robust than the protocol's own run.
        """
        if not any(point.on_protocol for point in curve.counting):
            return None
        found = [(curve.own.gain(point), point) for point in self.others(curve) if not point.on_protocol]
        held = [(less, point) for less, point in found if less.holds]
        if not held:
            return None
        less, best = max(held, key=lambda pair: pair[0].mean)
        own = f"{curve.metric} {curve.own.mean:.3f} at the protocol's {curve.own.value:g}"
        return f"{_at(curve, best)}, {own}; by {less}"


def _at(curve: Curve, point: Point) -> str:
    return f"{curve.metric} {point.mean:.3f} at {point.value:g}"

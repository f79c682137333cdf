"""Functions of one tensor that have one kink, tracked during computation.

They are tracked while a network computes them. A kink may be written in many ways: `u * (u > 0)`, `torch.where(u > 0,
u, 0.1 * u)`, `(u + u.abs()) / 2`. Each way consists of comparisons, sums and multiples of one tensor. Here such parts
become numbers, so that the whole function can be recognised and its kink replaced by a softplus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from model_zoo.derivatives.second_order import softplus

ROUNDING = 1e-9
"""Relative distance below which two lines meet."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A function with one kink of the tensor v, `base`.

    slope * v + offset + bend * relu(v - at).
    """

    base: Tensor
    slope: float = 1.0
    offset: float = 0.0
    bend: float = 0.0
    at: float = 0.0

    def scaled(self, factor: float, shift: float = 0.0) -> Piece:
        """Return factor * piece + shift."""
        return replace(self, slope=self.slope * factor, offset=self.offset * factor + shift, bend=self.bend * factor)

    def plus(self, other: Piece) -> Piece | None:
        """Return the sum with a piece of the same base.

        None where their kinks lie apart.
        """
        if self.bend and other.bend and self.at != other.at:
            return None
        return replace(
            self,
            slope=self.slope + other.slope,
            offset=self.offset + other.offset,
            bend=self.bend + other.bend,
            at=self.at if self.bend else other.at,
        )

    def smooth(self, beta: float | Tensor) -> Tensor:
        """Return the value, its kink rounded by softplus.

        Terms whose number is zero are left out.
        """
        slope, offset, v = self.slope, self.offset, self.base
        if self.bend and slope + self.bend == 0:  # relu(w) = relu(-w) + w: falling pieces need no sum of large terms
            slope, offset = 0.0, offset - self.bend * self.at
            bent = softplus(-v if self.at == 0 else self.at - v, beta)
        elif self.bend:
            bent = softplus(v if self.at == 0 else v - self.at, beta)
        terms = [v if slope == 1 else slope * v] if slope else []
        if self.bend:
            terms.append(bent if self.bend == 1 else self.bend * bent)
        value = sum(terms[1:], start=terms[0]) if terms else 0 * v
        return value if offset == 0 else value + offset


@dataclass(frozen=True, eq=False)
class Step:
    """A comparison of the tensor `base`, or a function of one.

    The number `above` where `base` is larger than `at`, else `below`.
    """

    base: Tensor
    at: float
    above: float
    below: float

    def times(self, slope: float, offset: float) -> Piece | None:
        """Return the product with slope * v + offset.

        None where it jumps.
        """
        return self.between(slope * self.above, offset * self.above, slope * self.below, offset * self.below)

    def between(self, *lines: float) -> Piece | None:
        """Return the lines above and below the step as one piece.

        The arguments are slopes and offsets; None where the piece jumps.
        """
        slope, offset, below, start = lines
        jump = (slope - below) * self.at + (offset - start)
        if abs(jump) > ROUNDING * max(1.0, abs(offset), abs(start)):
            return None
        return Piece(self.base, below, start, slope - below, self.at)


@dataclass(frozen=True, eq=False)
class Ordered:
    """The places where the tensor a is larger than b."""

    a: Tensor
    b: Tensor


@dataclass(frozen=True, eq=False)
class Stacked:
    """Tensors stacked along a new axis."""

    parts: Sequence[Tensor]
    axis: int


Meaning = Piece | Step | Ordered | Stacked


def bases(meaning: Meaning) -> Sequence[Tensor]:
    """Return the tensors that a meaning refers to."""
    if isinstance(meaning, Piece | Step):
        return (meaning.base,)
    return (meaning.a, meaning.b) if isinstance(meaning, Ordered) else meaning.parts

"""Keeps what is known about the tensors of a forward pass."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from model_zoo.derivatives.pieces import Meaning, Piece, Step, bases

Line = tuple[float, float]
"""(slope, offset)."""


class _Entry(NamedTuple):
    tensor: Tensor  # kept alive, so that no other tensor gets its id
    versions: list[int]
    meaning: Meaning


class Known:
    """What is known about the tensors of a forward pass.

    Knowledge about a tensor that changed in place is dropped.

    Args:
        beta: sharpness of softplus.
    """

    def __init__(self, beta: float | Tensor) -> None:
        self.beta = beta
        self._entries: dict[int, _Entry] = {}

    def remember(self, tensor: Any, meaning: Meaning) -> None:
        """Remember the meaning of a tensor."""
        if isinstance(tensor, Tensor) and (tensor.is_floating_point() or not isinstance(meaning, Piece)):
            self._entries[id(tensor)] = _Entry(tensor, _versions(tensor, meaning), meaning)

    def meaning(self, tensor: Any) -> Meaning | None:
        """Return the known meaning of a tensor, or None."""
        entry = self._entries.get(id(tensor))
        return None if entry is None or entry.versions != _versions(tensor, entry.meaning) else entry.meaning

    def step(self, tensor: Any) -> Step | None:
        """Return the comparison that gave a tensor, or None."""
        found = self.meaning(tensor)
        return found if isinstance(found, Step) else None

    def piece(self, tensor: Tensor) -> Piece:
        """Return a tensor as a piece, in doubt a piece of itself."""
        found = self.meaning(tensor)
        return found if isinstance(found, Piece) else Piece(tensor)

    def line(self, value: Any, base: Tensor) -> Line | None:
        """Return slope and offset of a straight line over a tensor.

        The value is a number or tensor; None where it is no straight line.
        """
        if isinstance(value, int | float):
            return 0.0, float(value)
        if value is base:
            return 1.0, 0.0
        if not isinstance(value, Tensor) or self.step(value) is not None:
            return None
        mine, other = self.piece(value), self.piece(base)
        if not (mine.bend or other.bend) and mine.base is other.base and other.slope:
            slope = mine.slope / other.slope
            return slope, mine.offset - slope * other.offset
        number = number_of(value)
        return None if number is None else (0.0, number)

    def common(self, a: Tensor, b: Tensor) -> tuple[Piece, Piece] | None:
        """Return two tensors as pieces of one base, or None."""
        first, second = self.piece(a), self.piece(b)
        for bent, straight, tensor in ((first, second, b), (second, first, a)):
            if bent.bend and not straight.bend and (line := self.line(tensor, bent.base)) is not None:
                other = Piece(bent.base, *line)
                return (bent, other) if bent is first else (other, bent)
        return (first, second) if first.base is second.base else None


def _versions(tensor: Tensor, meaning: Meaning) -> list[int]:
    return [each._version for each in (tensor, *bases(meaning))]


def number_of(value: Any) -> float | None:
    """Return the number that a constant tensor holds everywhere.

    None for a tensor that depends on the images.
    """
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, Tensor) or value.requires_grad or not value.numel() or value.is_complex():
        return None
    first = value.reshape(-1)[0]
    return float(first) if value.numel() == 1 or bool((value == first).all()) else None

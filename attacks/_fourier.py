"""Images from some of their Fourier coefficients."""

from __future__ import annotations

from abc import abstractmethod

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng

from ._series import ChangeSeries


@dataclass(frozen=True, kw_only=True)
class FourierFilter(ChangeSeries):
    """The images' frequencies on one side of a radius, at several radii.

    A subclass says which side.
    """

    levels: tuple[float, ...] = Field(default=(2, 4, 8), min_length=1)
    """Radii r in cycles per image; frequencies on the other side are dropped."""

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of the levels."""
        return tuple(f"{level:g}" for level in self.levels)

    @abstractmethod
    def kept(self, distance: Tensor, level: float) -> Tensor:
        """(H, W) bool: the kept coefficients, by their distance from frequency 0."""

    def changed(self, images: Tensor, rng: SampleRng) -> list[Tensor]:  # noqa: ARG002
        """Return one (N, C, H, W) tensor per level."""
        distance = radius(*images.shape[2:])
        return [filtered(images, self.kept(distance, level)) for level in self.levels]


def radius(height: int, width: int) -> Tensor:
    """(H, W): the distances of Fourier coefficients from frequency 0.

    They belong to an unshifted transform, and are in cycles per image.
    """
    down, right = (torch.fft.fftfreq(side, 1 / side) for side in (height, width))
    distance: Tensor = (down.square().unsqueeze(1) + right.square().unsqueeze(0)).sqrt()
    return distance


def filtered(images: Tensor, kept: Tensor) -> Tensor:
    """(N, C, H, W): images from the coefficients that a mask keeps.

    The mask is (H, W) or (N, C, H, W); the images are clipped to [0, 1]. A mask that is the same at f and -f gives real
    images; for other masks the real part is taken.
    """
    spectrum = torch.fft.fft2(images.double())
    found: Tensor = torch.fft.ifft2(spectrum * kept.to(images.device)).real.clamp(0, 1).to(images.dtype)
    return found

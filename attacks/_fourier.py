"""Images from some of their Fourier coefficients."""

from __future__ import annotations

import torch
from torch import Tensor


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

"""The fifteen corruptions of CIFAR-10-C.

Each is a function of an image, a severity from 0 to 4, and a generator.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Generator, Tensor

Corruption = Callable[[Tensor, int, Generator], Tensor]
"""(C, H, W) float64 in [0, 1] to the same shape, not yet clipped."""

LUMA = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(3, 1, 1)
ICE = torch.tensor([0.75, 0.85, 0.9], dtype=torch.float64).view(3, 1, 1)
SIDE = 32
"""Side in pixels of the images for which the lengths in pixels are meant."""


def gaussian_noise(image: Tensor, severity: int, rng: Generator) -> Tensor:
    """Add normal noise."""
    return image + (0.04, 0.06, 0.08, 0.09, 0.10)[severity] * _normal(image.shape, rng)


def shot_noise(image: Tensor, severity: int, rng: Generator) -> Tensor:
    """Add the noise of counted photons."""
    photons = (500, 250, 100, 75, 50)[severity]
    return torch.poisson(image * photons, generator=rng) / photons


def impulse_noise(image: Tensor, severity: int, rng: Generator) -> Tensor:
    """Set some values to black or white."""
    hit = _uniform(image.shape, rng) < (0.01, 0.02, 0.03, 0.05, 0.07)[severity]
    return torch.where(hit, (_uniform(image.shape, rng) < 0.5).double(), image)


def defocus_blur(image: Tensor, severity: int, rng: Generator) -> Tensor:  # noqa: ARG001
    """Spread every pixel over a softened disc."""
    radius, soft = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[severity]
    rows, columns = np.mgrid[-3:4, -3:4]
    disc = ((rows**2 + columns**2) <= radius**2).astype(float)
    kernel = ndimage.gaussian_filter(disc / disc.sum(), soft, radius=1)
    return torch.from_numpy(ndimage.convolve(image.numpy(), kernel[None], mode="mirror"))


def glass_blur(image: Tensor, severity: int, rng: Generator) -> Tensor:
    """Replace pixels by their neighbours."""
    sigma, rounds = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))[severity]
    blurred, (height, width) = _blurred(image, sigma), image.shape[1:]
    order = list(range(height * width))
    for _ in range(rounds):
        moves = torch.randint(-1, 1, (height, width, 2), generator=rng).tolist()
        for row in range(height - 1, 1, -1):
            for column in range(width - 1, 1, -1):
                down, right = moves[row][column]
                order[row * width + column] = order[(row + down) * width + column + right]
    return _blurred(blurred.flatten(1)[:, order].view_as(image), sigma)


def motion_blur(image: Tensor, severity: int, rng: Generator) -> Tensor:
    """Smear along a line."""
    reach, sigma = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))[severity]
    return _smeared(image, reach, sigma, float(_uniform((), rng)) * 90 - 45)


def zoom_blur(image: Tensor, severity: int, rng: Generator) -> Tensor:  # noqa: ARG001
    """Average enlargements about the center."""
    factors = [1 + step / 100 for step in range((6, 11, 16, 21, 26)[severity])]
    return torch.stack([image, *(_zoomed(image, factor) for factor in factors)]).mean(0)


def snow(image: Tensor, severity: int, rng: Generator) -> Tensor:
    """Whiten the image and add falling flakes."""
    mean, spread, size, least, reach, sigma, kept = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity]
    flakes = _zoomed(mean + spread * _normal((1, *image.shape[1:]), rng), size)
    flakes = torch.where(flakes < least, 0.0, flakes).clamp(0, 1)
    flakes = _smeared(flakes, reach, sigma, float(_uniform((), rng)) * 90 - 135)
    white = torch.maximum(image, _grey(image) * 1.5 + 0.5)
    return kept * image + (1 - kept) * white + flakes + flakes.flip(1, 2)


def frost(image: Tensor, severity: int, rng: Generator) -> Tensor:
    """Cover the image with ice."""
    clear, iced = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[severity]
    ice = _plasma(image.shape[1:], 1.75, rng) * (ICE if len(image) == 3 else 1)
    return clear * image + iced * ice


def fog(image: Tensor, severity: int, rng: Generator) -> Tensor:
    """Cover the image with a cloud."""
    thick, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[severity]
    brightest = image.max()
    return (image + thick * _plasma(image.shape[1:], decay, rng)) * brightest / (brightest + thick)


def brightness(image: Tensor, severity: int, rng: Generator) -> Tensor:  # noqa: ARG001
    """Raise the brightness (V in HSV), with hue and saturation unchanged."""
    value = image.amax(0, keepdim=True)
    raised = (value + (0.05, 0.1, 0.15, 0.2, 0.3)[severity]).clamp(0, 1)
    return torch.where(value > 0, image * raised / value.clamp(min=1e-12), raised)


def contrast(image: Tensor, severity: int, rng: Generator) -> Tensor:  # noqa: ARG001
    """Pull each channel to its mean."""
    mean = image.mean((1, 2), keepdim=True)
    return mean + (0.75, 0.5, 0.4, 0.3, 0.15)[severity] * (image - mean)


def elastic_transform(image: Tensor, severity: int, rng: Generator) -> Tensor:
    """Bend the image by a smooth field of displacements.

    First comes an affine map of three displaced points.
    """
    height, width = image.shape[1:]
    side = min(height, width)
    parts = ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))[severity]
    far, sigma, shift = (side * part for part in parts)
    middle, arm = np.array([height // 2, width // 2], dtype=float), side // 3
    points = np.array([middle + arm, [middle[0] + arm, middle[1] - arm], middle - arm])
    moved = points + (_uniform((3, 2), rng).numpy() * 2 - 1) * shift
    matrix = np.linalg.solve(np.column_stack([moved, np.ones(3)]), points)  # from new to old places
    grid = np.indices((height, width)).reshape(2, -1).astype(float)
    places = matrix[:2].T @ grid + matrix[2][:, None]
    bent = _sampled(image, places, "mirror")
    field = _uniform((2, height, width), rng).numpy() * 2 - 1
    smooth = np.stack([ndimage.gaussian_filter(part, sigma, mode="reflect", truncate=3) * far for part in field])
    return _sampled(bent, grid + smooth.reshape(2, -1), "reflect")


def pixelate(image: Tensor, severity: int, rng: Generator) -> Tensor:  # noqa: ARG001
    """Shrink the image and enlarge it again."""
    picture, share = _picture(image), (0.95, 0.9, 0.85, 0.75, 0.65)[severity]
    width, height = picture.size
    small = picture.resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return _pixels(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(image: Tensor, severity: int, rng: Generator) -> Tensor:  # noqa: ARG001
    """Compress the image as JPEG."""
    sink = io.BytesIO()
    _picture(image).save(sink, "JPEG", quality=(80, 65, 58, 50, 40)[severity])
    return _pixels(Image.open(sink))


def _normal(shape: tuple[int, ...], rng: Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def _uniform(shape: tuple[int, ...], rng: Generator) -> Tensor:
    return torch.rand(shape, generator=rng, dtype=torch.float64)


def _grey(image: Tensor) -> Tensor:
    return (image * LUMA).sum(0, keepdim=True) if len(image) == 3 else image


def _blurred(image: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, sigma, sigma), mode="nearest"))


def _smeared(image: Tensor, reach: int, sigma: float, degrees: float) -> Tensor:
    """Return the (C, H, W) image, smeared along a line.

    Each pixel is the mean over 2 reach + 1 pixels, weighted by half a Gaussian; the edge is repeated.
    """
    weights = torch.exp(-torch.arange(2 * reach + 1, dtype=torch.float64).square() / (2 * sigma**2))
    weights = weights / weights.sum()
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    rows, columns = (torch.arange(side) for side in image.shape[1:])
    result = torch.zeros_like(image)
    for step, weight in enumerate(weights.tolist()):
        right, down = math.ceil(step * cos - 0.5), math.ceil(step * sin - 0.5)
        near = image[:, (rows + down).clamp(0, len(rows) - 1)]
        result += weight * near[:, :, (columns + right).clamp(0, len(columns) - 1)]
    return result


def _zoomed(image: Tensor, factor: float) -> Tensor:
    """(C, H, W): the middle of the image, enlarged to full size.

    The interpolation is bilinear.
    """
    side = image.shape[1]
    crop = math.ceil(side / factor)
    top = (side - crop) // 2
    large = ndimage.zoom(image[:, top : top + crop, top : top + crop].numpy(), (1, factor, factor), order=1)
    trim = (large.shape[1] - side) // 2
    return torch.from_numpy(large[:, trim : trim + side, trim : trim + side])


def _plasma(shape: tuple[int, ...], decay: float, rng: Generator) -> Tensor:
    """Return an (H, W) cloud in [0, 1].

    The diamond-square algorithm makes it; its roughness falls by `decay` at every halving.
    """
    size = 1 << max(SIDE - 1, *(side - 1 for side in shape)).bit_length()
    cloud, step, rough = torch.zeros(size, size, dtype=torch.float64), size, 1.0

    def jittered(total: Tensor) -> Tensor:
        return total / 4 + rough * (_uniform(total.shape, rng) * 2 - 1)

    while step >= 2:
        half = step // 2
        corners = cloud[::step, ::step]
        total = corners + corners.roll(-1, 0)
        cloud[half::step, half::step] = jittered(total + total.roll(-1, 1))
        centers = cloud[half::step, half::step]
        cloud[::step, half::step] = jittered(centers + centers.roll(1, 0) + corners + corners.roll(-1, 1))
        cloud[half::step, ::step] = jittered(centers + centers.roll(1, 1) + corners + corners.roll(-1, 0))
        step, rough = half, rough / decay
    cloud = cloud[: shape[0], : shape[1]]
    return (cloud - cloud.min()) / (cloud.max() - cloud.min())


def _sampled(image: Tensor, places: np.ndarray, mode: Literal["mirror", "reflect"]) -> Tensor:
    """(C, H, W): the image, sampled at (2, H * W) places.

    Places are rows and columns; the interpolation is bilinear.
    """
    channels = [ndimage.map_coordinates(c, places, order=1, mode=mode) for c in image.numpy()]
    return torch.from_numpy(np.stack(channels)).view_as(image)


def _picture(image: Tensor) -> Image.Image:
    values = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(values[..., 0] if len(image) == 1 else values)


def _pixels(picture: Image.Image) -> Tensor:
    values = np.asarray(picture, dtype=np.float64) / 255
    return torch.from_numpy(values[None] if values.ndim == 2 else values.transpose(2, 0, 1).copy())


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian-noise": gaussian_noise,
    "shot-noise": shot_noise,
    "impulse-noise": impulse_noise,
    "defocus-blur": defocus_blur,
    "glass-blur": glass_blur,
    "motion-blur": motion_blur,
    "zoom-blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic-transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg-compression": jpeg_compression,
}

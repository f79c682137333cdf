"""Makes small pictures of the showcase samples.

They are stored beside a record, so that pages need no data set.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from bench.core.compute.heatmap import top_k_mask
from bench.core.contracts import View
from bench.core.schemas.records import SHOWCASE_TILES, TOP_K_CODES

CLIP_QUANTILE = 0.995


LARGEST_SIDE = 112
"""Pixels of an outline's longer side; larger images become means of whole blocks."""

PAPER, INK = 216, 160
"""Grey level of an outline without edges, and how much darker its strongest edge is."""


def tiles(before: View, after: View, k: int, *, outlined: bool = False) -> np.ndarray:
    """(N, H, 5 W, 3) uint8: the tiles of N samples.

    A sample's tiles of `SHOWCASE_TILES` are side by side. Both heatmaps of a sample are grey values on one scale; white
    is the 99.5 % quantile of both.

    Args:
        before: images and maps before the attack.
        after: images and maps after it.
        k: number of marked pixels.
        outlined: whether an outline stands in place of the image, with the same perturbation; with at most 112 pixels
            per side, to which heatmaps and k are reduced, too.
    """
    factor = -(-max(before.heatmap.shape[1:]) // LARGEST_SIDE) if outlined else 1
    before, after, k = _reduced(before, factor), _reduced(after, factor), max(1, k // factor**2)
    both = torch.cat([before.heatmap.flatten(1), after.heatmap.flatten(1)], dim=1)
    white = torch.quantile(both.float(), CLIP_QUANTILE, dim=1).clamp(min=1e-12).view(-1, 1, 1)
    grey = [(view.heatmap / white).clamp(0, 1) for view in (before, after)]
    kept_before, kept_after = top_k_mask(before.heatmap, k), top_k_mask(after.heatmap, k)
    codes = torch.full_like(before.heatmap, TOP_K_CODES["none"])
    codes[kept_before & kept_after] = TOP_K_CODES["kept"]
    codes[kept_before & ~kept_after] = TOP_K_CODES["lost"]
    codes[~kept_before & kept_after] = TOP_K_CODES["gained"]
    shown = [before.images, after.images]
    if outlined:
        outline = outlines(before.images)
        shown = [outline, (outline + after.images - before.images).clamp(0, 1)]
    columns = [*(_bytes(images) for images in shown), *(_bytes(g.unsqueeze(1)) for g in grey)]
    columns.append(_bytes(codes.unsqueeze(1) / 255))
    assert len(columns) == len(SHOWCASE_TILES)
    return np.concatenate(columns, axis=2)


def outlines(images: Tensor) -> Tensor:
    """(N, C, H, W): dark edges of images on light grey.

    The edges are the Sobel gradient of the brightness; the strongest edge of an image is darkest.
    """
    from scipy import ndimage  # half a second that the runs of other images need not wait

    grey = images.detach().double().mean(1).cpu().numpy()
    down, across = (np.stack([ndimage.sobel(each, axis=axis, mode="nearest") for each in grey]) for axis in (0, 1))
    edges = np.hypot(down, across)
    strength = np.sqrt(edges / edges.max(axis=(1, 2), keepdims=True).clip(min=1e-12))
    drawn = torch.from_numpy((PAPER - INK * strength) / 255).to(images)
    return drawn.unsqueeze(1).expand_as(images)


def _reduced(view: View, factor: int) -> View:
    """Return a view with images and heatmaps as means of blocks.

    Rows and columns beyond the last whole block are left out.
    """
    if factor == 1:
        return view
    images, maps = F.avg_pool2d(view.images, factor), F.avg_pool2d(view.heatmap.unsqueeze(1), factor).squeeze(1)
    return replace(view, images=images, heatmap=maps)


def encode(tile: np.ndarray) -> bytes:
    """Return the PNG of one sample's (H, 5 W, 3) tiles."""
    return _png(tile)


def sheet(rows: Sequence[bytes]) -> bytes:
    """Return one PNG with the encoded samples one below the other."""
    return _png(np.concatenate([np.asarray(Image.open(io.BytesIO(row))) for row in rows]))


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _bytes(images: Tensor) -> np.ndarray:
    """(N, H, W, 3) uint8: the pixels of images in [0, 1].

    The images are (N, C, H, W).
    """
    pixels: np.ndarray = (images.detach().float().cpu() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3)) if pixels.shape[3] == 1 else pixels

"""Makes small pictures of the showcase samples.

They are stored beside a record, so that pages need no data set.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.core.compute.heatmap import top_k_mask
from bench.core.contracts import View
from bench.core.schemas.records import SHOWCASE_TILES, TOP_K_CODES

CLIP_QUANTILE = 0.995


def tiles(before: View, after: View, k: int) -> np.ndarray:
    """(N, H, 5 W, 3) uint8: the tiles of N samples.

    A sample's tiles of `SHOWCASE_TILES` are side by side. Both heatmaps of a sample are grey values on one scale; white
    is the 99.5 % quantile of both.
    """
    both = torch.cat([before.heatmap.flatten(1), after.heatmap.flatten(1)], dim=1)
    white = torch.quantile(both.float(), CLIP_QUANTILE, dim=1).clamp(min=1e-12).view(-1, 1, 1)
    grey = [(view.heatmap / white).clamp(0, 1) for view in (before, after)]
    kept_before, kept_after = top_k_mask(before.heatmap, k), top_k_mask(after.heatmap, k)
    codes = torch.full_like(before.heatmap, TOP_K_CODES["none"])
    codes[kept_before & kept_after] = TOP_K_CODES["kept"]
    codes[kept_before & ~kept_after] = TOP_K_CODES["lost"]
    codes[~kept_before & kept_after] = TOP_K_CODES["gained"]
    columns = [_bytes(before.images), _bytes(after.images), *(_bytes(g.unsqueeze(1)) for g in grey)]
    columns.append(_bytes(codes.unsqueeze(1) / 255))
    assert len(columns) == len(SHOWCASE_TILES)
    return np.concatenate(columns, axis=2)


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

"""The nearest image that a decoder makes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from bench.core.compute.norms import l2

SCALE = 3
"""Pixels of a picture per pixel of an image, in each direction."""


class Projection(NamedTuple):
    """The nearest images that were found, and how far they are."""

    images: Tensor
    distances: Tensor


def project(
    decode: Callable[[Tensor], Tensor], images: Tensor, starts: Tensor, *, steps: int, step_size: float
) -> Projection:
    """Search the latent space for the nearest images by Adam.

    Each image is searched from several starts. The step size falls to zero along a half cosine.

    Args:
        decode: from (N, D) latents to images, without effects of one latent on another's image.
        images: (N, C, H, W) what is projected.
        starts: (N, S, D) latents at which the searches start.
        steps: number of steps of each search.
        step_size: the first step size of Adam.
    Returns:
        (N, C, H, W) nearest images over starts and steps, and their (N,) Euclidean distances, in pixel units.
    """
    latents = starts.flatten(0, 1).clone().requires_grad_()
    wanted = images.repeat_interleave(starts.shape[1], dim=0)
    optimizer = torch.optim.Adam([latents], lr=step_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, nearest = wanted.new_full((len(wanted),), torch.inf), torch.zeros_like(wanted)
    for step in range(steps + 1):
        made = decode(latents)
        distances = l2(made, wanted)
        better = distances.detach() < best
        best = torch.where(better, distances.detach(), best)
        nearest[better] = made.detach()[better]
        if step < steps:
            (latents.grad,) = torch.autograd.grad(distances.square().sum(), latents)
            optimizer.step()
            schedule.step()
    chosen = best.view(len(images), -1).argmin(1)
    rows = torch.arange(len(images), device=chosen.device) * starts.shape[1] + chosen
    return Projection(nearest[rows], best[rows])


def sheet(columns: Sequence[Tensor]) -> bytes:
    """Return a PNG with one row per image.

    Args:
        columns: (N, C, H, W) in [0, 1] each, with 1 or 3 channels.
    """
    whole = torch.cat([torch.cat(tuple(column.cpu()), dim=1) for column in columns], dim=2)
    pixels = (whole.clamp(0, 1) * 255).round().to(torch.uint8).expand(3, -1, -1)
    large = pixels.repeat_interleave(SCALE, dim=1).repeat_interleave(SCALE, dim=2)
    out = io.BytesIO()
    Image.fromarray(large.permute(1, 2, 0).contiguous().numpy()).save(out, "PNG")
    return out.getvalue()

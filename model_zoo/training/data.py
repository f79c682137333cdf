"""Training images: held-out part, order of epochs and random changes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts import Split
from bench.core.errors import UsageError
from bench.core.schemas.recipe import Augmentation, Recipe


class Partition(NamedTuple):
    """Training images, and the held-out ones with which nothing is trained."""

    train: Split
    held_out: Split


def hold_out(split: Split, count: int, rng: Rng) -> Partition:
    """Set `count` images aside, equally many per class.

    The first classes take the remainder.

    Raises:
        UsageError: if a class has no image left to train with.
    """
    order = torch.randperm(len(split.labels), generator=rng.generator())
    sizes = torch.bincount(split.labels).tolist()
    classes = len(sizes)
    wanted = [count // classes + (c < count % classes) for c in range(classes)]
    for label, (have, needed) in enumerate(zip(sizes, wanted, strict=True)):
        if have <= needed:
            raise UsageError(
                f"expected more than {needed} images of class {label}, as {count} of {classes} classes are held out, "
                f"got {have}; lower the recipe's validation.images"
            )
    shuffled = split.labels[order]
    rank = torch.empty_like(shuffled)
    for c in range(classes):
        of_class = shuffled == c
        rank[of_class] = torch.arange(int(of_class.sum()))
    held = rank < torch.tensor(wanted)[shuffled]
    parts = [order[~held], order[held]]
    return Partition(*(Split(split.images[part], split.labels[part]) for part in parts))


def fingerprint(split: Split) -> str:
    """Return the SHA-256 of a split's pixels and labels."""
    digest = hashlib.sha256(split.images.contiguous().numpy().tobytes())
    digest.update(split.labels.contiguous().numpy().tobytes())
    return digest.hexdigest()


def to_float(images: Tensor) -> Tensor:
    """(N, C, H, W) uint8 to float32 in [0, 1]."""
    return images.float() / 255


def augment(images: Tensor, augmentation: Augmentation, rng: Rng) -> Tensor:
    """(N, C, H, W): images, randomly cropped and flipped.

    The crop is one of the zero-padded image.
    """
    generator, (n, _, h, w) = rng.generator(), images.shape
    pad = augmentation.crop_padding
    if pad:
        padded = F.pad(images, (pad, pad, pad, pad))
        top, left = (torch.randint(2 * pad + 1, (n,), generator=generator).to(images.device) for _ in range(2))
        rows = (top[:, None] + torch.arange(h, device=images.device))[:, None, :, None]
        columns = (left[:, None] + torch.arange(w, device=images.device))[:, None, None, :]
        sample = torch.arange(n, device=images.device)[:, None, None, None]
        channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
        images = padded[sample, channel, rows, columns]
    if augmentation.flip:
        flipped = (torch.rand(n, generator=generator) < 0.5).to(images.device)
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    return images


def partition(split: Split, recipe: Recipe) -> Partition:
    """Return the recipe's training and held-out images.

    The split is the same for every recipe of a dataset.
    """
    return hold_out(split, recipe.validation.images, Rng(0).fork("held-out", recipe.dataset))

"""Draws and loads the images of protocols.

A written rule draws them once; their checksum is compared at every load.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from bench.core.compute.digests import alike, digests
from bench.core.compute.rng import Rng
from bench.core.contracts import Annotation, Dataset
from bench.core.errors import BenchError, IntegrityError
from bench.core.schemas.protocol import SampleSet
from bench.core.storage.files import sha256_of


class Samples(NamedTuple):
    """N images with their ids and labels.

    The images are (N, C, H, W) float32 in [0, 1], the labels (N,) int64.
    """

    ids: tuple[str, ...]
    images: Tensor
    labels: Tensor
    annotations: tuple[Annotation, ...] = ()
    """One per sample, or none."""

    def part(self, chosen: slice) -> Samples:
        """Return some of the samples."""
        return Samples(self.ids[chosen], self.images[chosen], self.labels[chosen], self.annotations[chosen])

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Return several groups of samples as one, in their order."""
        ids = tuple(each for part in parts for each in part.ids)
        annotations = tuple(each for part in parts for each in part.annotations)
        images, labels = (torch.cat([getattr(part, name) for part in parts]) for name in ("images", "labels"))
        return cls(ids, images, labels, annotations)

    def split(self, size: int) -> list[Samples]:
        """Return the samples in parts of `size`.

        The last part may be smaller.
        """
        return [self.part(slice(start, start + size)) for start in range(0, len(self.ids), size)]


@dataclass(frozen=True, eq=False)
class Library:
    """All images of a protocol, whichever of them a run attacks."""

    ids: tuple[str, ...]
    images: Tensor
    """(M, C, H, W)."""
    rng: Rng
    """The stream that pairs the images."""

    def first(self, count: int) -> Tensor:
        """(count, C, H, W): the first images.

        Raises:
            BenchError: if there are fewer.
        """
        if count > len(self.images):
            raise BenchError(
                f"expected at most {len(self.images)} donors, which this evaluation holds, got {count}; ask for fewer"
            )
        return self.images[:count]

    def partners(self, ids: Sequence[str]) -> Tensor:
        """(N, C, H, W): another image for each of N samples.

        Raises:
            BenchError: if there is no other image.
        """
        if len(self.ids) < 2:
            raise BenchError(
                f"expected at least 2 images, so that each has another one as its target, got {len(self.ids)}; "
                "choose a protocol with more images, or another attack"
            )
        return self.images[[self._partner[each] for each in ids]]

    @cached_property
    def _partner(self) -> Mapping[str, int]:
        """The row of each sample's partner.

        Samples stand in a circle in the order of their streams' keys, and the next one is the partner. So no sample is
        its own partner, each is the partner of one, and a new version of torch's generator changes nothing.
        """
        circle = sorted(range(len(self.ids)), key=lambda row: self.rng.fork(self.ids[row]).key)
        following = [*circle[1:], *circle[:1]]
        return {self.ids[row]: after for row, after in zip(circle, following, strict=True)}


NO_IMAGES = Library((), torch.empty(0), Rng(0))


def load_samples(sample_set: SampleSet, dataset: Dataset) -> Samples:
    """Return the images of a protocol, loaded from its `source`.

    Raises:
        IntegrityError: if the source lacks one of the indices, or the pixels are not the protocol's.
    """
    split = dataset.load(sample_set.split)
    where = f"{sample_set.source}, split {sample_set.split}"
    outside = [index for index in sample_set.indices if not 0 <= index < len(split.labels)]
    if outside:
        raise IntegrityError(
            f"expected {where} to hold the index {outside[0]}, got {len(split.labels)} images; "
            "restore the data, or choose a protocol of this source"
        )
    chosen = torch.tensor(sample_set.indices)
    images = split.images[chosen]
    if (actual := checksum(images)) != sample_set.sha256 and not _alike(images, sample_set):
        raise IntegrityError(
            f"expected the {len(chosen)} images of {where} to have the sha256 {sample_set.sha256[:12]}…, "
            f"got {actual[:12]}…; the stored images are not the ones this protocol was made of: restore the data"
        )
    annotated = dataset.annotations(sample_set.split)
    annotations = tuple(annotated[index] for index in sample_set.indices) if annotated else ()
    return Samples(tuple(sample_set.ids()), images.float() / 255, split.labels[chosen], annotations)


def _alike(images: Tensor, sample_set: SampleSet) -> bool:
    """Return whether images differ by a decoder's rounding only.

    A protocol without digests allows no difference.
    """
    if not sample_set.digests:
        return False
    written = [torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8) for digest in sample_set.digests]
    found = digests(images).flatten(1)
    if {len(each) for each in written} != {found.shape[1]}:
        return False
    return bool(alike(found, torch.stack(written)).all())


def checksum(images: Tensor) -> str:
    """Return the SHA-256 of (N, C, H, W) uint8 images.

    The bytes are hashed in this order: image by image, and channel by channel.
    """
    return sha256_of(images.contiguous().numpy().tobytes())


def draw_stratified(labels: Sequence[int], *, leading: int, per_class: int, seed: str) -> list[int]:
    """Draw `per_class` images per class, with balanced prefixes.

    Every prefix is as balanced as possible. The indices below `leading` come first, in order. The others are sorted,
    per class, by the SHA-256 of "<seed>/<index>": a random generator could draw other numbers in another version of its
    library. Each next image is taken from the class with the fewest images so far; among equals, from the lowest class.

    Args:
        labels: class of every image of the split, in its official order.
        leading: number of images, from index 0, that are always drawn.
        per_class: number of images per class in the end.
        seed: any text.
    Returns:
        Indices into the split.
    Raises:
        ValueError: if a class has too few images, or too many leading ones.
    """
    chosen, classes = list(range(leading)), sorted(set(labels))
    taken = {c: sum(labels[index] == c for index in chosen) for c in classes}
    order = sorted(range(leading, len(labels)), key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest())
    waiting = {c: deque(index for index in order if labels[index] == c) for c in classes}
    for c in classes:
        if not taken[c] <= per_class <= taken[c] + len(waiting[c]):
            have = f"{taken[c]} leading and {len(waiting[c])} other images"
            raise ValueError(f"expected {per_class} images of class {c}, got {have}; change per_class or leading")
    while len(chosen) < per_class * len(classes):
        scarcest = min(classes, key=lambda c: (taken[c], c))
        chosen.append(waiting[scarcest].popleft())
        taken[scarcest] += 1
    return chosen

"""Streams of random numbers that are passed as values.

There is no global state. A seed and a path of purposes name a stream, and a number drawn from it depends on that name
only. The name of a sample's stream contains the sample's id, so that its batch, the order of shards and the device
cannot change its random numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rng:
    """One named stream of random numbers, drawn on the CPU."""

    seed: int
    path: tuple[str | int, ...] = ()

    def fork(self, *purpose: str | int) -> Rng:
        """Return the stream for a narrower purpose."""
        return Rng(self.seed, (*self.path, *purpose))

    @property
    def key(self) -> int:
        """Return the 63-bit seed of the generator."""
        name = "\x1f".join(map(str, (self.seed, *self.path)))
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1

    def generator(self) -> torch.Generator:
        """Return a fresh generator at the start of the stream."""
        return torch.Generator().manual_seed(self.key)

    @contextmanager
    def ambient(self) -> Iterator[None]:
        """Run a block in which torch's global generators follow this stream.

        For libraries that draw from the global generators. Afterwards the generators are restored.
        """
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.random.manual_seed(self.key)
            yield


@dataclass(frozen=True)
class SampleRng:
    """One stream per sample of a batch."""

    base: Rng
    sample_ids: tuple[str, ...] = field(repr=False)

    def fork(self, *purpose: str | int) -> SampleRng:
        """Return the streams for a narrower purpose (a step, a restart)."""
        return SampleRng(self.base.fork(*purpose), self.sample_ids)

    def select(self, indices: Sequence[int] | slice) -> SampleRng:
        """Return the streams of some of the samples."""
        ids = self.sample_ids[indices] if isinstance(indices, slice) else tuple(self.sample_ids[i] for i in indices)
        return SampleRng(self.base, ids)

    def streams(self) -> list[Rng]:
        """Return each sample's own stream."""
        return [self.base.fork(sample) for sample in self.sample_ids]

    def seeds(self) -> list[int]:
        """Return each sample's seed, as its row stores it."""
        return [stream.key for stream in self.streams()]

    def uniform(self, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        """(N, *shape) float32, uniform in [low, high]."""
        draws = [torch.rand(shape, generator=self.base.fork(s).generator()) for s in self.sample_ids]
        return torch.stack(draws) * (high - low) + low

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """(N, *shape) float32, standard normal."""
        return torch.stack([torch.randn(shape, generator=self.base.fork(s).generator()) for s in self.sample_ids])

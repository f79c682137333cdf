"""Prepared images in place of the clean ones, such as stylized photographs.

They have the same shapes in the texture of paintings; any other folder works, too.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.errors import EnvironmentFault, IntegrityError
from bench.core.schemas.protocol import Aim, Knowledge, ThreatModel
from bench.core.storage.files import sha256_of
from bench.core.storage.folders import data_folder

SUMS = "SHA256SUMS"


@dataclass(frozen=True, kw_only=True)
class Stylized(Attack):
    """Images read from `<data folder>/<folder>/<sample id>.png`.

    `sha256` pins the folder by its file SHA256SUMS. That file has a line `<sha256>  <sample id>.png` for each image, as
    `sha256sum` writes it. Without `sha256` nothing is checked, and a record does not say which images it saw. A change
    for a protocol of epsilon 1.

    Source:
        Zhang, Zhu 2019, section 4.1, after Geirhos et al. 2019, whose code makes the images (AdaIN, paintings).
        Differs: images are prepared by another tool, one for each sample.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "Geirhos et al. 2019"
    aim: ClassVar[Aim] = "nothing"

    folder: str = "stylized"
    """Folder of the prepared images, below the data folder."""
    sha256: str = ""
    """Checksum of that folder's file SHA256SUMS; empty checks nothing."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """Return the (N, C, H, W) prepared images.

        Raises:
            EnvironmentFault: if an image is missing.
            IntegrityError: if one has another size, or a file is not the pinned one.
        """
        sums = self._sums()
        return torch.stack([self._read(name, sums, images[0]) for name in rng.sample_ids])

    def _sums(self) -> dict[str, str]:
        """Return the checksums of the files, if the folder is pinned."""
        if not self.sha256:
            return {}
        content = self._bytes(SUMS)
        if (actual := sha256_of(content)) != self.sha256:
            raise IntegrityError(
                f"expected {SUMS} in {self.folder} with the sha256 {self.sha256[:12]}…, got {actual[:12]}…; restore it"
            )
        lines = (line.split(maxsplit=1) for line in content.decode().splitlines() if line.strip())
        return {name.lstrip("*"): digest for digest, name in lines}

    def _read(self, sample_id: str, sums: dict[str, str], like: Tensor) -> Tensor:
        """Return one (C, H, W) prepared image."""
        content = self._bytes(name := f"{sample_id}.png")
        if self.sha256 and sums.get(name) != sha256_of(content):
            raise IntegrityError(f"expected {name} in {self.folder} as {SUMS} has it, got another; restore it")
        with Image.open(data_folder() / self.folder / name) as image:
            pixels = np.asarray(image.convert("L" if len(like) == 1 else "RGB")).reshape(*image.size[::-1], len(like))
        if pixels.shape[:2] != like.shape[1:]:
            raise IntegrityError(
                f"expected {name} of {tuple(like.shape[1:])} pixels, got {pixels.shape[:2]}; resize it"
            )
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).to(like) / 255

    def _bytes(self, name: str) -> bytes:
        path = data_folder() / self.folder / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise EnvironmentFault(
                f"expected a prepared image in {path}, got: {error.strerror}; prepare it, or name its place with --data"
            ) from error

"""German traffic signs at 32x32 pixels, from arrays or official images."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from PIL import Image

from bench.core.contracts import Dataset, Split
from bench.core.storage.folders import data_folder
from bench.data._sources import open_or_download, read_archive

SIDE = 32


class Gtsrb(Dataset):
    """39,209 training and 12,630 test images of 43 traffic signs.

    The images are resized to 32x32 pixels. `load` reads `gtsrb32/train.npz` and `gtsrb32/test.npz` in the data folder
    (arrays `images`, (N, 32, 32, 3) uint8, and `labels`); if they are missing, torchvision reads or downloads the
    official images in `gtsrb`.

    Source:
        Stallkamp et al. 2012, "Man vs. computer".
        Differs: the whole image is resized (bilinear), without the crop to the annotated sign. Another library's
        resizing gives slightly different pixels, which the data checksum in an entry shows.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = (
        "Speed limit (20km/h)", "Speed limit (30km/h)", "Speed limit (50km/h)", "Speed limit (60km/h)",
        "Speed limit (70km/h)", "Speed limit (80km/h)", "End of speed limit (80km/h)", "Speed limit (100km/h)",
        "Speed limit (120km/h)", "No passing", "No passing for vehicles over 3.5 metric tons",
        "Right-of-way at the next intersection", "Priority road", "Yield", "Stop", "No vehicles",
        "Vehicles over 3.5 metric tons prohibited", "No entry", "General caution", "Dangerous curve to the left",
        "Dangerous curve to the right", "Double curve", "Bumpy road", "Slippery road", "Road narrows on the right",
        "Road work", "Traffic signals", "Pedestrians", "Children crossing", "Bicycles crossing", "Beware of ice/snow",
        "Wild animals crossing", "End of all speed and passing limits", "Turn right ahead", "Turn left ahead",
        "Ahead only", "Go straight or right", "Go straight or left", "Keep right", "Keep left", "Roundabout mandatory",
        "End of no passing", "End of no passing by vehicles over 3.5 metric tons",
    )  # fmt: skip
    shape: ClassVar[tuple[int, int, int] | None] = (3, SIDE, SIDE)
    mean: ClassVar[tuple[float, ...]] = (0.3398, 0.3117, 0.3210)
    std: ClassVar[tuple[float, ...]] = (0.2755, 0.2647, 0.2712)

    def is_stored(self) -> bool:
        """Return whether the splits are stored, so that `load` needs no network."""
        official = (data_folder() / "gtsrb" / "GTSRB" / name for name in ("Training", "Final_Test"))
        return all(_archive(split).is_file() for split in ("train", "test")) or all(p.is_dir() for p in official)

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order.

        Raises:
            EnvironmentFault: if the files are missing, and cannot be downloaded.
            IntegrityError: if the archive does not hold such images.
        """
        if (archive := _archive(split)).is_file():
            return read_archive(archive, (3, SIDE, SIDE))
        from bench.core.compute.vision import datasets

        root = data_folder()
        stored = open_or_download(
            lambda download: datasets.GTSRB(str(root), split=split, download=download),
            "the GTSRB images",
            archive.parent,
        )
        resized = [(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), label) for image, label in stored]
        images = np.stack([np.asarray(image) for image, _ in resized])
        return Split(
            torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.tensor([label for _, label in resized])
        )


def _archive(split: str) -> Path:
    return data_folder() / "gtsrb32" / f"{split}.npz"

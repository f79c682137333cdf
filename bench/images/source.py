"""Delivers a protocol's images, of a data set or of files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from bench import registry
from bench.core.contracts import Dataset, Split
from bench.core.errors import EnvironmentFault, IntegrityError
from bench.core.schemas.folder import ImageFolder
from bench.core.schemas.protocol import Component, SampleSet
from bench.core.storage.files import sha256_of_file
from bench.data._image_files import read_images


def source_of(samples: SampleSet) -> Dataset:
    """Return the source of a protocol's images."""
    if samples.folder is not None:
        return FolderSource(samples.folder)
    dataset: Dataset = registry.instantiate("datasets", Component(name=samples.source))
    return dataset


def classes_of(samples: SampleSet) -> tuple[str, ...]:
    """Return the names of the classes of a protocol's labels."""
    if samples.folder is not None:
        return samples.folder.classes
    dataset: type[Dataset] = registry.load("datasets", samples.source)
    return dataset.classes


class FolderSource(Dataset):
    """The image files of a protocol, checked against their pins.

    Source:
        The files of a folder, as the protocol lists them.
        Differs: nothing.
    """

    def __init__(self, folder: ImageFolder) -> None:
        self._folder, self._root = folder, Path(folder.place)

    def is_stored(self) -> bool:
        """Return whether the first file is on this machine."""
        return bool(self._folder.place) and (self._root / self._folder.files[0].file).is_file()

    def load(self, split: Literal["train", "test"]) -> Split:  # noqa: ARG002 - files have no split
        """Return the images of all files in the protocol's order.

        Raises:
            EnvironmentFault: if the folder is not on this machine.
            IntegrityError: if a file is missing, damaged or has changed.
        """
        files, root = self._folder.files, self._root
        if not self._folder.place or not root.is_dir():
            came = f"no folder {root}" if self._folder.place else "a protocol that does not know it"
            raise EnvironmentFault(f"expected the folder of the protocol's images, got {came}; name it with --images")
        for each in files:
            path = root / each.file
            if not path.is_file():
                raise IntegrityError(f"expected {each.file} in {root}, got no such file; restore it")
            if sha256_of_file(path) != each.sha256:
                raise IntegrityError(
                    f"expected {path} as it was when the protocol was made, got other bytes; restore it, or make "
                    "another version of the protocol"
                )
        images = read_images([root / each.file for each in files], self._folder.geometry)
        return Split(images, torch.tensor([each.label for each in files]))

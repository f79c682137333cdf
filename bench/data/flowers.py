"""Oxford flowers at 128x128 pixels, from the official images."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

import torch

from bench.core.contracts import Dataset, Split
from bench.core.schemas.geometry import Geometry
from bench.core.storage.folders import data_folder
from bench.data._image_files import read_images
from bench.data._sources import open_or_download

GEOMETRY = Geometry(resize=(128, 128), fit="stretch", crop=(128, 128))
FOLDER = "flowers-102"
PARTS: dict[str, tuple[str, ...]] = {"train": ("train", "val"), "test": ("test",)}


class Flowers(Dataset):
    """2,040 training and 6,149 test images of 102 kinds of flowers.

    The images are resized to 128x128 pixels. `load` reads `flowers-102` in the data folder (`jpg`, `imagelabels.mat`,
    `setid.mat`, the lists checked against the official checksums); if it is missing, torchvision downloads it.

    Source:
        Nilsback, Zisserman 2008, "Automated flower classification over a large number of classes".
        Differs: the papers on attributional robustness use the 17 kinds of 2006, 72 training and 8 test images each,
        split without a seed; here the 102 kinds in their official split, `train` with `val` to train and `test` to
        test. The whole image is resized (bilinear), without keeping its proportions. Mean and deviation are ImageNet's.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = (
        "pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea", "english marigold",
        "tiger lily", "moon orchid", "bird of paradise", "monkshood", "globe thistle", "snapdragon", "colt's foot",
        "king protea", "spear thistle", "yellow iris", "globe-flower", "purple coneflower", "peruvian lily",
        "balloon flower", "giant white arum lily", "fire lily", "pincushion flower", "fritillary", "red ginger",
        "grape hyacinth", "corn poppy", "prince of wales feathers", "stemless gentian", "artichoke", "sweet william",
        "carnation", "garden phlox", "love in the mist", "mexican aster", "alpine sea holly", "ruby-lipped cattleya",
        "cape flower", "great masterwort", "siam tulip", "lenten rose", "barbeton daisy", "daffodil", "sword lily",
        "poinsettia", "bolero deep blue", "wallflower", "marigold", "buttercup", "oxeye daisy", "common dandelion",
        "petunia", "wild pansy", "primula", "sunflower", "pelargonium", "bishop of llandaff", "gaura", "geranium",
        "orange dahlia", "pink-yellow dahlia?", "cautleya spicata", "japanese anemone", "black-eyed susan",
        "silverbush", "californian poppy", "osteospermum", "spring crocus", "bearded iris", "windflower",
        "tree poppy", "gazania", "azalea", "water lily", "rose", "thorn apple", "morning glory", "passion flower",
        "lotus", "toad lily", "anthurium", "frangipani", "clematis", "hibiscus", "columbine", "desert-rose",
        "tree mallow", "magnolia", "cyclamen", "watercress", "canna lily", "hippeastrum", "bee balm", "ball moss",
        "foxglove", "bougainvillea", "camellia", "mallow", "mexican petunia", "bromelia", "blanket flower",
        "trumpet creeper", "blackberry lily",
    )  # fmt: skip
    shape: ClassVar[tuple[int, int, int] | None] = GEOMETRY.shape
    geometry: ClassVar[Geometry | None] = GEOMETRY
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)

    def is_stored(self) -> bool:
        """Return whether the files are stored, so that `load` needs no network."""
        folder = data_folder() / FOLDER
        return (folder / "jpg").is_dir() and all(
            (folder / f"{name}.mat").is_file() for name in ("imagelabels", "setid")
        )

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order.

        Raises:
            EnvironmentFault: if the files are missing, and cannot be downloaded.
            IntegrityError: if an image is missing or damaged.
        """
        root = data_folder()
        parts = [
            open_or_download(partial(_open, str(root), part), "the Oxford flowers", root / FOLDER)
            for part in PARTS[split]
        ]
        paths = [path for part in parts for path in part._image_files]
        labels = [label for part in parts for label in part._labels]
        return Split(read_images(paths, GEOMETRY), torch.tensor(labels))


def _open(root: str, part: str, download: bool) -> Any:
    from bench.core.compute.vision import datasets

    return datasets.Flowers102(root, split=part, download=download)

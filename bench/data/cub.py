"""Birds of Caltech and UCSD at 224x224 pixels, from the official images."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import torch

from bench.core.contracts import Dataset, Split
from bench.core.errors import EnvironmentFault, IntegrityError
from bench.core.schemas.geometry import Geometry
from bench.core.storage.folders import data_folder
from bench.data._image_files import read_images

GEOMETRY = Geometry(resize=(256, 256), fit="stretch", crop=(224, 224))
FOLDER = "CUB_200_2011"
LISTS = ("images", "image_class_labels", "train_test_split")


class Cub(Dataset):
    """5,994 training and 5,794 test images of 200 kinds of birds.

    The images are the central 224x224 of 256x256 pixels. `load` reads `CUB_200_2011` in the data folder: `images.txt`,
    `image_class_labels.txt`, `train_test_split.txt`, and the files that they name in `images`. The official source does
    not allow downloads by programs.

    Source:
        Wah et al. 2011, "The Caltech-UCSD Birds-200-2011 Dataset".
        Differs: the whole image is resized (bilinear), without keeping its proportions, and cut to its centre, for
        training too (Singh et al. 2020 cut a random part of the 256x256 pixels). Mean and deviation are ImageNet's, as
        networks for this set start from ImageNet's weights.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = (
        "Black footed Albatross", "Laysan Albatross", "Sooty Albatross", "Groove billed Ani", "Crested Auklet",
        "Least Auklet", "Parakeet Auklet", "Rhinoceros Auklet", "Brewer Blackbird", "Red winged Blackbird",
        "Rusty Blackbird", "Yellow headed Blackbird", "Bobolink", "Indigo Bunting", "Lazuli Bunting",
        "Painted Bunting", "Cardinal", "Spotted Catbird", "Gray Catbird", "Yellow breasted Chat", "Eastern Towhee",
        "Chuck will Widow", "Brandt Cormorant", "Red faced Cormorant", "Pelagic Cormorant", "Bronzed Cowbird",
        "Shiny Cowbird", "Brown Creeper", "American Crow", "Fish Crow", "Black billed Cuckoo", "Mangrove Cuckoo",
        "Yellow billed Cuckoo", "Gray crowned Rosy Finch", "Purple Finch", "Northern Flicker", "Acadian Flycatcher",
        "Great Crested Flycatcher", "Least Flycatcher", "Olive sided Flycatcher", "Scissor tailed Flycatcher",
        "Vermilion Flycatcher", "Yellow bellied Flycatcher", "Frigatebird", "Northern Fulmar", "Gadwall",
        "American Goldfinch", "European Goldfinch", "Boat tailed Grackle", "Eared Grebe", "Horned Grebe",
        "Pied billed Grebe", "Western Grebe", "Blue Grosbeak", "Evening Grosbeak", "Pine Grosbeak",
        "Rose breasted Grosbeak", "Pigeon Guillemot", "California Gull", "Glaucous winged Gull", "Heermann Gull",
        "Herring Gull", "Ivory Gull", "Ring billed Gull", "Slaty backed Gull", "Western Gull", "Anna Hummingbird",
        "Ruby throated Hummingbird", "Rufous Hummingbird", "Green Violetear", "Long tailed Jaeger",
        "Pomarine Jaeger", "Blue Jay", "Florida Jay", "Green Jay", "Dark eyed Junco", "Tropical Kingbird",
        "Gray Kingbird", "Belted Kingfisher", "Green Kingfisher", "Pied Kingfisher", "Ringed Kingfisher",
        "White breasted Kingfisher", "Red legged Kittiwake", "Horned Lark", "Pacific Loon", "Mallard",
        "Western Meadowlark", "Hooded Merganser", "Red breasted Merganser", "Mockingbird", "Nighthawk",
        "Clark Nutcracker", "White breasted Nuthatch", "Baltimore Oriole", "Hooded Oriole", "Orchard Oriole",
        "Scott Oriole", "Ovenbird", "Brown Pelican", "White Pelican", "Western Wood Pewee", "Sayornis",
        "American Pipit", "Whip poor Will", "Horned Puffin", "Common Raven", "White necked Raven",
        "American Redstart", "Geococcyx", "Loggerhead Shrike", "Great Grey Shrike", "Baird Sparrow",
        "Black throated Sparrow", "Brewer Sparrow", "Chipping Sparrow", "Clay colored Sparrow", "House Sparrow",
        "Field Sparrow", "Fox Sparrow", "Grasshopper Sparrow", "Harris Sparrow", "Henslow Sparrow",
        "Le Conte Sparrow", "Lincoln Sparrow", "Nelson Sharp tailed Sparrow", "Savannah Sparrow", "Seaside Sparrow",
        "Song Sparrow", "Tree Sparrow", "Vesper Sparrow", "White crowned Sparrow", "White throated Sparrow",
        "Cape Glossy Starling", "Bank Swallow", "Barn Swallow", "Cliff Swallow", "Tree Swallow", "Scarlet Tanager",
        "Summer Tanager", "Artic Tern", "Black Tern", "Caspian Tern", "Common Tern", "Elegant Tern", "Forsters Tern",
        "Least Tern", "Green tailed Towhee", "Brown Thrasher", "Sage Thrasher", "Black capped Vireo",
        "Blue headed Vireo", "Philadelphia Vireo", "Red eyed Vireo", "Warbling Vireo", "White eyed Vireo",
        "Yellow throated Vireo", "Bay breasted Warbler", "Black and white Warbler", "Black throated Blue Warbler",
        "Blue winged Warbler", "Canada Warbler", "Cape May Warbler", "Cerulean Warbler", "Chestnut sided Warbler",
        "Golden winged Warbler", "Hooded Warbler", "Kentucky Warbler", "Magnolia Warbler", "Mourning Warbler",
        "Myrtle Warbler", "Nashville Warbler", "Orange crowned Warbler", "Palm Warbler", "Pine Warbler",
        "Prairie Warbler", "Prothonotary Warbler", "Swainson Warbler", "Tennessee Warbler", "Wilson Warbler",
        "Worm eating Warbler", "Yellow Warbler", "Northern Waterthrush", "Louisiana Waterthrush", "Bohemian Waxwing",
        "Cedar Waxwing", "American Three toed Woodpecker", "Pileated Woodpecker", "Red bellied Woodpecker",
        "Red cockaded Woodpecker", "Red headed Woodpecker", "Downy Woodpecker", "Bewick Wren", "Cactus Wren",
        "Carolina Wren", "House Wren", "Marsh Wren", "Rock Wren", "Winter Wren", "Common Yellowthroat",
    )  # fmt: skip
    shape: ClassVar[tuple[int, int, int] | None] = GEOMETRY.shape
    geometry: ClassVar[Geometry | None] = GEOMETRY
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)
    epsilon: ClassVar[Fraction] = Fraction(2, 255)

    def is_stored(self) -> bool:
        """Return whether lists and images are in the data folder."""
        return all((data_folder() / FOLDER / f"{name}.txt").is_file() for name in LISTS)

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order.

        Raises:
            EnvironmentFault: if the lists are missing.
            IntegrityError: if a list is damaged, or an image is missing or damaged.
        """
        folder = data_folder() / FOLDER
        if not self.is_stored():
            raise EnvironmentFault(
                f"expected CUB-200-2011 in {folder}, got none; unpack CUB_200_2011.tgz there, or name the folder that "
                f"holds {FOLDER} with --data or BENCH_DATA"
            )
        files, labels, in_training = (_numbered(folder / f"{name}.txt") for name in LISTS)
        chosen = [number for number in files if (in_training.get(number) == "1") == (split == "train")]
        try:
            found = torch.tensor([int(labels[number]) - 1 for number in chosen])
        except (KeyError, ValueError) as error:
            raise IntegrityError(
                f"expected a class number for each image in {folder / 'image_class_labels.txt'}, got {error}; restore"
            ) from error
        if len(found) and not 0 <= int(found.min()) <= int(found.max()) < len(self.classes):
            raise IntegrityError(
                f"expected classes 1 to {len(self.classes)} in {folder}, got others; restore its lists"
            )
        return Split(read_images([folder / "images" / files[n] for n in chosen], GEOMETRY), found)


def _numbered(path: Path) -> dict[str, str]:
    """Read lines with a number and a word."""
    try:
        pairs = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {number: word.strip() for number, word in pairs}
    except (OSError, ValueError) as error:
        raise IntegrityError(f"expected lines of a number and a word in {path}, got: {error}; restore it") from error

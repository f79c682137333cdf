"""Makes a protocol of image files, in the likeness of another protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import tomli_w
import torch

from bench import registry
from bench.core.compute.digests import digests
from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.folder import ImageFile, ImageFolder
from bench.core.schemas.geometry import Geometry
from bench.core.schemas.protocol import Component, Protocol, SampleSet
from bench.core.storage.files import sha256_of_file, write_atomic
from bench.core.text import counted
from bench.data._image_files import checksum, read_image
from bench.images.classes import Outputs, balanced, by_label, match, slug
from bench.images.files import Found, Labelled, complaint, find
from bench.images.network import Network

COUNT = 50
"""Images that are drawn unless a number is given."""

LIKENESSES = ("imagenet-gradient-v1", "cifar10-gradient-v1")
"""Protocols in whose likeness own images are measured unless one is named; the first that is there."""

SHOWCASE, LARGE, FEWER = 8, 128, 4
"""Images that pages show, and of images with a longer side fewer: a page must stay small enough for a mail."""

Part = TypeVar("Part", bound=Component)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user wants to measure on images of their own."""

    place: Path
    """A folder of class folders, or a CSV table."""
    like: Protocol
    """The protocol that everything but the images is taken from."""
    network: Network
    """The network whose outputs the labels mean, and whose preprocessing counts."""
    count: int = COUNT
    name: str | None = None
    """Name of the protocol; by default that of the folder with a part of the checksum."""


def protocol_of(wanted: Wanted, say: Callable[[str], None]) -> Protocol:
    """Return a protocol like another one, on other images.

    It never ranks. Numbers of top pixels grow with the image, so that they stay the same share of it.

    Args:
        wanted: the images and the rest.
        say: gets remarks about the choice of images.
    Raises:
        UsageError: if there are no images, or a label fits no output of the network.
        IntegrityError: if files are damaged; the message names all of them.
    """
    network, found = wanted.network, find(wanted.place)
    matched = match(by_label(found.files), network.outputs, network.name)
    if matched.problems:
        raise complaint(wanted.place, matched.problems, UsageError, network.advice)
    chosen = _drawn(found.files, matched.outputs, wanted.count)
    _tell(found, chosen, matched.remark, say)
    images = _read(found, chosen, network.geometry, wanted.place)
    files = tuple(
        ImageFile(file=each.file, label=matched.outputs[each.label], sha256=sha256_of_file(found.root / each.file))
        for each in chosen
    )
    folder = ImageFolder(
        place=str(found.root.absolute()),
        classes=_classes(network.outputs, matched.outputs),
        geometry=network.geometry,
        files=files,
    )
    return _assemble(wanted, folder, images)


def likeness() -> str:
    """Return the protocol in whose likeness own images are measured."""
    known = registry.names("protocols")
    return next(name for name in LIKENESSES if name in known)


def write(protocol: Protocol, folder: Path) -> Path:
    """Write a protocol of image files as TOML, and return its path."""
    content = protocol.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    if protocol.samples.folder is not None:
        content["samples"]["folder"]["place"] = protocol.samples.folder.place
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path := folder / f"{protocol.key}.toml", tomli_w.dumps(content).encode())
    return path


def moved(protocol: Protocol, place: Path) -> Protocol:
    """Return a protocol of image files that reads them in another folder.

    Raises:
        UsageError: if the protocol's images are not files of one's own.
    """
    if protocol.samples.folder is None:
        raise UsageError(f"expected a protocol of image files, got {protocol.key}; leave out --images")
    root = place.parent if place.is_file() else place
    folder = protocol.samples.folder.model_copy(update={"place": str(root.absolute())})
    return protocol.model_copy(update={"samples": protocol.samples.model_copy(update={"folder": folder})})


def _drawn(files: tuple[Labelled, ...], outputs: Mapping[str, int], count: int) -> list[Labelled]:
    """Return files, in an order in which every beginning is balanced."""
    if count < 1:
        raise UsageError(f"expected at least one image, got {count}; correct --limit")
    keys = [hashlib.sha256(each.file.encode()).hexdigest() for each in files]
    order = list(balanced([outputs[each.label] for each in files], keys))
    return [files[position] for position in order[:count]]


def _tell(found: Found, chosen: list[Labelled], remark: str, say: Callable[[str], None]) -> None:
    if remark:
        say(remark)
    if found.others:
        say(f"{counted(found.others, 'file')} without the ending of an image: not read")
    if len(chosen) < len(found.files):
        say(f"{len(chosen)} of {len(found.files)} images, each class equally often; --limit takes more or fewer")


def _read(found: Found, chosen: list[Labelled], geometry: Geometry, place: Path) -> torch.Tensor:
    """(N, C, H, W) uint8: the images.

    An error names all damaged files.
    """
    images, problems = torch.empty((len(chosen), *geometry.shape), dtype=torch.uint8), []
    for image, each in zip(images, chosen, strict=True):
        try:
            image.copy_(read_image(found.root / each.file, geometry))
        except IntegrityError as error:
            problems.append(str(error))
    if problems:
        raise complaint(place, sorted(problems), IntegrityError)
    return images


def _classes(outputs: Outputs, labels: Mapping[str, int]) -> tuple[str, ...]:
    """Return the names of the outputs.

    Where nothing tells them, the labels are the names.
    """
    told = {index: label for label, index in labels.items()}
    names = outputs.named()
    return names if outputs.names else tuple(told.get(index, name) for index, name in enumerate(names))


def _assemble(wanted: Wanted, folder: ImageFolder, images: torch.Tensor) -> Protocol:
    """Return the protocol of a folder in the likeness of another."""
    stem = slug(wanted.place.stem if wanted.place.is_file() else wanted.place.absolute().name)
    sha256 = checksum([images])
    pins = hashlib.sha256("\n".join([sha256, *(f"{each.label} {each.sha256}" for each in folder.files)]).encode())
    name = wanted.name or f"{stem}-{pins.hexdigest()[:8]}"
    if f"{name}-v1" in registry.names("protocols"):
        raise UsageError(f"expected a name that no protocol has, got {name}; choose another with --name")
    dataset = f"{stem}-images" if stem in registry.names("datasets") else stem
    samples = sample_set(images, dataset).model_copy(
        update={
            "digests": tuple(bytes(digest.flatten().tolist()).hex() for digest in digests(images)),
            "folder": folder,
        }
    )
    about = f"{counted(len(images), 'image')} of {wanted.place.name}, measured like {wanted.like.key}"
    naming = {"name": name, "description": about, "models_of": wanted.network.dataset}
    return likened(wanted.like, samples, naming, folder.geometry.crop)


def sample_set(images: torch.Tensor, source: str) -> SampleSet:
    """Return the sample set of (N, C, H, W) uint8 images."""
    count = len(images)
    return SampleSet(
        dataset=source,
        source=source,
        sha256=checksum([images]),
        indices=tuple(range(count)),
        showcase=tuple(range(min(count, SHOWCASE if max(images.shape[2:]) <= LARGE else FEWER))),
    )


def likened(like: Protocol, samples: SampleSet, naming: Mapping[str, str], size: tuple[int, int]) -> Protocol:
    """Return a protocol of other images that otherwise is like another one.

    Metrics that need boxes or masks are left out, as the images have none.

    Args:
        like: the other protocol.
        samples: the images.
        naming: name, description, and `models_of`.
        size: (H, W) of the images.
    """
    share = _share(like, size)
    content = {
        **naming,
        "version": 1,
        "rankable": False,
        "reference": (),
        "attacks": tuple(_with_share("attacks", each, share) for each in like.attacks),
        "metrics": tuple(
            _with_share("metrics", each, share)
            for each in like.metrics
            if not registry.instantiate("metrics", each).needs
        ),
    }
    return Protocol.model_validate(like.model_copy(update=content).model_dump(by_alias=True) | {"samples": samples})


def _share(like: Protocol, size: tuple[int, int]) -> float:
    """Return the number of pixels, relative to the other protocol's."""
    if like.samples.folder is not None:
        height, width = like.samples.folder.geometry.crop
    elif (shape := getattr(registry.load("datasets", like.samples.source), "shape", None)) is not None:
        height, width = shape[1:]
    else:
        return 1.0
    return size[0] * size[1] / (height * width)


def _with_share(kind: registry.Kind, component: Part, share: float) -> Part:
    """Return a component with its number of top pixels scaled."""
    k = getattr(registry.instantiate(kind, component), "k", None)
    if share == 1 or not isinstance(k, int):
        return component
    return component.model_copy(update={"params": component.params | {"k": max(1, round(k * share))}})

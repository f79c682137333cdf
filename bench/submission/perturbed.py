"""Files of perturbed images that somebody submits.

They are NumPy archives. No code in them runs, and the sizes are checked before anything is unpacked.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib import format as npy

from bench.core.compute import norms
from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.protocol import OUTSIDE, ThreatModel
from bench.core.schemas.spec import RunSpec
from bench.core.storage.files import canonical_json, sha256_of, write_atomic
from bench.core.text import counted, printable
from bench.run.samples import Samples

LONGEST = 200
"""Characters of a sample id, at most."""

REMEDY = "write it with numpy.savez(FILE, images=images, ids=ids)"

Images = npt.NDArray[np.float32]


class Perturbed(NamedTuple):
    """Submitted images, in the order of the protocol's samples."""

    ids: tuple[str, ...]
    images: Images
    """(n, C, H, W) in [0, 1]."""

    @property
    def sha256(self) -> str:
        """Return the checksum of the ids and of the pixels as float32."""
        pixels = np.ascontiguousarray(self.images, dtype="<f4")
        return sha256_of(canonical_json(list(self.ids)).encode() + b"\n" + pixels.tobytes())


def read_perturbed(path: Path, samples: Samples, expected: Mapping[str, str]) -> Perturbed:
    """Return the submitted images of a file, in the samples' order.

    Args:
        path: an .npz file with `images`, (n, C, H, W) floats in [0, 1], and `ids`, (n,) sample ids. It may also hold
            one text each for `model` and `protocol`.
        samples: all samples of the protocol.
        expected: what the texts must be, by their names.
    Raises:
        UsageError: if the file is not such an archive, or does not fit the samples.
    """
    arrays = _arrays(path, samples, expected)
    for name, wanted in expected.items():
        if name in arrays and (came := str(arrays[name])) != wanted:
            raise UsageError(
                f"expected images for the {name} {wanted}, got a file for {printable(came)[:LONGEST]!r}; name it with "
                f"--{name}, or submit another file"
            )
    images, ids = arrays["images"].astype(np.float32), [str(name) for name in arrays["ids"]]
    _check_ids(path, ids, samples)
    _check_pixels(path, images, ids)
    places = {name: place for place, name in enumerate(samples.ids)}
    order = sorted(range(len(ids)), key=lambda row: places[ids[row]])
    return Perturbed(tuple(ids[row] for row in order), images[order])


def chosen(samples: Samples, ids: tuple[str, ...]) -> Samples:
    """Return the samples with some ids, in the order of the ids."""
    places = {name: place for place, name in enumerate(samples.ids)}
    rows = [places[name] for name in ids]
    return Samples(ids, samples.images[rows], samples.labels[rows])


def distances(perturbed: Perturbed, clean: Samples, threat: ThreatModel) -> torch.Tensor:
    """(n,): the distances of submitted images from their clean images."""
    after = torch.from_numpy(perturbed.images).to(clean.images.dtype)
    return (norms.linf if threat.norm == "linf" else norms.l2)(clean.images, after)


def check_ball(path: Path, perturbed: Perturbed, clean: Samples, threat: ThreatModel) -> None:
    """Raise unless all images lie in the ball of the threat model.

    Raises:
        UsageError: if an image lies outside by more than the rounding of float32.
    """
    excess = distances(perturbed, clean, threat) - float(threat.epsilon)
    if count := int((excess > OUTSIDE).sum()):
        worst = int(excess.argmax())
        raise UsageError(
            f"{path}: expected {threat.norm} of at most {threat.epsilon} from the clean images, got "
            f"{counted(count, 'image')} of {len(excess)} outside, by up to {float(excess[worst]):.6f} "
            f"({perturbed.ids[worst]}); project them into the ball"
        )


def _arrays(path: Path, samples: Samples, texts: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the arrays of an archive whose sizes fit the samples."""
    if not path.is_file():
        raise UsageError(f"expected an .npz file of perturbed images at {path}, got no file; correct the path")
    try:
        with zipfile.ZipFile(path) as archive:
            names = {member.removesuffix(".npy") for member in archive.namelist()}
            if missing := {"images", "ids"} - names:
                raise UsageError(f"{path}: expected the arrays images and ids, got no {min(missing)}; {REMEDY}")
            for name in sorted(names):
                _check_header(path, name, archive, samples, texts)
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError) as error:
        raise UsageError(f"expected an .npz archive in {path}, got: {_reason(error)}; {REMEDY}") from None
    try:
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in names}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise UsageError(f"expected a whole .npz archive in {path}, got: {_reason(error)}; {REMEDY}") from None
    if len(arrays["ids"]) != len(arrays["images"]):
        came = f"{len(arrays['ids'])} ids and {len(arrays['images'])} images"
        raise UsageError(f"{path}: expected one id per image, got {came}; {REMEDY}")
    return arrays


def _check_header(path: Path, name: str, archive: zipfile.ZipFile, samples: Samples, texts: Mapping[str, str]) -> None:
    """Raise unless an array's shape and kind fit, before it is unpacked."""
    if name not in {"images", "ids", *texts}:
        raise UsageError(f"{path}: expected the arrays images and ids, got {printable(name)[:80]!r} too; leave it out")
    with archive.open(f"{name}.npy") as member:
        shape, dtype = _header(member)
    size, most = tuple(samples.images.shape[1:]), len(samples.ids)
    if name in texts:
        if shape != () or dtype.kind != "U" or dtype.itemsize > 4 * LONGEST:
            raise UsageError(f"{path}: expected one short text for {name}, got {dtype} {shape}; write {name}=NAME")
    elif name == "ids":
        if len(shape) != 1 or shape[0] > most or dtype.kind != "U" or dtype.itemsize > 4 * LONGEST:
            raise UsageError(
                f"{path}: expected at most {most} sample ids as texts such as {samples.ids[0]!r}, got {dtype} {shape}; "
                "write them as numpy.array([…]) of str"
            )
    elif len(shape) != 4 or shape[1:] != size or not 1 <= shape[0] <= most:
        raise UsageError(
            f"{path}: expected images of the shape (n, {', '.join(map(str, size))}) with n from 1 to {most}, got "
            f"{shape}; order the axes as image, channel, row, column"
        )
    elif dtype not in {np.dtype(np.float32), np.dtype(np.float64)}:
        remedy = "divide by 255" if dtype.kind == "u" else "convert them"
        raise UsageError(f"{path}: expected float32 images in [0, 1], got {dtype}; {remedy}")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(member)
    return shape, dtype


def _check_ids(path: Path, ids: list[str], samples: Samples) -> None:
    known = set(samples.ids)
    if unknown := [name for name in ids if name not in known]:
        raise UsageError(
            f"{path}: expected sample ids of the protocol, such as {samples.ids[0]!r}, got {len(unknown)} others, "
            f"first {printable(unknown[0])[:80]!r}; `bench show PROTOCOL` lists the images"
        )
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        raise UsageError(f"{path}: expected each sample once, got {twice[0]!r} twice; keep the better image")


def _check_pixels(path: Path, images: Images, ids: list[str]) -> None:
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(images).all(axis=(1, 2, 3))
        outside = (images < -OUTSIDE).any(axis=(1, 2, 3)) | (images > 1 + OUTSIDE).any(axis=(1, 2, 3))
    if bad.any():
        raise UsageError(
            f"{path}: expected finite pixels, got NaN or infinity in {counted(int(bad.sum()), 'image')}, first "
            f"{ids[int(bad.argmax())]}; leave these images out"
        )
    if outside.any():
        raise UsageError(
            f"{path}: expected pixels in [0, 1], got {images.min():.6g} to {images.max():.6g} in "
            f"{counted(int(outside.sum()), 'image')}; clip them, or divide grey levels by 255"
        )


def _reason(error: Exception) -> str:
    return printable(str(error)).strip().split("\n")[0][:LONGEST] or type(error).__name__


def kept_path(work: Path, spec: RunSpec) -> Path:
    """Return where a machine keeps the submitted images of a run.

    They lie beside the other perturbed images of the attack.
    """
    return work / "attacks" / spec.attack_id / "submitted.npz"


def kept(work: Path, spec: RunSpec) -> Perturbed | None:
    """Return the submitted images of a run, or None.

    None if this machine does not keep them.

    Raises:
        IntegrityError: if the file is damaged, or holds other images than the record names.
    """
    path, expected = kept_path(work, spec), str(spec.attack.params.get("images_sha256"))
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as loaded:
            found = Perturbed(tuple(map(str, loaded["ids"])), loaded["images"])
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError) as error:
        raise IntegrityError(f"expected submitted images in {path}, got: {_reason(error)}; submit them again") from None
    if found.sha256 != expected:
        raise IntegrityError(
            f"expected images with the sha256 {expected[:12]}… in {path}, got {found.sha256[:12]}…; delete the file, "
            "and submit the images again"
        )
    return found


def keep(work: Path, spec: RunSpec, perturbed: Perturbed) -> Path:
    """Store submitted images, and return the path."""
    sink = io.BytesIO()
    np.savez_compressed(sink, images=perturbed.images, ids=np.array(perturbed.ids))
    path = kept_path(work, spec)
    write_atomic(path, sink.getvalue())
    return path

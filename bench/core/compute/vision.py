"""Makes torchvision importable beside a CPU-only torch.

The published torchvision wheel registers fake kernels for operators that only its CUDA build defines; beside a CPU-only
torch its import fails with `operator torchvision::nms does not exist`. Then the two schemas are declared, and the
import is tried again. A torchvision that fits torch declares them itself, and ends the process if they are there
already. Both are detection operators that this package never calls.
"""

from __future__ import annotations

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

MENDED = False
"""Whether torchvision was built for another torch, and is imported beside it all the same."""

try:
    import torchvision  # noqa: F401
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    MENDED = True
    _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for _schema in _SCHEMAS:
        _library.define(_schema)  # type: ignore[no-untyped-call]

from torchvision import datasets, models  # noqa: E402

__all__ = ["MENDED", "datasets", "models"]

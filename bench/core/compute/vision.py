"""Makes torchvision importable beside a CPU-only torch.

The published torchvision wheel registers fake kernels for operators that only its CUDA build defines; beside a CPU-only
torch its import fails with `operator torchvision::nms does not exist`. Declaring the two schemas first prevents this.
Both are detection operators that this package never calls.
"""

from __future__ import annotations

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
for _name, _schema in _SCHEMAS.items():
    if not hasattr(torch.ops.torchvision, _name):
        _library.define(_schema)  # type: ignore[no-untyped-call]

from torchvision import datasets, models  # noqa: E402

__all__ = ["datasets", "models"]

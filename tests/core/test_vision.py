"""The import of torchvision beside any torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
IMPORT = "from bench.core.compute import vision; import torch; print(torch.ops.torchvision.nms, vision.MENDED)"
NMS = '"nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"'
FITS = f'library = torch.library.Library("torchvision", "DEF"); library.define({NMS})'
DOES_NOT = 'torch.library.register_fake("torchvision::nms")(lambda dets, scores, threshold: dets)'


@pytest.mark.parametrize("build", [FITS, DOES_NOT], ids=["fits", "does-not"])
def test_torchvision_is_imported_whether_or_not_it_fits_torch(tmp_path: Path, build: str) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(f"import torch\n{build}\n")
    for name in ("datasets", "models"):
        (package / f"{name}.py").write_text("")
    place = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], env=os.environ | place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["torchvision.nms", str(build == DOES_NOT)]

"""Memory of integrated gradients of a ViT-B at 224 pixels.

Value and pullback are computed in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.core.compute import vision

MOST = 6e9
SCRIPT = """
import resource, torch
from bench.core.compute import vision
import timm
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.core.compute.chunks import at_most
from bench.core.compute.rng import Rng, SampleRng
from bench.run.attack.memory import CPU_BUDGET, nodes_within
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import Followed, smooth_copy

network = timm.create_model("vit_base_patch16_224", pretrained=False).eval()
smooth = Followed(smooth_copy(freeze(classifier(network, (0.5,) * 3, (0.5,) * 3)), 50.0), 50.0).eval()
image = torch.rand(1, 3, 224, 224, generator=Rng(0).generator())
with at_most(nodes_within(CPU_BUDGET, smooth, image)):
    method = IntegratedGradients(nodes=10)
    linear = method.linearize(smooth, image, torch.tensor([3]), rng=SampleRng(Rng(0), ("a",)))
    assert linear.pullback(torch.ones_like(image)).abs().sum() > 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_ten_nodes_of_a_vit_b_take_less_than_six_gigabytes() -> None:
    assert vision.datasets, "beside a CPU-only torch timm cannot be imported without it"
    pytest.importorskip("timm")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < MOST

"""Normalisation and softplus as one function, against the two layers.

The CUDA code is compared with the plain formulas.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import pytest
import torch
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.architectures.wide_resnet import build
from model_zoo.derivatives import fused as module
from model_zoo.derivatives.fused import CODE, PLAIN, Kernels, SoftplusOfAffine, fused
from model_zoo.derivatives.surrogate import sharpened, smooth_copy
from model_zoo.training.initial_weights import initialize
from tests.oracles.small_networks import Fickle, drawn, trained


def derivatives(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Value, image gradient, and Hessian times a vector."""
    leaf = images.clone().requires_grad_()
    logits = network(leaf)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), leaf, create_graph=True)
    (product,) = torch.autograd.grad(gradient, leaf, drawn(*images.shape, seed=9))
    return [logits.detach(), gradient.detach(), product]


@pytest.mark.parametrize("beta", [3.0, 50.0])
def test_a_fused_network_is_the_smooth_one_in_every_derivative(beta: float) -> None:
    network = build(10, depth=10, width=1)
    initialize(network, Rng(0))
    smooth = smooth_copy(trained(network, 16), beta)
    ours = fused(smooth)
    pairs = [m for m in ours.modules() if isinstance(m, SoftplusOfAffine)]
    assert len(pairs) == 7, "two of each of the three blocks, and the last"
    assert not any(isinstance(m, nn.BatchNorm2d) for m in ours.modules())
    images = drawn(3, 3, 16, 16, seed=5).sigmoid()
    for mine, theirs in zip(derivatives(ours, images), derivatives(smooth, images), strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
    with sharpened(ours, 0.5), sharpened(smooth, 0.5):
        torch.testing.assert_close(derivatives(ours, images), derivatives(smooth, images), rtol=1e-8, atol=1e-10)
    assert not any(isinstance(m, SoftplusOfAffine) for m in smooth.modules()), "the copy itself stays"


class Sharing(Fickle):
    """Reads the normalised values twice."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        z: Tensor = self.act(y) + y
        return z


@pytest.mark.parametrize(
    "network",
    [Fickle().eval(), Sharing().eval(), nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()).train(), nn.Conv2d(3, 4, 3)],
    ids=["fickle", "sharing", "training", "no-pair"],
)
def test_what_has_no_pair_that_can_be_one_stays_as_it_is(network: nn.Module) -> None:
    smooth = smooth_copy(network, 5.0)
    assert fused(smooth) is smooth


def test_kernels_that_fail_or_err_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Kernels(PLAIN.value, PLAIN.slope, lambda v, g, *rest: PLAIN.curve(v, g + 0.1, *rest))
    module._compare(PLAIN, torch.device("cpu"))
    with pytest.raises(AssertionError):
        module._compare(wrong, torch.device("cpu"))

    def broken(*_: object) -> None:
        raise RuntimeError("nvrtc: error: invalid value for --gpu-architecture")

    monkeypatch.setattr(module, "_compare", broken)
    with pytest.warns(UserWarning, match="searches take longer: nvrtc"):
        assert module._compiled.__wrapped__() is PLAIN


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The CUDA code as C++, in double precision."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    folder = tmp_path_factory.mktemp("native")
    source, library = folder / "kernels.cpp", folder / "kernels.so"
    source.write_text(
        "#include <cmath>\n#include <math.h>\n"
        + "\n".join(CODE)
        + """
        extern "C" {
        double value(double x, double s, double t, double b) { return softplus_of_affine(x, s, t, b); }
        double slope(double g, double x, double s, double t, double b) {
            return softplus_of_affine_slope(g, x, s, t, b);
        }
        void curve(double v, double g, double x, double s, double t, double b, double* to_g, double* to_x) {
            softplus_of_affine_curve(v, g, x, s, t, b, *to_g, *to_x);
        }
        }"""
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return ctypes.CDLL(str(library))


@pytest.mark.parametrize("beta", [1.0, 50.0])
def test_the_cuda_code_is_the_plain_formula(native: ctypes.CDLL, beta: float) -> None:
    native.value.restype = native.slope.restype = ctypes.c_double
    for index in range(60):
        v, g, x, s, t = (float(n) for n in drawn(5, seed=index))
        numbers = [torch.tensor(n, dtype=torch.float64) for n in (v, g, x, s, t)]
        as_c = [ctypes.c_double(n) for n in (v, g, x, s, t, beta)]
        to_g, to_x = ctypes.c_double(), ctypes.c_double()
        native.curve(*as_c, ctypes.byref(to_g), ctypes.byref(to_x))
        found = (native.value(*as_c[2:]), native.slope(*as_c[1:]), to_g.value, to_x.value)
        plain = (PLAIN.value(*numbers[2:], beta), PLAIN.slope(*numbers[1:], beta), *PLAIN.curve(*numbers, beta))
        assert found == pytest.approx([float(p) for p in plain], rel=1e-9, abs=1e-12)

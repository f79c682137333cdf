"""The trigger, and the distance of maps to the attacker's target.

Both are computed by hand on small pictures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attacks.trigger import Trigger
from bench.attributions.grad_cam import GradCam
from bench.core.compute.heatmap import reduce
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Pair, View
from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.entry import Origin
from bench.core.schemas.protocol import ThreatModel
from metrics.target_correlation import TargetCorrelation
from tests.support.pictures import FOLDER, frame, picture_origin

SIDE = 8
THREAT = ThreatModel.model_validate({"norm": "linf", "epsilon": "1", "knowledge": "none", "keep_prediction": False})
RNG = SampleRng(Rng(0), ("a", "b"))


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", FOLDER.name)


def laid(images: Tensor) -> Tensor:
    nobody: Any = None
    attack = Trigger(pattern=Origin.model_validate(picture_origin(SIDE)))
    return attack.perturb(nobody, images, torch.zeros(len(images)), threat=THREAT, rng=RNG)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_trigger_covers_where_it_is_opaque_and_nothing_else(channels: int) -> None:
    images = torch.rand((2, channels, SIDE, SIDE), generator=Rng(1).generator())
    before, pixels = images.clone(), frame(SIDE)
    found = laid(images)
    for row, column in np.ndindex(SIDE, SIDE):
        opaque = pixels[row, column, 3] == 255
        expected = torch.full((2, channels), pixels[row, column, 0] / 255) if opaque else images[:, :, row, column]
        torch.testing.assert_close(found[:, :, row, column], expected)
    assert torch.equal(images, before)


def test_a_trigger_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected a picture of 9 x 9 pixels, got 8 x 8 in frame-8\.png"):
        laid(torch.zeros(1, 3, 9, 9))


def test_what_is_no_picture_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.core.storage.files import sha256_of

    body = b"no picture"
    (tmp_path / "file").write_bytes(body)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    origin = picture_origin(SIDE) | {"size": len(body), "sha256": sha256_of(body)}
    nobody: Any = None
    attack = Trigger(pattern=Origin.model_validate(origin))
    with pytest.raises(IntegrityError, match="expected a PNG"):
        attack.perturb(nobody, torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1), threat=THREAT, rng=RNG)


def test_the_correlation_with_the_target_is_numpys() -> None:
    heatmaps = torch.rand((3, SIDE, SIDE), generator=Rng(2).generator())
    heatmaps[2] = 1  # constant: undefined
    view = View(torch.zeros(3, 3, SIDE, SIDE), torch.zeros(3, 2), torch.zeros(3, 3, SIDE, SIDE), heatmaps)
    before = replace(view, heatmap=torch.zeros_like(heatmaps))
    metric = TargetCorrelation(target=picture_origin(SIDE))  # type: ignore[arg-type]
    found = metric(Pair(before, view, torch.zeros(3, dtype=torch.int64)))
    grey = frame(SIDE)[..., 0].ravel()
    expected = [np.corrcoef(heatmap.numpy().ravel(), grey)[0, 1] for heatmap in heatmaps[:2]]
    assert found[:2].tolist() == pytest.approx(expected, abs=1e-6)
    assert found[2].isnan()


def test_the_largest_channel_is_a_rule_of_heatmaps() -> None:
    attribution = torch.tensor([1.0, -3.0, 2.0]).view(1, 3, 1, 1)
    assert reduce(attribution, "max-of-abs").item() == 3


class Net(nn.Module):
    """Two layers of maps, then the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images).relu()).mean((2, 3))


def test_grad_cam_looks_at_the_layer_that_is_named() -> None:
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Identity(), Net()).eval()
    images, labels = torch.rand((2, 3, SIDE, SIDE), generator=Rng(3).generator()), torch.tensor([0, 1])
    features = model[1].first(images).detach().requires_grad_()  # type: ignore[operator]
    logits = model[1].second(features.relu()).mean((2, 3))  # type: ignore[operator]
    (gradients,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), features)
    expected = (gradients.mean((2, 3), keepdim=True) * features).sum(1).relu().detach()
    found = GradCam(layer="first").attribute(model, images, labels, rng=RNG)
    torch.testing.assert_close(reduce(found, "sum-of-abs"), expected)
    assert not torch.allclose(GradCam().attribute(model, images, labels, rng=RNG), found)
    with pytest.raises(UsageError, match=r"with a module 'third', got none"):
        GradCam(layer="third").attribute(model, images, labels, rng=RNG)

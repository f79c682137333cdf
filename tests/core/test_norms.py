"""Projections against brute force and float64."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from bench.core.compute import norms
from bench.core.schemas.protocol import ThreatModel

LINF = [ThreatModel(norm="linf", epsilon=Fraction(e)) for e in ("0", "1/255", "8/255", "3/10", "1")]
L2 = [ThreatModel(norm="l2", epsilon=Fraction(e)) for e in ("0", "1/2", "3", "100")]


def name_of(threat: ThreatModel) -> str:
    return f"{threat.norm}-{threat.epsilon}"


def proposals(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """(8, 3, 6, 6) clean images, and proposals outside every ball.

    Some clean pixels are at the ends of the range.
    """
    draw = torch.Generator().manual_seed(seed)
    before = (torch.rand(8, 3, 6, 6, generator=draw, dtype=dtype) * 1.4 - 0.2).clamp(0, 1)
    return before, before + torch.randn(before.shape, generator=draw, dtype=dtype)


def test_linf_and_l2_measure_the_change() -> None:
    before = torch.full((2, 3, 2, 2), 0.5)
    after = before.clone()
    after[1, 0, 0, 0], after[1, 2, 1, 1] = 0.2, 0.9
    assert norms.linf(before, after).tolist() == pytest.approx([0, 0.4])
    assert norms.l2(before, after).tolist() == pytest.approx([0, 0.5])


@pytest.mark.parametrize("threat", LINF, ids=name_of)
def test_linf_projection_is_exact(threat: ThreatModel) -> None:
    before, after = proposals()
    allowed = norms.project(before, after, threat)
    change = (allowed.double() - before.double()).abs().flatten(1).amax(1)
    assert change.max() <= float(threat.epsilon) + 1e-7
    assert norms.linf(before, allowed).max() <= float(threat.epsilon) + 1e-7
    assert allowed.min() >= 0
    assert allowed.max() <= 1


@pytest.mark.parametrize("threat", LINF, ids=name_of)
def test_linf_projection_is_the_nearest_allowed_image(threat: ThreatModel) -> None:
    before, after = proposals(dtype=torch.float64)
    epsilon = float(threat.epsilon)

    def nearest(clean: float, wish: float) -> float:
        return min(max(wish, clean - epsilon, 0.0), clean + epsilon, 1.0)

    expected = [nearest(c, w) for c, w in zip(before.flatten().tolist(), after.flatten().tolist(), strict=True)]
    torch.testing.assert_close(
        norms.project(before, after, threat).flatten(), torch.tensor(expected, dtype=torch.float64)
    )


@pytest.mark.parametrize("threat", L2, ids=name_of)
def test_l2_projection_ends_in_ball_and_range(threat: ThreatModel) -> None:
    before, after = proposals()
    allowed = norms.project(before, after, threat)
    length = (allowed.double() - before.double()).flatten(1).norm(dim=1)
    assert length.max() <= float(threat.epsilon) * (1 + 1e-6)
    assert allowed.min() >= 0
    assert allowed.max() <= 1


def test_l2_projection_shortens_the_change_then_clips() -> None:
    before, after = proposals(dtype=torch.float64)
    allowed = norms.project(before, after, L2[1])
    for clean, wish, image in zip(before, after, allowed, strict=True):
        change = wish - clean
        torch.testing.assert_close(image, (clean + change * min(1.0, 0.5 / change.norm().item())).clamp(0, 1))


def test_l2_projection_inside_the_range_lies_on_the_sphere_towards_the_proposal() -> None:
    before = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    after = before + torch.randn(before.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    allowed = norms.project(before, after, ThreatModel(norm="l2", epsilon=Fraction(1, 4)))
    assert norms.l2(before, allowed).item() == pytest.approx(0.25)
    assert torch.cosine_similarity((allowed - before).flatten(), (after - before).flatten(), 0).item() == pytest.approx(
        1
    )


@pytest.mark.parametrize("threat", [*LINF, *L2], ids=name_of)
def test_projection_changes_nothing_that_is_allowed(threat: ThreatModel) -> None:
    before, after = proposals()
    assert torch.equal(norms.project(before, before, threat), before)
    once = norms.project(before, after, threat)
    torch.testing.assert_close(norms.project(before, once, threat), once, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("threat", [LINF[0], L2[0]], ids=name_of)
def test_epsilon_zero_allows_the_clean_image_alone(threat: ThreatModel) -> None:
    before, after = proposals()
    assert torch.equal(norms.project(before, after, threat), before)


@pytest.mark.parametrize("threat", [*LINF, *L2], ids=name_of)
def test_float32_agrees_with_float64(threat: ThreatModel) -> None:
    before, after = proposals()
    exact = norms.project(before.double(), after.double(), threat)
    torch.testing.assert_close(norms.project(before, after, threat).double(), exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("threat", [LINF[2], L2[1]], ids=name_of)
def test_an_image_is_projected_the_same_in_any_batch(threat: ThreatModel) -> None:
    before, after = proposals()
    whole = norms.project(before, after, threat)
    alone = [norms.project(before[i : i + 1], after[i : i + 1], threat) for i in range(len(before))]
    assert torch.equal(whole, torch.cat(alone))


@pytest.mark.parametrize("threat", [LINF[2], L2[1]], ids=name_of)
def test_huge_proposals_end_in_the_range_and_the_ball(threat: ThreatModel) -> None:
    before, _ = proposals()
    signs = torch.randn(before.shape, generator=torch.Generator().manual_seed(2)).sign()
    for size in (1e4, 1e15):
        allowed = norms.project(before, before + size * signs, threat)
        assert allowed.isfinite().all()
        assert norms.l2(before, allowed).min() > 0
        measure = norms.linf if threat.norm == "linf" else norms.l2
        assert measure(before, allowed).max() <= float(threat.epsilon) * (1 + 1e-6) + 1e-7


@pytest.mark.parametrize("text", ["1e9", "1e999999999", "9" * 16, "1/0", "inf", "nan", "", "8 / 255 / 1", "1_0", "٣"])
def test_a_radius_is_written_as_a_fraction_of_few_digits(text: str) -> None:
    with pytest.raises(ValueError, match="expected a fraction such as"):
        ThreatModel.model_validate({"norm": "linf", "epsilon": text})

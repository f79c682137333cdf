"""Maps of tokens against matrices that are written out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attributions._attention import attentions
from bench.attributions._maps import enlarged, grid_of
from bench.attributions.attention_rollout import AttentionRollout
from bench.attributions.gradient_attention import GradientAttention
from bench.attributions.token_grad_cam import TokenGradCam
from bench.core.compute.rng import Rng, SampleRng
from bench.core.errors import UsageError
from model_zoo.derivatives.surrogate import Followed
from tests.support.families import FAMILIES
from tests.support.transformers import Pooled, drawn, tiny_transformer

RNG = SampleRng(Rng(0), ("a", "b"))
LABELS = torch.tensor([1, 3])


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, 12, 12), 0, 1).double()


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_transformer().double()


@pytest.fixture(scope="module")
def pooled() -> Any:
    return drawn(Pooled()).double()


def by_hand(model: Any, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits and attention matrices of torchvision's ViT, layer by layer."""
    normalise, vit = model
    tokens = vit._process_input(normalise(images))
    tokens = torch.cat([vit.class_token.expand(len(images), -1, -1), tokens], 1) + vit.encoder.pos_embedding
    matrices = []
    for block in vit.encoder.layers:
        u, attention = block.ln_1(tokens), block.self_attention
        q, k, v = (
            (u @ attention.in_proj_weight.T + attention.in_proj_bias).unflatten(2, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        )
        matrices.append((q @ k.transpose(-2, -1) / 8**0.5).softmax(-1))
        tokens = tokens + attention.out_proj((matrices[-1] @ v).transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp(block.ln_2(tokens))
    return vit.heads(vit.encoder.ln(tokens)[:, 0]), matrices


def test_matrices_of_torchs_module_are_those_by_hand(model: Any, images: Tensor) -> None:
    logits, found = attentions(model, images.clone().requires_grad_())
    expected, matrices = by_hand(model, images)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(logits, model(images))
    assert len(found) == len(matrices) == 2
    for mine, theirs in zip(found, matrices, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_slopes_of_matrices_are_finite_differences(model: Any, images: Tensor) -> None:
    logits, found = attentions(model, images.clone().requires_grad_())
    (slope,) = torch.autograd.grad(logits[0, 1], found[1])
    h, block = 1e-6, model[1].encoder.layers[1]
    tokens: dict[str, Tensor] = {}
    hook = block.register_forward_hook(lambda _, inputs, __: tokens.update(x=inputs[0]))
    model(images)
    hook.remove()

    def logit(matrix: Tensor) -> Tensor:
        u, attention = block.ln_1(tokens["x"]), block.self_attention
        v = (u @ attention.in_proj_weight.T + attention.in_proj_bias).unflatten(2, (3, 2, 8)).permute(2, 0, 3, 1, 4)[2]
        x = tokens["x"] + attention.out_proj((matrix @ v).transpose(1, 2).flatten(2))
        return model[1].heads(model[1].encoder.ln(x + block.mlp(block.ln_2(x)))[:, 0])[0, 1]

    for place in ((0, 1, 0, 4), (0, 0, 0, 0), (0, 1, 3, 2)):
        moved = torch.zeros_like(found[1])
        moved[place] = h
        difference = (logit(found[1] + moved) - logit(found[1] - moved)) / (2 * h)
        assert slope[place].item() == pytest.approx(difference.item(), rel=1e-5, abs=1e-9)


def test_rollout_is_the_product_of_mixed_matrices(model: Any, images: Tensor) -> None:
    _, (first, second) = by_hand(model, images)
    identity = torch.eye(10).double()
    mixed = [0.5 * matrix.mean(1) + 0.5 * identity for matrix in (first, second)]
    row = torch.stack([second @ first for first, second in zip(*mixed, strict=True)])[:, 0, 1:]
    found = AttentionRollout().attribute(model, images, LABELS, rng=RNG)
    torch.testing.assert_close(found, enlarged(row.view(2, 1, 3, 3), images))
    assert row.sum(1).lt(1).all(), "the class token keeps a part"


def test_gradient_attention_is_the_written_out_sum_over_paths(model: Any, images: Tensor) -> None:
    logits, matrices = by_hand(model, images.clone().requires_grad_())
    slopes = torch.autograd.grad(logits.gather(1, LABELS.unsqueeze(1)).sum(), matrices)
    first, second = ((m * s).clamp(min=0).mean(1) for m, s in zip(matrices, slopes, strict=True))
    row = (first + second + second @ first)[:, 0, 1:]
    found = GradientAttention().attribute(model, images, LABELS, rng=RNG)
    torch.testing.assert_close(found, enlarged(row.view(2, 1, 3, 3), images).detach())


def test_without_a_class_token_rows_are_averaged(pooled: Any, images: Tensor) -> None:
    _, found = attentions(pooled, images.clone().requires_grad_())
    identity = torch.eye(9).double()
    rollout = (found[1].mean(1) + identity) / 2 @ ((found[0].mean(1) + identity) / 2)
    expected = enlarged(rollout.mean(1).view(2, 1, 3, 3), images).detach()
    torch.testing.assert_close(AttentionRollout().attribute(pooled, images, LABELS, rng=RNG), expected)


def test_token_grad_cam_reads_the_last_normalisation_that_counts(model: Any, pooled: Any, images: Tensor) -> None:
    for network, layer, before in (
        (model, model[1].encoder.layers[1].ln_1, 1),  # all patches of later ones are dropped with the class token
        (pooled, pooled[1].norms[2], 0),
    ):
        kept: list[Tensor] = []
        hook = layer.register_forward_hook(lambda _, __, output, kept=kept: kept.append(output))
        logits = network(images.clone().requires_grad_())
        hook.remove()
        (slopes,) = torch.autograd.grad(logits.gather(1, LABELS.unsqueeze(1)).sum(), kept[0])
        patches, weights = kept[0][:, before:], slopes[:, before:].mean(1, keepdim=True)
        expected = enlarged((patches * weights).sum(2).relu().view(2, 1, 3, 3), images).detach()
        found = TokenGradCam().attribute(network, images, LABELS, rng=RNG)
        torch.testing.assert_close(found, expected)
        assert found.abs().max() > 0
    named = TokenGradCam(layer="encoder_layer_1.ln_1").attribute(model, images, LABELS, rng=RNG)
    torch.testing.assert_close(named, TokenGradCam().attribute(model, images, LABELS, rng=RNG))


def test_token_grad_cam_reads_swins_feature_maps() -> None:
    network = drawn(FAMILIES["Swin"].make())
    pixels = RNG.fork("swin").uniform((3, 32, 32), 0, 1)
    assert TokenGradCam().attribute(network, pixels, LABELS, rng=RNG).abs().max() > 0


@pytest.mark.parametrize("name", ["Swin", "ResNet", "MaxViT"])
def test_networks_without_attention_over_all_tokens_are_refused(name: str) -> None:
    network = drawn(FAMILIES[name].make())
    pixels = RNG.fork(name).uniform((3, 32, 32), 0, 1)
    with pytest.raises(UsageError, match="expected a transformer whose layers attend to all tokens"):
        AttentionRollout().attribute(network, pixels, LABELS, rng=RNG)


def test_matrices_of_channels_are_no_attention(images: Tensor) -> None:
    class Channels(Pooled):
        def forward(self, pixels: Tensor) -> Tensor:
            u = self.norms[0](self.patches(pixels).flatten(2).transpose(1, 2)).unflatten(2, (1, -1)).permute(0, 2, 3, 1)
            return self.head(((u @ u.transpose(-2, -1)).softmax(-1) @ u).flatten(1, 2).mean(2))

    with pytest.raises(UsageError, match="of channels"):
        AttentionRollout().attribute(drawn(Channels()).double(), images, LABELS, rng=RNG)


@pytest.mark.parametrize(
    "method", [AttentionRollout(), GradientAttention(), TokenGradCam()], ids=lambda m: type(m).__name__
)
def test_pullbacks_through_a_surrogate_are_finite_differences(method: AttentionRollout, images: Tensor) -> None:
    smooth = Followed(tiny_transformer(), 5.0).double()
    cotangent = RNG.fork("cotangent").normal((3, 12, 12)).double()
    pulled = method.pullback(smooth, images, LABELS, cotangent, rng=RNG)
    sides = [method.attribute(smooth, images + h * cotangent, LABELS, rng=RNG) for h in (1e-6, -1e-6)]
    difference = ((sides[0] - sides[1]) * cotangent).sum((1, 2, 3)) / 2e-6
    torch.testing.assert_close((pulled * cotangent).sum((1, 2, 3)), difference, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("tokens", "sides", "expected"),
    [
        (197, (224, 224), (1, 14, 14)),
        (198, (224, 224), (2, 14, 14)),
        (196, (224, 224), (0, 14, 14)),
        (261, (224, 224), (5, 16, 16)),
        (9, (32, 64), (1, 2, 4)),
        (4, (32, 96), (1, 1, 3)),
        (2, (32, 32), None),
    ],
)
def test_tokens_lie_in_a_grid_behind_first_ones(
    tokens: int, sides: tuple[int, int], expected: tuple[int, int, int] | None
) -> None:
    assert grid_of(tokens, torch.zeros(1, 3, *sides)) == expected


def test_scaled_attention_with_a_mask_is_torchs(images: Tensor) -> None:
    q, k, v = (RNG.fork(name).normal((2, 5, 4)).double() for name in "qkv")
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    from bench.attributions._attention import Attentions

    for given in ({}, {"attn_mask": mask}, {"attn_mask": mask.double()}, {"scale": 0.3}):
        with Attentions(2) as mode:
            mine = F.scaled_dot_product_attention(q, k, v, **given)
        torch.testing.assert_close(mine, F.scaled_dot_product_attention(q, k, v, **given))
        assert len(mode.found) == 1

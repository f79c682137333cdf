"""Computes checked logits, attributions and heatmaps for searches and the judge."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.core.compute.chunks import forward
from bench.core.compute.heatmap import reduce
from bench.core.compute.rng import SampleRng
from bench.core.contracts import AttributionMethod, Probe, View
from bench.core.errors import ModelOutputError, PluginFault, blamed_on, described
from bench.core.schemas.protocol import HeatmapRule
from bench.run.samples import NO_IMAGES, Library


@dataclass(frozen=True)
class Explainer:
    """An attribution method, and the rule from attributions to heatmaps."""

    method: AttributionMethod
    rule: HeatmapRule

    def view(self, model: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng) -> View:
        """Return logits, attributions and heatmaps of (N, C, H, W) images.

        The logits `labels` are explained.
        """
        with blamed_on(self.method):
            attribution, logits = self.method.attribute_with_logits(model, images, labels, rng=rng)
        if attribution.shape != images.shape:
            raise PluginFault(
                f"{described(self.method)}: expected attributions of the images' shape {tuple(images.shape)}, got "
                f"{tuple(attribution.shape)}; mend it"
            )
        return View(images, checked(logits, images), attribution, reduce(attribution, self.rule))


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """(N, K): the checked logits.

    Raises:
        ModelOutputError: if they are not finite (N, K) numbers.
    """
    return checked(forward(model, images), images)


def checked(logits: Tensor, images: Tensor) -> Tensor:
    """Return the logits of images if they are valid.

    Raises:
        ModelOutputError: if they are not finite (N, K) numbers.
    """
    if logits.dim() != 2 or len(logits) != len(images):
        raise ModelOutputError(
            f"expected (N, K) logits from the model, got the shape {tuple(logits.shape)}; return one row per image"
        )
    if not torch.isfinite(logits).all():
        raise ModelOutputError(
            "expected finite logits from the model, got NaN or infinity; check weights and normalisation"
        )
    return logits


@dataclass(frozen=True, eq=False)
class JudgeProbe(Probe):
    """The judged network and the judge's attribution for one pair."""

    model: nn.Module
    method: AttributionMethod
    labels: Tensor
    attribution_rng: SampleRng
    """Random streams of the pair's own attributions, so that equal images have equal attributions."""
    rng: SampleRng
    rule: HeatmapRule = "sum-of-abs"
    library: Library = NO_IMAGES
    """The clean images from which partners are taken."""

    def logits(self, images: Tensor) -> Tensor:
        """(N, K): the logits."""
        return predict(self.model, images)

    def attribute(self, images: Tensor) -> Tensor:
        """(N, C, H, W): the judge's attribution of the explained logits."""
        with blamed_on(self.method):
            return self.method.attribute(self.model, images, self.labels, rng=self.attribution_rng)

    def gradient(self, images: Tensor) -> Tensor:
        """(N, C, H, W): the gradient of the explained logits."""
        leaf = images.detach().requires_grad_()
        explained = forward(self.model, leaf).gather(1, self.labels.unsqueeze(1))
        (gradient,) = torch.autograd.grad(explained.sum(), leaf)
        return gradient

    def partner_heatmap(self) -> Tensor:
        """(N, H, W): the clean heatmap of each sample's partner."""
        partners = self.library.partners(self.attribution_rng.sample_ids)
        predicted = self.logits(partners).argmax(1)
        with blamed_on(self.method):
            attribution = self.method.attribute(self.model, partners, predicted, rng=self.attribution_rng)
        return reduce(attribution, self.rule)

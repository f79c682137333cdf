"""ART without a rival class: the image comes near its own gradient."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.linalg import vector_norm

from model_zoo.training.input_gradients import input_gradients, true_logit
from model_zoo.training.objectives.art import Art, ClassGradients, distance


@dataclass(frozen=True, kw_only=True)
class Alignment(Art):
    """Cross-entropy plus the distance of image and gradient.

    CE(z(x'), y) + weight * d(x', g(x')). g is the gradient of the true class's logit with respect to the normalised
    image, x' is found by signed ascent on the same distance, over the `top_k` largest gradient coordinates.

    Source:
        Singh et al. 2020, equation 4 and Table 5.
        Differs: the paper leaves open whether L2 is squared; here it is the plain length. See `Art` for the rest.
    """

    version: ClassVar[int] = 1

    measure: Literal["cosine", "l2"] = "cosine"
    """One minus the cosine, or the Euclidean length of the difference."""

    def harm(self, anchor: Tensor, gradients: ClassGradients) -> Tensor:
        """Return the (N,) distances that the search raises.

        The anchor is the normalised image. It and the gradients are (N, C, H, W), and zero where nothing is searched.
        """
        return self._distance(anchor, gradients.own)

    def attribution_loss(self, smooth: nn.Module, both: Tensor, labels: Tensor) -> Tensor:
        """Return the (N,) distances of the found images.

        (2N, C, H, W) clean, then found images; their (2N,) labels.
        """
        normalize, network = smooth.children()
        found = slice(len(both) // 2, None)
        anchors = normalize(both[found]).detach()
        own = input_gradients(network, anchors.clone(), labels[found], true_logit, create_graph=True)
        return self._distance(anchors, own)

    def _distance(self, image: Tensor, gradient: Tensor) -> Tensor:
        if self.measure == "cosine":
            return distance(image, gradient)
        length: Tensor = vector_norm((image - gradient).flatten(1), dim=1)
        return length

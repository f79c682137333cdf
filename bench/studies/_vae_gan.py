"""A generator of images that stands for their manifold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from bench.core.compute.rng import Rng
from bench.core.contracts import Split
from bench.core.contracts.study import Workplace
from bench.core.storage.files import canonical_json, sha256_of
from bench.core.storage.lease import lease
from model_zoo.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from model_zoo.training.data import fingerprint, to_float

BATCH = 64
KEPT_EVERY = 100
"""Steps between two checkpoints."""


@dataclass(frozen=True)
class Recipe:
    """What a generator's weights follow from, beside the images."""

    version: ClassVar[int] = 1

    side: int
    channels: int
    latent: int
    depth: int
    """Number of convolutions that halve the side."""
    width: int
    """Channels after the first convolution; each further one doubles them."""
    images_seen: int
    """Images that the training sees, repetitions counted."""
    reconstruction: float
    """Weight of the reconstruction against the discriminator in the decoder's loss."""

    @property
    def widths(self) -> list[int]:
        """Channels after each convolution."""
        return [self.width * 2**i for i in range(self.depth)]

    @property
    def corner(self) -> tuple[int, int, int]:
        """Shape of the features between convolutions and linear layer."""
        side = self.side // 2**self.depth
        return self.widths[-1], side, side


class VaeGan(nn.Module):
    """An encoder, a decoder and a discriminator.

    Source:
        Larsen et al. 2016, in the form of Kim, Seo, Jeon 2019. Differs: one architecture for all image sets, with the
        spectral normalisation of its CIFAR-10 discriminator; pixels in [0, 1], so that the decoder ends in a sigmoid.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        widths, flat = [recipe.channels, *recipe.widths], torch.Size(recipe.corner).numel()
        pairs = list(pairwise(widths))
        down = [(nn.Conv2d(i, o, 4, 2, 1), nn.BatchNorm2d(o), nn.ReLU()) for i, o in pairs]
        self.encoder = nn.Sequential(*chain(*down), nn.Flatten(), nn.Linear(flat, 2 * recipe.latent))
        up = [(nn.BatchNorm2d(o), nn.ReLU(), nn.ConvTranspose2d(o, i, 4, 2, 1)) for i, o in reversed(pairs)]
        self.decoder = nn.Sequential(
            nn.Linear(recipe.latent, flat), nn.Unflatten(1, recipe.corner), *chain(*up), nn.Sigmoid()
        )
        judged = [(spectral_norm(nn.Conv2d(i, o, 4, 2, 1)), nn.LeakyReLU(0.1)) for i, o in pairs]
        self.discriminator = nn.Sequential(*chain(*judged), nn.Flatten(), nn.Linear(flat, 1))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, latent) means and log-variances of (N, C, H, W) images."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance


def generator(recipe: Recipe, split: Split, workplace: Workplace) -> VaeGan:
    """Return the trained generator, from the cache if it lies there.

    One process trains while others wait; a killed training continues at its checkpoint.
    """
    identity = {"version": recipe.version, **asdict(recipe), "data": fingerprint(split)}
    path = workplace.cache / f"vae-gan-{sha256_of(canonical_json(identity).encode())[:16]}.safetensors"
    with lease(path.with_suffix(".lease"), workplace.beat):
        model, steps = _trained(recipe, split, path, workplace)
    assert steps * BATCH >= recipe.images_seen
    return model.eval().requires_grad_(False)


def _trained(recipe: Recipe, split: Split, path: Path, workplace: Workplace) -> tuple[VaeGan, int]:
    rng = Rng(0, ("vae-gan",))
    with rng.fork("weights").ambient():
        model = VaeGan(recipe)
    model.to(workplace.device)
    parts = (model.encoder, model.decoder, model.discriminator)
    optimizers = [torch.optim.Adam(part.parameters(), lr=1e-3, betas=(0.5, 0.9)) for part in parts]
    done = _resume(path, model, optimizers) if path.exists() else 0
    steps, per_epoch = -(-recipe.images_seen // BATCH), len(split.images) // BATCH
    for step in range(done, steps):
        epoch, place = divmod(step, per_epoch)
        order = torch.randperm(len(split.images), generator=rng.fork("order", epoch).generator())
        images = to_float(split.images[order[place * BATCH : (place + 1) * BATCH]]).to(workplace.device)
        _step(model, optimizers, images, rng.fork("noise", step), recipe)
        workplace.beat()
        if (step + 1) % KEPT_EVERY == 0 or step + 1 == steps:
            _keep(path, model, optimizers, step + 1)
    return model, max(done, steps)


def _step(model: VaeGan, optimizers: list[torch.optim.Adam], images: Tensor, rng: Rng, recipe: Recipe) -> None:
    """Move the weights of all three parts once."""
    encoder, decoder, discriminator = (list(p.parameters()) for p in model.children())
    mean, log_variance = model.encode(images)
    noise = torch.randn((2, *mean.shape), generator=rng.generator()).to(images)
    rebuilt, invented = model.decoder(mean + (log_variance / 2).exp() * noise[0]), model.decoder(noise[1])
    error = (rebuilt - images).abs().sum() / len(images)
    surprise = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / len(images)
    made = torch.cat([rebuilt, invented])
    fooled = 2 * F.softplus(-model.discriminator(made)).mean()
    gradient = partial(torch.autograd.grad, retain_graph=True)
    encoder_gradients = gradient(error + surprise, encoder)
    decoder_gradients = gradient(recipe.reconstruction * error + fooled, decoder)
    caught = 2 * F.softplus(model.discriminator(made.detach())).mean()
    real = F.softplus(-model.discriminator(images)).mean()
    discriminator_gradients = gradient(caught + real, discriminator)
    gradients = (*encoder_gradients, *decoder_gradients, *discriminator_gradients)
    for parameter, value in zip((*encoder, *decoder, *discriminator), gradients, strict=True):
        parameter.grad = value
    for optimizer in optimizers:
        optimizer.step()


def _keep(path: Path, model: nn.Module, optimizers: list[torch.optim.Adam], step: int) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for which, optimizer in enumerate(optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"moments.{which}.{index}.{name}": value for name, value in moments.items()}
    write_checkpoint(path, Checkpoint(tensors, {"step": step}))


def _resume(path: Path, model: nn.Module, optimizers: list[torch.optim.Adam]) -> int:
    """Load a checkpoint and return its number of steps."""
    checkpoint = read_checkpoint(path)
    model.load_state_dict(checkpoint.part("model."))
    for which, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in checkpoint.part(f"moments.{which}.").items():
            index, moment = name.split(".")
            moments.setdefault(int(index), {})[moment] = value
        optimizer.load_state_dict({**state, "state": moments})
    return int(checkpoint.state["step"])

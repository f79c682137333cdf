"""Find how many epochs fit into a time."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch

from bench.core.compute.rng import Rng
from bench.core.errors import UsageError
from bench.core.schemas.duration import in_words
from bench.core.schemas.recipe import Recipe
from model_zoo.training.data import to_float
from model_zoo.training.loop import Training
from model_zoo.training.measure import BATCH, TEST_STEPS, WATCH_STEPS, robust_correct

STEPS, SECONDS, SHARE = 3, 5.0, 0.01
"""A probe lasts at least this number of steps, and this number of seconds or this share of the budget."""
MARGIN = 0.05
"""Share of a budget that is left free."""


class TooShort(UsageError):
    """A budget that does not hold the least training."""


class Pace(NamedTuple):
    """What a training costs, in seconds."""

    step: float
    image_step: float
    """One step of PGD on one image of a measurement."""


def probe(training: Training, seconds: float) -> Pace:
    """Return the costs of a training after a few steps of it.

    The steps change the training: throw it away afterwards.
    """
    patience = min(SECONDS, SHARE * seconds)
    training.one_step()
    done, start = 0, time.monotonic()
    while done < STEPS or time.monotonic() - start < patience:
        training.step += 1
        float(training.one_step())
        done += 1
    step = (time.monotonic() - start) / done
    return Pace(step, _image_step(training))


def _image_step(training: Training) -> float:
    """Return the seconds of one step of PGD on one image.

    Labels are the network's answers and the radius is zero, so that no image leaves the search early.
    """
    images = to_float(training.data.held_out.images[:BATCH])
    training.model.eval()
    with torch.no_grad():
        labels = training.model(images.to(training.device)).argmax(1).cpu()
    start, steps = time.monotonic(), 2
    robust_correct(
        training.model, images, labels, epsilon=0.0, step_size=0.0, steps=steps, rng=Rng(0), device=training.device,
        fast=training.student.fast,
    )  # fmt: skip
    return (time.monotonic() - start) / (len(images) * (steps + 2))


def fitted(recipe: Recipe, training: Training, seconds: float, test_images: int) -> Recipe:
    """Return the recipe with the epochs that fit into a time.

    Validation and the final measurement are part of that time.

    Args:
        recipe: one of less than an epoch may be given any share of it; others get whole epochs.
        training: of this recipe, at its first step; to be thrown away afterwards.
        seconds: that are left.
        test_images: of the final measurement, which is counted at its longest.
    Raises:
        TooShort: if not even one epoch, or one step, fits.
    """
    pace, wanted = probe(training, seconds), recipe.validation
    measured = wanted.images + (WATCH_STEPS + 1) * wanted.pgd_images
    fixed = test_images * (TEST_STEPS + 2) * pace.image_step
    epoch = training.per_epoch * pace.step + measured * pace.image_step
    epochs = (seconds * (1 - MARGIN) - fixed) / epoch
    least = 1.0
    if recipe.epochs < 1:
        least = 1 / training.per_epoch
    else:
        epochs = math.floor(epochs)
    if epochs < least:
        needed = in_words((fixed + least * epoch) / (1 - MARGIN))
        least_words = "one epoch" if least == 1 else "one step"
        raise TooShort(
            f"expected a budget of about {needed} or more for {least_words} of {recipe.name} and its measurement, got "
            f"{in_words(seconds)}; allow more time"
        )
    return recipe.model_copy(update={"epochs": epochs})

"""Checks networks' logits, and finds those before a squashing end.

Gradients vanish behind a sigmoid or a softmax, so the numbers before it are attacked and explained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bench.core.compute.chunks import CPU_BATCH
from bench.core.errors import BenchError, ModelOutputError, is_broken_device, is_out_of_memory

SAME = 1e-3
"""Share of the largest logit by which two answers to one image may differ: a GPU rounds by its batch."""

SIZES = (28, 32, 48, 64, 96, 112, 128, 160, 192, 224, 256, 299, 384, 448, 512)
"""Heights and widths that networks are made for."""


def failure(error: Exception, images: Tensor) -> Exception:
    """Return the message for an error in a network's forward.

    An error of memory or of the device is returned as it is.
    """
    if isinstance(error, BenchError) or is_out_of_memory(error) or is_broken_device(error):
        return error
    said = str(error).strip().split("\n")[0]
    reason = said if isinstance(error, RuntimeError) and said else f"{type(error).__name__}: {said}".rstrip(": ")
    return ModelOutputError(
        f"expected a network of {tuple(images.shape)} images, got: {reason}; correct its forward, or its entry"
    )


@torch.no_grad()
def check_logits(model: nn.Module, images: Tensor, num_classes: int) -> Tensor:
    """Return a model's logits, checked on batches of several sizes.

    Images are in [0, 1].

    Args:
        model: images to logits.
        images: (N, C, H, W); with one image, neighbours are not checked.
        num_classes: K.
    Returns:
        (N, K) float32 or float64 logits.
    Raises:
        ModelOutputError: if the logits are not a finite (N, K) tensor, differ between two calls or with the other
            images of the batch, or if the model does not take the images.
    """
    logits = _asked(model, images, num_classes)
    if not _alike(logits, again := _asked(model, images, num_classes)):
        raise ModelOutputError(
            f"expected equal answers to equal questions, got logits that differ by {_gap(logits, again)} of the "
            "largest; call F.dropout with training=self.training, and leave sampling out of the evaluated network"
        )
    if len(images) > 1:
        _check_neighbours(model, images, num_classes)
    return logits


def _check_neighbours(model: nn.Module, images: Tensor, num_classes: int) -> None:
    """Check the first image alone and in a full batch."""
    others = images.repeat(-(-CPU_BATCH // len(images)), 1, 1, 1)[:CPU_BATCH]
    among, alone = (_asked(model, batch, num_classes)[:1] for batch in (others, images[:1]))
    if not _alike(alone, among):
        raise ModelOutputError(
            "expected the same answer about an image whichever others are in its batch, got logits that differ by "
            f"{_gap(alone, among)} of the largest; its forward mixes the batch (batch statistics in eval mode, "
            "attention over images): freeze its statistics, or wrap it so that each image is asked alone: "
            "torch.cat([network(image[None]) for image in images])"
        )


def _asked(model: nn.Module, images: Tensor, num_classes: int) -> Tensor:
    try:
        answer = model(images)
    except Exception as error:  # the network may be somebody's own, and fail in any way
        said = failure(error, images)
        if isinstance(said, ModelOutputError) and (channels := _other_channels(model, images)) is not None:
            remedy = (
                "repeat grey images, image.repeat(3, 1, 1)" if channels > 1 else "average them, image.mean(0, True)"
            )
            raise ModelOutputError(
                f"expected a network of images with {images.shape[1]} channels, as these have, got one of {channels}; "
                f"{remedy}, or put that in front of the network"
            ) from error
        size = _other_size(model, images) if isinstance(said, ModelOutputError) else None
        if size is None:
            raise said from error
        came = "x".join(map(str, images.shape[2:]))
        raise ModelOutputError(
            f"expected a network of {came} images, as the protocol has them, got one of {size}x{size}; put a resize in "
            f"front: nn.Sequential(nn.Upsample(size={size}), network)"
        ) from error
    return _logits(answer, (len(images), num_classes))


def _logits(answer: object, expected: tuple[int, int]) -> Tensor:
    """Return an answer, if it is finite logits of the expected shape."""
    if not isinstance(answer, Tensor):
        raise ModelOutputError(_wrapper(answer))
    if answer.dtype not in (torch.float32, torch.float64):
        short = answer.is_floating_point()
        remedy = "take torch.autocast and half() out of its forward" if short else "return the numbers before argmax"
        raise ModelOutputError(f"expected float32 logits, got {answer.dtype}; {remedy}")
    if tuple(answer.shape) != expected:
        raise ModelOutputError(
            f"expected logits of shape {expected}, got {tuple(answer.shape)}; return one row per image, one number per "
            "class, and check num_classes"
        )
    if (bad := int((~torch.isfinite(answer)).any(1).sum())) > 0:
        raise ModelOutputError(
            f"expected finite logits, got NaN or infinity for {bad} of {expected[0]} images; the weights are unusable"
        )
    return answer


def _wrapper(answer: object) -> str:
    """Name the forward that returns the logits alone."""
    if isinstance(answer, Mapping) and answer:
        keys = [str(key) for key in answer]
        key = next((key for key in keys if "logit" in key), keys[0])
        came, part = f"a {type(answer).__name__} of {', '.join(keys[:5])}", f"[{key!r}]"
    elif isinstance(answer, list | tuple):
        came, part = f"{type(answer).__name__} of {len(answer)}", "[0]"
    else:
        came, part = type(answer).__name__, ".logits"
    return (
        f"expected one tensor of logits, got {came}; wrap the network in a module whose forward returns "
        f"self.network(images){part}"
    )


def _other_size(model: nn.Module, images: Tensor) -> int | None:
    """Return the image size that a model takes instead of this one."""
    for size in SIZES:
        try:
            model(images.new_zeros(1, images.shape[1], size, size))
        except Exception:  # noqa: S112 - any failure is a no
            continue
        return size if tuple(images.shape[2:]) != (size, size) else None
    return None


def _other_channels(model: nn.Module, images: Tensor) -> int | None:
    """Return the number of channels that a model takes instead of these."""
    for channels in {1, 3} - {images.shape[1]}:
        try:
            model(images.new_zeros(1, channels, *images.shape[2:]))
        except Exception:  # noqa: S112 - any failure is a no
            continue
        return channels
    return None


def _alike(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs().max() <= SAME * first.abs().max())


def _gap(first: Tensor, second: Tensor) -> str:
    return f"{float((first - second).abs().max() / first.abs().max().clamp(min=1e-30)):.1%}"


SQUASHING = {
    "sigmoid": "sigmoid", "expit": "sigmoid", "softmax": "softmax", "log_softmax": "log_softmax", "tanh": "tanh",
}  # fmt: skip
"""Operations that keep the order of an image's numbers, by the names of torch's functions."""


class Unsquashed(nn.Module):
    """A network without its last operation.

    Args:
        network: (N, C, H, W) images to (N, K) numbers, which one of the operations made.
        left_out: that operation, by its name in `SQUASHING`.
    """

    def __init__(self, network: nn.Module, left_out: str) -> None:
        super().__init__()
        self.network, self.left_out = network, left_out

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, K) numbers before the operation."""
        with _LastSquash() as last:
            answer = self.network(images)
        if last.answer is not answer or last.name != self.left_out:
            raise ModelOutputError(
                f"expected a network that ends in {self.left_out}, as it did for other images, got another end; let "
                "its forward return the numbers before"
            )
        before: Tensor = last.before
        return before


def unsquashed(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a model without a squashing operation at its end.

    The operation is found by what the model calls, however it is written. Another model is returned as it is.

    Args:
        model: (N, C, H, W) images to (N, K) numbers.
        images: to ask it about.
    """
    with torch.no_grad(), _LastSquash() as last:
        answer = model(images)
    return Unsquashed(model, last.name).train(model.training) if last.answer is answer else model


def left_out(model: nn.Module) -> str | None:
    """Return the squashing operation that a model leaves out, if any."""
    return model.left_out if isinstance(model, Unsquashed) else None


class _LastSquash(TorchFunctionMode):
    """Keeps input and output of the last squashing operation that is called."""

    name: str
    before: Tensor
    answer: object = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one call."""
        named = kwargs or {}
        result = func(*args, **named)
        name = SQUASHING.get(getattr(func, "__name__", "").removeprefix("special_"))
        before: Any = args[0] if args else named.get("input")
        if name is not None and "out" not in named and _is_of_each_image(name, before, args[1:], named):
            self.name, self.before, self.answer = name, before, result
        return result


def _is_of_each_image(name: str, before: Any, rest: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Return whether an operation squashes each row of its input separately."""
    if before is None or before.dim() != 2:
        return False
    return "softmax" not in name or (rest[0] if rest else named.get("dim")) in (1, -1, None)

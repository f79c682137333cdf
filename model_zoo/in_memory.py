"""A user's module, described as a network of another library.

It is copied, normalised and asked once.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

from bench.core.contracts import Dataset, ZooModel
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.call_sites import separate_activations
from model_zoo.derivatives.prepare import is_same
from model_zoo.logits import check_logits

ARCHITECTURE = "in-memory"
"""Architecture name in the entry of a module, which has no registered name."""

LARGEST = 10
"""Largest mean or divisor in pixel units. In grey levels they are larger."""

Channels = float | Sequence[float] | Tensor | np.ndarray | None
"""One number for all channels, or one for each; a tensor or array of any shape."""


def describe(
    model: nn.Module, mean: Channels, std: Channels, *, name: str, dataset: type[Dataset], images: Tensor
) -> ZooModel:
    """Return a module's copy and the contents of its entry.

    The module itself stays as it is.

    Args:
        model: normalised (N, C, H, W) images to (N, K) logits.
        mean: of its normalisation, in pixel units.
        std: of its normalisation.
        name: of the data set that it was trained on.
        dataset: the data set itself.
        images: (N, C, H, W) float32 in [0, 1], to ask it about.
    Raises:
        UsageError: if mean or std is missing or does not fit the channels, or the module cannot be copied.
        ModelOutputError: if it does not answer with finite (N, K) logits.
    """
    if mean is None or std is None:
        raise UsageError(
            "expected mean and std of the normalisation that the module expects, got none; mean=0, std=1 if it takes "
            f"images in [0, 1] as they are, mean={dataset.mean}, std={dataset.std} if they are {name}'s usual ones"
        )
    means, stds = (_of_each(given, len(dataset.mean)) for given in (mean, std))
    if not len(means) == len(stds) == len(dataset.mean) or min(stds) <= 0:
        count = len(dataset.mean)
        raise UsageError(f"expected mean and std > 0 of {count} channels, got mean={mean}, std={std}; correct them")
    if max(*means, *stds) > LARGEST:
        raise UsageError(
            f"expected mean and std in pixel units, where 1 is the full range, got mean={mean}, std={std}; divide them "
            "by 255"
        )
    network, num_classes = _copied(model), len(dataset.classes)
    given = freeze(classifier(network, means, stds))
    check_logits(given, images, num_classes)
    separate = separate_activations(_copied(model))
    same = is_same(given, freeze(classifier(separate, means, stds)), images)
    return ZooModel(
        network=network,
        build=lambda _: _copied(separate if same else model),
        architecture=Component(name=ARCHITECTURE),
        dataset=name,
        num_classes=num_classes,
        shape=(images.shape[1], images.shape[2], images.shape[3]),
        mean=means,
        std=stds,
        method="unknown",
        license="none given",
    )


@torch.no_grad()
def outputs_of(model: nn.Module, images: Tensor) -> int | None:
    """Return the number of a module's outputs, or None.

    None if it does not answer with (N, K).

    Args:
        model: images to logits; its copy is asked.
        images: (N, C, H, W) float32.
    """
    try:
        answer = _copied(model)(images)
    except (RuntimeError, ValueError, TypeError):  # `describe` says why
        return None
    return answer.shape[1] if isinstance(answer, Tensor) and answer.dim() == 2 else None


def public_name(model: nn.Module) -> str:
    """Return the name of a module's class as a model name."""
    words = re.findall("[a-z0-9]+", type(_inner(model)).__name__.lower())
    return "-".join(words)[:80].strip("-") or "network"


def _of_each(given: Channels, count: int) -> tuple[float, ...]:
    """Return one finite number per channel."""
    try:
        numbers = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected numbers as mean and std, got {given!r}; give one, or one per channel") from error
    if not np.isfinite(numbers).all():
        raise UsageError(f"expected finite numbers as mean and std, got {given!r}; correct them")
    found = tuple(float(number) for number in numbers)
    return found * count if len(found) == 1 else found


def _copied(model: nn.Module) -> nn.Module:
    """Return a copy in float32 with plain parameters.

    Hooks or parametrisations no longer compute its weights.
    """
    network = _inner(model)
    _check_kind(network)
    # What hooks compute from parameters is part of a graph, which cannot be copied: its values alone are.
    computed = [t for module in network.modules() for t in vars(module).values() if isinstance(t, Tensor)]
    memo: dict[int, object] = {id(tensor): tensor.detach().clone() for tensor in computed}
    try:
        return _plain(copy.deepcopy(network, memo).to("cpu", torch.float32).eval())
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(
            f"expected a module that can be copied, got: {reason}; keep locks, files and generators out of it"
        ) from error


def _check_kind(network: nn.Module) -> None:
    """Refuse what no copy of Python layers can be made of."""
    if isinstance(network, torch.jit.ScriptModule):
        raise UsageError(
            "expected a module of Python layers, got TorchScript, whose layers cannot be exchanged; hand in the module "
            "that was scripted or traced"
        )
    for name, module in network.named_modules():
        if ".quantized." in f"{type(module).__module__}.":
            raise UsageError(
                f"expected layers of floating-point weights, got the quantised {name or type(module).__name__}; hand "
                "in the network as it was before it was quantised"
            )
        if any(isinstance(parameter, UninitializedParameter) for parameter in module._parameters.values()):
            raise UsageError(
                f"expected layers that know their sizes, got the lazy {name or type(module).__name__}; call the module "
                "on a batch of images first"
            )
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise UsageError(
                f"expected a state dict of tensors alone, got an extra state of {name or type(module).__name__}; take "
                "get_extra_state out of its class"
            )


def _plain(network: nn.Module) -> nn.Module:
    """Replace weights computed by hooks or parametrisations by plain parameters.

    Such are weight norm, spectral norm and pruning.
    """
    for module in list(network.modules()):
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
                _forget_old_weights(module)
            elif isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]
        if parametrize.is_parametrized(module):
            _fix_parametrized(module)
    return network


def _forget_old_weights(module: nn.Module) -> None:
    """Remove the hook that spectral norm leaves behind.

    It waits for the state dicts of older versions.
    """
    for key, hook in list(module._load_state_dict_pre_hooks.items()):
        if isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook):
            del module._load_state_dict_pre_hooks[key]


def _fix_parametrized(module: nn.Module) -> None:
    """Replace parametrised tensors by their values.

    torch's own removal would change the original's class, too.
    """
    assert isinstance(module.parametrizations, nn.ModuleDict)
    values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))


def _inner(model: nn.Module) -> nn.Module:
    """Return the network without wrappers of torch.compile and parallel training."""
    if isinstance(compiled := getattr(model, "_orig_mod", None), nn.Module):
        return _inner(compiled)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _inner(model.module)
    return model

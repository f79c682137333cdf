"""Rewrites foreign networks so that every ReLU is its own module.

A module is used once, and does not work in place. Captum's layered methods and fused kernels see modules: a ReLU that
two places share, or that is a function call inside `forward`, escapes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from model_zoo.derivatives.surrogate import is_adorned, shared_copy

RELU_CALLS: tuple[Callable[..., Any] | str, ...] = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")


def separate_activations(network: nn.Module) -> nn.Module:
    """Give every call of ReLU in `network` its own `nn.ReLU`.

    No activation works in place afterwards. Each module of a foreign class is traced alone, its children being leaves;
    where that needs no change, or cannot be done (control flow on values), the module stays as it is. Names, shapes and
    values of the weights stay.

    Args:
        network: in eval mode, since functional dropout and similar calls keep their present mode.
    Returns:
        The network, changed in place where its root keeps its class.
    """
    return _separate_below(network, set())


def _separate_below(module: nn.Module, used: set[int]) -> nn.Module:
    for name, child in list(module._modules.items()):
        if child is not None:
            setattr(module, name, _separate_below(child, used))
    if getattr(module, "inplace", False):
        module.inplace = False  # type: ignore[assignment]
    return module if type(module).__module__.startswith("torch.nn.") else _separated(module, used)


class _OneFloor(fx.Tracer):
    """A tracer of one `forward`, with children as leaves."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True


def _separated(module: nn.Module, used: set[int]) -> nn.Module:
    if is_adorned(module):
        return module
    try:
        graph, constants = traced(module, _OneFloor())
    except Exception:  # a foreign `forward` may raise anything at a stand-in for a tensor
        return module
    added = _separate(graph, dict(module.named_modules(remove_duplicate=False)), used)
    if not added:
        return module
    rewritten = fx.GraphModule({**dict(_members(module)), **constants, **added}, graph, type(module).__name__)
    return rewritten.train(module.training) if rewritten.state_dict().keys() == module.state_dict().keys() else module


def traced(module: nn.Module, tracer: fx.Tracer) -> tuple[fx.Graph, dict[str, Tensor]]:
    """Return a module's `forward` as a graph, and its constants.

    Constants come by name. A copy is traced.

    Raises:
        Exception: of any class if the `forward` cannot be a graph: control flow on values, gradients switched off for a
            part, values kept for later.
    """
    copied = shared_copy(module)
    before = _kept(copied)
    with _GradientsStay():
        graph = tracer.trace(copied)
    after = _kept(copied)
    targets = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    constants = {target for target in targets if target.startswith("_tensor_constant")}
    if {name: kept for name, kept in after.items() if name[1] not in constants} != before:
        raise ValueError("expected a forward that keeps nothing in its module, got one that does")
    return graph, {name: getattr(copied, name) for name in constants}


def _kept(network: nn.Module) -> dict[tuple[str, str], object]:
    """Return the objects that the modules hold.

    For a container also how many objects it holds.
    """
    found: dict[tuple[str, str], object] = {}
    for path, module in network.named_modules(remove_duplicate=False):
        held = {**vars(module), **module._buffers, **module._parameters}
        for name, value in held.items():
            size = len(value) if isinstance(value, list | dict | set) else 0
            found[path, name] = (id(value), 0 if name in {"_buffers", "_modules"} else size)
    return found


class _GradientsStay(TorchFunctionMode):
    """A guard that refuses to trace code that switches gradients off.

    A graph would leave gradients on.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one call, or refuse it."""
        if getattr(func, "__name__", "") in {"_set_grad_enabled", "detach_"}:
            raise ValueError("expected a forward with one mode of gradients, got one that switches it")
        return func(*args, **(kwargs or {}))


def _separate(graph: fx.Graph, modules: dict[str, nn.Module], used: set[int]) -> dict[str, nn.Module]:
    """Give calls of ReLU new modules, and return these by name.

    The first use of a module keeps it.
    """
    added: dict[str, nn.Module] = {}
    for node in graph.nodes:
        if node.op == "call_module" and type(modules[node.target]) is nn.ReLU:
            fresh = id(modules[node.target]) not in used
            used.add(id(modules[node.target]))
        else:
            fresh = node.op not in {"call_function", "call_method"} or node.target not in RELU_CALLS
        if not fresh:
            name = f"separate_relu_{len(added) + 1}"
            added[name] = nn.ReLU()
            node.op, node.target, node.args, node.kwargs = "call_module", name, node.args[:1], {}
    return added


def _members(module: nn.Module) -> list[tuple[str, Any]]:
    """Return children, parameters and buffers by their dotted names.

    A graph may use these names.
    """
    return [*module.named_modules(remove_duplicate=False), *module.named_parameters(), *module.named_buffers()]

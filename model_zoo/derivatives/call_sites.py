"""Networks of other libraries, rewritten so that each activation is a module of its own, used once, not in place.

Captum's layered methods and our smooth copies see modules: a ReLU that two places share, or that is a function call
inside `forward`, escapes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

RELU_CALLS: tuple[Callable[..., Any] | str, ...] = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")


def separate_activations(network: nn.Module) -> nn.Module:
    """Give every call of ReLU in `network` an `nn.ReLU` of its own, and make no activation work in place.

    Each module of a foreign class is traced alone, its children being leaves; where that needs no change, or cannot be
    done (control flow on values), the module stays as it is. Names, shapes and values of the weights stay.

    Args:
        network: in eval mode; functional dropout and the like are frozen in the mode that they have.
    Returns:
        The network, changed in place where its root could keep its class.
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
    """Traces one `forward`; every child is a leaf."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True


def _separated(module: nn.Module, used: set[int]) -> nn.Module:
    try:
        graph = _OneFloor().trace(module)
    except Exception:  # whatever a foreign `forward` does with a stand-in for a tensor
        return module
    added = _separate(graph, dict(module.named_modules(remove_duplicate=False)), used)
    if not added:
        return module
    rewritten = fx.GraphModule({**dict(_members(module)), **added}, graph, type(module).__name__)
    return rewritten.train(module.training) if rewritten.state_dict().keys() == module.state_dict().keys() else module


def _separate(graph: fx.Graph, modules: dict[str, nn.Module], used: set[int]) -> dict[str, nn.Module]:
    """Point each call of ReLU at a new module, but for the first use of one; return the new ones by name."""
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
    """Children, parameters and buffers by the dotted names that a graph may use."""
    return [*module.named_modules(remove_duplicate=False), *module.named_parameters(), *module.named_buffers()]

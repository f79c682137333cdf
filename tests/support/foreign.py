"""Our networks in the formats of other packages."""

from __future__ import annotations

import re

from torch import Tensor, nn

IN_BLOCK = {"norm1": "bn1", "norm2": "bn2", "shortcut": "convShortcut"}
OUTSIDE = {"stem": "conv1", "norm": "bn1", "head": "fc"}


def foreign_state_dict(network: nn.Module, prefix: str = "module.") -> dict[str, Tensor]:
    """Return a wide residual network's state dict with foreign names.

    TRADES and RobustBench use these names.
    """
    state = network.state_dict()
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    return {prefix + _foreign(name, blocks // 3): tensor for name, tensor in state.items()}


def _foreign(name: str, per_stage: int) -> str:
    if match := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(\w+)", name):
        stage, index = divmod(int(match[1]), per_stage)
        return f"block{stage + 1}.layer.{index}.{IN_BLOCK.get(match[2], match[2])}.{match[3]}"
    module, leaf = name.split(".")
    return f"{OUTSIDE[module]}.{leaf}"

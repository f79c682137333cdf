"""Keeps the caller's settings of torch, NumPy and Python out of computations."""

from __future__ import annotations

import random  # noqa: TID251 - its state is kept, nothing is drawn from it
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

SEED = 0


@contextmanager
def own_context() -> Iterator[None]:
    """Run a block with default settings and its own random generators.

    Inside, gradients are on, float32 and the CPU are the defaults, and autocast is off. Afterwards gradient mode,
    inference mode, autocast, defaults and generators are restored. Our own code draws random numbers from
    `bench.core.compute.rng` only; a foreign network may draw from the global generators.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the caller's
    gpus = list(range(torch.cuda.device_count()))
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.random.fork_rng(gpus))
        try:
            torch.set_default_dtype(torch.float32)
            torch.manual_seed(SEED)  # noqa: TID251 - inside fork_rng
            np.random.seed(SEED)  # noqa: NPY002, TID251 - restored below
            random.seed(SEED)
            yield
        finally:
            torch.set_default_dtype(dtype)
            np.random.set_state(numpy)  # noqa: NPY002
            random.setstate(python)

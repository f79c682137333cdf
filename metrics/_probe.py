"""Access to the network, for metrics that ask it."""

from __future__ import annotations

from torch import Tensor

from bench.core.contracts import Metric, Pair, Probe
from bench.core.errors import BenchError


def probe_of(metric: Metric, pair: Pair) -> Probe:
    """Return the pair's probe.

    Raises:
        BenchError: if it has none.
    """
    if pair.probe is None:
        raise BenchError(
            f"expected a pair with a probe for {type(metric).__name__}, which asks the network, got one without; "
            "give Pair a probe, or select by another metric"
        )
    return pair.probe


def explained(logits: Tensor, probe: Probe) -> Tensor:
    """Return the (N,) float64 explained logits of (N, K) logits."""
    return logits.double().gather(1, probe.labels.unsqueeze(1)).squeeze(1)

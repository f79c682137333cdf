"""The network that some metrics ask."""

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
    """(N, K) logits to the (N,) float64 logits that are explained."""
    return logits.double().gather(1, probe.labels.unsqueeze(1)).squeeze(1)

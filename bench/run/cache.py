"""What a process remembers from one run to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from bench import registry
from bench.core.contracts import Dataset
from bench.core.schemas.protocol import Component
from bench.run.judge.measure import Clean, look
from bench.run.plan import Plan
from bench.run.samples import Samples, load_samples
from bench.run.setup import Setup
from model_zoo.build import build
from model_zoo.derivatives.compiled import Compiled
from model_zoo.derivatives.fused import fused
from model_zoo.derivatives.surrogate import smooth_copy
from model_zoo.weights_file import Resolved


@dataclass
class Cache:
    """What a process remembers from one run to the next.

    The last two networks, the images of the last protocol, and what the judge found of them before any attack.
    """

    _networks: dict[tuple[object, ...], tuple[nn.Module, nn.Module]] = field(default_factory=dict)
    _images: dict[tuple[object, ...], Samples] = field(default_factory=dict)
    _clean: dict[tuple[object, ...], dict[tuple[str, ...], Clean]] = field(default_factory=dict)

    def networks(
        self, plan: Plan, resolved: Resolved, device: torch.device, *, compiled: bool
    ) -> tuple[nn.Module, nn.Module]:
        """Return a model and its smooth copy, which is to be compiled or not."""
        entry, spec = resolved.entry, plan.spec
        key = (entry.model_dump_json(), spec.precision, spec.surrogate.beta, device, compiled)
        if key not in self._networks:
            if len(self._networks) > 1:  # one to attack, one to craft on
                self._networks.clear()
            model = build(entry, registry.load("architectures", entry.architecture.name), resolved.path, device=device)
            if spec.precision == "float64":
                model = model.double()
            smooth = smooth_copy(model, spec.surrogate.beta)
            if compiled:
                smooth = Compiled(smooth)
            elif device.type == "cuda":  # on CPUs caches hold what passes from layer to layer, and records keep bits
                smooth = fused(smooth)
            self._networks[key] = model, smooth
        return self._networks[key]

    def samples(self, plan: Plan) -> Samples:
        """Return all of the protocol's samples."""
        wanted, key = plan.protocol.samples, (plan.protocol.samples.model_dump_json(), plan.spec.precision)
        if key not in self._images:
            self._images.clear()
            dataset: Dataset = registry.instantiate("datasets", Component(name=wanted.source))
            samples = load_samples(wanted, dataset)
            double = plan.spec.precision == "float64"
            self._images[key] = samples._replace(images=samples.images.double()) if double else samples
        return self._images[key]

    def clean(self, plan: Plan, setup: Setup, samples: Samples) -> Clean:
        """Return what the judge finds of clean images."""
        key = (plan.spec.clean_id, plan.spec.attack.name if setup.judge.method.random else None, setup.device)
        if key not in self._clean:
            self._clean = {key: {}}
        known = self._clean[key]
        if samples.ids not in known:
            known[samples.ids] = look(setup, samples)
        return known[samples.ids]

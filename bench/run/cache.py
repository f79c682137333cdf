"""A cache of networks, images and clean results across runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from bench import registry
from bench.images.source import source_of
from bench.run.judge.measure import Clean, look
from bench.run.plan import Plan
from bench.run.samples import Samples, load_samples
from bench.run.setup import Setup
from model_zoo.answers import check_logits
from model_zoo.build import build
from model_zoo.derivatives.compiled import Compiled
from model_zoo.derivatives.differenced import Differenced
from model_zoo.derivatives.prepare import attackable
from model_zoo.logits import unsquashed
from model_zoo.weights_file import Resolved


@dataclass
class Cache:
    """A cache of what a process can use in its next run.

    It holds the last two networks, the images of the last protocol, and the judge's results on these clean images.
    """

    _networks: dict[tuple[object, ...], tuple[nn.Module, nn.Module]] = field(default_factory=dict)
    _images: dict[tuple[object, ...], Samples] = field(default_factory=dict)
    _clean: dict[tuple[object, ...], dict[tuple[str, ...], Clean]] = field(default_factory=dict)

    def networks(
        self, plan: Plan, resolved: Resolved, images: Tensor, *, compiled: bool
    ) -> tuple[nn.Module, nn.Module]:
        """Return a model and its smooth surrogate, both checked.

        The check calls them with the first of the images. The surrogate may be compiled.
        """
        entry, spec, device = resolved.entry, plan.spec, images.device
        key = (entry.model_dump_json(), spec.precision, spec.surrogate.beta, spec.threat, device, compiled)
        if key not in self._networks:
            if len(self._networks) > 1:  # the attacked network and a source network
                self._networks.clear()
            model = build(entry, registry.load("architectures", entry.architecture.name), resolved.path, device=device)
            if spec.precision == "float64":
                model = model.double()
            check_logits(model, images[:2], entry.num_classes)
            model = unsquashed(model, images[:2])
            # Not on CPUs: layers there exchange data through caches, and records must keep every bit.
            fuse = device.type == "cuda" and not compiled
            smooth = attackable(model, spec.surrogate.beta, images, spec.threat, fuse=fuse)
            if compiled and not isinstance(smooth, Differenced):
                smooth = Compiled(smooth)
            self._networks[key] = model, smooth
        return self._networks[key]

    def samples(self, plan: Plan) -> Samples:
        """Return all samples of the protocol."""
        wanted, key = plan.protocol.samples, (plan.protocol.samples.model_dump_json(), plan.spec.precision)
        if key not in self._images:
            self._images.clear()
            samples = load_samples(wanted, source_of(wanted))
            double = plan.spec.precision == "float64"
            self._images[key] = samples._replace(images=samples.images.double()) if double else samples
        return self._images[key]

    def clean(self, plan: Plan, setup: Setup, samples: Samples) -> Clean:
        """Return the judge's results on clean images."""
        key = (plan.spec.clean_id, plan.spec.attack.name if setup.judge.method.random else None, setup.device)
        if key not in self._clean:
            self._clean = {key: {}}
        known = self._clean[key]
        if samples.ids not in known:
            known[samples.ids] = look(setup, samples)
        return known[samples.ids]

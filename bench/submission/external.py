"""Judges perturbed images that somebody submits, and files a record.

The judge treats them as any attack's proposals: it checks ball and class, and measures.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Knowledge, Name, Protocol, ThreatModel
from bench.core.schemas.spec import EXTERNAL, AttackSpec, SamplesSpec
from bench.core.storage.stored_run import StoredRun
from bench.core.storage.toml import explain
from bench.run.execution import Execution, Observer
from bench.run.plan import Plan, resolve_models, specify
from bench.run.request import Request, parse
from bench.run.samples import Samples
from bench.run.session import Cache, Session
from bench.run.setup import set_up
from bench.run.steps import begin, file
from bench.submission.perturbed import Perturbed, check_ball, chosen, keep, read_perturbed

STAND_IN = "unchanged"
"""The attack whose plan has all values of a submission but the attack itself."""


class Submitted(Attack):
    """Proposes the images that somebody submitted.

    Source:
        The file of a submitter.
        Differs: nothing; the judge alone decides what counts.
    """

    knowledge: ClassVar[Knowledge] = "white-box"
    """Nobody can see from an image what its maker knew."""
    source: ClassVar[str] = "a submitted file"

    def __init__(self, perturbed: Perturbed) -> None:
        self._images = dict(zip(perturbed.ids, torch.from_numpy(perturbed.images), strict=True))

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """(N, C, H, W): the submitted images of these samples."""
        return torch.stack([self._images[name] for name in rng.sample_ids]).to(images)


class Filed(NamedTuple):
    """A judged submission."""

    run: StoredRun
    kept: Path
    """Where this machine keeps the images, so that `bench verify` can check them."""
    known: bool
    """Whether an earlier submission had the same images."""


def judge_submission(
    path: Path, *, model: str, protocol: str, name: str, execution: Execution, observer: Observer
) -> Filed:
    """Judge the images of a file and file the record.

    The images are kept on this machine.

    Args:
        path: an .npz file, as `read_perturbed` takes it.
        model: a model as for `bench run`.
        protocol: a protocol of white-box attacks.
        name: the name of the attack, without `external:`.
        execution: where and how to compute.
        observer: shows the progress.
    Raises:
        UsageError: if a name is unknown or not allowed, or the images do not fit the protocol.
        BenchError: if data, weights or model are not valid.
    """
    _check_name(name)
    parsed = parse(Request(model=model, attack=STAND_IN, protocol=protocol))
    _check_protocol(parsed.protocol)
    models = resolve_models(parsed)
    whole, cache = specify(parsed, models), Cache()
    samples = cache.samples(whole)
    expected = {"model": models.attacked.entry.name, "protocol": parsed.protocol.key}
    perturbed = read_perturbed(path, samples, expected)
    clean = chosen(samples, perturbed.ids)
    check_ball(path, perturbed, clean, parsed.protocol.threat)
    plan = _planned(whole, perturbed, name)
    place = keep(execution.work, plan.spec, perturbed)
    if (finished := execution.store.find(plan.spec)) is not None:
        return Filed(finished, place, known=True)
    judged = _judged(plan, clean, samples, execution=execution, observer=observer, cache=cache)
    return Filed(judged, place, known=False)


def _check_name(name: str) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise UsageError(f"the attack's name: {explain(error)}; choose another with --name") from None


def _check_protocol(protocol: Protocol) -> None:
    """Raise if images alone cannot show that an attack keeps the rules."""
    threat = protocol.threat
    if threat.knowledge != "white-box" or threat.max_queries is not None:
        rule = f"{threat.knowledge} knowledge" if threat.max_queries is None else f"{threat.max_queries} queries"
        raise UsageError(
            f"expected a protocol of white-box attacks without a limit of queries, got {protocol.key} with {rule}, "
            "which nobody can see from images; choose another protocol"
        )


def _planned(whole: Plan, perturbed: Perturbed, name: str) -> Plan:
    """Return the plan of a submission, whose identity is its images."""
    params = {"images": len(perturbed.ids), "images_sha256": perturbed.sha256}
    changes = {
        "attack": AttackSpec(name=EXTERNAL + name, version=1, params=params),
        "samples": SamplesSpec(sha256=whole.spec.samples.sha256, count=len(perturbed.ids), of=whole.spec.samples.of),
        "on_protocol": False,
    }
    return replace(whole, spec=whole.spec.model_copy(update=changes), attack=Submitted(perturbed))


def _judged(
    plan: Plan, clean: Samples, samples: Samples, *, execution: Execution, observer: Observer, cache: Cache
) -> StoredRun:
    """Return the filed record of a submission, without a floor beside it."""
    started = begin(plan, execution)
    setup = set_up(plan, samples, execution, cache.networks, observer)
    Session(plan, setup, clean, execution, observer=observer, cache=cache).complete_all()
    return file(plan, execution, started, None)

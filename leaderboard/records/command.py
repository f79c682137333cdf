"""Writes the command that repeats a run."""

from __future__ import annotations

import shlex

from bench.core.schemas.records import RunRecord
from bench.core.schemas.spec import EXTERNAL
from bench.core.storage.files import canonical_json


def command(record: RunRecord, *, model: str | None = None, protocol: str | None = None) -> str:
    """Return the command that repeats a run.

    Args:
        record: the run.
        model: what `bench run --model` takes in place of the record's reference, which names no folder.
        protocol: a name or a file in place of its protocol's name.
    """
    spec = record.spec
    if spec.attack.is_external:
        name = spec.attack.name.removeprefix(EXTERNAL)
        options = {"--model": spec.model.reference, "--protocol": spec.protocol.key, "--name": name}
        words = ["bench", "submit", "attack", "FILE.npz"]
        return shlex.join([*words, *(word for pair in options.items() for word in pair)])
    words = [
        "bench",
        "run",
        "--model",
        model or spec.model.reference,
        "--attack",
        spec.attack.name if spec.on_protocol else f"{spec.attack.name}@{spec.attack.version}",
        "--protocol",
        protocol or spec.protocol.key,
    ]
    if spec.samples.count < spec.samples.of:
        words += ["--limit", str(spec.samples.count)]
    if not spec.on_protocol:
        words += ["--epsilon", str(spec.threat.epsilon), "--beta", _shortest(spec.surrogate.beta)]
        words += ["--precision", spec.surrogate.precision]
        if "nodes" in spec.search_attribution.params:
            words += ["--nodes", str(spec.search_attribution.params["nodes"])]
        for name, value in sorted(spec.attack.params.items()):
            words += ["--set", f"{name}={value if isinstance(value, str) else canonical_json(value)}"]
    return shlex.join(words)


def _shortest(number: float) -> str:
    """Return a number as text from which it can be read again."""
    return str(int(number)) if number.is_integer() else repr(number)

"""A value was changed that the protocol fixes."""

from __future__ import annotations

from bench.core.schemas.flags import Evidence, RunFlag


class OffProtocol(RunFlag):
    """Checks in the spec whether every value is the protocol's."""

    raised_if = "the attack, one of its parameters, the radius or the surrogate is not the protocol's"
    means = "the number cannot be compared with the board's"
    remedy = "run again without --set, --epsilon and --beta"

    def find(self, run: Evidence) -> str | None:
        """Return the values of the run, if they are not the protocol's."""
        spec = run.spec
        words = f"{spec.attack.name} with {spec.attack.params}, {spec.threat.norm} {spec.threat.epsilon}"
        words += f", softplus beta {spec.surrogate.beta:g}"
        words += "" if spec.surrogate.precision == "float32" else f", search in {spec.surrogate.precision}"
        return None if spec.on_protocol else words

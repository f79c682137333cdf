"""A value was changed that the protocol fixes."""

from __future__ import annotations

from bench.core.schemas.flags import Evidence, RunFlag


class OffProtocol(RunFlag):
    """Checks in the spec whether every value is the protocol's."""

    raised_if = "the attack, one of its parameters, the radius or the surrogate is not the protocol's"
    means = "the number cannot be compared with the board's"
    remedy = (
        "for a number of the board, take an attack that the protocol lists, without --set, --epsilon and --beta; "
        "submitted images never rank"
    )

    def find(self, run: Evidence) -> str | None:
        """Return the values of the run, if they are not the protocol's."""
        spec = run.spec
        params = ", ".join(f"{name} {value}" for name, value in sorted(spec.attack.params.items())) or "no parameters"
        words = f"{spec.attack.name} ({params}), {spec.threat.norm} {spec.threat.epsilon}"
        words += f", softplus beta {spec.surrogate.beta:g}"
        words += "" if spec.surrogate.precision == "float32" else f", search in {spec.surrogate.precision}"
        return None if spec.on_protocol else words

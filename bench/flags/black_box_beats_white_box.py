"""An attack without gradients is stronger than every attack with gradients."""

from __future__ import annotations

from collections.abc import Iterator

from bench.core.schemas.flags import LESS, Audit, AuditFlag, Point


class BlackBoxBeatsWhiteBox(AuditFlag):
    """Compares the strongest attack with gradients with black-box and transferred ones."""

    raised_if = (
        "an attack without the model's gradients, a black-box one or one crafted on another model, leaves the map less "
        f"robust than every attack with them, {LESS}"
    )
    means = "the gradients are masked: the scores under white-box attacks are too good"
    remedy = "try another surrogate sharpness, and report the black-box or transferred number"

    def find(self, audit: Audit) -> Iterator[tuple[str, str]]:
        """Yield the strongest attacks with gradients that such an attack beats."""
        raised = {}
        for points in audit.comparable:
            with_gradients = [p for p in points if p.knowledge == "white-box" and p.on_protocol]
            controls = [p for p in points if _is_control(p)]
            if with_gradients and controls:
                best = min(with_gradients, key=lambda point: point.robustness)
                less, control = max(
                    ((best.gain(p), p) for p in controls), key=lambda pair: (pair[0].holds, pair[0].mean)
                )
                if less.holds:
                    spec = best.spec
                    detail = f"{spec.primary_metric} {control.mean:.3f} under {_named(control)}, {best.mean:.3f} under"
                    raised[spec.attack.name] = f"{detail} it; by {less} ({spec.samples.count} samples)"
        yield from sorted(raised.items())


def _is_control(point: Point) -> bool:
    """Say whether an attack searched, but without gradients of the attacked model."""
    return point.knowledge == "black-box" or point.spec.crafted_on is not None


def _named(point: Point) -> str:
    spec = point.spec
    source = "" if spec.crafted_on is None else f" from {spec.crafted_on.model.name}"
    return f"{spec.attack.name}{source}"

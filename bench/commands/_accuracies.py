"""A model's measured accuracies, as lists and trainings print them."""

from __future__ import annotations

from bench.core.schemas.entry import ModelEntry

ACCURACIES = ("clean", "PGD-40")


def accuracies(entry: ModelEntry) -> dict[str, str]:
    """Return a model's measured accuracies as text."""
    measured = entry.accuracy
    clean = pgd = "unknown"
    if measured is not None:
        clean = f"{measured.clean:.2%}"
        pgd = pgd if measured.pgd40 is None else f"{measured.pgd40:.2%} at {measured.epsilon}"
    return dict(zip(ACCURACIES, (clean, pgd), strict=True))

"""The settings of ART's ablation, and the figures that show them."""

from __future__ import annotations

from bench.core.schemas.protocol import Component
from bench.core.schemas.study import Figure, Key

ART = "ART"
OBJECTIVES: dict[str, Component] = {
    ART: Component(name="art"),
    "triplet of x' alone": Component(name="art-perturbed"),
    "Eq. 4, cosine": Component(name="alignment", params={"measure": "cosine"}),
    "Eq. 4, l2": Component(name="alignment", params={"measure": "l2"}),
    "Eq. 2": Component(name="map-change"),
}
"""The objectives of the paper's Table 5."""
OWN: Key = {"objective": ART, "weight": 0.5, "beta": 50.0, "steps": 3}
"""ART's own setting."""
LEFT = "what the attack leaves"
FIGURES = (
    *(
        Figure(
            name=name,
            kind="curve",
            title=f"{label[0].upper()}{label[1:]}",
            words="Mean over attacked test images; the other settings are ART's.",
            x=label,
            y=LEFT,
            higher_is="more-robust",
        )
        for name, label in {
            "weight": "weight of the triplet",
            "beta": "sharpness of the softplus",
            "steps": "steps of the search",
        }.items()
    ),
    Figure(
        name="objective",
        kind="boxes",
        title="Objective",
        words="What the attack leaves of each image's map, by the objective of the training.",
        x="objective",
        y=LEFT,
        higher_is="more-robust",
    ),
    *(
        Figure(
            name=f"accuracy-{name}",
            kind="scatter",
            title=f"{title} against robustness of the maps",
            words="One point per network.",
            x=title[0].lower() + title[1:],
            y="mean Kendall that the attack leaves",
        )
        for name, title in (("clean", "Clean accuracy"), ("pgd", "Accuracy under PGD"))
    ),
)


def settings_of(piece: Key) -> Key:
    """Return a piece's key without its seed."""
    return {name: value for name, value in piece.items() if name != "seed"}


def places_of(piece: Key) -> dict[str, float | str]:
    """Return the figures that show a piece, with its x in each."""
    changed = {name for name in OWN if piece[name] != OWN[name]}
    if piece["objective"] != ART:
        return {"objective": str(piece["objective"])}
    shown: dict[str, float | str] = {
        name: float(piece[name]) for name in OWN if name != "objective" and changed <= {name}
    }
    return shown if changed else {**shown, "objective": ART}


def label_of(piece: Key) -> str:
    """Return a piece's settings in words."""
    return f"{piece['objective']}, weight {piece['weight']:g}, sharpness {piece['beta']:g}, {piece['steps']} steps"

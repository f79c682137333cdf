"""Collects the answers about a submitted model, from options and questions."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bench.commands._options import read_parameters
from bench.core.errors import UsageError

if TYPE_CHECKING:
    from bench.core.schemas.geometry import Geometry
    from bench.submission.convert import Answers
    from model_zoo.foreign.names import Normalisation

ANSWERS: tuple[Callable[[Any], Any], ...] = (
    click.option("--name", help="Name of the model (default: the name of the file)."),
    click.option("--title", default="", help="One line about the model."),
    click.option("--architecture", help="An architecture from `bench list architectures`."),
    click.option("--set", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the architecture."),
    click.option("--dataset", default="cifar10", show_default=True),
    click.option(
        "--classes",
        metavar="NAMES",
        help="Classes of images of your own, in the order of the network's outputs: cat,dog, a text file with one per "
        "line, or the folder that it was trained on (its folders in alphabetical order).",
    ),
    click.option(
        "--size", metavar="SIZE", help="With --classes: size of its images, such as 224 or 256:224 (resized, then cut)."
    ),
    click.option(
        "--mean",
        default="",
        metavar="NAME",
        help="Normalisation that the network expects: none (pixels in [0, 1]), half, grey-levels (0 to 255), "
        "imagenet, the data set's name, or R,G,B with --std; a checkpoint may carry its own.",
    ),
    click.option("--std", default="", metavar="R,G,B", help="Standard deviation in pixel units, with --mean R,G,B."),
    click.option("--method", help="How it was trained: natural, pgd, art, …"),
    click.option("--epsilon", metavar="8/255", help="Radius of the training's adversary, in pixel units."),
    click.option("--license", metavar="SPDX", help="Licence of the weights, e.g. MIT."),
    click.option("--citation", default="", help="What to cite: text, or a .bib file."),
    click.option("--source", default="", metavar="URL", help="Paper or code."),
    click.option("--clean", type=click.FloatRange(0, 1), help="Clean accuracy that the authors claim, e.g. 0.9321."),
    click.option(
        "--images", type=click.IntRange(min=1), help="Number of test images on which the authors measured it."
    ),
)

WANTED = {
    "architecture": "one of bench list architectures",
    "method": "how it was trained, such as natural, pgd or art",
    "license": "of the weights, such as MIT; ask their authors where none is stated",
}
"""Answers that only a person can give, with their meaning."""


def answer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option to a command for every answer."""
    for option in reversed(ANSWERS):
        command = option(command)
    return command


def collect(file: Path, given: dict[str, Any], carried: Normalisation | None = None) -> Answers:
    """Return the answers from the options, and ask for the missing ones.

    Questions are asked only at a terminal.
    """
    from bench.submission.convert import Answers
    from bench.submission.normalisation import choices, parse

    own = _of_own_images(given)
    normalisation = parse(given["mean"], given["std"], given["dataset"])
    wanted = {key: meaning for key, meaning in WANTED.items() if given[key] is None}
    if normalisation is None and carried is None:
        wanted["mean"] = f"what the network expects: {choices(given['dataset'])}"
    if sys.stdin.isatty():
        given |= {key: click.prompt(f"{key} ({meaning})", err=True) for key, meaning in wanted.items()}
        normalisation = normalisation or parse(given["mean"], given["std"], given["dataset"])
    elif wanted.keys() & WANTED.keys():
        options = ", ".join(f"--{key}" for key in wanted)
        raise UsageError(
            f"expected {options}, got none; add " + ", ".join(f"--{key} ({meaning})" for key, meaning in wanted.items())
        )
    return Answers(
        name=given["name"] or re.sub("[^a-z0-9.]+", "-", file.stem.lower()).strip("-."),
        title=given["title"],
        architecture=given["architecture"],
        params=read_parameters(given["params"]),
        dataset=given["dataset"],
        classes=own,
        geometry=_geometry(given["size"], normalisation or carried, own),
        normalisation=normalisation or carried,
        method=given["method"],
        epsilon=given["epsilon"],
        license=given["license"],
        citation=_citation(given["citation"]),
        source=given["source"],
        clean=given["clean"],
        images=given["images"],
    )


def _of_own_images(given: dict[str, Any]) -> tuple[str, ...]:
    """Return the classes that `--classes` names, and fill in answers.

    Nobody else gets such a network, so that its training and licence need no answer.
    """
    if given["classes"] is None:
        return ()
    from bench.images.classes import read_names

    names = read_names(given["classes"])
    if click.get_current_context().get_parameter_source("dataset") == ParameterSource.DEFAULT:
        given["dataset"] = names.dataset
    given["method"], given["license"] = given["method"] or "unknown", given["license"] or "none given"
    return names.classes


def _geometry(size: str | None, normalisation: Normalisation | None, classes: Sequence[str]) -> Geometry | None:
    """Return the size of a network's images, if it is given."""
    if size is None:
        return None
    if not classes:
        raise UsageError("expected --classes beside --size, got --size alone; a registered data set has its own size")
    from bench.images.geometry import read_size

    return read_size(size, 3 if normalisation is None else len(normalisation.mean))


def _citation(text: str) -> str:
    if not text.endswith(".bib"):
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"expected a BibTeX file at {text}, got: {error}; correct --citation") from None

"""Matches the labels of image files with the outputs of a network."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import registry
from bench.core.contracts import Dataset
from bench.core.errors import UsageError, suggestion
from bench.core.schemas.entry import ModelEntry
from bench.data._imagenet_classes import IMAGENET_CLASSES
from bench.data._imagenet_synsets import IMAGENET_SYNSETS

IMAGENET = "imagenet"
_SYNSET = re.compile(r"n\d{8}")


class Outputs(NamedTuple):
    """What is known of the outputs of a network."""

    number: int
    names: tuple[str, ...] = ()
    """In their order; empty if nothing tells them."""
    synsets: tuple[str, ...] = ()
    """WordNet's numbers of the classes, such as n01440764; empty if they have none."""

    def named(self) -> tuple[str, ...]:
        """Return one distinct name per output."""
        plain = self.names or tuple(str(index) for index in range(self.number))
        return tuple(name if plain.count(name) == 1 else f"{name} ({index})" for index, name in enumerate(plain))


class Matched(NamedTuple):
    """Labels with their outputs, and the problems of the others."""

    outputs: Mapping[str, int]
    problems: tuple[str, ...]
    remark: str = ""


def outputs_of(entry: ModelEntry) -> Outputs:
    """Return the outputs of a model, with their names if known."""
    known = Outputs(entry.num_classes, entry.classes) if entry.classes else outputs_for(entry.dataset)
    return known if known is not None and known.number == entry.num_classes else Outputs(entry.num_classes)


def outputs_for(dataset: str) -> Outputs | None:
    """Return the outputs of networks of a data set, or None."""
    if dataset == IMAGENET:
        return Outputs(len(IMAGENET_CLASSES), IMAGENET_CLASSES, IMAGENET_SYNSETS)
    if dataset not in registry.names("datasets"):
        return None
    own: type[Dataset] = registry.load("datasets", dataset)
    synsets = IMAGENET_SYNSETS if own.classes == IMAGENET_CLASSES else ()
    return Outputs(len(own.classes), tuple(own.classes), synsets)


def match(labels: Mapping[str, Sequence[str]], outputs: Outputs, whose: str) -> Matched:
    """Return the output of each label.

    A label is the name of a class (case, spaces, dashes and underscores do not matter), one of its names between
    commas, WordNet's number of it, or the number of the output. Without names, labels that are no numbers are numbered
    in alphabetical order if there is one per output, as torchvision's ImageFolder does.

    Args:
        labels: the files of each label.
        outputs: of the network.
        whose: the network's name, for messages.
    """
    if not outputs.names and len(labels) == outputs.number and not all(label.isdecimal() for label in labels):
        order = {label: index for index, label in enumerate(sorted(labels))}
        numbered = ", ".join(f"{index} {label}" for label, index in [*order.items()][:5])
        return Matched(order, (), f"{whose} does not name its classes: in alphabetical order they are {numbered}, …")
    index, found, problems = _Index(outputs), {}, []
    for label, files in labels.items():
        fitting = index.find(label)
        if len(fitting) == 1:
            found[label] = fitting[0]
        else:
            about = f"label {label!r} of {files[0]}" + (f" and {len(files) - 1} more" if len(files) > 1 else "")
            problems.append(f"{about}: {index.explain(label, fitting, whose)}")
    return Matched(found, tuple(problems))


class _Index:
    """The names of outputs, as they are and without their spelling."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._exact, self._loose = defaultdict(set), defaultdict(set)
        for index, name in enumerate(outputs.names):
            for each in (name, *name.split(",")):
                self._exact[each.strip()].add(index)
                self._loose[_plain(each)].add(index)

    def find(self, label: str) -> list[int]:
        """Return the outputs that a label may mean."""
        synset = _SYNSET.match(label)
        if synset is not None and synset[0] in self._outputs.synsets:
            return [self._outputs.synsets.index(synset[0])]
        for names, word in ((self._exact, label), (self._loose, _plain(label))):
            if word in names:
                return sorted(names[word])
        if label.isdecimal() and label.isascii() and len(label) < 10 and int(label) < self._outputs.number:
            return [int(label)]
        return []

    def explain(self, label: str, fitting: Sequence[int], whose: str) -> str:
        """Return why a label has no one output, and what to do."""
        outputs = self._outputs
        if fitting:
            meant = " and ".join(f"{index} ({outputs.names[index]})" for index in fitting)
            return f"fits the classes {meant} of {whose}; write the number instead"
        if label.isdecimal():
            return f"expected a number from 0 to {outputs.number - 1}, as {whose} has outputs; correct it"
        if _SYNSET.match(label) and not outputs.synsets:
            return f"{whose} does not know WordNet's numbers; write the name of the class, or its number"
        if not outputs.names:
            return (
                f"{whose} has {outputs.number} outputs and does not name them; write their numbers, from 0 on, or add "
                "classes = [...] to its entry"
            )
        meant = self._suggested(label)
        return f"no class of {whose} has this name; {meant or 'rename it, or write the number of the class'}"

    def _suggested(self, label: str) -> str:
        names = {_plain(name): name for name in self._exact}
        meant = suggestion(_plain(label), names)
        for plain, name in names.items():
            if f"{plain!r}" in meant:
                return f"did you mean {name!r}?"
        return ""


def _plain(text: str) -> str:
    """Return a name without case, dashes, underscores and further spaces."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


class Names(NamedTuple):
    """Classes of own images, and a name for the data set."""

    classes: tuple[str, ...]
    dataset: str


def read_names(text: str) -> Names:
    """Return the classes from a list, a text file or a folder.

    Args:
        text: names with commas; or the path of a file with one per line; or of a folder with one folder per class,
            which are numbered in alphabetical order, as torchvision's ImageFolder does.
    Raises:
        UsageError: if there are fewer than two names, or one of them twice.
    """
    path, dataset = Path(text), "own-images"
    if path.is_dir():
        names = sorted(each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
        dataset = slug(path.absolute().name)
    elif path.is_file():
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        dataset = slug(path.stem)
    else:
        names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) < 2:
        raise UsageError(f"expected at least two classes, got {', '.join(names) or 'none'} from {text!r}; name all")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"expected each class once, got {twice!r} twice; name them in the order of the outputs")
    return Names(tuple(names), dataset)


def slug(text: str) -> str:
    """Return a text as a public name."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "images"


def by_label(files: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the files of each label, labels in order."""
    found: dict[str, list[str]] = {}
    for file, label in sorted(files, key=lambda each: (each[1], each[0])):
        found.setdefault(label, []).append(file)
    return found


def balanced(labels: Sequence[int], keys: Sequence[str]) -> Iterator[int]:
    """Yield positions so that every beginning has the classes equally often.

    Within a class the order is that of the keys. Each next one is of the class with the fewest so far.
    """
    waiting: dict[int, list[int]] = defaultdict(list)
    for position in sorted(range(len(labels)), key=lambda each: keys[each], reverse=True):
        waiting[labels[position]].append(position)
    taken = dict.fromkeys(sorted(waiting), 0)
    while taken:
        scarcest = min(taken, key=lambda each: (taken[each], each))
        yield waiting[scarcest].pop()
        taken[scarcest] += 1
        if not waiting[scarcest]:
            del taken[scarcest]

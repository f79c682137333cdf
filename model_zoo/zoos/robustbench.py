"""Networks of RobustBench: robustbench:Carmon2019Unlabeled, or in full robustbench:cifar10/Linf/Carmon2019Unlabeled."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bench.core.contracts import Announced, Zoo, ZooModel
from bench.core.errors import UnknownNameError, UsageError
from bench.core.schemas.protocol import Component
from model_zoo.architectures.robustbench import build, networks
from model_zoo.extras import extra

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
THREATS = ("Linf", "L2", "corruptions")
SIDES = {"cifar10": 32, "cifar100": 32, "imagenet": 224}


class Robustbench(Zoo):
    """Networks that `robustbench.utils.load_model` knows.

    They normalise inside; their files are pickles.
    """

    version: ClassVar[int] = 1

    def canonical(self, name: str) -> str:
        """Return `DATASET/THREAT/NAME`.

        A name alone is one of cifar10/Linf.

        Raises:
            EnvironmentFault: if robustbench is not installed.
            UsageError: if the name has another form.
            UnknownNameError: if RobustBench has no such network.
        """
        parts = name.split("/") if "/" in name else ["cifar10", "Linf", name]
        if len(parts) != 3 or parts[0] not in CLASSES or parts[1] not in THREATS:
            raise UsageError(
                f"expected robustbench:NAME or robustbench:DATASET/THREAT/NAME, a data set of {', '.join(CLASSES)}, a "
                f"threat of {', '.join(THREATS)}, got {name!r}; correct it"
            )
        dataset, threat, model = parts
        known = networks(dataset, threat)
        if model not in known:
            raise UnknownNameError(f"models of RobustBench's {dataset}/{threat}", model, known)
        return f"{dataset}/{threat}/{model}"

    def announce(self, canonical: str) -> Announced:
        """Return the data set, which is the first part of the name."""
        dataset = canonical.partition("/")[0]
        return Announced(dataset, CLASSES[dataset])

    def fetch(self, name: str, downloads: Path) -> ZooModel:
        """Load the network of a canonical name by RobustBench's own loader."""
        dataset, threat, model = name.split("/")
        with extra("robustbench"):
            from robustbench.utils import load_model
        network = load_model(model, model_dir=downloads, dataset=dataset, threat_model=threat)
        return ZooModel(
            network=network.eval(),
            build=build,
            architecture=Component(name="robustbench", params={"model": model, "dataset": dataset, "threat": threat}),
            dataset=dataset,
            num_classes=CLASSES[dataset],
            shape=(3, SIDES[dataset], SIDES[dataset]),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            method=f"robustbench {threat}",
            license="see RobustBench",
            source="https://robustbench.github.io",
        )

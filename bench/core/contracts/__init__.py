"""The base classes of all plug-ins.

The benchmark knows plug-ins by these classes only.
"""

from bench.core.contracts.annotation import Annotation, AnnotationKind, Cues
from bench.core.contracts.attack import Attack, AttributionLoss, Cost, CraftedOn, HeatmapLoss, PredictionLoss, Victim
from bench.core.contracts.attribution import AttributionMethod, Linearization
from bench.core.contracts.dataset import Dataset, Split
from bench.core.contracts.executor import Executor, Hire, Worker
from bench.core.contracts.metric import Metric, Pair, Probe, Role, View
from bench.core.contracts.objective import Objective, Student
from bench.core.contracts.zoo import Zoo, ZooModel
from bench.core.schemas.announced import Announced

__all__ = [
    "Annotation",
    "AnnotationKind",
    "Announced",
    "Attack",
    "AttributionLoss",
    "AttributionMethod",
    "Cost",
    "CraftedOn",
    "Cues",
    "Dataset",
    "Executor",
    "HeatmapLoss",
    "Hire",
    "Linearization",
    "Metric",
    "Objective",
    "Pair",
    "PredictionLoss",
    "Probe",
    "Role",
    "Split",
    "Student",
    "Victim",
    "View",
    "Worker",
    "Zoo",
    "ZooModel",
]

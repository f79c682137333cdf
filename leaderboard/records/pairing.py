"""Comparing two runs of one model, image by image.

The comparison says how much less robust one run leaves the maps, and whether that is significant.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.core.schemas.flags import MATERIAL
from bench.core.storage.stored_run import StoredRun
from leaderboard.records.image_sets import ReadTable
from leaderboard.records.rows import read_values
from leaderboard.records.statistics import paired_interval

Floats = npt.NDArray[np.float64]


class Gain(NamedTuple):
    """Mean paired difference in the primary metric, with its 95 % interval."""

    mean: float
    low: float
    high: float
    images: int

    @property
    def holds(self) -> bool:
        """Whether the gain is significant and large enough to matter."""
        return self.low > 0 and self.mean > MATERIAL

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] on {self.images} images in pairs"


def gain(weaker: StoredRun, stronger: StoredRun, read: ReadTable = read_values) -> Gain:
    """Return how much less robust the second run leaves the maps.

    Only images that the model classifies correctly count. The interval is Student's: an audit has few images, for which
    the percentile bootstrap is too narrow. With fewer than two images the interval is infinite, so the gain does not
    hold.

    Args:
        weaker: the first run.
        stronger: the second run, of the same model and with the same primary metric.
        read: returns a run's rows.
    """
    less = _paired(read(weaker), read(stronger), weaker.record.spec.primary_metric)
    less = -less if weaker.record.spec.primary.higher_is == "less-robust" else less
    return Gain(float(less.mean()) if len(less) else math.nan, *paired_interval(less), len(less))


def _paired(first: pa.Table, second: pa.Table, metric: str) -> Floats:
    """Return the (N,) differences of a metric, first table minus second.

    They are over the correctly classified images that both tables contain and on which both values are defined.
    """
    one, other = (_values(table, metric) for table in (first, second))
    found = np.array([one[name] - other[name] for name in one if name in other], dtype=np.float64)
    return found[~np.isnan(found)]


def _values(table: pa.Table, metric: str) -> dict[str, float]:
    right = table.select(["sample_id", metric]).filter(table["correct"])
    values = right[metric].cast(pa.float64()).fill_null(math.nan)
    return dict(zip(right["sample_id"].to_pylist(), values.to_pylist(), strict=True))

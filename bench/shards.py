"""Finished shards of runs that are not complete: what makes a killed run continue where it stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from bench.core.files import write_atomic
from bench.core.records import RunSpec
from bench.evaluate import Attacked

_SECONDS = b"seconds"


class Shards:
    """Perturbed images by attack, so that a new metric re-measures and need not attack again; rows by run.

    A file that cannot be read counts as missing: it is computed again.
    """

    def __init__(self, spec: RunSpec, work: Path) -> None:
        self._attacks = work / "attacks" / spec.attack_id
        self._rows = work / "rows" / spec.run_id
        self.seconds = 0.0
        """Computing time of all shards that were kept or found, earlier sittings included."""

    def attacked(self, index: int, count: int) -> Attacked | None:
        """Return the first `count` perturbed images of a shard, if they were kept."""
        path = self._attacks / f"{index:05d}.safetensors"
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in Attacked.__dataclass_fields__}
                seconds = float(file.metadata()["seconds"])
        except (FileNotFoundError, SafetensorError, KeyError, ValueError):
            return None
        if len(tensors["images"]) < count:
            return None
        self.seconds += seconds
        return Attacked(**{name: tensor[:count] for name, tensor in tensors.items()})

    def keep_attacked(self, index: int, attacked: Attacked, seconds: float) -> None:
        """Keep a shard's perturbed images."""
        tensors = {name: getattr(attacked, name).contiguous() for name in Attacked.__dataclass_fields__}
        content = save_tensors(tensors, {"seconds": f"{seconds:.3f}"})
        write_atomic(self._attacks / f"{index:05d}.safetensors", content)
        self.seconds += seconds

    def measured(self, index: int) -> pd.DataFrame | None:
        """Return the rows of a shard, if they were kept."""
        try:
            table = pq.read_table(self._rows / f"{index:05d}.parquet")
            self.seconds += float(table.schema.metadata[_SECONDS])
        except (FileNotFoundError, pa.ArrowInvalid, KeyError, TypeError, ValueError):
            return None
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def keep_measured(self, index: int, rows: pd.DataFrame, seconds: float) -> None:
        """Keep a shard's rows."""
        table = pa.Table.from_pandas(rows, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _SECONDS: f"{seconds:.3f}".encode()})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        write_atomic(self._rows / f"{index:05d}.parquet", sink.getvalue().to_pybytes())
        self.seconds += seconds

    def count_done(self, sizes: list[int]) -> int:
        """Return how many images earlier sittings attacked, given the size of each shard."""
        return sum(n for index, n in enumerate(sizes) if (self._attacks / f"{index:05d}.safetensors").exists())

    def forget_rows(self) -> None:
        """Remove the rows once their run is filed."""
        shutil.rmtree(self._rows, ignore_errors=True)

"""Finished shards of runs that are not complete: what makes a killed run continue where it stopped.

`bench status` looks at them, so torch is imported only where tensors are read or written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from bench.core.files import remove_leftovers, write_atomic
from bench.core.lease import is_held, lease
from bench.core.records import RunSpec

if TYPE_CHECKING:
    import pandas as pd

    from bench.evaluate import Attacked


@dataclass(frozen=True)
class Effort:
    """What a finished shard took, and where; kept beside it, as text."""

    seconds: float
    device: str = ""
    hardware: str = ""
    batch_size: int = 0

    def as_text(self) -> dict[str, str]:
        """Return it as metadata of a file."""
        return {key: str(value) for key, value in asdict(self).items()}

    @classmethod
    def of(cls, text: Mapping[str, str]) -> Self:
        """Read it from a file's metadata; files of earlier versions know the seconds alone."""
        batch_size = int(text.get("batch_size", 0))
        return cls(float(text["seconds"]), text.get("device", ""), text.get("hardware", ""), batch_size)


class Shards:
    """Perturbed images by attack, so that a new metric re-measures and need not attack again; rows by run.

    A file that cannot be read counts as missing: it is computed again.
    """

    def __init__(self, spec: RunSpec, work: Path) -> None:
        self._attacks = work / "attacks" / spec.attack_id
        self._rows = work / "rows" / spec.run_id
        self._filing = self._attacks / f"{spec.run_id}.lease"

    def lease(self, index: int, waiting: Callable[[], None] | None) -> AbstractContextManager[None]:
        """Hold the right to make a shard, as `bench.core.lease.lease` does."""
        return lease(self._attacks / f"{index:05d}.lease", waiting)

    def is_held(self, index: int) -> bool:
        """Return whether a living process is making a shard."""
        return is_held(self._attacks / f"{index:05d}.lease")

    def filing(self, waiting: Callable[[], None]) -> AbstractContextManager[None]:
        """Hold the right to file the run."""
        return lease(self._filing, waiting)

    def attacked(self, index: int, count: int) -> Attacked | None:
        """Return the first `count` perturbed images of a shard, if they were kept."""
        from bench.evaluate import Attacked

        try:
            with safe_open(self._attacked_path(index), framework="pt") as file:
                tensors = {field.name: file.get_tensor(field.name) for field in fields(Attacked)}
        except (FileNotFoundError, SafetensorError):
            return None
        if len(tensors["images"]) < count:
            return None
        return Attacked(**{name: tensor[:count] for name, tensor in tensors.items()})

    def keep_attacked(self, index: int, attacked: Attacked, effort: Effort) -> None:
        """Keep a shard's perturbed images; only with its lease."""
        from safetensors.torch import save

        tensors = {field.name: getattr(attacked, field.name).contiguous() for field in fields(attacked)}
        path = self._attacked_path(index)
        remove_leftovers(path)
        write_atomic(path, save(tensors, effort.as_text()))

    def measured(self, index: int) -> pd.DataFrame | None:
        """Return the rows of a shard, if they were kept."""
        try:
            frame: pd.DataFrame = pq.read_table(self._measured_path(index)).to_pandas()
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
        return frame

    def keep_measured(self, index: int, rows: pd.DataFrame, effort: Effort) -> None:
        """Keep a shard's rows; only with its lease."""
        table = pa.Table.from_pandas(rows, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **effort.as_text()})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        path = self._measured_path(index)
        remove_leftovers(path)
        write_atomic(path, sink.getvalue().to_pybytes())

    def efforts(self, indices: Iterable[int]) -> list[Effort]:
        """Return what finished shards took, attacking and measuring."""
        found = []
        for index in indices:
            try:
                with safe_open(self._attacked_path(index), framework="np") as file:
                    found.append(Effort.of(file.metadata()))
                metadata = pq.read_schema(self._measured_path(index)).metadata
                found.append(Effort.of({key.decode(): value.decode() for key, value in metadata.items()}))
            except (FileNotFoundError, SafetensorError, pa.ArrowInvalid):
                continue  # another process has just filed the run
        return found

    def is_attacked(self, index: int) -> bool:
        """Return whether a shard's perturbed images were kept."""
        return self._attacked_path(index).exists()

    def is_measured(self, index: int) -> bool:
        """Return whether a shard's rows were kept."""
        return self._measured_path(index).exists()

    def forget_rows(self) -> None:
        """Remove the rows once their run is filed."""
        shutil.rmtree(self._rows, ignore_errors=True)

    def _attacked_path(self, index: int) -> Path:
        return self._attacks / f"{index:05d}.safetensors"

    def _measured_path(self, index: int) -> Path:
        return self._rows / f"{index:05d}.parquet"

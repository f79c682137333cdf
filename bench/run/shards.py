"""Finished shards of runs that are not complete: what makes a killed run continue where it stopped.

`bench status` looks at them, so torch is imported only where tensors are read or written.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.schemas.protocol import Sha256, Strict
from bench.core.schemas.records import RunSpec
from bench.core.storage.files import canonical_json, remove_leftovers, sha256_of, write_atomic
from bench.core.storage.lease import is_held, lease

if TYPE_CHECKING:
    import pandas as pd

    from bench.run.attack.search import Attacked


@dataclass(frozen=True)
class Effort:
    """What a finished shard took, and where."""

    seconds: float
    device: str = ""
    hardware: str = ""
    batch_size: int = 0


class Note(Strict):
    """What is kept beside a file of a shard: by its checksum the file counts, or does not."""

    sha256: Sha256
    effort: Effort


class Shards:
    """Perturbed images by attack, so that a new metric re-measures and need not attack again; rows by run.

    A file that is not, to the byte, what its note speaks of counts as missing: it is computed again.
    """

    def __init__(self, spec: RunSpec, work: Path) -> None:
        self._attacks = work / "attacks" / spec.attack_id
        self._rows = work / "rows" / spec.run_id

    def lease(self, index: int, waiting: Callable[[], None] | None) -> AbstractContextManager[None]:
        """Hold the right to make a shard, as `bench.core.storage.lease.lease` does."""
        return lease(self._attacks / f"{index:05d}.lease", waiting)

    def is_held(self, index: int) -> bool:
        """Return whether a living process is making a shard."""
        return is_held(self._attacks / f"{index:05d}.lease")

    def attacked(self, index: int, count: int) -> Attacked | None:
        """Return the first `count` perturbed images of a shard, if they were kept."""
        from safetensors.torch import load

        from bench.run.attack.search import Attacked

        if (content := _kept(self._attacked_path(index))) is None:
            return None
        tensors = load(content)
        if tensors.keys() != {field.name for field in fields(Attacked)} or len(tensors["images"]) < count:
            return None
        return Attacked(**{name: tensor[:count] for name, tensor in tensors.items()})

    def keep_attacked(self, index: int, attacked: Attacked, effort: Effort) -> None:
        """Keep a shard's perturbed images; only with its lease."""
        from safetensors.torch import save

        tensors = {field.name: getattr(attacked, field.name).contiguous() for field in fields(attacked)}
        _keep(self._attacked_path(index), save(tensors), effort)

    def measured(self, index: int) -> pd.DataFrame | None:
        """Return the rows of a shard, if they were kept."""
        if (content := _kept(self._measured_path(index))) is None:
            return None
        frame: pd.DataFrame = pq.read_table(pa.BufferReader(content)).to_pandas()
        return frame

    def keep_measured(self, index: int, rows: pd.DataFrame, effort: Effort) -> None:
        """Keep a shard's rows; only with its lease."""
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), sink)
        _keep(self._measured_path(index), sink.getvalue(), effort)

    def efforts(self, indices: Iterable[int]) -> list[Effort]:
        """Return what finished shards took, attacking and measuring."""
        paths = [path for index in indices for path in (self._attacked_path(index), self._measured_path(index))]
        notes = [_note(path) for path in paths]  # None where another process has just filed the run
        return [note.effort for note in notes if note is not None]

    def is_attacked(self, index: int) -> bool:
        """Return whether a shard's perturbed images were kept."""
        return _kept(self._attacked_path(index)) is not None

    def is_measured(self, index: int) -> bool:
        """Return whether a shard's rows were kept."""
        return _kept(self._measured_path(index)) is not None

    def forget_rows(self) -> None:
        """Remove the rows once their run is filed."""
        shutil.rmtree(self._rows, ignore_errors=True)

    def _attacked_path(self, index: int) -> Path:
        return self._attacks / f"{index:05d}.safetensors"

    def _measured_path(self, index: int) -> Path:
        return self._rows / f"{index:05d}.parquet"


def _keep(path: Path, content: bytes, effort: Effort) -> None:
    """Write a note and then its file: where the second write never comes, the note fits no file."""
    remove_leftovers(path)
    note = Note(sha256=sha256_of(content), effort=effort)
    write_atomic(_note_path(path), canonical_json(note.model_dump(mode="json")).encode())
    write_atomic(path, content)


def _kept(path: Path) -> bytes | None:
    """Return what a file holds, if it is what was written."""
    note = _note(path)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if note is not None and sha256_of(content) == note.sha256 else None


def _note(path: Path) -> Note | None:
    try:
        return Note.model_validate_json(_note_path(path).read_bytes())
    except (OSError, ValueError):
        return None


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.note")

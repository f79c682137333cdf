"""Stores the finished shards of incomplete runs.

With them a killed run continues where it stopped. `bench status` reads them, so torch is imported only where tensors
are read or written.
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

from bench.core.schemas.protocol import Sha256
from bench.core.schemas.spec import RunSpec
from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json, remove_leftovers, sha256_of, write_atomic
from bench.core.storage.lease import is_held, lease

if TYPE_CHECKING:
    import pandas as pd

    from bench.run.attack.search import Attacked


@dataclass(frozen=True)
class Effort:
    """The computing time of a finished shard, and its machine."""

    seconds: float
    device: str = ""
    hardware: str = ""
    batch_size: int = 0


class Note(Strict):
    """A note beside a file of a shard, with its checksum.

    The file counts only if it has this checksum.
    """

    sha256: Sha256
    effort: Effort


class Shards:
    """The perturbed images and rows of a run's finished shards.

    Images are stored by attack, so that a new metric can measure them without a new attack; rows are stored by run. A
    file whose bytes do not fit its note counts as missing, and is computed again.
    """

    def __init__(self, spec: RunSpec, work: Path) -> None:
        self._attacks = work / "attacks" / spec.attack_id
        self._rows = work / "rows" / spec.run_id

    def lease(self, index: int, waiting: Callable[[], None] | None) -> AbstractContextManager[None]:
        """Return the lease of a shard (see `bench.core.storage.lease.lease`)."""
        return lease(self._attacks / f"{index:05d}.lease", waiting)

    def is_held(self, index: int) -> bool:
        """Return whether a living process is making a shard."""
        return is_held(self._attacks / f"{index:05d}.lease")

    def attacked(self, index: int, count: int) -> Attacked | None:
        """Return a shard's first `count` perturbed images, or None if not kept."""
        from safetensors.torch import load

        from bench.run.attack.search import Attacked

        if (content := _kept(self._attacked_path(index))) is None:
            return None
        tensors = load(content)
        if tensors.keys() != {field.name for field in fields(Attacked)} or len(tensors["images"]) < count:
            return None
        return Attacked(**{name: tensor[:count] for name, tensor in tensors.items()})

    def keep_attacked(self, index: int, attacked: Attacked, effort: Effort) -> None:
        """Keep a shard's perturbed images.

        The process must hold the shard's lease.
        """
        from safetensors.torch import save

        tensors = {field.name: getattr(attacked, field.name).contiguous() for field in fields(attacked)}
        _keep(self._attacked_path(index), save(tensors), effort)

    def measured(self, index: int) -> pd.DataFrame | None:
        """Return the rows of a shard, or None if not kept."""
        if (content := _kept(self._measured_path(index))) is None:
            return None
        frame: pd.DataFrame = pq.read_table(pa.BufferReader(content)).to_pandas()
        return frame

    def keep_measured(self, index: int, rows: pd.DataFrame, effort: Effort) -> None:
        """Keep a shard's rows.

        The process must hold the shard's lease.
        """
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), sink)
        _keep(self._measured_path(index), sink.getvalue(), effort)

    def efforts(self, indices: Iterable[int]) -> list[Effort]:
        """Return the efforts of attacking and measuring finished shards."""
        paths = [path for index in indices for path in (self._attacked_path(index), self._measured_path(index))]
        notes = [_note(path) for path in paths]  # None if another process has just stored the run
        return [note.effort for note in notes if note is not None]

    def is_attacked(self, index: int) -> bool:
        """Return whether a shard's perturbed images were kept."""
        return _kept(self._attacked_path(index)) is not None

    def is_measured(self, index: int) -> bool:
        """Return whether a shard's rows were kept."""
        return _kept(self._measured_path(index)) is not None

    def forget_rows(self) -> None:
        """Remove the rows after their run is stored."""
        shutil.rmtree(self._rows, ignore_errors=True)

    def _attacked_path(self, index: int) -> Path:
        return self._attacks / f"{index:05d}.safetensors"

    def _measured_path(self, index: int) -> Path:
        return self._rows / f"{index:05d}.parquet"


def _keep(path: Path, content: bytes, effort: Effort) -> None:
    """Write a note and then its file.

    If the process dies in between, the note does not fit a file, and the shard counts as missing.
    """
    remove_leftovers(path)
    note = Note(sha256=sha256_of(content), effort=effort)
    write_atomic(_note_path(path), canonical_json(note.model_dump(mode="json")).encode())
    write_atomic(path, content)


def _kept(path: Path) -> bytes | None:
    """Return a file's content if it fits its note, else None."""
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

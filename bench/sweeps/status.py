"""The progress of sweeps, read from the folder of unfinished work.

Any terminal can read it at any time, also after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from bench.core.errors import IntegrityError
from bench.core.schemas.spec import RunSpec
from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json, remove_leftovers, sha256_of, write_atomic
from bench.core.storage.lease import lease
from bench.core.storage.store import Store
from bench.run.shards import Shards


class Manifest(Strict):
    """The runs of a sweep."""

    results: Path
    runs: tuple[tuple[RunSpec, tuple[int, ...]], ...]
    """Every run with the number of images in each of its shards."""
    failures: tuple[tuple[str, str], ...] = ()
    """Failures with their reasons."""

    @property
    def name(self) -> str:
        """The identity of the sweep, equal for equal commands."""
        return sha256_of(canonical_json([str(self.results), *(spec.run_id for spec, _ in self.runs)]).encode())[:12]


class RunStatus(NamedTuple):
    """The progress of one run, in images and shards in work.

    A shard is in work if a living process is at it.
    """

    spec: RunSpec
    images: int
    done: int
    filed: bool
    working: int
    seconds: float
    """Computing time of the finished shards; 0 if the run is filed, because its shards are deleted."""


class SweepStatus(NamedTuple):
    """The progress of a sweep."""

    name: str
    runs: tuple[RunStatus, ...]
    failures: tuple[tuple[str, str], ...]

    @property
    def images(self) -> tuple[int, int]:
        """Images done, and all images."""
        return sum(run.done for run in self.runs), sum(run.images for run in self.runs)

    @property
    def working(self) -> int:
        """The number of shards that living processes work on."""
        return sum(run.working for run in self.runs)

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the present speed and number of workers, or None."""
        timed = [run for run in self.runs if run.seconds]
        done, seconds = sum(run.done for run in timed), sum(run.seconds for run in timed)
        if not done or not self.working:
            return None
        left = 0.0
        for run in self.runs:
            pace = run.seconds / run.done if run.seconds and run.done else seconds / done
            left += (run.images - run.done) * pace
        return left / self.working


def write_manifest(work: Path, manifest: Manifest) -> None:
    """Write the manifest of a sweep."""
    path = _folder(work) / f"{manifest.name}.json"
    with lease(path.with_suffix(".lease"), lambda: None):  # another process may run the same sweep
        remove_leftovers(path)
        write_atomic(path, canonical_json(manifest.model_dump(mode="json")).encode())


def statuses(work: Path, complain: Callable[[IntegrityError], None]) -> Iterator[SweepStatus]:
    """Yield the progress of every sweep in a folder of unfinished work.

    A damaged file is passed to `complain`.
    """
    for path in sorted(_folder(work).glob("*.json")):
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            came = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            complain(IntegrityError(f"expected a sweep in {path}, got: {came}; delete it"))
            continue
        runs = tuple(_run_status(spec, sizes, Store(manifest.results), work) for spec, sizes in manifest.runs)
        yield SweepStatus(manifest.name, runs, manifest.failures)


def _run_status(spec: RunSpec, sizes: tuple[int, ...], store: Store, work: Path) -> RunStatus:
    images = sum(sizes)
    if store.path(spec).exists():
        return RunStatus(spec, images, images, filed=True, working=0, seconds=0.0)
    shards = Shards(spec, work)
    finished = [index for index in range(len(sizes)) if shards.is_measured(index)]
    return RunStatus(
        spec,
        images,
        sum(sizes[index] for index in finished),
        filed=False,
        working=sum(shards.is_held(index) for index in range(len(sizes))),
        seconds=sum(effort.seconds for effort in shards.efforts(finished)),
    )


def _folder(work: Path) -> Path:
    return work / "sweeps"

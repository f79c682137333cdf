"""How sweeps stand, read from the folder of unfinished work: any terminal may ask, at any time, also after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from bench.core.errors import IntegrityError
from bench.core.schemas.protocol import Strict
from bench.core.schemas.records import RunSpec
from bench.core.storage.files import canonical_json, remove_leftovers, sha256_of, write_atomic
from bench.core.storage.lease import lease
from bench.core.storage.store import Store
from bench.run.shards import Shards


class Manifest(Strict):
    """What a sweep is about."""

    results: Path
    runs: tuple[tuple[RunSpec, tuple[int, ...]], ...]
    """Each with the images of its shards."""
    failures: tuple[tuple[str, str], ...] = ()
    """What could not be done, and why."""

    @property
    def name(self) -> str:
        """Its identity: the same command means the same sweep."""
        return sha256_of(canonical_json([str(self.results), *(spec.run_id for spec, _ in self.runs)]).encode())[:12]


class RunStatus(NamedTuple):
    """How one run stands, in images and in shards that living processes are at."""

    spec: RunSpec
    images: int
    done: int
    filed: bool
    working: int
    seconds: float
    """Computing time of the finished shards; 0 where the run is filed and they are forgotten."""


class SweepStatus(NamedTuple):
    """How a sweep stands."""

    name: str
    runs: tuple[RunStatus, ...]
    failures: tuple[tuple[str, str], ...]

    @property
    def images(self) -> tuple[int, int]:
        """Images done, and in all."""
        return sum(run.done for run in self.runs), sum(run.images for run in self.runs)

    @property
    def working(self) -> int:
        """How many shards living processes are at."""
        return sum(run.working for run in self.runs)

    @property
    def seconds_left(self) -> float | None:
        """What is left at the speed so far, with as many workers as now; None where nothing tells."""
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
    """Keep what a sweep is about."""
    path = _folder(work) / f"{manifest.name}.json"
    with lease(path.with_suffix(".lease"), lambda: None):  # another process may be at the same sweep
        remove_leftovers(path)
        write_atomic(path, canonical_json(manifest.model_dump(mode="json")).encode())


def statuses(work: Path, complain: Callable[[IntegrityError], None]) -> Iterator[SweepStatus]:
    """Yield how every sweep of a folder of unfinished work stands; whoever complains is told of files that are none."""
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

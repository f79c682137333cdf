"""`bench audit`: test a score with other radii, steps, surrogates, no gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from bench import registry
from bench.commands._images import IMAGES, measured
from bench.commands._options import DATA, DEVICE, JSON, PROTOCOL, RESULTS
from bench.core.storage.folders import cache_folder
from bench.core.text import counted
from bench.terminal import console
from bench.terminal.progress import RunProgress

if TYPE_CHECKING:
    from bench.core.schemas.flags import Finding
    from bench.core.storage.stored_run import StoredRun
    from leaderboard.boards.audit_curves import Curve


@click.command()
@click.argument("model", metavar="hub:NAME")
@PROTOCOL
@IMAGES
@click.option("--attack", metavar="NAME", help="An attack of the protocol that uses gradients (default: its first).")
@click.option(
    "--limit",
    type=int,
    default=20,
    show_default=True,
    metavar="N",
    help="Use only the first N samples of the protocol.",
)
@click.option("--curves", "drawing", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw the curves.")
@RESULTS
@DATA
@DEVICE
@JSON
def audit(
    model: str,
    protocol: str,
    images: Path | None,
    size: str | None,
    attack: str | None,
    limit: int,
    drawing: Path | None,
    results: Path,
    device: str,
    as_json: bool,
) -> None:
    """Test how MODEL's score depends on the attack's strength and gradients.

    An audit varies radius, steps, restarts and surrogate of an attack, and also attacks without MODEL's gradients. Runs
    are compared image by image. A difference raises a flag only if it is significant and large enough to matter. All
    runs are filed as usual: give the same command again to continue an interrupted audit. Boards do not show these runs
    as scores; their flags stand beside the model's score and on its page.
    """
    from bench.core.storage.files import write_atomic
    from bench.core.storage.store import Store
    from bench.run.execution import Execution
    from bench.sweeps.audit import Audit
    from bench.sweeps.audit import audit as complete
    from leaderboard.boards.audit_curves import curves, findings
    from leaderboard.pages.render import sweep_drawing

    protocol, count = measured(images, size, [model], protocol, limit)
    if count is None:  # of the images that were drawn
        limit = min(limit, len(registry.load("protocols", protocol).samples.indices))
    execution = Execution(Store(results), cache_folder() / "work", device, showcase=False)
    with RunProgress() as progress:
        runs = complete(Audit(model, protocol, attack, limit), execution, progress)
    found, raised = curves(runs), findings(runs)
    if drawing is not None:
        write_atomic(drawing, sweep_drawing(found).encode())
    if as_json:
        click.echo(json.dumps(_as_json(runs, found, raised)))
    else:
        _show(runs, found, raised)


def _show(runs: list[StoredRun], found: tuple[Curve, ...], raised: tuple[Finding, ...]) -> None:
    """Print every point of every curve, then the flags."""
    from leaderboard.boards.audit_curves import KNOBS, audit_flags

    record = runs[0].record
    title = f"{record.spec.model.name} under {record.spec.protocol.key}, {counted(record.samples, 'image')}"
    table = Table(title=title, title_justify="left")
    for column in ("sweep", "value", f"{record.spec.primary_metric} [95 % interval]", "infeasible", "verdict"):
        table.add_column(column, overflow="fold")
    names = {finding.flag.name for finding in raised}
    for curve in found:
        verdict = [name for name, flag in audit_flags().items() if flag.knob == curve.knob and name in names]
        for index, point in enumerate(curve.points):
            value = f"{point.value:g}{' (protocol)' if point.on_protocol else ''}"
            interval = f"{point.mean:.3f} [{point.summary.low:.3f}, {point.summary.high:.3f}]"
            said = ", ".join(verdict) or ("sound" if curve.undecided is None else f"undecided: {curve.undecided}")
            first = (KNOBS[curve.knob], said) if index == 0 else ("", "")
            table.add_row(first[0], value, interval, str(point.run.record.infeasible), first[1])
        table.add_section()
    if found:
        console.out.print(table)
    else:
        console.out.print(f"No curve: {record.correct} of {record.samples} images are correct; raise --limit.")
    for run in runs:
        if run.record.knowledge != "white-box":
            summary = run.record.summaries["correct"][run.record.spec.primary_metric]
            mean = "undefined" if summary.mean is None else f"{summary.mean:.3f}"
            crafted = run.record.spec.crafted_on
            how = f"knowledge: {run.record.knowledge}" if crafted is None else f"crafted on {crafted.model.name}"
            console.out.print(f"{run.record.spec.attack.name} ({how}): {mean}")
    if record.entry.manipulation is None:
        console.out.print("An audit looks near its images: what a trigger would set off in a network it cannot see.")
    else:
        console.out.print("This network was made to explain falsely under a trigger, which an audit does not lay.")
    for name, detail in _all_flags(runs, raised).items():
        flag = registry.load("flags", name)
        console.out.print(Text.assemble((name, "yellow"), f": {detail}; {flag.means}. What to do: {flag.remedy}."))


def _all_flags(runs: list[StoredRun], raised: tuple[Finding, ...]) -> dict[str, str]:
    """Return all flags with their details.

    They come from the comparisons and from the run of the protocol itself.
    """
    own = {
        flag.name: f"{run.record.spec.attack.name}: {flag.detail}"
        for run in runs
        for flag in run.record.flags
        if run.record.spec.on_protocol and flag.name != "partial"
    }
    return {finding.flag.name: finding.flag.detail for finding in raised} | own


def _as_json(runs: list[StoredRun], found: tuple[Curve, ...], raised: tuple[Finding, ...]) -> dict[str, object]:
    points = {
        f"{curve.attack}/{curve.knob}": [
            {"value": point.value, "run_id": point.run.record.run_id, **point.summary.model_dump()}
            for point in curve.points
        ]
        for curve in found
    }
    return {"runs": [str(run.path) for run in runs], "curves": points, "flags": _all_flags(runs, raised)}

"""Boards and comparisons of attacks as Markdown tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.core.errors import UsageError
from bench.core.schemas.duration import in_words
from bench.core.schemas.entry import MeasuredAccuracy, ModelEntry
from bench.core.schemas.recipe import Recipe, Target
from bench.core.schemas.records import Summary
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.board import Board, Standing
from leaderboard.boards.standings import boards
from leaderboard.comparisons.attacks import Round
from leaderboard.comparisons.boards import side_by_side
from leaderboard.records.rows import read_rows, read_runs


def tables(
    results: Path,
    protocol: str | None = None,
    *,
    metrics: Sequence[str] = (),
    attacks: Sequence[str] = (),
    brief: bool = False,
    first: int | None = None,
) -> str:
    """Return the boards of a results folder as Markdown tables.

    The most robust model comes first. The flags are the same as on the HTML board: they come from all runs of a model
    and from their comparisons, not only from the attacks that are shown.

    Args:
        results: the folder of records.
        protocol: the only protocol to show; by default all.
        metrics: the metrics to show; by default the metrics of the board.
        attacks: the attacks to show, in this order; by default all.
        brief: one column per attack, with the means of all metrics and no intervals.
        first: how many models to show, from the top; by default all.
    Raises:
        UsageError: if the folder has no record, no record of the protocol, or no such metric or attack.
        IntegrityError: if a record is damaged.
    """
    runs = read_runs(results)
    if protocol is not None:
        runs = _under(protocol, runs, results)
    return "\n\n".join(_table(_narrowed(board, metrics, attacks), brief, first) for board in boards(runs)) + "\n"


def beside_table(results: Path, newer: str, older: str) -> str:
    """Return the ranks under two protocols as a Markdown table.

    The protocols differ in their attacks only, such as two versions of one protocol. Ranks are among the models that
    both rank; the change is in robustness, so a stronger attack makes it negative.

    Args:
        results: the folder of records.
        newer: the protocol that gives the order.
        older: the protocol to compare with.
    Raises:
        UsageError: if the folder has no record of a protocol, or the two measure different things.
        IntegrityError: if a record is damaged.
    """
    runs = read_runs(results)
    first, second = (boards(_under(name, runs, results))[0] for name in (older, newer))
    moves, pairs = side_by_side(first, second, read_rows)
    heads = ["model", f"rank in `{older}`", f"rank in `{newer}`", older, newer, "change", "n"]
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    for move in moves:
        change = f"{move.change:+.3f} [{move.interval[0]:+.3f}, {move.interval[1]:+.3f}]"
        means = [f"{mean:.3f}" for mean in move.means]
        lines.append([f"`{move.model}`", *map(str, move.ranks), *means, change, str(move.images)])
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    decided = (
        f"`{older}` decides {pairs.older} of {pairs.total} pairs of models after Holm, `{newer}` {pairs.newer}: "
        f"{pairs.both} in the same way, {pairs.reversed} in opposite ways"
    )
    return f"{decided}\n\n{body}\n"


def trainings_table(entries: Sequence[ModelEntry], recipes: Mapping[str, Recipe]) -> str:
    """Return what trainings cost and reached, as a Markdown table.

    Args:
        entries: models that were trained by a recipe.
        recipes: as they stand today, by name; one that is missing leaves its cells empty.
    """
    heads = [
        "model",
        "data",
        "method",
        "epochs",
        "recipe today",
        "time",
        "hardware",
        "clean",
        "PGD-40",
        "radius",
        "target",
    ]
    lines = [heads, ["---"] * 3 + ["---:"] * 3 + ["---"] + ["---:"] * 4]
    for entry in entries:
        facts, measured = entry.training, entry.accuracy
        recipe = recipes.get(facts.recipe or "")
        cells = [f"`{entry.name}`", entry.dataset, _plain(facts.method)]
        cells += ["" if count is None else f"{count:g}" for count in (facts.epochs, recipe and recipe.epochs)]
        cells += [in_words(facts.seconds) if facts.seconds else "", _plain(facts.hardware), *_accuracies(measured)]
        target = None if recipe is None else recipe.target
        lines.append([*cells, "" if measured is None else str(measured.epsilon), _target(target)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def contest_table(rounds: Sequence[Round], sides: tuple[str, str]) -> str:
    """Return a comparison of two attacks as a Markdown table.

    The column gain says how much less of the explanation the first attack leaves; the column beside it leaves out the
    images that lost their class under either attack.
    """
    first, second = sides
    heads = [
        "model",
        "metric",
        first,
        second,
        "gain",
        "n",
        "gain, class kept",
        "n kept",
        "gradients",
        "the first is",
    ]
    lines = [heads, ["---"] * 2 + ["---:"] * (len(heads) - 3) + ["---"]]
    for each in rounds:
        gain = f"{each.gain:+.3f} [{each.interval[0]:+.3f}, {each.interval[1]:+.3f}]"
        means = [f"{mean:.3f}" for mean in each.means]
        gradients = " / ".join(f"{count:.0f}" for count in each.gradients)
        kept = ["", "0"]
        if each.kept_gain is not None and each.kept_interval is not None:
            low, high = each.kept_interval
            kept = [f"{each.kept_gain:+.3f} [{low:+.3f}, {high:+.3f}]", str(each.kept_images)]
        if each.kept_images == each.images:
            kept[0] = "the same"
        cells = [f"`{each.model}`", each.metric, *means, gain, str(each.images), *kept, gradients, each.verdict]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _under(protocol: str, runs: Sequence[StoredRun], results: Path) -> list[StoredRun]:
    """Return a protocol's runs: its board depends on no other runs."""
    known: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        if not run.record.spec.attack.is_external:
            known[run.record.spec.protocol.key].append(run)
    if protocol not in known:
        raise UsageError(
            f"expected records of {protocol} in {results}, got {', '.join(known)}; make one with `bench run`"
        )
    return known[protocol]


def _narrowed(board: Board, metrics: Sequence[str], attacks: Sequence[str]) -> Board:
    known = {"metric": [metric.name for metric in board.spec.metrics], "attack": list(board.attacks)}
    for what, wanted in (("metric", metrics), ("attack", attacks)):
        for name in wanted:
            if name not in known[what]:
                raise UsageError(
                    f"expected a {what} of {board.protocol.key}, got {name!r}; choose from {', '.join(known[what])}"
                )
    return replace(board, metrics=tuple(metrics) or board.metrics, attacks=tuple(attacks) or board.attacks)


def _table(board: Board, brief: bool, first: int | None) -> str:
    heads = ["model", "training", "clean", "PGD-40"]
    if brief:
        heads += board.attacks
    else:
        heads += [f"{metric} under {attack}" for attack in board.attacks for metric in board.metrics]
    heads += ["n", "infeasible", "flags"]
    lines = [heads, ["---"] * 2 + ["---:"] * (len(heads) - 3) + ["---"]]
    lines += [_row(board, standing, brief) for standing in board.standings[:first]]
    samples = {(run.record.samples, run.record.spec.samples.of) for s in board.standings for run in s.runs.values()}
    counts = ", ".join(f"{count} of {total}" for count, total in sorted(samples))
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    whose = "the reference set" if board.sample_set == "common" else "each model"
    what = f"means of {' / '.join(board.metrics)}" if brief else "mean [95 % bootstrap interval]"
    return (
        f"`{board.protocol.key}`, {counts} samples; {what} over the images that {whose} classifies correctly\n\n{body}"
    )


def _row(board: Board, standing: Standing, brief: bool) -> list[str]:
    entry = standing.entry
    cells = [f"`{entry.name}`", _plain(entry.training.method), *_accuracies(entry.accuracy)]
    for attack in board.attacks:
        found = [standing.summary(attack, metric) for metric in board.metrics]
        cells += [" / ".join(map(_mean, found))] if brief else map(_interval, found)
    flags, scored = ", ".join(standing.flags), standing.headline_run
    if scored is None:
        return [*cells, "", "", flags]
    measured = standing.summary(scored.record.spec.attack.name, board.metrics[0])
    return [*cells, "" if measured is None else str(measured.n), str(scored.record.infeasible), flags]


def _accuracies(measured: MeasuredAccuracy | None) -> list[str]:
    values = (None, None) if measured is None else (measured.clean, measured.pgd40)
    return ["" if value is None else f"{100 * value:.2f} %" for value in values]


def _target(target: Target | None) -> str:
    values = () if target is None else (target.clean, target.pgd40)
    return " / ".join(f"{100 * value:g} %" for value in values if value is not None)


def _mean(summary: Summary | None) -> str:
    return "" if summary is None or summary.mean is None else f"{summary.mean:.3f}"


def _interval(summary: Summary | None) -> str:
    if summary is None or summary.mean is None:
        return ""
    return f"{summary.mean:.3f} [{summary.low:.3f}, {summary.high:.3f}]"


def _plain(text: str) -> str:
    """Return text without characters that could end the cell or start markup."""
    return " ".join("".join(c if c.isalnum() or c in " .,-+" else " " for c in text).split())

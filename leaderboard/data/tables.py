"""Makes tables of the boards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.core.schemas.records import Summary
from leaderboard.boards.board import Board, Standing
from leaderboard.comparisons.attack_costs import SHARE_COLUMNS, Race
from leaderboard.records.image_sets import SampleSetName
from leaderboard.records.rows import RUN_COLUMNS, SAMPLE_COLUMNS

STANDING_COLUMNS = {
    "protocol": "the protocol's name and version",
    "model": "name of the model",
    "rank": "place by the score; empty where the model is not ranked",
    "rank_low": "lower end of the 95 % interval of the rank (paired bootstrap on the images in common)",
    "rank_high": "upper end of that interval",
    "tie_group": "number of the group of models that do not differ significantly from the group's first",
    "common_images": "images on which the models are compared",
    "metric": "name of the primary metric",
    "scored_under": "the attack that scores: auto where the board has it, else the strongest attack",
    "strongest_attack": "the attack of the lowest mean robustness, auto aside",
    "sample_set": "the images that rank: common, or correct where the protocol names no complete reference set",
    "score": "mean of the primary metric under the attack that scores, over these images",
    "low": "lower end of the 95 % percentile-bootstrap interval of the score",
    "high": "upper end of that interval",
    "n": "images in the score",
    "best_known": "mean over these images of the lowest value that any record of any attack reached (the ledger)",
    "best_known_gap": "by how much the score leaves more than that",
    "best_known_low": "lower end of the gap's 95 % interval (paired bootstrap on the images)",
    "best_known_high": "upper end of that interval",
    "best_known_by": "attacks that are lower than the one that scores, each with its number of images",
    "auto_long_gap": "by how much auto leaves more than auto-long, on images that kept their class under both; empty "
    "if auto-long has no run",
    "auto_long_low": "lower end of that gap's 95 % interval (paired bootstrap on the images)",
    "auto_long_high": "upper end of that interval",
    "auto_long_images": "images on which auto and auto-long are compared",
    "auto_long_missing": "why there is no such gap",
    "score_correct": "the same mean over the images that this model classifies correctly",
    "score_all": "the same mean over every image",
    "infeasible": "share of the images on which the attack that scores found no change that keeps the prediction",
    "clean_accuracy": "clean accuracy on the test set, as measured for the entry; empty if not measured",
    "pgd40_accuracy": "accuracy under PGD of 40 steps, as measured for the entry; empty if not measured",
    "autoattack_accuracy": "accuracy under AutoAttack, as measured for the entry; empty if not measured",
    "training": "method of training",
    "trained_by": "who trained the weights: this project, or the authors",
    "architecture": "name of the architecture",
    "control": "whether the model is a control or a manipulated network, which has no rank",
    "origin": "ours: the weights come with the repository; published: others published them; submitted: somebody "
    "submitted them",
    "confirmed": "whether a second run agrees with the one that scores",
    "flags": "reasons to doubt a number, each with the attacks that raised it",
    "added": "date of the entry",
    "weights_sha256": "checksum of the network's weights",
    "remarks": "reasons why the model cannot be ranked with the others",
}
"""Columns of data/standings.csv, and what they mean."""

PAIR_COLUMNS = {
    "protocol": "the protocol's name and version",
    "model": "name of a model",
    "other": "name of a model that is lower on the board",
    "difference": "mean of the paired differences in robustness, model minus other, on the images in common",
    "standard_error": "standard error of that mean",
    "p": "two-sided p-value of no difference",
    "p_holm": "the same, adjusted by Holm's method for all pairs of the board",
    "images": "images on which the models are compared",
}
"""Columns of data/pairs.csv, and what they mean."""

TABLES = {
    "attacks.csv": SHARE_COLUMNS,
    "standings.csv": STANDING_COLUMNS,
    "pairs.csv": PAIR_COLUMNS,
    "leaderboard.csv": RUN_COLUMNS,
    "rows/<run>.csv": SAMPLE_COLUMNS,
}
"""The tables in the folder data/, with their columns."""

DIGITS = 9
"""Decimals of the pairs' numbers, few enough that sums on different machines agree."""


def standings_table(made: list[Board]) -> pd.DataFrame:
    """Return one line per protocol and model, with STANDING_COLUMNS."""
    lines = [_standing_line(board, standing) for board in made for standing in board.by_name.values()]
    table = pd.DataFrame(lines, columns=list(STANDING_COLUMNS))
    return table.astype(
        dict.fromkeys(("rank", "rank_low", "rank_high", "tie_group", "common_images", "auto_long_images"), "Int64")
    )


def _standing_line(board: Board, standing: Standing) -> dict[str, Any]:
    low, high = standing.rank_interval or (None, None)
    score = {} if standing.score is None else standing.score.model_dump(include={"low", "high", "n"})
    entry, scored = standing.entry, standing.headline_run
    return {
        "protocol": board.protocol.key,
        "model": entry.name,
        "rank": standing.rank,
        "rank_low": low,
        "rank_high": high,
        "tie_group": standing.group,
        "common_images": board.common,
        "metric": board.spec.primary_metric,
        "scored_under": standing.headline,
        "strongest_attack": standing.strongest,
        "sample_set": standing.sample_set,
        "score": None if standing.score is None else standing.score.mean,
        **score,
        **_beyond(standing),
        **{f"score_{name}": summary.mean for name, summary in scores(board, standing).items() if name != "common"},
        "infeasible": None if scored is None else scored.record.infeasible / scored.record.samples,
        **_accuracies(standing),
        "training": entry.training.method,
        "trained_by": entry.training.trainer,
        "architecture": entry.architecture.name,
        "control": standing.is_control,
        "origin": standing.origin,
        "confirmed": standing.confirmation is not None,
        "flags": "; ".join(f"{flag}: {', '.join(attacks)}" for flag, attacks in standing.flags.items()),
        "added": entry.added.isoformat(),
        "weights_sha256": standing.weights_sha256,
        "remarks": "; ".join(standing.remarks),
    }


def _beyond(standing: Standing) -> dict[str, Any]:
    """Return the cells about lower values than the score's."""
    best, longer = standing.best_known, standing.shortfall
    line: dict[str, Any] = {}
    if best is not None:
        line |= {"best_known": best.mean, "best_known_gap": best.gap}
        line |= {"best_known_low": best.low, "best_known_high": best.high}
        line |= {"best_known_by": "; ".join(f"{attack}: {images}" for attack, images in best.found_by)}
    if longer is not None:
        line |= {"auto_long_gap": longer.gap, "auto_long_low": longer.low, "auto_long_high": longer.high}
        line |= {"auto_long_images": longer.images, "auto_long_missing": longer.reason}
    return line


def _accuracies(standing: Standing) -> dict[str, float | None]:
    measured = standing.entry.accuracy
    if measured is None:
        return {}
    values = {"clean": measured.clean, "pgd40": measured.pgd40, "autoattack": measured.autoattack}
    return {f"{name}_accuracy": value for name, value in values.items()}


def scores(board: Board, standing: Standing) -> dict[SampleSetName, Summary]:
    """Return the primary metric under the attack that scores, per sample set."""
    names: tuple[SampleSetName, ...] = ("common", "correct", "all")
    found = {name: standing.summary(standing.headline, board.spec.primary_metric, name) for name in names}
    return {name: summary for name, summary in found.items() if summary is not None}


def attacks_table(made: Sequence[Race]) -> pd.DataFrame:
    """Return one line per race, attack and budget, with SHARE_COLUMNS."""
    lines = [
        {
            "protocols": " ".join(race.protocols),
            "threat": race.threat,
            "metric": race.metric.name,
            "attack": entrant.name,
            "version": entrant.version,
            "budget": budget,
            "place": each.place,
            "images": each.images,
            "lowest": each.lowest,
            "share": None if each.share is None else round(each.share, DIGITS),
            "evaluations": entrant.evaluations,
            "shared_mean": entrant.mean_within(budget),
            "shared_images": race.shared if entrant.points else None,
        }
        for race in made
        for entrant in race.entrants
        for budget, each in zip(race.budgets, entrant.shares, strict=True)
    ]
    table = pd.DataFrame(lines, columns=list(SHARE_COLUMNS))
    return table.astype(dict.fromkeys(("version", "budget", "place", "images", "lowest", "shared_images"), "Int64"))


def pairs_table(made: list[Board]) -> pd.DataFrame:
    """Return one line per pair of compared models, with PAIR_COLUMNS."""
    return pd.concat([pd.DataFrame(columns=list(PAIR_COLUMNS)), *map(_pairs, made)], ignore_index=True)


def _pairs(board: Board) -> pd.DataFrame:
    if board.pairs is None:
        return pd.DataFrame()
    found, names = board.pairs.differences, np.array(board.pairs.models)
    first, second = np.triu_indices(len(names), 1)
    numbers = {"difference": found.mean, "standard_error": found.error, "p": found.p, "p_holm": found.p_holm}
    return pd.DataFrame(
        {"protocol": board.protocol.key, "model": names[first], "other": names[second]}
        | {name: matrix[first, second].round(DIGITS) for name, matrix in numbers.items()}
        | {"images": board.common}
    )
